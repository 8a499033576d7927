"""How a program gets at the arrays of a call: whole arrays in GPU memory, block by block."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from attn.kernels.call import Call
from attn.kernels.fused import Plan, Slot
from attn.kernels.tiles import Block, masked
from attn.typing import Array, Bool


def power(size: int, least: int = 1) -> int:
    """The smallest power of two from `size` and `least` on: Triton's arrays have such sizes."""
    return max(least, 1 << (size - 1).bit_length())


@dataclass(frozen=True)
class Span:
    """Consecutive indices of an axis, from a traced first one on."""

    start: Any
    size: int

    def indices(self) -> Array:
        """All of them, [size]."""
        return self.start + jnp.arange(self.size, dtype=jnp.int32)


@dataclass(frozen=True)
class Reader:
    """A call as one program sees it: a batch, a head, a block of queries and one of keys."""

    plan: Plan
    refs: Sequence[Any]
    b: Any
    n: Any
    rows: Span | None = None
    columns: Span | None = None
    values: tuple[Any, ...] = ()
    """What has been read of each slot."""

    @classmethod
    def at(cls, plan: Plan, refs: Sequence[Any], b: Any, n: Any) -> "Reader":
        """With nothing read."""
        return cls(plan, refs, b, n, values=(None,) * len(plan.slots))

    def over(self, rows: Span | None = None, columns: Span | None = None) -> "Reader":
        """At blocks of queries or keys, with the arrays of all pieces that can be read now.

        What runs along the width is left to the score.
        """
        moved = replace(self, rows=rows or self.rows, columns=columns or self.columns)
        values = list(moved.values)
        for k, slot in enumerate(self.plan.slots[3:], 3):
            needs = (moved.rows, "query"), (moved.columns, "key")
            ready = all(span or not slot.along(axis) for span, axis in needs)
            if values[k] is None and ready and not slot.along("query_width"):
                values[k] = moved.read(k)
        return replace(moved, values=tuple(values))

    def head(self, chosen: Iterable[int] = (), arrays: Iterable[Any] = ()) -> Call:
        """The pieces as they see this block, with other arrays in the slots `chosen`."""
        values = list(self.values)
        for k, array in zip(chosen, arrays, strict=True):
            values[k] = array
        return self.plan.fill(values)

    def block(self, partial: bool) -> Block:
        """Where this block's pairs are, and if the block is `partial`, which take part."""
        assert self.rows is not None
        assert self.columns is not None
        head = self.head()
        row, column = self.rows.indices()[:, None], self.columns.indices()[None, :]
        i, j = head.places.of(row, column)
        # Of one query or key the position has been read as a number.
        i, j = jnp.broadcast_to(i, row.shape), jnp.broadcast_to(j, column.shape)
        block = Block(self.b, self.n, i, j, None)
        if not partial:
            return block
        sizes = self.plan.sizes
        return masked(block, head, (row < sizes["query"]) & (column < sizes["key"]))

    def read(
        self, k: int, width: Span | Any | None = None, seen: Bool[Array, "L 1"] | None = None
    ) -> Array:
        """An array's part that belongs here.

        Operands come as [Tq or Tk, width]; arrays of pieces as a number, or [Tq or 1, Tk or 1],
        or, along the width, as that. `width` is a part of it, or one index, which comes without
        its axis. Of an operand that nobody sees, 0 is read, whatever it holds.
        """
        slot = self.plan.slots[k]
        index, inside = self._index(slot, width)
        x = load(self.refs[k], index, inside, only=seen)
        if "rows" in slot.axes or "columns" in slot.axes or slot.along("query_width"):
            return x
        return x.reshape(self.shape(k))

    def shape(self, k: int) -> tuple[int, ...]:
        """Of an array of a piece that does not run along the width, as `read` gives it."""
        slot = self.plan.slots[k]
        along = slot.along("query"), slot.along("key")
        if not any(along):
            return ()
        pairs = zip(self._spans(), along, strict=True)
        return tuple(span.size if on else 1 for span, on in pairs)

    def _spans(self) -> tuple[Span, Span]:
        return self.rows or Span(0, 1), self.columns or Span(0, 1)

    def _index(self, slot: Slot, width: Any) -> tuple[tuple[Any, ...], list[tuple[Span, int]]]:
        """What to index an array by, and of each span the indices and their bound."""
        group = self.plan.group
        heads = {"batch": self.b, "head": self.n, "key_head": self.n // group}
        index: list[Any] = []
        inside: list[tuple[Span, int]] = []
        for axis, size in zip(slot.axes, slot.shape, strict=True):
            if axis in heads:
                index.append(heads[axis] if size > 1 else 0)
                continue
            operand = axis in ("rows", "columns")
            span: Any
            if axis == "query_width" and size == 1:
                span = 0
            elif axis in ("rows", "query"):
                span = self.rows if operand or size > 1 else 0
            elif axis in ("columns", "key"):
                span = self.columns if operand or size > 1 else 0
            else:
                span = Span(0, power(size, 16)) if width is None else width
            if isinstance(span, Span):
                index.append(pl.ds(span.start, span.size))
                inside.append((span, size))
            else:
                index.append(span)
        return tuple(index), inside


@dataclass(frozen=True)
class Goal:
    """Where a program writes a gradient that is its own: a part of an array."""

    ref: Any
    index: tuple[Any, ...]
    """A number or a span for each axis but the last, where that is along the width."""
    bounds: tuple[tuple[Span, int], ...]
    """Each span with the axis' length."""
    shape: tuple[int, ...]
    """As `Reader.read` gives the array, without its width; a pair of axes may be one here."""
    width: int | None = None
    """Length of the last axis, where that is along the width."""
    barrier: bool = False

    @property
    def length(self) -> int:
        """Queries or keys."""
        return self.bounds[0][0].size

    def put(self, x: Array, span: Span | None = None) -> None:
        """Writes a part of the width, or all there is."""
        index, bounds = self._at(span)
        store(self.ref, index, bounds, x.reshape(tuple(each.size for each, _ in bounds)))

    def add(self, x: Array, span: Span | None = None) -> None:
        """Adds to what was written. All threads have read before one writes, and the other way."""
        index, bounds = self._at(span)
        total = load(self.ref, index, bounds) + x
        self.wait()
        store(self.ref, index, bounds, total)
        self.wait()

    def wait(self) -> None:
        """For the program's other threads."""
        if self.barrier:
            plgpu.debug_barrier()

    def _at(self, span: Span | None) -> tuple[tuple[Any, ...], list[tuple[Span, int]]]:
        index = [at(x) if isinstance(x, Span) else x for x in self.index]
        if span is None:
            return tuple(index), list(self.bounds)
        assert self.width is not None
        return (*index, at(span)), [*self.bounds, (span, self.width)]


def at(span: Span) -> Any:
    """A span as an index."""
    return pl.ds(span.start, span.size)


def load(
    ref: Any,
    index: tuple[Any, ...],
    inside: Sequence[Any] = (),
    beyond: Any = 0,
    only: Bool[Array, "L 1"] | None = None,
) -> Array:
    """Reads a block.

    Args:
        ref: the array.
        index: a number or a slice for each axis.
        inside: for each slice, its span and the axis' length.
        beyond: what stands beyond the array's end, and in place of what is not read.
        only: which indices of the first slice to read.
    """
    mask = bounds(inside)
    if only is not None:
        only = only if len(inside) > 1 else only.reshape(-1)
        only = jnp.broadcast_to(only, tuple(span.size for span, _ in inside))
        mask = only if mask is None else mask & only
    if mask is None:
        return plgpu.load(ref.at[_traced(index)])
    return plgpu.load(ref.at[_traced(index)], mask=mask, other=ref.dtype.type(beyond))


def store(ref: Any, index: tuple[Any, ...], inside: Sequence[Any], x: Array) -> None:
    """Writes a block, but for what is beyond the array's end."""
    plgpu.store(ref.at[_traced(index)], x.astype(ref.dtype), mask=bounds(inside))


def _traced(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """Constants as traced numbers: these may be beyond the end, and an interpreter needs them."""

    def number(x: Any) -> Any:
        return lax.full((), x, jnp.int32) if isinstance(x, int) else x

    return tuple(
        pl.ds(number(x.start), x.size) if isinstance(x, pl.Slice) else number(x) for x in index
    )


def bounds(inside: Sequence[tuple[Span, int]]) -> Array | None:
    """Which of a block's elements the array has; None where all are sure to be there."""
    mask = None
    for k, (span, size) in enumerate(inside):
        if size % span.size == 0:
            continue
        shape = [1] * len(inside)
        shape[k] = span.size
        here = (span.indices() < size).reshape(shape)
        mask = here if mask is None else mask & here
    if mask is None:
        return None
    return jnp.broadcast_to(mask, tuple(span.size for span, _ in inside))
