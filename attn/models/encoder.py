"""The encoder-only Transformer and its heads (BERT, Devlin et al. 2019)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.masks import Lengths
from attn.models.reader import Reader
from attn.models.source import source_lengths
from attn.nn.embedding import Embedding, PositionBias
from attn.nn.noise import Noise
from attn.nn.transformer import Block, LayerConfig
from attn.typing import Array, Bool, Float, Int


@dataclass(frozen=True)
class EncoderConfig(LayerConfig):
    """One stack that reads the source in both directions, and a head that answers about it."""

    name: ClassVar[str] = "encoder"

    head: Literal["class", "tokens", "span", "masked"] = "class"
    """What is asked: a class, a label for each token, a span (its two ends), or the token that was
    there before it was masked, through the embedding's own matrix."""
    pool: Literal["mean", "first"] = "mean"
    """What a class is read from: the mean of the states, or the first one through a layer of its
    own, as BERT has it for texts that begin with a token for that."""
    embedding_norm: bool = False
    """Normalise embeddings before the first layer (BERT)."""
    segments: int = 0
    """Kinds of segment that tokens can belong to (BERT: 2)."""

    def build(self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs) -> "Encoder":
        """The model, freshly initialised.

        Raises:
            ValueError: masked tokens are to be restored in another vocabulary than their own.
        """
        return Encoder(self, source_vocabulary, target_vocabulary, rngs)


class Encoder(Reader):
    """The model of `EncoderConfig`; answers `attn.models.protocol.Seq2Seq`."""

    def __init__(
        self, config: EncoderConfig, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ):
        if config.head == "masked" and source_vocabulary != target_vocabulary:
            raise ValueError(
                'head: "masked" needs one vocabulary for source and target, got sizes '
                f"{source_vocabulary} and {target_vocabulary}"
            )
        self.masked, self.pool = config.head == "masked", config.pool
        self.kind = "tokens" if config.head == "masked" else config.head
        self.words, self.dropout = target_vocabulary, config.dropout
        dtype = jnp.dtype(config.dtype)
        self.embed = Embedding(config, source_vocabulary, rngs=rngs)
        self.segments: Any = nnx.data(None)
        if config.segments:
            init = nnx.initializers.normal(0.02)
            shape = (config.segments, config.width)
            self.segments = nnx.Param(init(rngs.params(), shape, jnp.float32))
        self.bias = PositionBias(config, bidirectional=True, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.layers)])
        normed = config.embedding_norm
        self.embed_norm: Any = config.normalizer(rngs) if normed else nnx.data(None)
        self.norm: Any = config.normalizer(rngs) if config.norm == "pre" else nnx.data(None)

        def linear(outputs: int) -> nnx.Linear:
            return nnx.Linear(config.width, outputs, dtype=dtype, rngs=rngs)

        if self.kind == "class" and config.pool == "first":
            self.pooler = linear(config.width)
        if self.masked:
            self.transform, self.transform_norm = linear(config.width), config.normalizer(rngs)
            self.output_bias = nnx.Param(jnp.zeros(target_vocabulary))
        else:
            self.output = linear(2 if self.kind == "span" else target_vocabulary)

    def read(
        self,
        source: Int[Array, "B S"],
        noise: Noise | None = None,
        segments: Int[Array, "B S"] | None = None,
    ) -> Float[Array, "B S H"]:
        """The state of each source token.

        Args:
            source: token ids, padded.
            noise: of dropout.
            segments: which each token belongs to (None: the first).
        """
        xs, mods = self._embedded(source, noise and noise.at(0), segments), self.bias.mods()
        mask = Lengths(key=source_lengths(source))
        for depth, block in enumerate(self.blocks, start=1):
            xs = block(xs, mask=mask, mods=mods, noise=noise and noise.at(depth))
        return xs if self.norm is None else self.norm(xs)

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L N S S"]]:
        """The weights of every layer and head: "encoder", from the source to itself."""
        xs, mods, kept = self._embedded(source, None, None), self.bias.mods(), []
        for block in self.blocks:
            xs, looked, _ = block.maps(xs, mask=Lengths(key=source_lengths(source)), mods=mods)
            kept.append(looked)
        return {"encoder": jnp.stack(kept, axis=1)}

    def pooled(
        self, states: Float[Array, "B S H"], real: Bool[Array, "B S"]
    ) -> Float[Array, "B H"]:
        """One vector for a text."""
        if self.pool == "first":
            return jnp.tanh(self.pooler(states[:, 0]))
        count = jnp.maximum(real.sum(1, keepdims=True), 1)
        return jnp.where(real[..., None], states, 0).sum(1) / count.astype(states.dtype)

    def label(self, states: Float[Array, "*B H"]) -> Float[Array, "*B out"]:
        """Logits of the head."""
        if not self.masked:
            return self.output(states)
        hidden = jax.nn.gelu(self.transform(states), approximate=False)
        return self.embed.logits(self.transform_norm(hidden)) + self.output_bias[...]

    def _embedded(
        self, source: Array, noise: Noise | None, segments: Array | None
    ) -> Float[Array, "B S H"]:
        xs = self.embed(source)
        if self.segments is not None:
            kind = jnp.zeros_like(source) if segments is None else segments
            xs = xs + jnp.take(self.segments[...], kind, axis=0).astype(xs.dtype)
        elif segments is not None:
            raise ValueError(
                "segments: got some; expected None, for the model has no kinds of them"
            )
        if self.embed_norm is not None:
            xs = self.embed_norm(xs)
        return xs if noise is None else noise.drop(xs, self.dropout)
