"""The arithmetic of a fused kernel on one block of queries and keys of one head, whatever machine.

Sums over a block's queries or keys keep their axis, at size 1: matrices alone are what all machines
like best.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from attn.kernels.call import Call
from attn.typing import Array, Bool, Float, Int


@dataclass(frozen=True)
class Block:
    """Which pairs of a head a block has."""

    b: Array
    n: Array
    i: Int[Array, "Tq 1"]
    j: Int[Array, "1 Tk"]
    allowed: Bool[Array, "Tq Tk"] | None
    """The pairs that take part; None for all."""

    @property
    def where(self) -> tuple[Array, Array, Array, Array]:
        """What a piece's `tile` asks for."""
        return self.b, self.n, self.i, self.j


def masked(block: Block, head: Call, inside: Bool[Array, "Tq Tk"] | None) -> Block:
    """The block with its pairs that take part: by the mask and by what is inside the call."""
    parts = [] if inside is None else [inside]
    if head.mask is not None:
        parts.append(head.mask.tile(*block.where))
    shape = block.i.shape[0], block.j.shape[1]
    allowed = None
    for part in parts:
        part = jnp.broadcast_to(part, shape)
        allowed = part if allowed is None else allowed & part
    return Block(block.b, block.n, block.i, block.j, allowed)


def seen_rows(block: Block) -> Bool[Array, "Tq 1"] | None:
    """Which queries may look at a key of the block; None for all. The others may hold anything."""
    return None if block.allowed is None else _some(block.allowed, 1)


def seen_columns(block: Block) -> Bool[Array, "Tk 1"] | None:
    """Which keys a query of the block may look at; None for all. The others may hold anything."""
    return None if block.allowed is None else _some(block.allowed, 0).reshape(-1, 1)


def _some(allowed: Bool[Array, "Tq Tk"], axis: int) -> Bool[Array, "..."]:
    # Not every machine can fold booleans.
    return jnp.max(jnp.where(allowed, 1.0, 0.0), axis=axis, keepdims=True) > 0


def cleared(x: Float[Array, "L _"], seen: Bool[Array, "L 1"] | None) -> Float[Array, "L _"]:
    """`x` with zeros where nothing is seen."""
    return x if seen is None else jnp.where(seen, x, jnp.zeros((), x.dtype))


def cleared_rows(block: Block, x: Float[Array, "Tq _"]) -> Float[Array, "Tq _"]:
    """`x` of the queries with zeros where one may look at no key of the block."""
    return cleared(x, seen_rows(block))


def cleared_columns(block: Block, x: Float[Array, "Tk _"]) -> Float[Array, "Tk _"]:
    """`x` of the keys with zeros where no query of the block may look at one."""
    return cleared(x, seen_columns(block))


def modified(block: Block, head: Call, raw: Float[Array, "Tq Tk"]) -> Float[Array, "Tq Tk"]:
    """Scores after the mods, −inf where a pair takes no part."""
    s = raw
    for mod in head.mods:
        s = mod.tile(s, *block.where)
    return s if block.allowed is None else jnp.where(block.allowed, s, -jnp.inf)


def weighted(block: Block, head: Call, p: Float[Array, "Tq Tk"]) -> Float[Array, "Tq Tk"]:
    """Weights after the weighting."""
    return p if head.weighting is None else head.weighting.tile(p, *block.where)


@dataclass(frozen=True)
class Running:
    """The running softmax of a block of queries (Milakov 2018, alg. 3; Dao 2022, alg. 1)."""

    top: Float[Array, "Tq 1"]
    total: Float[Array, "Tq 1"]
    summed: Float[Array, "Tq E"]

    @classmethod
    def start(cls, rows: int, width: int) -> "Running":
        """Before the first block of keys."""
        zero = jnp.zeros((rows, 1), jnp.float32)
        return cls(zero - jnp.inf, zero, jnp.zeros((rows, width), jnp.float32))

    def add(
        self, block: Block, head: Call, raw: Float[Array, "Tq Tk"], value: Float[Array, "Tk E"]
    ) -> "Running":
        """After one more block, given its scores before the mods."""
        s = modified(block, head, raw)
        top = jnp.maximum(self.top, jnp.max(s, axis=1, keepdims=True))
        level = finite(top)
        e = jnp.exp(s - level)
        scale = jnp.exp(self.top - level)
        more = times(weighted(block, head, e), value)
        total = self.total * scale + jnp.sum(e, axis=1, keepdims=True)
        return Running(top, total, self.summed * scale + more)

    def finish(self) -> tuple[Float[Array, "Tq E"], Float[Array, "Tq 1"], Float[Array, "Tq 1"]]:
        """Output, log-sum-exp and what rounding took from that: 0, −inf, 0 where none was seen."""
        seen = self.total > 0
        total = jnp.where(seen, self.total, 1.0)
        lse, low = log_sum(self.top, total)
        return self.summed / total, jnp.where(seen, lse, -jnp.inf), low


