"""The encoder–decoder Transformer (Vaswani et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
from flax import nnx

from attn.masks import Lengths
from attn.models.protocol import State
from attn.models.seq2seq import DECODER, ENCODER
from attn.models.source import source_lengths
from attn.nn.noise import Noise
from attn.nn.transformer import Cache, DecoderLayer, EncoderLayer
from attn.positions import sinusoidal
from attn.typing import Array, Float, Int


@dataclass(frozen=True)
class TransformerConfig:
    """Self-attention on both sides, attention to the source in every decoder layer."""

    name: ClassVar[str] = "transformer"

    width: int = 128
    layers: int = 2
    """Of the encoder, and of the decoder."""
    heads: int = 4
    feed_forward: int = 4
    """Units of the feed-forward layers, as a multiple of `width`."""
    norm: Literal["pre", "post"] = "pre"
    """Normalise what a sub-layer reads, or its sum with what it read (the paper's)."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_length: int = 512
    """Longest sequence that learned positions know."""
    tied: Literal["none", "target", "all"] = "target"
    """Which share one matrix: the target's embedding and the output's, and the source's too (one
    vocabulary), as in section 3.4."""
    dropout: float = 0.1
    """On every sub-layer's output and on the sums of embeddings and positions (section 5.4)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(
        self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ) -> "Transformer":
        """The model, freshly initialised.

        Raises:
            ValueError: everything is to be tied, but the vocabularies differ in size.
        """
        return Transformer(self, source_vocabulary, target_vocabulary, rngs)


class Embedding(nnx.Module):
    """Sections 3.4 and 3.5: vectors times the root of the width, plus positions, dropped out."""

    def __init__(self, config: TransformerConfig, vocabulary: int, rngs: nnx.Rngs):
        self.width, self.dropout = config.width, config.dropout
        self.dtype, self.max_length = jnp.dtype(config.dtype), config.max_length
        self.learned = config.positions == "learned"
        init = nnx.initializers.normal(config.width**-0.5)
        self.table = nnx.Param(init(rngs.params(), (vocabulary, self.width), jnp.float32))
        if self.learned:
            shape = (config.max_length, self.width)
            self.positions = nnx.Param(init(rngs.params(), shape, jnp.float32))

    def __call__(self, tokens: Int[Array, "B T"], noise: Noise | None) -> Float[Array, "B T H"]:
        """Embeds sequences that begin at position 0."""
        xs = self._sum(tokens, self.encodings(tokens.shape[1]))
        return xs if noise is None else noise.drop(xs, self.dropout)

    def at(
        self, token: Int[Array, "B"], position: Int[Array, "B"], longest: int
    ) -> Float[Array, "B 1 H"]:
        """Embeds one token of each row, at a position below `longest`."""
        encodings = jnp.take(self.encodings(longest), position, axis=0)
        return self._sum(token, encodings)[:, None]

    def encodings(self, length: int) -> Float[Array, "T H"]:
        """Of positions 0 to length - 1.

        Raises:
            ValueError: learned positions end before.
        """
        if not self.learned:
            return sinusoidal(length, self.width)
        if length > self.max_length:
            raise ValueError(
                f"a sequence of {length} tokens is longer than the {self.max_length} positions "
                "that were learned (max_length)"
            )
        return self.positions[:length]

    def logits(self, xs: Float[Array, "*B H"]) -> Float[Array, "*B V"]:
        """The product with every vector: an output layer tied to the embedding."""
        table = self.table[...].astype(self.dtype)
        return (xs @ table.T).astype(jnp.float32)

    def _sum(self, tokens: Array, encodings: Array) -> Array:
        vectors = jnp.take(self.table[...], tokens, axis=0) * self.width**0.5
        return (vectors + encodings).astype(self.dtype)


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
        self.tied, self.heads = config.tied, config.heads
        if config.tied == "all" and source_vocabulary != target_vocabulary:
            raise ValueError(
                'tied: "all" needs one vocabulary for source and target, got sizes '
                f"{source_vocabulary} and {target_vocabulary}"
            )
        hidden, dtype = config.feed_forward * config.width, jnp.dtype(config.dtype)
        sizes = (config.width, config.heads, hidden, config.norm, config.dropout)
        self.target_embed = Embedding(config, target_vocabulary, rngs)
        if config.tied != "all":
            self.source_embed = Embedding(config, source_vocabulary, rngs)
        if config.tied == "none":
            self.output = nnx.Linear(config.width, target_vocabulary, dtype=dtype, rngs=rngs)
        self.encoder = nnx.List(
            [EncoderLayer(*sizes, dtype=dtype, rngs=rngs) for _ in range(config.layers)]
        )
        self.decoder = nnx.List(
            [DecoderLayer(*sizes, dtype=dtype, rngs=rngs) for _ in range(config.layers)]
        )
        self.pre = config.norm == "pre"
        if self.pre:  # the sum that leaves a stack has not been normalised yet
            self.encoder_norm = nnx.LayerNorm(config.width, dtype=dtype, rngs=rngs)
            self.decoder_norm = nnx.LayerNorm(config.width, dtype=dtype, rngs=rngs)

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> tuple[Cache, ...]:
        """What each decoder layer looks at: keys and values of the encoder's output."""
        embed = self.target_embed if self.tied == "all" else self.source_embed
        noise, lengths = noise and noise.at(ENCODER), source_lengths(source)
        xs = embed(source, noise)
        for depth, layer in enumerate(self.encoder, start=1):
            xs = layer(xs, Lengths(key=lengths), noise and noise.at(depth))
        if self.pre:
            xs = self.encoder_norm(xs)
        return tuple(Cache(*layer.cross_attention.project(xs), lengths) for layer in self.decoder)

    def decode(
        self, memory: tuple[Cache, ...], target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise = noise and noise.at(DECODER)
        xs = self.target_embed(target_in, noise)
        for depth, (layer, source) in enumerate(zip(self.decoder, memory, strict=True), start=1):
            xs = layer(xs, source, noise and noise.at(depth))
        return self._read(xs)

    def weights(
        self, memory: tuple[Cache, ...], target_in: Int[Array, "B T"]
    ) -> Float[Array, "B L N T S"]:
        """Attention from each target position to the source, by layer and head."""
        xs, weights = self.target_embed(target_in, None), []
        for layer, source in zip(self.decoder, memory, strict=True):
            weights.append(layer.weights(xs, source))
            xs = layer(xs, source, None)
        return jnp.stack(weights, axis=1)

    def start(self, memory: tuple[Cache, ...], capacity: int) -> State:
        """Empty caches of the decoder's own keys and values, with room for `capacity` steps."""

        def empty(cache: Cache) -> Cache:
            rows, _, *head = cache.key.shape
            room = jnp.zeros((rows, capacity, *head), cache.key.dtype)
            return Cache(room, room, jnp.zeros(rows, jnp.int32))

        return State(memory, tuple(empty(cache) for cache in memory))

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One position through every layer, against the cached ones before it."""
        first = state.carry[0]
        xs, carry = self.target_embed.at(token, first.length, first.key.shape[1]), []
        for layer, source, seen in zip(self.decoder, state.memory, state.carry, strict=True):
            xs, seen = layer.step(xs, source, seen)
            carry.append(seen)
        return State(state.memory, tuple(carry)), self._read(xs)[:, 0]

    def _read(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T V"]:
        if self.pre:
            xs = self.decoder_norm(xs)
        if self.tied == "none":
            return self.output(xs).astype(jnp.float32)
        return self.target_embed.logits(xs)
