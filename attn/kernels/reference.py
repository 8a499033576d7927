"""The definition of the op, in plain `jnp`: one head, lifted over batch and heads by `vmap`.

Works everywhere and differentiates to any order, forward and backward. Takes memory for T x S
weights of every head.
"""

import dataclasses

import jax
import jax.numpy as jnp

from attn.kernels.call import Call
from attn.masks import cleared, seen
from attn.pieces import Index, lift
from attn.typing import Array, Float


def supports(call: Call) -> None:
    """Every call."""
    return None


def forward(call: Call) -> tuple[Float[Array, "B T N E"], Float[Array, "B T N"]]:
    """The output, in the query's dtype, and the log-sum-exp of each query's scores."""
    with call.products():
        output, lse = lift(_attend, (_prepared(call),), call.sizes, out_axis=1)
    return output.astype(call.query.dtype), lse


def weights(call: Call) -> Float[Array, "B N T S"]:
    """What the values would be summed with, in float32 or better; needs no value."""
    with call.products():
        p, _ = lift(_weigh, (_prepared(call),), call.sizes, out_axis=0)
    return p


def _attend(b: Index, n: Index, head: Call) -> tuple[Float[Array, "T E"], Float[Array, "T"]]:
    p, lse = _weigh(b, n, head)
    return p @ head.value, lse


def _weigh(b: Index, n: Index, head: Call) -> tuple[Float[Array, "T S"], Float[Array, "T"]]:
    row, column = (jnp.arange(x.shape[0]) for x in (head.query, head.key))
    i, j = head.places.of(row[:, None], column[None, :])
    s = head.score.tile(head.query, head.key, b, n, i, j).astype(head.query.dtype)
    for mod in head.mods:
        s = mod.tile(s, b, n, i, j)
    if head.mask is not None:
        s = jnp.where(head.mask.tile(b, n, i, j), s, -jnp.inf)
    p, lse = _softmax(s)
    return p if head.weighting is None else head.weighting.tile(p, b, n, i, j), lse


def _softmax(s: Float[Array, "T S"]) -> tuple[Float[Array, "T S"], Float[Array, "T"]]:
    """Softmax along keys and log-sum-exp; 0 and −inf where no score is above −inf."""
    top = jax.lax.stop_gradient(jnp.max(s, axis=1, keepdims=True, initial=-jnp.inf))
    top = jnp.where(top == -jnp.inf, 0.0, top)
    e = jnp.exp(s - top)
    total = jnp.sum(e, axis=1, keepdims=True)
    empty = total == 0.0
    total = jnp.where(empty, 1.0, total)
    lse = jnp.where(empty, -jnp.inf, top + jnp.log(total))
    return e / total, lse[:, 0]


def _prepared(call: Call) -> Call:
    """Operands in the dtype of the sums; zeros for queries that see nothing and keys unseen."""
    operands = {"query": call.query, "key": call.key, "value": call.value}
    operands = {name: x.astype(call.sums) for name, x in operands.items() if x is not None}
    if call.mask is not None:
        queries, keys = seen(call.mask, call.sizes, call.places)
        operands = {
            name: cleared(x, queries if name == "query" else keys) for name, x in operands.items()
        }
    return dataclasses.replace(call, **operands)