jax.tree_util.register_dataclass(Running)


def log_sum(
    top: Float[Array, "..."], total: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """top + log(total), and what its rounding took away (Knuth's sum of two numbers)."""
    level, more = finite(top), jnp.log(total)
    lse = level + more
    taken = lse - level
    return lse, (level - (lse - taken)) + (more - taken)


def times(p: Float[Array, "M K"], x: Float[Array, "K E"]) -> Float[Array, "M E"]:
    """p · x, the weights in the dtype of what they weigh, summed in float32 or better."""
    return _product(p.astype(x.dtype), x, 1, 0)


def transposed_times(p: Float[Array, "K M"], x: Float[Array, "K E"]) -> Float[Array, "M E"]:
    """pᵀ · x, as `times`."""
    return _product(p.astype(x.dtype), x, 0, 0)


def against(x: Float[Array, "M E"], y: Float[Array, "K E"]) -> Float[Array, "M K"]:
    """x · yᵀ, summed in float32 or better."""
    return _product(x, y, 1, 1)


def _product(x: Array, y: Array, of_x: int, of_y: int) -> Array:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return lax.dot_general(x, y, (((of_x,), (of_y,)), ((), ())), preferred_element_type=wide)


def finite(level: Float[Array, "..."]) -> Float[Array, "..."]:
    """0 in place of −inf: what a row of −inf can be measured from."""
    return jnp.where(level == -jnp.inf, 0.0, level)


@dataclass(frozen=True)
class Pulled:
    """What a block does to the gradients."""

    weights: Float[Array, "Tq Tk"]
    """The weights that met the values."""
    raw: Float[Array, "Tq Tk"]
    """Gradient of the scores before the mods."""
    pieces: list[Array]
    """Gradients of the arrays of mods and weighting that were asked for."""


def pull(
    block: Block,
    head: Callable[[list[Array]], Call],
    chosen: list[Array],
    raw: Float[Array, "Tq Tk"],
    of_weights: Float[Array, "Tq Tk"],
    lse: Float[Array, "Tq 1"],
    delta: Float[Array, "Tq 1"],
) -> Pulled:
    """The backward pass of a block from its scores to its weights (Dao 2022, appendix B.4).

    It is linear in `of_weights` and `delta`. The weights are exp(s − lse): if a row's log-sum-exp
    was rounded by `low`, both should come multiplied by exp(−low).

    Args:
        block: its pairs.
        head: the call cut to the block, given the arrays in `chosen`.
        chosen: arrays of mods and weighting whose gradients are asked for, cut to the block.
        raw: scores before the mods.
        of_weights: gradient of the weights that met the values, d_output · valueᵀ.
        lse: log-sum-exp of the whole rows.
        delta: d_output · output − d_lse, of the whole rows.
    """
    if block.allowed is not None:  # what comes of padding may be anything
        raw = jnp.where(block.allowed, raw, 0.0)
        of_weights = jnp.where(block.allowed, of_weights, 0.0)
    s, pull_mods = jax.vjp(lambda raw, chosen: modified(block, head(chosen), raw), raw, chosen)
    p = jnp.exp(s - finite(lse))
    w, pull_weights = jax.vjp(lambda p, chosen: weighted(block, head(chosen), p), p, chosen)
    of_p, of_chosen = pull_weights(of_weights)
    of_raw, more = pull_mods(p * (of_p - delta))
    return Pulled(w, of_raw, [x + y for x, y in zip(of_chosen, more, strict=True)])
