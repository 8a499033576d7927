"""Tokens and positions on their way into a Transformer, and its logits on their way out."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attn.mods import ALiBi, RelativeBias, ScoreMod, alibi_slopes
from attn.nn.noise import Noise
from attn.nn.transformer import LayerConfig
from attn.positions import sinusoidal
from attn.typing import Array, Float, Int


class Embedding(nnx.Module):
    """Vaswani 2017, sections 3.4 and 3.5: vectors, positions added to them, dropped out."""

    def __init__(self, config: LayerConfig, vocabulary: int, *, rngs: nnx.Rngs):
        self.width, self.dropout = config.width, config.dropout
        self.dtype, self.max_length = jnp.dtype(config.dtype), config.max_length
        self.kind, self.scale = config.positions, config.width**0.5
        if not config.scale_embedding:
            self.scale = 1.0
        init = nnx.initializers.normal(config.width**-0.5 if config.scale_embedding else 0.02)
        self.table = nnx.Param(init(rngs.params(), (vocabulary, self.width), jnp.float32))
        if self.kind == "learned":
            shape = (config.max_length, self.width)
            self.positions = nnx.Param(init(rngs.params(), shape, jnp.float32))

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        noise: Noise | None = None,
        positions: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B T H"]:
        """Embeds tokens at `positions` (None: 0 … T−1).

        Raises:
            ValueError: learned positions end before. Given positions cannot raise: vectors beyond
                the end come as NaN.
        """
        xs = jnp.take(self.table[...], tokens, axis=0) * self.scale
        if self.kind in ("learned", "sinusoidal"):
            xs = xs + self._encodings(tokens.shape[1], positions)
        xs = xs.astype(self.dtype)
        return xs if noise is None else noise.drop(xs, self.dropout)

    def check_length(self, length: int) -> None:
        """Refuses more tokens than there are learned positions.

        Raises:
            ValueError: there are too few.
        """
        if self.kind == "learned" and length > self.max_length:
            raise ValueError(
                f"a sequence of {length} tokens is longer than the {self.max_length} positions "
                "that were learned (max_length)"
            )

    def logits(
        self, xs: Float[Array, "*B H"], vocabulary: int | None = None
    ) -> Float[Array, "*B V"]:
        """The product with every vector, or the first so many: an output layer tied to the table.

        Returns:
            float32.
        """
        table = self.table[:vocabulary].astype(self.dtype)
        return (xs @ table.T).astype(jnp.float32)

    def _encodings(self, length: int, positions: Array | None) -> Array:
        if self.kind == "learned":
            if positions is None:
                self.check_length(length)
                return self.positions[:length]
            return jnp.take(self.positions[...], positions, axis=0, mode="fill")
        if positions is None:
            return sinusoidal(length, self.width)
        each = jax.vmap(jax.vmap(lambda at: sinusoidal(1, self.width, offset=at)[0]))
        return each(positions)


class PositionBias(nnx.Module):
    """What positions do to the scores of a stack's layers: ALiBi's slopes, T5's table, or nothing.

    Args:
        config: of the stack.
        bidirectional: whether a query sees keys on both sides.
        buckets: rows of T5's table.
    """

    def __init__(
        self, config: LayerConfig, *, bidirectional: bool, buckets: int = 32, rngs: nnx.Rngs
    ):
        self.kind, self.heads, self.bidirectional = config.positions, config.heads, bidirectional
        self.table: Any = nnx.data(None)
        if self.kind == "t5":
            init = nnx.initializers.normal(config.width**-0.5)
            self.table = nnx.Param(init(rngs.params(), (buckets, config.heads), jnp.float32))

    def mods(self) -> tuple[ScoreMod, ...]:
        """For every layer's scores."""
        if self.kind == "alibi":
            return (ALiBi(alibi_slopes(self.heads)),)
        if self.kind == "t5":
            return (RelativeBias(self.table[...], bidirectional=self.bidirectional),)
        return ()
