"""Attention over parts of the keys, put together."""

import jax.numpy as jnp

from attn.kernels.tiles import finite, log_sum
from attn.typing import Array, Float


def merge(
    outputs: Float[Array, "parts *rows E"], lses: Float[Array, "parts *rows"]
) -> tuple[Float[Array, "*rows E"], Float[Array, "*rows"]]:
    """Output and log-sum-exp over all keys, of those over disjoint parts of them.

    Exact, and differentiable to any order: with L = log Σ exp(lse), output = Σ exp(lse − L) ·
    output. Parts that a query saw nothing of (−inf) count for nothing; sums are in float32 or
    better.

    Args:
        outputs: the parts' outputs.
        lses: the parts' log-sum-exps.

    Returns:
        The output, in the dtype of `outputs`, and the log-sum-exp.
    """
    output, lse, _ = merged(outputs, lses, jnp.zeros_like(lses))
    return output, lse


def merged(
    outputs: Float[Array, "parts *rows E"],
    lses: Float[Array, "parts *rows"],
    lows: Float[Array, "parts *rows"],
) -> tuple[Float[Array, "*rows E"], Float[Array, "*rows"], Float[Array, "*rows"]]:
    """`merge`, given and giving also what rounding took from the log-sum-exps."""
    wide = jnp.promote_types(lses.dtype, jnp.float32)
    lses = lses.astype(wide)
    top = finite(jnp.max(lses, axis=0))
    shares = jnp.exp((lses - top) + lows)
    total = jnp.sum(shares, axis=0)
    seen = total > 0
    total = jnp.where(seen, total, 1.0)
    output = jnp.sum((shares / total)[..., None] * outputs.astype(wide), axis=0)
    lse, low = log_sum(top, total)
    return output.astype(outputs.dtype), jnp.where(seen, lse, -jnp.inf), low
