"""Which blocks of a call have anything to compute, and which need no look at the mask."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attn.blocks import every_block
from attn.kernels.call import Call
from attn.masks import And, Mask, Or, Places, Range, by_place
from attn.pieces import Index, Sizes, lift, map_leaves
from attn.typing import Array, Int


class Visits(NamedTuple):
    """For each block along one axis, the blocks along the other: the full ones first.

    The batch or the heads have size 1 where all have the same.
    """

    order: Int[Array, "B N blocks others"]
    """After the blocks that have a pair comes the last of these again, or 0."""
    full: Int[Array, "B N blocks"]
    """How many are full: all their pairs take part, and no index is beyond the keys' end."""
    some: Int[Array, "B N blocks"]
    """How many have a pair that takes part."""

    @property
    def in_order(self) -> bool:
        """Whether it is known, when the call is traced, that the blocks come in their own order."""
        if isinstance(self.order, jax.core.Tracer):
            return False
        each = np.arange(self.order.shape[-1])
        beyond = each >= np.asarray(self.some)[..., None]
        return bool(np.all(beyond | (np.asarray(self.order) == each)))


Kinds = Int[Array, "B N nq nk"]
"""Of each block of queries and keys, 0 where it has no pair, 1 where some, 2 where it is full."""


def visits(call: Call, query_block: int, key_block: int) -> tuple[Visits, Visits, Kinds]:
    """For each block of queries its blocks of keys, the other way round, and the kinds of all.

    Where nothing but the shapes decides, the answer is known when the call is traced.
    """
    if jax.tree.leaves((call.mask, call.places)):
        kinds = _kinds(call, query_block, key_block)
        return _ranked(kinds), _ranked(kinds.swapaxes(2, 3)), kinds
    # Here, whatever machine the program is traced for.
    nowhere = jax.sharding.AbstractMesh((), ())
    with jax.ensure_compile_time_eval(), jax.sharding.use_abstract_mesh(nowhere):
        kinds = _kinds(call, query_block, key_block)
        return _ranked(kinds), _ranked(kinds.swapaxes(2, 3)), kinds


def _ranked(kinds: Int[Array, "B N blocks others"]) -> Visits:
    order = jnp.argsort(-kinds, axis=-1, stable=True).astype(jnp.int32)
    some = jnp.sum(kinds > 0, axis=-1, dtype=jnp.int32)
    last = jnp.take_along_axis(order, jnp.maximum(some - 1, 0)[..., None], axis=-1)
    here = jnp.arange(kinds.shape[-1]) < some[..., None]
    order = jnp.where(here, order, jnp.where(some[..., None] > 0, last, 0))
    return Visits(order, jnp.sum(kinds == 2, axis=-1, dtype=jnp.int32), some)


def _kinds(call: Call, query_block: int, key_block: int) -> Kinds:
    rows, columns = call.sizes["query"], call.sizes["key"]
    sizes = {**call.sizes, **_shared(call.mask, call.places), "query": query_block}
    starts = jnp.arange(-(-columns // key_block)) * key_block
    reach = jnp.minimum(starts[:, None] + jnp.arange(key_block), columns - 1)

    def block(start: Index, operands: tuple[Mask | None, Places]) -> Array:
        row = start + jnp.arange(query_block)

        def head(b: Index, n: Index, mask: Mask | None, places: Places) -> Array:
            i, j = places.of(row[:, None], jnp.arange(columns)[None, :])
            pairs = b, n, i, j, row < rows
            i, j = jnp.where(row < rows, i[:, 0], i[0, 0]), j[0, reach]
            ranges = (i.min(), i.max()), (j.min(axis=1), j.max(axis=1))
            some, every = _of_mask(mask, ranges, pairs, reach)
            every = every & (starts + key_block <= columns)
            return jnp.where(some, jnp.where(every, 2, 1), 0)

        return lift(head, operands, sizes, out_axis=0)

    kinds = every_block("query", rows, query_block, (call.mask, call.places), block)
    return jnp.moveaxis(kinds, 0, 2)


def _shared(mask: Mask | None, places: Places) -> Sizes:
    """A batch or heads of size 1 where no array of a mask runs along them."""
    along: set[str] = set()

    def look(name: str, array: Any, declared: Any) -> None:
        sized = zip(declared.axes, array.shape, strict=True)
        along.update(axis for axis, size in sized if size > 1)

    map_leaves(look, (mask, places))
    if by_place(mask):
        along |= {"batch", "head"}
    alone = {} if "batch" in along else {"batch": 1}
    return alone if "head" in along else {**alone, "head": 1, "key_head": 1}


def _of_mask(
    mask: Mask | None, ranges: tuple[Range, Range], pairs: Any, reach: Int[Array, "nk Tk"]
) -> tuple[Array, Array]:
    """Whether some and whether all pairs of each block take part."""
    if mask is None:
        everywhere = jnp.ones(reach.shape[0], bool)
        return everywhere, everywhere
    if isinstance(mask, And | Or):
        left, right = (_of_mask(half, ranges, pairs, reach) for half in (mask.left, mask.right))
        return mask.join(left[0], right[0]), mask.join(left[1], right[1])
    found = mask.blocks(*ranges)
    return _of_pairs(mask, pairs, reach) if found is None else found


def _of_pairs(mask: Mask, pairs: Any, reach: Int[Array, "nk Tk"]) -> tuple[Array, Array]:
    b, n, i, j, real = pairs
    columns = j.shape[1]
    allowed = jnp.broadcast_to(mask.tile(b, n, i, j) & real[:, None], (i.shape[0], columns))
    allowed = jnp.pad(allowed, ((0, 0), (0, reach.size - columns)))
    count = jnp.sum(allowed.reshape(-1, *reach.shape), axis=(0, 2), dtype=jnp.int32)
    return count > 0, count == jnp.sum(real) * reach.shape[1]
