"""The kernels: output; gradients along queries, along keys, and of arrays along both.

Each program owns what it writes, so that nothing depends on which program is first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from attn.kernels.fused import Plan, Sought
from attn.kernels.pallas_gpu.reading import Reader, Span, load, power, store
from attn.kernels.pallas_gpu.scoring import Scoring, scoring
from attn.kernels.pallas_gpu.tiling import Tiling
from attn.kernels.tiles import (
    Running,
    against,
    cleared_columns,
    cleared_rows,
    pull,
    transposed_times,
)
from attn.typing import Array


@dataclass(frozen=True)
class Turns:
    """The blocks along one axis that a program has to visit, in references to `Visits`."""

    order: Any
    full: Any
    some: Any
    in_order: bool
    """Block t comes t-th, whichever the program."""

    def run(
        self, where: tuple[Any, Any, Any], step: Callable[..., Any], carry: Any, share: Any = None
    ) -> Any:
        """Folds `step(block, carry, partial)` over the full blocks, then over the partial ones.

        Args:
            where: batch, head and block.
            step: takes the number of a block.
            carry: before the first.
            share: this program's number and how many programs share the blocks.
        """
        b, n, block = where
        shape = self.full.shape
        where = b if shape[0] > 1 else 0, n if shape[1] > 1 else 0, block
        full, some = (load(ref, where) for ref in (self.full, self.some))
        first, last = jnp.int32(0), some
        if share is not None:
            part = (some + share[1] - 1) // share[1]
            first = share[0] * part
            last = jnp.minimum(first + part, some)

        def turn(partial: bool) -> Callable[[Any, Any], Any]:
            def run(t: Any, carry: Any) -> Any:
                block = t if self.in_order else load(self.order, (*where, t))
                return step(block, carry, partial)

            return run

        middle = jnp.clip(full, first, last)
        carry = lax.fori_loop(first, middle, turn(False), carry)
        return lax.fori_loop(middle, last, turn(True), carry)


def output_kernel(plan: Plan, tiling: Tiling, in_order: bool, *refs: Any) -> None:
    """Output and log-sum-exp of a block of queries, over all keys or this program's share."""
    *arrays, order, full, some, output, lse = refs
    family = scoring(plan, tiling.width)
    at = pl.program_id(0)
    block_of_queries, split = (at // tiling.splits, at % tiling.splits)
    n, b = pl.program_id(1), pl.program_id(2)
    rows = Span(block_of_queries * tiling.query, tiling.query)
    base = Reader.at(plan, arrays, b, n).over(rows=rows)
    query = family.query(base)

    def step(block: Any, running: Running, partial: bool) -> Running:
        reader = base.over(columns=Span(block * tiling.key, tiling.key))
        here = reader.block(partial)
        raw = family.raw(reader, here, query, family.key(reader))
        value = cleared_columns(here, reader.read(2))
        return running.add(here, reader.head(), raw, value)

    width = power(plan.value_width, 16)
    share = (split, tiling.splits) if tiling.splits > 1 else None
    turns = Turns(order, full, some, in_order)
    running = turns.run((b, n, block_of_queries), step, Running.start(rows.size, width), share)
    found, found_lse = running.finish()
    front = (split, b) if tiling.splits > 1 else (b,)
    along = rows, plan.sizes["query"]
    across = Span(0, width), plan.value_width
    store(output, (*front, _at(rows), n, _at(across[0])), [along, across], found)
    store(lse, (*front, _at(rows), n), [along], found_lse.reshape(-1))


def _at(span: Span) -> Any:
    return pl.ds(span.start, span.size)


@dataclass(frozen=True)
class Known:
    """References to what the forward pass left and the output's gradient."""

    of_output: Any
    lse: Any
    delta: Any

    def read(self, reader: Reader) -> tuple[Array, Array, Array]:
        """Of a block of queries: [Tq, E], [Tq, 1], [Tq, 1]."""
        assert reader.rows is not None
        along = reader.rows, reader.plan.sizes["query"]
        width = Span(0, power(reader.plan.value_width, 16))
        where = reader.b, _at(reader.rows), reader.n
        of_output = load(
            self.of_output, (*where, _at(width)), [along, (width, reader.plan.value_width)]
        )
        # Rows beyond the end must come to weights of 0, whatever their scores.
        lse = load(self.lse, where, [along], beyond=jnp.inf)
        return of_output, lse[:, None], load(self.delta, where, [along])[:, None]


def _pulled(
    reader: Reader,
    family: Scoring,
    known: tuple[Array, Array, Array],
    operands: tuple[Any, Any],
    partial: bool,
    pieces: Sequence[int],
) -> tuple[Any, Any, Array]:
    """A block, its backward pass down to the scores before the mods, and the output's gradient."""
    here = reader.block(partial)
    of_output, lse, delta = known
    of_output = cleared_rows(here, of_output)
    raw = family.raw(reader, here, *operands)
    value = cleared_columns(here, reader.read(2))
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


def queries_kernel(plan: Plan, tiling: Tiling, in_order: bool, wanted: Sought, *refs: Any) -> None:
    """Gradients of a block of queries and of arrays that do not run along the keys."""
    count = len(plan.slots)
    arrays, (order, full, some), known = (
        refs[:count],
        refs[count : count + 3],
        refs[count + 3 : count + 6],
    )
    outputs = list(refs[count + 6 :])
    family = scoring(plan, tiling.width)
    at, n, b = (pl.program_id(k) for k in range(3))
    rows = Span(at * tiling.query, tiling.query)
    base = Reader.at(plan, arrays, b, n).over(rows=rows)
    query = family.query(base)
    seen = Known(*known).read(base)
    side = "query" if wanted.operands else None

    def step(block: Any, sums: Any, partial: bool) -> Any:
        reader = base.over(columns=Span(block * tiling.key, tiling.key))
        operands = query, family.key(reader)
        here, found, _ = _pulled(reader, family, seen, operands, partial, wanted.pieces)
        moved = family.pull(reader, here, *operands, found.raw, side, wanted.score)
        return jax.tree.map(jnp.add, sums, (*moved, found.pieces))

    start = _zeros(plan, base, family, rows.size, side, wanted)
    turns = Turns(order, full, some, in_order)
    of_query, of_score, of_pieces = turns.run((b, n, at), step, start)
    if wanted.operands:
        ref = outputs.pop(0)
        width = plan.slots[0].shape[-1]
        for span, part in zip(family.spans(), of_query, strict=True):
            bounds = [(rows, plan.sizes["query"]), (span, width)]
            store(ref, (b, _at(rows), n, _at(span)), bounds, part)
    found = [*of_score, *([x] for x in of_pieces)]
    for k, parts in zip((*wanted.score, *wanted.pieces), found, strict=True):
        _store_piece(plan, family, outputs.pop(0), k, parts, (b, n, at), rows)


def _zeros(plan: Plan, base: Reader, family: Scoring, length: int, side: Any, wanted: Any) -> Any:
    """Sums before the first block: of the operand, the score's arrays and the pieces'."""
    of_operand = [jnp.zeros((length, span.size), jnp.float32) for span in family.spans() if side]
    of_score = []
    for k in wanted.score:
        along = plan.slots[k].along("query_width")
        shapes = [(span.size,) for span in family.spans()] if along else [base.shape(k)]
        of_score.append([jnp.zeros(shape, jnp.float32) for shape in shapes])
    return of_operand, of_score, [jnp.zeros(base.shape(k), jnp.float32) for k in wanted.pieces]


def _store_piece(
    plan: Plan, family: Scoring, ref: Any, k: int, parts: list[Array], where: Any, rows: Span
) -> None:
    """Writes a program's gradient of an array that does not run along the keys."""
    b, n, at = where
    slot = plan.slots[k]
    if slot.along("query_width"):
        for span, part in zip(family.spans(), parts, strict=True):
            bounds = [(span, slot.shape[-1])]
            store(ref, (b, n, at, 0, _at(span)), bounds, part)
    elif slot.along("query"):
        bounds = [(rows, plan.sizes["query"])]
        store(ref, (b, n, _at(rows), 0), bounds, parts[0].reshape(-1))
    else:
        store(ref, (b, n, at, 0), (), parts[0].reshape(()))


def keys_kernel(plan: Plan, tiling: Tiling, in_order: bool, wanted: Sought, *refs: Any) -> None:
    """Gradients of a block of keys and values, over the query heads that share them, and of arrays
    that run along the keys alone."""
    count = len(plan.slots)
    arrays, (order, full, some), known = (
        refs[:count],
        refs[count : count + 3],
        refs[count + 3 : count + 6],
    )
    outputs = list(refs[count + 6 :])
    of_key_ref = outputs.pop(0) if 1 in wanted.operands else None
    of_value_ref = outputs.pop(0) if 2 in wanted.operands else None
    family = scoring(plan, tiling.width)
    at, h, b = (pl.program_id(k) for k in range(3))
    columns = Span(at * tiling.key, tiling.key)
    side = "key" if of_key_ref is not None else None
    shared = Reader.at(plan, arrays, b, h * plan.group).over()
    shared_key = family.key(shared.over(columns=columns))
    turns = Turns(order, full, some, in_order)
    value_width = power(plan.value_width, 16)

    def of_head(g: Any, sums: Any) -> Any:
        n = h * plan.group + g
        base = Reader.at(plan, arrays, b, n).over(columns=columns)

        def step(block: Any, sums: Any, partial: bool) -> Any:
            reader = base.over(rows=Span(block * tiling.query, tiling.query))
            operands = family.query(reader), shared_key
            seen = Known(*known).read(reader)
            here, found, of_output = _pulled(reader, family, seen, operands, partial, wanted.pieces)
            of_key, of_score = family.pull(reader, here, *operands, found.raw, side, wanted.score)
            of_value = (
                transposed_times(found.weights, of_output) if of_value_ref is not None else None
            )
            of_pieces = [*(x for (x,) in of_score), *found.pieces]
            return jax.tree.map(jnp.add, sums, (of_key, of_value, of_pieces))

        of_pieces = [jnp.zeros(base.shape(k), jnp.float32) for k in (*wanted.score, *wanted.pieces)]
        *kept, of_pieces = turns.run((b, n, at), step, (*sums, of_pieces))
        for ref, part in zip(outputs, of_pieces, strict=True):
            store(ref, (b, n, 0, _at(columns)), [(columns, plan.sizes["key"])], part.reshape(-1))
        return tuple(kept)

    of_key = [jnp.zeros((columns.size, span.size), jnp.float32) for span in family.spans() if side]
    of_value = (
        jnp.zeros((columns.size, value_width), jnp.float32) if of_value_ref is not None else None
    )
    of_key, of_value = lax.fori_loop(0, plan.group, of_head, (of_key, of_value))
    along = columns, plan.sizes["key"]
    if of_key_ref is not None:
        for span, part in zip(family.spans(), of_key, strict=True):
            bounds = [along, (span, plan.slots[1].shape[-1])]
            store(of_key_ref, (b, _at(columns), h, _at(span)), bounds, part)
    if of_value_ref is not None:
        across = Span(0, value_width)
        bounds = [along, (across, plan.value_width)]
        store(of_value_ref, (b, _at(columns), h, _at(across)), bounds, of_value)


def pairs_kernel(plan: Plan, tiling: Tiling, wanted: Sought, *refs: Any) -> None:
    """The gradient of an array along queries and keys, at one block, over those who share it."""
    count = len(plan.slots)
    arrays, kinds, known, output = refs[:count], refs[count], refs[count + 1 : count + 4], refs[-1]
    family = scoring(plan, tiling.width)
    (k,) = wanted.score or wanted.pieces
    slot = plan.slots[k]
    sizes = dict(zip(slot.axes, slot.shape, strict=True))
    at_key, at_query, own = (pl.program_id(axis) for axis in range(3))
    held = [sizes.get(axis, 1) for axis in ("batch", "head")]
    own_b, own_n = own // held[1], own % held[1]
    rows = Span(at_query * tiling.query, tiling.query)
    columns = Span(at_key * tiling.key, tiling.key)
    batch, heads = (
        plan.sizes[axis] if size == 1 else 1
        for axis, size in zip(("batch", "head"), held, strict=True)
    )

    def of_call(turn: Any, total: Array) -> Array:
        b, n = own_b + turn // heads, own_n + turn % heads
        reader = Reader.at(plan, arrays, b, n).over(rows, columns)
        operands = family.query(reader), family.key(reader)

        def more(total: Array) -> Array:
            seen = Known(*known).read(reader)
            here, found, _ = _pulled(reader, family, seen, operands, True, wanted.pieces)
            if wanted.pieces:
                return total + found.pieces[0]
            _, ((part,),) = family.pull(reader, here, *operands, found.raw, None, wanted.score)
            return total + part

        where = b if kinds.shape[0] > 1 else 0, n if kinds.shape[1] > 1 else 0
        some = load(kinds, (*where, at_query, at_key)) > 0
        return lax.cond(some, more, lambda total: total, total)

    shape = rows.size, columns.size
    total = lax.fori_loop(0, batch * heads, of_call, jnp.zeros(shape, jnp.float32))
    bounds = [(rows, plan.sizes["query"]), (columns, plan.sizes["key"])]
    store(output, (own_b, own_n, _at(rows), _at(columns)), bounds, total)
