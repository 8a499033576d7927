"""Embedded tokens on their way into a recurrent network."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from attn.nn.noise import Noise, drop
from attn.typing import Array, ArrayLike, Float


@dataclass(frozen=True)
class Words:
    """Tokens that several linear layers read, each through one embedding."""

    embed: nnx.Embed
    tokens: ArrayLike
    """[T, B], or any shape where there is no noise."""
    noise: Noise | None = None
    dropout: float = 0.0
    """On the embeddings."""

    def through(self, linear: nnx.Linear) -> Float[Array, "... outputs"]:
        """linear(embed(tokens)), in whichever order takes fewer multiplications.

        With few words and many tokens, as in spelling, it pays to project each word once and to
        pick rows of the result. They are picked by a product with one-hot rows, for its gradient is
        a product too, where a gather's would be a scatter.
        """
        words, width = self.embed.embedding.shape
        drops = self.noise is not None and self.dropout > 0
        tokens = self.tokens.size
        if drops or words * (width + tokens) >= tokens * width:
            return linear(drop(self.embed(self.tokens), self.dropout, self.noise, 0))
        table = linear(self.embed(jnp.arange(words)))
        return jax.nn.one_hot(self.tokens, words, dtype=table.dtype) @ table
