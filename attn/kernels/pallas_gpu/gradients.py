"""The kernels of the gradients: along queries, along keys, and of arrays along both.

Each program owns what it writes, so that nothing depends on which program is first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from attn.kernels.fused import Plan, Sought
from attn.kernels.pallas_gpu.memory import Goal, Reader, Span, at, load, power
from attn.kernels.pallas_gpu.scoring import Goals, Scoring, scoring
from attn.kernels.pallas_gpu.tiling import Tiling
from attn.kernels.pallas_gpu.visiting import Turns
from attn.kernels.tiles import (
    Block,
    Pulled,
    against,
    pull,
    seen_columns,
    seen_rows,
    transposed_times,
)
from attn.typing import Array, Bool, Float


def queries_kernel(plan: Plan, tiling: Tiling, in_order: bool, wanted: Sought, *refs: Any) -> None:
    """Gradients of a block of queries and of arrays that do not run along the keys."""
    arrays, (order, full, some, *known), outputs = _parted(plan, refs, 6)
    family = scoring(plan, tiling.width)
    place, n, b = (pl.program_id(axis) for axis in range(3))
    rows = Span(place * tiling.query, tiling.query)
    base = Reader.at(plan, arrays, b, n).over(rows=rows)
    query = family.query(base)
    seen = _Known(*known).read(base)
    ends = [
        _goal(base, k, ref, place, tiling) for k, ref in zip(wanted.slots, outputs, strict=True)
    ]
    operand = ends.pop(0) if wanted.operands else None
    of_score, of_pieces = ends[: len(wanted.score)], ends[len(wanted.score) :]
    side = "query" if wanted.operands else None
    goals = Goals(side, operand, wanted.score, tuple(of_score))

    def step(block: Any, sums: Any, partial: bool) -> Any:
        reader = base.over(columns=Span(block * tiling.key, tiling.key))
        here = reader.block(partial)
        operands = query, family.key(reader, seen_columns(here))
        found = _pulled(reader, here, family, operands, reader.read(2), seen, wanted.pieces)
        kept = sums[0]
        if goals.side or goals.chosen:
            kept = family.add(kept, goals, reader, here, operands, found.raw)
        return kept, jax.tree.map(jnp.add, sums[1], found.pieces)

    start = family.begin(goals), [jnp.zeros(goal.shape, jnp.float32) for goal in of_pieces]
    turns = Turns(order, full, some, in_order)
    kept, pieces = turns.run((b, n, place), step, start)
    family.end(kept, goals)
    for goal, gradient in zip(of_pieces, pieces, strict=True):
        goal.put(gradient)


def keys_kernel(plan: Plan, tiling: Tiling, in_order: bool, wanted: Sought, *refs: Any) -> None:
    """Gradients of a block of keys and values, over the query heads that share them, and of arrays
    that run along the keys alone."""
    arrays, (order, full, some, *known), outputs = _parted(plan, refs, 6)
    family = scoring(plan, tiling.width)
    place, h, b = (pl.program_id(axis) for axis in range(3))
    columns = Span(place * tiling.key, tiling.key)
    turns = Turns(order, full, some, in_order)

    def at_head(n: Any) -> tuple[Reader, list[Goal]]:
        base = Reader.at(plan, arrays, b, n).over(columns=columns)
        refs = zip(wanted.slots, outputs, strict=True)
        return base, [_goal(base, k, ref, place, tiling) for k, ref in refs]

    first, ends = at_head(h * plan.group)
    key, value = family.key(first), first.read(2)
    of_key = ends[wanted.operands.index(1)] if 1 in wanted.operands else None
    of_value = ends[wanted.operands.index(2)] if 2 in wanted.operands else None
    goals = Goals("key" if of_key else None, of_key, (), ())

    def of_head(g: Any, sums: Any) -> Any:
        base, ends = at_head(h * plan.group + g)
        ends = ends[len(wanted.operands) :]
        of_score, of_pieces = ends[: len(wanted.score)], ends[len(wanted.score) :]
        own = Goals(None, None, wanted.score, tuple(of_score))

        def step(block: Any, sums: Any, partial: bool) -> Any:
            of_key, of_value, score, pieces = sums
            reader = base.over(rows=Span(block * tiling.query, tiling.query))
            here = reader.block(partial)
            rows = seen_rows(here)
            operands = family.query(reader, rows), key
            seen = _Known(*known).read(reader, rows)
            found = _pulled(reader, here, family, operands, value, seen, wanted.pieces)
            if goals.operand is not None:
                of_key = family.add(of_key, goals, reader, here, operands, found.raw)
            if of_value is not None:
                of_value = of_value + transposed_times(found.weights, seen.of_output)
            if own.chosen:
                score = family.add(score, own, reader, here, operands, found.raw)
            return of_key, of_value, score, jax.tree.map(jnp.add, pieces, found.pieces)

        pieces = [jnp.zeros(goal.shape, jnp.float32) for goal in of_pieces]
        start = *sums, family.begin(own) if own.chosen else None, pieces
        *kept, score, pieces = turns.run((b, base.n, place), step, start)
        if own.chosen:
            family.end(score, own)
        for goal, gradient in zip(of_pieces, pieces, strict=True):
            goal.put(gradient)
        return tuple(kept)

    value_width = Span(0, power(plan.value_width, 16))
    start = (
        family.begin(goals) if of_key else None,
        jnp.zeros((columns.size, value_width.size), jnp.float32) if of_value else None,
    )
    sums = lax.fori_loop(0, plan.group, of_head, start)
    if of_key is not None:
        family.end(sums[0], goals)
    if of_value is not None:
        of_value.put(sums[1], value_width)


def pairs_kernel(plan: Plan, tiling: Tiling, wanted: Sought, *refs: Any) -> None:
    """The gradient of an array along queries and keys, at one block, over those who share it."""
    arrays, (kinds, *known), (output,) = _parted(plan, refs, 4)
    family = scoring(plan, tiling.width)
    (k,) = wanted.slots
    slot = plan.slots[k]
    held = jnp.int32(slot.size("head"))
    at_key, at_query, own = (pl.program_id(axis) for axis in range(3))
    own_b, own_n = lax.div(own, held), lax.rem(own, held)
    rows = Span(at_query * tiling.query, tiling.query)
    columns = Span(at_key * tiling.key, tiling.key)
    end = _goal(
        Reader(plan, arrays, own_b, own_n, rows, columns), k, output, (own_b, own_n), tiling
    )
    goals = Goals(None, None, wanted.score, (end,) * len(wanted.score))

    def of_call(b: Any, n: Any, total: Array) -> Array:
        reader = Reader.at(plan, arrays, b, n).over(rows, columns)

        def more(total: Array) -> Array:
            here = reader.block(partial=True)
            operands = family.query(reader), family.key(reader)
            seen = _Known(*known).read(reader)
            found = _pulled(reader, here, family, operands, reader.read(2), seen, wanted.pieces)
            if wanted.pieces:
                return total + found.pieces[0]
            sums = family.add(family.begin(goals), goals, reader, here, operands, found.raw)
            return total + jax.tree.leaves(sums)[0]

        where = b if kinds.shape[0] > 1 else 0, n if kinds.shape[1] > 1 else 0
        some = load(kinds, (*where, at_query, at_key)) > 0
        return lax.cond(some, more, lambda total: total, total)

    batch, heads = (plan.sizes[axis] if slot.size(axis) == 1 else 1 for axis in ("batch", "head"))

    def of_batch(b: Any, total: Array) -> Array:
        return lax.fori_loop(0, heads, lambda n, total: of_call(own_b + b, own_n + n, total), total)

    total = lax.fori_loop(0, batch, of_batch, jnp.zeros((rows.size, columns.size), jnp.float32))
    end.put(total)


def _parted(plan: Plan, refs: Sequence[Any], beside: int) -> tuple[Any, Any, list[Any]]:
    """A kernel's references: the call's arrays, what comes beside them, and the outputs."""
    count = len(plan.slots)
    return refs[:count], refs[count : count + beside], list(refs[count + beside :])


def _goal(reader: Reader, k: int, ref: Any, place: Any, tiling: Tiling) -> Goal:
    """Where a program leaves the gradient of slot `k`.

    `place` is the number of its block of queries, or for an array along queries and keys the
    batch and the head of its own.
    """
    plan, slot, b, n = reader.plan, reader.plan.slots[k], reader.b, reader.n
    rows, columns = reader.rows or Span(0, 1), reader.columns or Span(0, 1)
    lengths = plan.sizes["query"], plan.sizes["key"]
    if k < 3:
        span, length, head = (
            (rows, lengths[0], n) if k == 0 else (columns, lengths[1], n // plan.group)
        )
        shape, width = (span.size,), slot.shape[-1]
        return Goal(ref, (b, span, head), ((span, length),), shape, width, tiling.barrier)
    along = slot.along("query"), slot.along("key")
    if all(along):
        bounds = (rows, lengths[0]), (columns, lengths[1])
        return Goal(ref, (*place, rows, columns), bounds, reader.shape(k))
    if along[1]:
        return Goal(ref, (b, n, 0, columns), ((columns, lengths[1]),), reader.shape(k))
    if along[0]:
        return Goal(ref, (b, n, rows, 0), ((rows, lengths[0]),), reader.shape(k))
    wide = slot.size("query_width") if slot.along("query_width") else None
    return Goal(ref, (b, n, place, 0), (), (), wide, tiling.barrier)


@dataclass(frozen=True)
class _Seen:
    """Of a block of queries, the output's gradient and what the forward pass left."""

    of_output: Float[Array, "Tq E"]
    lse: Float[Array, "Tq 1"]
    delta: Float[Array, "Tq 1"]


