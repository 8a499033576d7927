"""A call as one step of a grid sees it: a batch, a head, a block of queries and one of keys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jax import lax

from attn.kernels.call import Call
from attn.kernels.fused import Slot
from attn.kernels.pallas_tpu.layout import Layout, Place, as_declared, column, owner, role
from attn.kernels.tiles import Block, masked
from attn.typing import Array


@dataclass(frozen=True)
class Reader:
    """References to the blocks of all arrays, and where they are."""

    layout: Layout
    refs: Sequence[Any]
    at: Place

    @cached_property
    def values(self) -> tuple[Any, ...]:
        """Of the arrays of all pieces; None for the operands and what runs along the width."""
        return tuple(self._value(k) for k in range(len(self.refs)))

    def head(self, chosen: Iterable[int] = (), arrays: Iterable[Any] = ()) -> Call:
        """The pieces as they see this block, with other arrays in the slots `chosen`."""
        values = list(self.values)
        for k, array in zip(chosen, arrays, strict=True):
            values[k] = array
        slots = self.layout.plan.slots
        return self.layout.plan.fill(
            [_typed(x, slot) for x, slot in zip(values, slots, strict=True)]
        )

    def block(self, partial: bool) -> Block:
        """Where this block's pairs are, and if the block is `partial`, which take part."""
        row, column = self.rows, self.columns
        head = self.head()
        i, j = head.places.of(row, column)
        # Of one query or key the position has been read as a number.
        i, j = jnp.broadcast_to(i, row.shape), jnp.broadcast_to(j, column.shape)
        block = Block(self.at.b, self.at.n, i, j, None)
        if not partial:
            return block
        sizes = self.layout.plan.sizes
        inside = [
            index < sizes[axis]
            for index, axis, size in (
                (row, "query", self.layout.query),
                (column, "key", self.layout.key),
            )
            if sizes[axis] % size
        ]
        return masked(block, head, inside[0] & inside[-1] if inside else None)

    def query(self, block: Block) -> Array:
        """The query, 0 where it may hold anything."""
        return self.cleared_rows(block, self.refs[0][...])

    def key(self, block: Block) -> Array:
        """The key, 0 where it may hold anything."""
        return self._cleared_columns(block, self.refs[1][...])

    def value(self, block: Block) -> Array:
        """The value, 0 where it may hold anything."""
        return self._cleared_columns(block, self.refs[2][...])

    def cleared_rows(self, block: Block, x: Array) -> Array:
        """`x` of the queries, 0 where it may hold anything."""
        return _cleared(x, block, 1) if self.layout.unseen[0] else x

    def _cleared_columns(self, block: Block, x: Array) -> Array:
        return _cleared(x, block, 0) if self.layout.unseen[1] else x

    @property
    def rows(self) -> Array:
        """Indices of the queries, [Tq, 1]."""
        size = self.layout.query
        return self.at.query * size + lax.broadcasted_iota(jnp.int32, (size, 1), 0)

    @property
    def columns(self) -> Array:
        """Indices of the keys, [1, Tk]."""
        size = self.layout.key
        return self.at.key * size + lax.broadcasted_iota(jnp.int32, (1, size), 1)

    def number(self, k: int, d: Any | None = None) -> Array:
        """A number from scalar memory, the `d`-th of the width if its array runs along that."""
        slot = self.layout.plan.slots[k]
        b, n = owner(slot, self.at, self.layout.plan.group)
        place = b * (slot.size("head") * slot.size("key_head")) + n
        if d is not None:
            place = place * slot.size("query_width") + d
        x = self.refs[k][place]
        return as_declared(x, slot.dtype)

    def _value(self, k: int) -> Any:
        if k < 3:
            return None
        slot = self.layout.plan.slots[k]
        what = role(slot)
        if what == "feature":
            return None if self.layout.by_feature else self.refs[k][...].reshape(-1)
        if what == "number":
            return self.number(k)
        x = self.refs[k][...]
        x = as_declared(column(x) if what == "row" else x, slot.dtype)
        return self._inside(x) if what == "pair" else x

    def _inside(self, x: Array) -> Array:
        """What belongs to the array: a block may reach beyond its end, where anything is."""
        sizes, here = self.layout.plan.sizes, None
        for index, axis, size in (
            (self.rows, "query", self.layout.query),
            (self.columns, "key", self.layout.key),
        ):
            if sizes[axis] % size:
                within = jnp.broadcast_to(index < sizes[axis], x.shape)
                here = within if here is None else here & within
        if here is None:
            return x
        if x.dtype == jnp.bool_:
            return x & here
        wide = (
            jnp.promote_types(x.dtype, jnp.float32)
            if jnp.issubdtype(x.dtype, jnp.floating)
            else x.dtype
        )
        return jnp.where(here, x.astype(wide), jnp.zeros((), wide))


def _cleared(x: Array, block: Block, over: int) -> Array:
    """`x` with zeros where no pair of the block takes part, over one of its axes."""
    if block.allowed is None:
        return x
    # As numbers: the machine cannot turn a row of booleans into a column.
    seen = jnp.max(jnp.where(block.allowed, 1.0, 0.0), axis=over, keepdims=True)
    return jnp.where(column(seen) > 0, x, jnp.zeros((), x.dtype))


def _typed(x: Any, slot: Slot) -> Any:
    """A number in its array's dtype: some pieces have been traced for that very one."""
    number = x is not None and role(slot) == "number"
    return x.astype(slot.dtype) if number and jnp.issubdtype(slot.dtype, jnp.floating) else x
