"""The op in blocks of queries and keys, in plain XLA: on every machine, in memory O(T·D + S·D).

Forward, each block of queries passes over the blocks of keys with a running softmax; blocks that
the mask leaves empty are skipped. Of the derivative only the way forward is written: with the
log-sum-exp known, the tangents of the results are sums over blocks, linear in the tangents of what
a block reads. JAX transposes these sums into the backward pass, and a checkpoint has each block's
weights computed again instead of kept. So forward mode, reverse mode and any nesting of the two
work, and gradients reach every array of every piece.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from attn.blocks import as_varied, each_block
from attn.kernels import reference
from attn.kernels.call import Call
from attn.kernels.partition import Blocks
from attn.kernels.tiles import finite
from attn.pieces import Index, Piece, leaf, lift, piece
from attn.typing import Array, ArrayLike, Bool, Float

Found = tuple[Array, ...]
"""What the blocks of keys seen so far come to, for each query of a block: [B, N, Tq] and, last,
[B, N, Tq, E]."""

_recomputed = partial(jax.checkpoint, prevent_cse=False)
"""Not kept for the backward pass. Inside a loop nothing else could find it again."""


def supports(call: Call) -> None:
    """Every call."""
    return None


def forward(call: Call) -> tuple[Float[Array, "B T N E"], Float[Array, "B T N"]]:
    """The output, in the query's dtype, and the log-sum-exp of each query's scores."""
    blocks = Blocks.of(call)
    if blocks.hold(call.sizes) or call.empty:
        return reference.forward(call)
    # Sums over blocks, of gradients too, are no narrower than these.
    wide = jax.tree.map(partial(_widened, call.sums), call)
    wide = as_varied(wide, jax.tree.leaves(wide))
    output, lse = _attend(blocks, wide)
    return output.astype(call.query.dtype), lse


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _attend(blocks: Blocks, call: Call) -> tuple[Array, Array]:
    """Output and log-sum-exp of a call whose arrays are all in the dtype of the sums."""

    def zero(rows: tuple[int, ...]) -> Found:
        none = jnp.zeros(rows, call.sums)
        return none - jnp.inf, none, jnp.zeros((*rows, call.value.shape[-1]), call.sums)

    def finish(found: Found) -> Found:
        top, total, summed = found
        seen = total > 0
        total = jnp.where(seen, total, 1.0)
        return summed / total[..., None], jnp.where(seen, top + jnp.log(total), -jnp.inf)

    output, lse = _swept(blocks, (call,), zero, _partial, _merged, finish)
    return output, lse


def _partial(at: "Place", head: Call) -> Found:
    """Of one block: the largest score, Σ exp(s − largest) and Σ weighting(exp(s − largest)) v."""
    allowed = at.allowed(head)
    s = _scores(at, allowed, head)
    top = jnp.max(s, axis=1)
    e = jnp.exp(s - finite(top)[:, None])
    return top, jnp.sum(e, axis=1), _summed(at, allowed, e, head)


def _merged(found: Found, more: Found) -> Found:
    """Two such sums over different keys as one."""
    top = jnp.maximum(found[0], more[0])
    scales = [jnp.exp(each[0] - finite(top)) for each in (found, more)]
    total = found[1] * scales[0] + more[1] * scales[1]
    return top, total, found[2] * scales[0][..., None] + more[2] * scales[1][..., None]


@partial(_attend.defjvp, symbolic_zeros=True)
def _attend_jvp(blocks: Blocks, primals: Any, tangents: Any) -> Any:
    """With L = Σ_j p_ij ds_ij and A = Σ_j d(weighting(p_ij) v_j) at fixed log-sum-exp, the
    log-sum-exp moves by L and the output by A − L o."""
    (call,), (moves,) = primals, tangents
    moves = jax.tree.map(lambda move: None if isinstance(move, SymbolicZero) else move, moves)
    output, lse = _attend(blocks, call)

    def zero(rows: tuple[int, ...]) -> Found:
        return jnp.zeros(rows, call.sums), jnp.zeros((*rows, output.shape[-1]), call.sums)

    def add(found: Found, more: Found) -> Found:
        return found[0] + more[0], found[1] + more[1]

    operands = (call, moves, _Known(lse))
    of_lse, of_sum = _swept(
        blocks, operands, zero, _partial_tangent, add, lambda found: found, wrap=_recomputed
    )
    return (output, lse), (of_sum - of_lse[..., None] * output, of_lse)


@piece
class _Known(Piece):
    lse: ArrayLike = leaf("batch rows head")


def _partial_tangent(at: "Place", head: Call, moves: Call, known: _Known) -> Found:
    """Of one block: Σ p ds, and Σ d(weighting(p) v) with p moving by p ds."""
    allowed = at.allowed(head)
    s, ds = _along(lambda head: _scores(at, allowed, head), head, moves)
    p = jnp.exp(s - finite(known.lse)[:, None])
    dp = p * ds
    _, moved = _along(lambda both: _summed(at, allowed, *both), (p, head), (dp, moves))
    return jnp.sum(dp, axis=1), moved


def _along(function: Callable[[Any], Array], at: Any, moves: Any) -> tuple[Array, Array]:
    """`jax.jvp` where None in `moves` is an array that stays."""
    arrays, structure = jax.tree.flatten(at)
    steps = structure.flatten_up_to(moves)  # type: ignore[attr-defined]
    moving = [k for k, step in enumerate(steps) if step is not None]

    def of_moving(values: list[Array]) -> Array:
        changed = dict(zip(moving, values, strict=True))
        every = [changed.get(k, array) for k, array in enumerate(arrays)]
        return function(jax.tree.unflatten(structure, every))

    return jax.jvp(of_moving, ([arrays[k] for k in moving],), ([steps[k] for k in moving],))


def _scores(at: "Place", allowed: Bool[Array, "Tq Tk"] | None, head: Call) -> Array:
    """Scores of a block of one head, −inf where a pair takes no part."""
    query, key = head.query, head.key
    if allowed is not None:
        query = jnp.where(allowed.any(axis=1)[:, None], query, 0)
        key = jnp.where(allowed.any(axis=0)[:, None], key, 0)
    s = head.score.tile(query, key, *at.indices).astype(query.dtype)
    for mod in head.mods:
        s = mod.tile(s, *at.indices)
    return s if allowed is None else jnp.where(allowed, s, -jnp.inf)


def _summed(at: "Place", allowed: Bool[Array, "Tq Tk"] | None, p: Array, head: Call) -> Array:
    """Σ_j weighting(p_ij) v_j of a block of one head."""
    value = head.value
    if allowed is not None:
        value = jnp.where(allowed.any(axis=0)[:, None], value, 0)
    weights = p if head.weighting is None else head.weighting.tile(p, *at.indices)
    return weights @ value


class Place:
    """Where in a call a block of one head stands."""

    def __init__(self, b: Index, n: Index, i: Array, j: Array, bounds: list[Array]):
        self.indices = (b, n, i, j)
        self._bounds = bounds

    def allowed(self, head: Call) -> Bool[Array, "Tq Tk"] | None:
        """The pairs that take part; None for all."""
        parts = list(self._bounds)
        if head.mask is not None:
            parts.append(head.mask.tile(*self.indices))
        if not parts:
            return None
        shape = head.query.shape[0], head.key.shape[0]
        return jnp.broadcast_to(jnp.stack(jnp.broadcast_arrays(*parts)).all(axis=0), shape)


def _swept(
    blocks: Blocks,
    operands: tuple[Any, ...],
    zero: Callable[[tuple[int, ...]], Found],
    head: Callable[..., Found],
    add: Callable[[Found, Found], Found],
    finish: Callable[[Found], Found],
    wrap: Callable[[Callable], Callable] = lambda function: function,
) -> tuple[Array, ...]:
    """Adds up, for every query, what a function of one head finds in each block of keys.

    Args:
        blocks: their sizes.
        operands: a call, and pieces that are cut as it is.
        zero: what is found in no block, given the shape [B, N, Tq].
        head: `head(place, *operands)` on a block of one head.
        add: joins what two blocks came to.
        finish: what all of a query's blocks come to.
        wrap: put around all that should not be kept for the backward pass.

    Returns:
        What `finish` returned, its axes [B, T, N, ...].
    """
    sizes, products = operands[0].sizes, operands[0].products
    rows = blocks.batch, sizes["head"], blocks.query

    def lifted(function: Callable, starts: tuple[Array, ...], operands: tuple[Any, ...]) -> Any:
        def placed(b: Index, n: Index, head: Call, *others: Any) -> Any:
            row = starts[1] + jnp.arange(blocks.query)[:, None]
            column = starts[2] + jnp.arange(blocks.key)[None, :]
            ends = (row, "query", blocks.query), (column, "key", blocks.key)
            bounds = [at < sizes[axis] for at, axis, block in ends if sizes[axis] % block]
            i, j = head.places.of(row, column)
            return function(Place(b + starts[0], n, i, j, bounds), head, *others)

        return lift(placed, operands, operands[0].sizes, out_axis=0)

    def keys(starts: tuple[Array, Array], j: Array, operands: Any, found: Found) -> Any:
        def more(found: Found) -> Found:
            with products():
                part = wrap(partial(lifted, head, (*starts, j)))(operands)
            return add(found, part)

        if operands[0].mask is None:
            return more(found), None
        some = lifted(lambda at, head: at.allowed(head).any(), (*starts, j), operands[:1]).any()
        return lax.cond(some, more, lambda found: found, found), None

    def queries(b: Array, i: Array, operands: Any, _: None) -> Any:
        @wrap
        def row(operands: Any) -> Any:
            step = partial(keys, (b, i))
            return each_block("key", sizes["key"], blocks.key, operands, step, zero(rows))[0]

        return None, finish(row(operands))

    def batch(b: Array, operands: Any, _: None) -> Any:
        _, found = each_block("query", sizes["query"], blocks.query, operands, partial(queries, b))
        # [blocks, B, N, Tq, ...] to [B, T, N, ...]
        return None, jax.tree.map(
            lambda x: (
                jnp.moveaxis(x, 0, 2)
                .reshape(*x.shape[1:3], -1, *x.shape[4:])
                .swapaxes(1, 2)[:, : sizes["query"]]
            ),
            found,
        )

    _, found = each_block("batch", sizes["batch"], blocks.batch, operands, batch)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: sizes["batch"]], found)


def _widened(dtype: Any, x: Any) -> Any:
    narrow = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(dtype) if narrow else x