@dataclass(frozen=True)
class _Known:
    """References to the same of all queries."""

    of_output: Any
    lse: Any
    delta: Any

    def read(self, reader: Reader, seen: Bool[Array, "Tq 1"] | None = None) -> _Seen:
        """Of a block; 0 for the output of queries that see nothing."""
        rows, columns = reader.rows, reader.plan.value_width
        assert rows is not None
        along, width = (rows, reader.plan.sizes["query"]), Span(0, power(columns, 16))
        where = reader.b, at(rows), reader.n
        bounds = [along, (width, columns)]
        of_output = load(self.of_output, (*where, at(width)), bounds, only=seen)
        # Rows beyond the end must come to weights of 0, whatever their scores.
        lse = load(self.lse, where, [along], beyond=jnp.inf)
        return _Seen(of_output, lse[:, None], load(self.delta, where, [along])[:, None])


def _pulled(
    reader: Reader,
    block: Block,
    family: Scoring,
    operands: tuple[Any, Any],
    value: Float[Array, "Tk E"],
    seen: _Seen,
    pieces: Sequence[int],
) -> Pulled:
    """The backward pass of a block down to its scores before the mods."""
    return pull(
        block,
        lambda arrays: reader.head(pieces, arrays),
        [reader.values[k] for k in pieces],
        family.raw(reader, block, operands),
        against(seen.of_output, value),
        seen.lse,
        seen.delta,
    )
