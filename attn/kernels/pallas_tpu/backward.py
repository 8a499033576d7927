"""The kernels of the backward pass: gradients along queries, along keys, and at each pair.

Each sum is over the innermost axes of a grid: it is made in the chip's memory and written once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jax.experimental import pallas as pl

from attn.kernels.fused import Sought
from attn.kernels.pallas_tpu.families import scoring
from attn.kernels.pallas_tpu.layout import Layout, Place, column, role
from attn.kernels.pallas_tpu.reading import Reader
from attn.kernels.pallas_tpu.scoring import Aim, Scoring, add, clear
from attn.kernels.pallas_tpu.turns import Turns
from attn.kernels.tiles import (
    against,
    pull,
    transposed_times,
)
from attn.typing import Array


@dataclass(frozen=True)
class Parts:
    """References that a kernel is given, by what they are."""

    tables: Sequence[Any]
    arrays: Sequence[Any]
    known: Sequence[Any]
    """Gradient of the output, log-sum-exp, delta."""
    outputs: Sequence[Any]
    scratch: Sequence[Any]

    @classmethod
    def of(cls, refs: Sequence[Any], tables: int, arrays: int, outputs: int) -> "Parts":
        """All references, in the order in which Pallas has them."""
        ends = [0, tables, tables + arrays, tables + arrays + 3, tables + arrays + 3 + outputs]
        cut = [refs[start:end] for start, end in zip(ends, [*ends[1:], len(refs)], strict=True)]
        return cls(*cut)


def aim(wanted: Sought) -> Aim:
    """What a score has to find."""
    sides = {0: "query", 1: "key"}
    side = next((sides[k] for k in wanted.operands if k in sides), None)
    return Aim(side, wanted.score, again=True)


def _pulled(
    reader: Reader,
    family: Scoring,
    known: Sequence[Any],
    partial: bool,
    pieces: Sequence[int],
) -> tuple[Any, Any, Array]:
    """A block, its backward pass down to the scores before the mods, and the output's gradient."""
    here = reader.block(partial)
    of_output = reader.cleared_rows(here, known[0][...])
    lse, delta = (column(ref[...]) for ref in known[1:])
    raw = family.raw_again(reader, here)
    value = reader.value(here)
    found = pull(
        here,
        lambda arrays: reader.head(pieces, arrays),
        [reader.values[k] for k in pieces],
        raw,
        against(of_output, value),
        lse,
        delta,
    )
    return here, found, of_output


def queries_kernel(layout: Layout, turns: Turns, wanted: Sought, *refs: Any) -> None:
    """Gradients of a block of queries and of arrays that do not run along the keys."""
    parts = Parts.of(refs, 3, len(layout.plan.slots), len(wanted.slots))
    b, n, at, turn = (pl.program_id(axis) for axis in range(4))
    sums, memory = parts.scratch[: len(wanted.pieces)], parts.scratch[len(wanted.pieces) :]
    family = scoring(layout, aim(wanted), memory)

    def reader() -> Reader:
        other = turns.other(parts.tables, b, n, at, turn)
        return Reader(layout, parts.arrays, Place(b, n, at, other))

    @pl.when(turn == 0)
    def _() -> None:
        family.clear_operand()
        family.clear_arrays()
        for ref in sums:
            clear(ref)
        family.enter(reader())

    def step(partial: bool) -> None:
        here = reader()
        block, found, _ = _pulled(here, family, parts.known, partial, wanted.pieces)
        if family.aim.side or family.aim.chosen:
            family.pull(here, block, found.raw)
        for ref, x in zip(sums, found.pieces, strict=True):
            add(ref, x)

    turns.run(parts.tables, (b, n, at), turn, step)

    @pl.when(turn == turns.shape[3] - 1)
    def _() -> None:
        outputs = list(parts.outputs)
        if wanted.operands:
            _write(outputs.pop(0), family.of_operand())
        _write_arrays(layout, wanted, family, sums, outputs)


