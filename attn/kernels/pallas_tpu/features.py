"""Scores of a block and their gradients, for scores that are sums over the width.

The transcendental unit is what bounds them, so nothing else may get in its way: the query's numbers
are spread over all lanes once for each block of queries, and gradients are added up lane by lane
and sublane by sublane; folding those is left to the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from attn.kernels.pallas_tpu.layout import LANES, SUBLANES, Layout, over_lanes, role
from attn.kernels.pallas_tpu.reading import Reader
from attn.kernels.pallas_tpu.scoring import Aim, clear, sum_shape, sums
from attn.kernels.tiles import Block
from attn.typing import Array, Float

ROWS = 32
"""Queries at once: what a tile of scores leaves of the registers is enough for the rest."""
UNROLL = 8


@dataclass(frozen=True)
class ByFeature:
    """Scores that are sums over the width."""

    layout: Layout
    aim: Aim
    memory: Sequence[Any]

    @staticmethod
    def scratch(layout: Layout, aim: Aim) -> list[Any]:
        """The memory that it needs."""
        width, rows, columns = layout.plan.slots[0].shape[-1], layout.query, layout.key
        lanes = layout.lanes
        found = [sums((width, rows, lanes)), sums((rows, columns))]
        if aim.again:
            found += [sums((width, columns)), sums((rows, lanes))]
        if aim.side is not None:
            spread = {"query": (width, rows, lanes), "key": (width, SUBLANES, columns)}
            found.append(sums(spread[aim.side]))
        return found + [sums(_spread(layout, k)) for k in aim.chosen]

    @property
    def _query(self) -> Any:
        """[D, Tq, lanes], the same in all lanes."""
        return self.memory[0]

    @property
    def _scores(self) -> Any:
        """[Tq, Tk], scores or their gradients."""
        return self.memory[1]

    @property
    def _sums(self) -> Sequence[Any]:
        return self.memory[4:]

    @property
    def _arrays(self) -> Sequence[Any]:
        return self._sums[self.aim.side is not None :]

    def _over_lanes(self, x: Array) -> Array:
        return over_lanes(x, self.layout.lanes)

    @property
    def _width(self) -> int:
        return self.layout.plan.slots[0].shape[-1]

    def enter(self, reader: Reader) -> None:
        query = reader.refs[0]
        chunks, rest = divmod(self._width, LANES)

        def spread(chunk: Any, x: Array) -> None:
            for d in range(x.shape[1]):
                self._query[chunk * LANES + d] = jnp.broadcast_to(
                    x[:, d : d + 1], (x.shape[0], self.layout.lanes)
                )

        if chunks:

            def body(chunk: Any, _: Any) -> None:
                spread(chunk, query[:, pl.ds(pl.multiple_of(chunk * LANES, LANES), LANES)])

            lax.fori_loop(0, chunks, body, None)
        if rest:
            spread(chunks, query[:, chunks * LANES :])

    def raw(self, reader: Reader, block: Block) -> Float[Array, "Tq Tk"]:
        return self._raw(reader, reader.refs[1], None)

    def raw_again(self, reader: Reader, block: Block) -> Float[Array, "Tq Tk"]:
        if self._clean(block) or block.allowed is None:
            return self._raw(reader, reader.refs[1], None)
        taken = jnp.where(block.allowed, 1.0, 0.0)
        seen_key = jnp.max(taken, axis=0, keepdims=True) > 0
        seen_query = jnp.max(taken, axis=1, keepdims=True)
        key, rows = self.memory[2:4]
        key[...] = jnp.where(seen_key, reader.refs[1][...], 0.0)
        rows[...] = jnp.broadcast_to(seen_query, rows.shape)
        return self._raw(reader, key, rows)

    def _clean(self, block: Block) -> bool:
        return block.allowed is None or not any(self.layout.unseen)

    def _raw(self, reader: Reader, key: Any, seen: Any) -> Float[Array, "Tq Tk"]:
        def tile(rows: Any) -> None:
            def feature(d: Any) -> Array:
                q = self._spread_query(d, rows, seen)
                return self._score(reader, d).feature(q, key[pl.ds(d, 1), :])

            start = jnp.zeros((self._rows, self.layout.key), jnp.float32)
            self._scores[rows, :] = _summed(self._width, feature, start)

        self._each_tile(tile)
        return self._scores[...]

    def clear_operand(self) -> None:
        if self.aim.side:
            clear(self._sums[0])

    def clear_arrays(self) -> None:
        for ref in self._arrays:
            clear(ref)

    def pull(self, reader: Reader, block: Block, of_raw: Float[Array, "Tq Tk"]) -> None:
        key, seen = (reader.refs[1], None) if self._clean(block) else self.memory[2:4]
        self._scores[...] = of_raw
        self._each_tile(lambda rows: self._pull_tile(reader, key, seen, rows))

    def _pull_tile(self, reader: Reader, key: Any, seen: Any, rows: Any) -> None:
        side, chosen = self.aim.side, self.aim.chosen
        of_scores = self._scores[rows, :]

        def pull(d: Any, _: Any) -> None:
            q = self._spread_query(d, rows, seen)
            k = jnp.broadcast_to(key[pl.ds(d, 1), :], q.shape)

            def feature(operand: Any, arrays: list[Array]) -> Array:
                pair = {"query": (operand, k), "key": (q, operand), None: (q, k)}[side]
                return self._score(reader, d, chosen, arrays).feature(*pair)

            arrays = [jnp.broadcast_to(self._of_score(reader, at, d), q.shape) for at in chosen]
            _, pulled = jax.vjp(feature, {"query": q, "key": k, None: ()}[side], arrays)
            of_operand, of_arrays = pulled(of_scores)
            if side == "query":
                self._sums[0][d, rows, :] += self._over_lanes(of_operand)
            if side == "key":
                self._sums[0][d] += _over_sublanes(of_operand)
            for at, ref, x in zip(chosen, self._arrays, of_arrays, strict=True):
                self._add_array(at, ref, x, d, rows)

        _unrolled(self._width, pull, None)

    def _add_array(self, k: int, ref: Any, x: Array, d: Any, rows: Any) -> None:
        what = role(self.layout.plan.slots[k])
        if what in ("row", "pair"):
            ref[rows, :] += x if what == "pair" else self._over_lanes(x)
        elif what == "column":
            ref[...] += _over_sublanes(x)
        elif what == "feature":
            ref[d] += self._over_lanes(_over_sublanes(x))
        else:
            ref[...] += self._over_lanes(_over_sublanes(x))

    def of_operand(self) -> Array:
        if self.aim.side == "key":
            return jnp.sum(self._sums[0][...], axis=1)
        return _gathered(self._width, self._sums[0], 1, self.layout.query)

    def of_array(self, at: int) -> Array:
        ref, k = self._arrays[at], self.aim.chosen[at]
        shape, what = sum_shape(self.layout, k), role(self.layout.plan.slots[k])
        if what == "number":
            return jnp.full(shape, jnp.sum(ref[...]), jnp.float32)
        if what == "feature":
            return _gathered(shape[1], ref, (0, 1), 1)
        folded = {"row": 1, "column": 0}.get(what)
        return ref[...] if folded is None else jnp.sum(ref[...], axis=folded, keepdims=True)

    @property
    def _rows(self) -> int:
        """Queries at once: all, where arrays of the score run along them."""
        layout = self.layout
        roles = [role(layout.plan.slots[k]) for k in layout.plan.slots_of("score")]
        together = "row" in roles or "pair" in roles or layout.query % ROWS
        return layout.query if together else ROWS

    def _each_tile(self, tile: Callable[[Any], None]) -> None:
        size = self._rows
        if size == self.layout.query:
            tile(slice(None))
            return

        def body(at: Any, _: Any) -> None:
            tile(pl.ds(pl.multiple_of(at * size, size), size))

        lax.fori_loop(0, self.layout.query // size, body, None)

    def _spread_query(self, d: Any, rows: Any, seen: Any) -> Float[Array, "rows Tk"]:
        q = self._query[d, rows, :]
        if seen is not None:
            q = jnp.where(seen[rows, :] > 0, q, 0.0)
        return jnp.concatenate([q] * (self.layout.key // self.layout.lanes), axis=1)

    def _score(self, reader: Reader, d: Any, chosen: Any = (), arrays: Any = ()) -> Any:
        changed = dict(zip(chosen, arrays, strict=True))
        values = [
            changed[k] if k in changed else self._of_score(reader, k, d)
            for k in range(len(reader.values))
        ]
        return self.layout.plan.fill(values).score

    def _of_score(self, reader: Reader, k: int, d: Any) -> Any:
        feature = k > 2 and role(self.layout.plan.slots[k]) == "feature"
        return reader.number(k, d) if feature else reader.values[k]


def _spread(layout: Layout, k: int) -> tuple[int, ...]:
    """In what the gradient of an array of the score is summed up before it is folded."""
    slot = layout.plan.slots[k]
    return {
        "number": (SUBLANES, layout.lanes),
        "row": (layout.query, layout.lanes),
        "column": (SUBLANES, layout.key),
        "pair": (layout.query, layout.key),
        "feature": (slot.size("query_width"), SUBLANES, layout.lanes),
    }[role(slot)]


def _unrolled(count: int, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """`fori_loop` with several turns at once, for the scheduler to overlap."""
    turns, rest = divmod(count, UNROLL)

    def several(turn: Any, carry: Any) -> Any:
        for k in range(UNROLL):
            carry = body(turn * UNROLL + k, carry)
        return carry

    carry = lax.fori_loop(0, turns, several, carry)
    for k in range(rest):
        carry = body(turns * UNROLL + k, carry)
    return carry


def _summed(count: int, term: Callable[[Any], Array], start: Array) -> Array:
    """The sum of many terms: a few are added up first, so that rounding does not pile up."""
    turns, rest = divmod(count, UNROLL)

    def several(first: Any, number: int) -> Array:
        terms = [term(first + k) for k in range(number)]
        return sum(terms[1:], start=terms[0])

    total = lax.fori_loop(0, turns, lambda at, total: total + several(at * UNROLL, UNROLL), start)
    return total + several(turns * UNROLL, rest) if rest else total


def _gathered(width: int, ref: Any, over: Any, rows: int) -> Float[Array, "rows D"]:
    """What is spread over registers, [D, ...] or [D, Tq, lanes], summed, one number to a lane."""
    parts = []
    for start in range(0, width, LANES):
        size = min(LANES, width - start)
        lane = lax.broadcasted_iota(jnp.int32, (rows, size), 1)

        def put(d: Any, part: Array, start: int = start, lane: Array = lane) -> Array:
            return jnp.where(lane == d, jnp.sum(ref[start + d], axis=over, keepdims=True), part)

        parts.append(_unrolled(size, put, jnp.zeros((rows, size), jnp.float32)))
    return jnp.concatenate(parts, axis=1)


def _over_sublanes(x: Float[Array, "rows columns"]) -> Float[Array, "8 columns"]:
    """Registers on top of each other added up."""
    return sum(
        (x[at : at + SUBLANES] for at in range(SUBLANES, x.shape[0], SUBLANES)), start=x[:SUBLANES]
    )
