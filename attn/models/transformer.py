"""The encoder–decoder Transformer (Vaswani et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
from flax import nnx

from attn.decode import Cache
from attn.masks import Causal, Lengths
from attn.models.protocol import State
from attn.models.seq2seq import DECODER, ENCODER
from attn.models.source import source_lengths
from attn.nn.embedding import Embedding, PositionBias
from attn.nn.noise import Noise
from attn.nn.transformer import Block, LayerConfig, Source
from attn.typing import Array, Float, Int

Memory = tuple[Source, ...]
"""What each decoder layer looks at."""


@dataclass(frozen=True)
class TransformerConfig(LayerConfig):
    """Self-attention on both sides, attention to the source in every decoder layer."""

    name: ClassVar[str] = "transformer"

    tied: Literal["none", "target", "all"] = "target"
    """Which share one matrix: the target's embedding and the output's, and the source's too (one
    vocabulary), as in section 3.4."""

    def build(
        self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ) -> "Transformer":
        """The model, freshly initialised.

        Raises:
            ValueError: everything is to be tied, but the vocabularies differ in size.
        """
        return Transformer(self, source_vocabulary, target_vocabulary, rngs)


class Transformer(nnx.Module):
    """The model of `TransformerConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = True

    def __init__(
        self,
        config: TransformerConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        rngs: nnx.Rngs,
    ):
        self.tied = config.tied
        if config.tied == "all" and source_vocabulary != target_vocabulary:
            raise ValueError(
                'tied: "all" needs one vocabulary for source and target, got sizes '
                f"{source_vocabulary} and {target_vocabulary}"
            )
        dtype = jnp.dtype(config.dtype)
        self.target_embed = Embedding(config, target_vocabulary, rngs=rngs)
        if config.tied != "all":
            self.source_embed = Embedding(config, source_vocabulary, rngs=rngs)
        if config.tied == "none":
            self.output = nnx.Linear(config.width, target_vocabulary, dtype=dtype, rngs=rngs)
        self.encoder_bias = PositionBias(config, bidirectional=True, rngs=rngs)
        self.decoder_bias = PositionBias(config, bidirectional=False, rngs=rngs)
        self.encoder = nnx.List([Block(config, rngs=rngs) for _ in range(config.layers)])
        self.decoder = nnx.List(
            [Block(config, cross=True, rngs=rngs) for _ in range(config.layers)]
        )
        self.pre = config.norm == "pre"
        if self.pre:  # the sum that leaves a stack has not been normalised yet
            self.encoder_norm = config.normalizer(rngs)
            self.decoder_norm = config.normalizer(rngs)

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        """What each decoder layer looks at: keys and values of the encoder's output."""
        noise, mods = noise and noise.at(ENCODER), self.encoder_bias.mods()
        mask = Lengths(key=source_lengths(source))
        xs = self._embed_source(source, noise)
        for depth, layer in enumerate(self.encoder, start=1):
            xs = layer(xs, mask=mask, mods=mods, noise=noise and noise.at(depth))
        return self._sources(xs, source)

    def decode(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise, mods = noise and noise.at(DECODER), self.decoder_bias.mods()
        xs = self.target_embed(target_in, noise)
        for depth, (layer, source) in enumerate(zip(self.decoder, memory, strict=True), start=1):
            at = noise and noise.at(depth)
            xs = layer(xs, mask=Causal(), mods=mods, source=source, noise=at)
        return self._read(xs)

    def weights(self, memory: Memory, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """Attention from each target position to the source, by layer and head."""
        return self._decoder_maps(memory, target_in)[1]

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L N _ _"]]:
        """The weights of every layer and head: "encoder" (source to source), "decoder" (target to
        target) and "cross" (target to source)."""
        xs, encoder, mods = self._embed_source(source, None), [], self.encoder_bias.mods()
        for layer in self.encoder:
            xs, looked, _ = layer.maps(xs, mask=Lengths(key=source_lengths(source)), mods=mods)
            encoder.append(looked)
        decoder, cross = self._decoder_maps(self._sources(xs, source), target_in)
        return {"encoder": jnp.stack(encoder, axis=1), "decoder": decoder, "cross": cross}

    def start(self, memory: Memory, capacity: int) -> State:
        """Empty caches of the decoder's own keys and values, with room for `capacity` steps."""
        self.target_embed.check_length(capacity)
        rows = memory[0].key.shape[0]
        return State(memory, tuple(x.attention.create_cache(rows, capacity) for x in self.decoder))

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One position through every layer, against the cached ones before it."""
        carry: list[Cache] = []
        xs = self.target_embed(token[:, None], None, state.carry[0].length[:, None])
        for layer, source, seen in zip(self.decoder, state.memory, state.carry, strict=True):
            xs, seen = layer.extend(xs, seen, mods=self.decoder_bias.mods(), source=source)
            carry.append(seen)
        return State(state.memory, tuple(carry)), self._read(xs)[:, 0]

    def _embed_source(self, source: Array, noise: Noise | None) -> Array:
        embed = self.target_embed if self.tied == "all" else self.source_embed
        return embed(source, noise)

    def _sources(self, xs: Array, source: Array) -> Memory:
        if self.pre:
            xs = self.encoder_norm(xs)
        lengths, projected = source_lengths(source), (x.cross.project(xs) for x in self.decoder)
        return tuple(Source(key, value, lengths) for key, value in projected)

    def _decoder_maps(self, memory: Memory, target_in: Array) -> tuple[Array, Array]:
        xs, kept, mods = self.target_embed(target_in), [], self.decoder_bias.mods()
        for layer, source in zip(self.decoder, memory, strict=True):
            xs, *looked = layer.maps(xs, mask=Causal(), mods=mods, source=source)
            kept.append(looked)
        own, cross = (jnp.stack(each, axis=1) for each in zip(*kept, strict=True))
        return own, cross

    def _read(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T V"]:
        if self.pre:
            xs = self.decoder_norm(xs)
        if self.tied == "none":
            return self.output(xs).astype(jnp.float32)
        return self.target_embed.logits(xs)