def keys_kernel(layout: Layout, turns: Turns, wanted: Sought, *refs: Any) -> None:
    """Gradients of a block of keys and values, over the query heads that share them, and of arrays
    that run along the keys alone."""
    parts = Parts.of(refs, 3, len(layout.plan.slots), len(wanted.slots))
    b, h, at, member, turn = (pl.program_id(axis) for axis in range(5))
    n, last = h * layout.plan.group + member, turn == turns.shape[3] - 1
    sums, memory = parts.scratch[: len(wanted.pieces)], parts.scratch[len(wanted.pieces) :]
    of_value: Any = None
    if 2 in wanted.operands:
        of_value, *memory = memory
    family = scoring(layout, aim(wanted), memory)

    @pl.when((turn == 0) & (member == 0))
    def _() -> None:
        family.clear_operand()
        if of_value is not None:
            clear(of_value)

    @pl.when(turn == 0)
    def _() -> None:
        family.clear_arrays()
        for ref in sums:
            clear(ref)

    def step(partial: bool) -> None:
        other = turns.other(parts.tables, b, n, at, turn)
        here = Reader(layout, parts.arrays, Place(b, n, other, at))
        family.enter(here)
        block, found, of_output = _pulled(here, family, parts.known, partial, wanted.pieces)
        if family.aim.side or family.aim.chosen:
            family.pull(here, block, found.raw)
        if of_value is not None:
            add(of_value, transposed_times(found.weights, of_output))
        for ref, x in zip(sums, found.pieces, strict=True):
            add(ref, x)

    turns.run(parts.tables, (b, n, at), turn, step)
    outputs = list(parts.outputs)
    of_operands = [outputs.pop(0) for _ in wanted.operands]

    @pl.when(last)
    def _() -> None:
        _write_arrays(layout, wanted, family, sums, outputs)

    @pl.when(last & (member == layout.plan.group - 1))
    def _() -> None:
        found = {1: family.of_operand, 2: lambda: of_value[...]}
        for k, ref in zip(wanted.operands, of_operands, strict=True):
            _write(ref, found[k]())


def pairs_kernel(
    layout: Layout, shape: tuple[int, ...], where: Callable[..., Place], wanted: Sought, *refs: Any
) -> None:
    """The gradient of an array along queries and keys, at one block, over those who share it.

    Args:
        layout: of the call.
        shape: of the table of kinds, [batch, heads, blocks of queries, blocks of keys].
        where: from the grid's indices to the place.
        wanted: the one array.
        *refs: the references.
    """
    parts = Parts.of(refs, 1, len(layout.plan.slots), 1)
    place, turn, turns = (
        where(*(pl.program_id(axis) for axis in range(5))),
        *(
            pl.program_id(4),
            pl.num_programs(4),
        ),
    )
    sums, memory = parts.scratch[: len(wanted.pieces)], parts.scratch[len(wanted.pieces) :]
    family = scoring(layout, aim(wanted), memory)

    @pl.when(turn == 0)
    def _() -> None:
        family.clear_arrays()
        for ref in sums:
            clear(ref)

    b, n = (x if size > 1 else 0 for x, size in zip(place[:2], shape, strict=False))
    kind = parts.tables[0][((b * shape[1] + n) * shape[2] + place.query) * shape[3] + place.key]

    @pl.when(kind > 0)
    def _() -> None:
        here = Reader(layout, parts.arrays, place)
        family.enter(here)
        block, found, _ = _pulled(here, family, parts.known, True, wanted.pieces)
        if wanted.score:
            family.pull(here, block, found.raw)
        for ref, x in zip(sums, found.pieces, strict=True):
            add(ref, x)

    @pl.when(turn == turns - 1)
    def _() -> None:
        _write_arrays(layout, wanted, family, sums, parts.outputs)


def _write(ref: Any, x: Array) -> None:
    ref[...] = x.astype(ref.dtype)


def _write_arrays(
    layout: Layout, wanted: Sought, family: Scoring, sums: Sequence[Any], outputs: Sequence[Any]
) -> None:
    """Writes the gradients of arrays of pieces."""
    found = [family.of_array(at) for at in range(len(wanted.score))] + [x[...] for x in sums]
    for k, ref, x in zip((*wanted.score, *wanted.pieces), outputs, found, strict=True):
        _write(ref, x.reshape(1, -1) if role(layout.plan.slots[k]) == "row" else x)
