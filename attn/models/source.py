"""What the encoders ask of a padded source."""

import jax.numpy as jnp

from attn.models.protocol import PAD
from attn.typing import Array, Int


def source_lengths(source: Int[Array, "B S"]) -> Int[Array, "B"]:
    """Tokens of each row, `EOS` counted."""
    return (source != PAD).sum(-1, dtype=jnp.int32)


def reversal(source: Int[Array, "B S"]) -> Int[Array, "B S"]:
    """Where position j of a reversed source is read from: `EOS` and padding keep their places.

    The permutation is its own inverse, so it also brings attention weights back to source order.
    """
    position = jnp.arange(source.shape[1], dtype=jnp.int32)
    last = source_lengths(source)[:, None] - 2
    return jnp.where(position <= last, last - position, position)
