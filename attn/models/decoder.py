"""The decoder-only Transformer: a language model (Radford et al. 2019) or prefix language model."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx

from attn.decode import Cache
from attn.masks import Causal, Mask, Prefix
from attn.models.one_sequence import OneSequence, Prompt
from attn.nn.embedding import Embedding, PositionBias
from attn.nn.multi_head import AT_ONCE
from attn.nn.noise import Noise
from attn.nn.transformer import Block, LayerConfig
from attn.typing import Array, Float, Int

Caches = tuple[Cache, ...]


@dataclass(frozen=True)
class DecoderConfig(LayerConfig):
    """One stack that reads source and target as one sequence, left to right."""

    name: ClassVar[str] = "decoder"

    prefix: bool = False
    """Whether source tokens see all of their source (Raffel 2019's prefix LM), not only what comes
    before."""
    tied: bool = True
    """Whether embedding and output share one matrix."""
    shared: bool | None = None
    """One vocabulary for source and target (None: where both have the same size)."""

    def build(self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs) -> "Decoder":
        """The model, freshly initialised.

        Raises:
            ValueError: one vocabulary is asked for, but the sizes differ.
        """
        return Decoder(self, source_vocabulary, target_vocabulary, rngs)


class Decoder(OneSequence):
    """The model of `DecoderConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool | None] = True

    def __init__(
        self,
        config: DecoderConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        rngs: nnx.Rngs,
    ):
        self.vocabulary(source_vocabulary, target_vocabulary, config.shared)
        self.words, self.prefix, self.window = target_vocabulary, config.prefix, config.window
        self.embed = Embedding(config, self.joint, rngs=rngs)
        self.bias = PositionBias(config, bidirectional=config.prefix, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.layers)])
        self.tied, self.pre = config.tied, config.norm == "pre"
        if self.pre:
            self.norm = config.normalizer(rngs)
        if not self.tied:
            self.output = nnx.Linear(
                config.width,
                target_vocabulary,
                use_bias=False,
                dtype=jnp.dtype(config.dtype),
                rngs=rngs,
            )

    def __call__(self, tokens: Int[Array, "B L"]) -> Float[Array, "B L V"]:
        """Logits of the token after each, of texts that have no source."""
        return self.logits(self.run(tokens, None, None))

    def run(
        self, tokens: Int[Array, "B L"], prefix: Int[Array, "B"] | None, noise: Noise | None
    ) -> Float[Array, "B L H"]:
        """The state after each token; the first `prefix` of a row are its source."""
        xs, mods, mask = self.embed(tokens, noise), self.bias.mods(), self._mask(prefix)
        for depth, block in enumerate(self.blocks, start=1):
            xs = block(xs, mask=mask, mods=mods, noise=noise and noise.at(depth))
        return xs

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L N _ _"]]:
        """The weights of every layer and head: "sequence", of the source's tokens and the target's
        behind them, to themselves."""
        return {"sequence": self._maps(self.encode(source), target_in)}

    def weights(self, memory: Prompt, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """Attention from each target position to the source: what it leaves goes to the target."""
        looked = self._maps(memory, target_in)
        rows = memory.lengths[:, None] + jnp.arange(target_in.shape[1], dtype=jnp.int32)
        looked = jnp.take_along_axis(looked, rows[:, None, None, :, None], axis=3)
        longest = memory.tokens.shape[1]
        inside = jnp.arange(longest) < memory.lengths[:, None]
        return jnp.where(inside[:, None, None, None], looked[..., :longest], 0.0)

    def create(self, rows: int, capacity: int) -> Caches:
        """Empty caches of every layer, with room for `capacity` tokens."""
        self.embed.check_length(capacity)
        return tuple(block.attention.create_cache(rows, capacity) for block in self.blocks)

    def advance(
        self, carry: Caches, tokens: Int[Array, "B t"], count: Int[Array, "B"] | None, first: bool
    ) -> tuple[Caches, Float[Array, "B t H"]]:
        """Reads more tokens: a source at once; later ones in parts that a ring has room for."""
        if first:
            return self._prefilled(carry, tokens, count)
        parts, most = [], tokens.shape[1] if self.window is None else AT_ONCE
        for at in range(0, tokens.shape[1], most):
            part = tokens[:, at : at + most]
            left = None if count is None else jnp.clip(count - at, 0, part.shape[1])
            carry, states = self._extended(carry, part, left)
            parts.append(states)
        return carry, jnp.concatenate(parts, axis=1)

    def logits(self, states: Float[Array, "*B H"]) -> Float[Array, "*B V"]:
        """Of the token after, float32, over the target's vocabulary."""
        if self.pre:
            states = self.norm(states)
        if self.tied:
            return self.embed.logits(states, self.words)
        return self.output(states).astype(jnp.float32)

    def _mask(self, prefix: Array | None) -> Mask:
        return Prefix(prefix) if self.prefix and prefix is not None else Causal()

    def _maps(self, memory: Prompt, target_in: Array) -> Float[Array, "B L N T S"]:
        xs, mods, mask = self.embed(self.packed(memory, target_in)), self.bias.mods(), None
        mask, kept = self._mask(memory.lengths), []
        for block in self.blocks:
            xs, looked, _ = block.maps(xs, mask=mask, mods=mods)
            kept.append(looked)
        return jnp.stack(kept, axis=1)

    def _prefilled(self, carry: Caches, tokens: Array, count: Array | None) -> tuple[Caches, Array]:
        xs, mods, mask = self.embed(tokens), self.bias.mods(), self._mask(count)
        caches = []
        for block, cache in zip(self.blocks, carry, strict=True):
            xs, cache = block.prefill(xs, cache, mask=mask, mods=mods, count=count)
            caches.append(cache)
        return tuple(caches), xs

    def _extended(self, carry: Caches, tokens: Array, count: Array | None) -> tuple[Caches, Array]:
        positions = carry[0].length[:, None] + jnp.arange(tokens.shape[1], dtype=jnp.int32)
        xs, mods, caches = self.embed(tokens, None, positions), self.bias.mods(), []
        for block, cache in zip(self.blocks, carry, strict=True):
            xs, cache = block.extend(xs, cache, mods=mods, count=count)
            caches.append(cache)
        return tuple(caches), xs
