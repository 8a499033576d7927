"""Scores of a block and their gradients: two families of scores, one set of methods.

`Whole` runs a score's `tile` on whole rows of query and key. `ByFeature` adds up a score number by
number along the width, so that a block of pairs never meets all the numbers of a pair at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax

from attn.kernels.call import Call
from attn.kernels.fused import Plan
from attn.kernels.pallas_gpu.memory import Goal, Reader, Span, power
from attn.kernels.tiles import (
    Block,
    against,
    cleared_columns,
    cleared_rows,
    seen_columns,
    seen_rows,
    times,
    transposed_times,
)
from attn.scores import Dot, Featurewise, Score
from attn.typing import Array, Bool, Float

Operands = tuple[Any, Any]
"""What was read of query and key."""

Seen = Bool[Array, "L 1"] | None
"""Which of a block's queries or keys may be looked at; None for all."""


@dataclass(frozen=True)
class Goals:
    """Which gradients of a score a program seeks, and where they go."""

    side: str | None
    """"query" or "key"; None for neither."""
    operand: Goal | None
    chosen: tuple[int, ...]
    """Slots of the score's own arrays."""
    arrays: tuple[Goal, ...]

    @property
    def own(self) -> list[tuple[int, Goal]]:
        """The score's own arrays: slots and goals."""
        return list(zip(self.chosen, self.arrays, strict=True))


@runtime_checkable
class Scoring(Protocol):
    """What a kernel asks of a family."""

    def query(self, reader: Reader, seen: Seen = None) -> Any:
        """What to read of the query, but 0 where it is not seen."""

    def key(self, reader: Reader, seen: Seen = None) -> Any:
        """What to read of the key, but 0 where it is not seen."""

    def raw(self, reader: Reader, block: Block, operands: Operands) -> Float[Array, "Tq Tk"]:
        """Scores before the mods; anything where a pair takes no part."""

    def begin(self, goals: Goals) -> Any:
        """Gradients before the first block."""

    def add(
        self,
        sums: Any,
        goals: Goals,
        reader: Reader,
        block: Block,
        operands: Operands,
        of_raw: Float[Array, "Tq Tk"],
    ) -> Any:
        """Gradients after one more block, given that of its scores before the mods."""

    def end(self, sums: Any, goals: Goals) -> None:
        """Writes what is not written yet."""


def scoring(plan: Plan, part: int) -> Scoring:
    """The family of a plan's score; `part` numbers of the width go at once through a gradient."""
    score = plan.fill([None] * len(plan.slots)).score
    return ByFeature(plan, part) if isinstance(score, Featurewise) else Whole(plan)


@dataclass(frozen=True)
class Whole:
    """Any score. Gradients stay in registers until the end."""

    plan: Plan

    def query(self, reader: Reader, seen: Seen = None) -> Array:
        return reader.read(0, seen=seen)

    def key(self, reader: Reader, seen: Seen = None) -> Array:
        return reader.read(1, seen=seen)

    def raw(self, reader: Reader, block: Block, operands: Operands) -> Float[Array, "Tq Tk"]:
        score = self._filled(reader).score
        return score.tile(*self._wide(score, block, operands), *block.where)

    def begin(self, goals: Goals) -> Any:
        width = power(self.plan.slots[0].shape[-1], 16)
        of_operand = []
        if goals.operand is not None:
            of_operand = [jnp.zeros((goals.operand.length, width), jnp.float32)]
        slots = self.plan.slots
        shapes = [
            (width,) if slots[k].along("query_width") else goal.shape for k, goal in goals.own
        ]
        return of_operand, [jnp.zeros(shape, jnp.float32) for shape in shapes]

    def add(self, sums, goals, reader, block, operands, of_raw):
        score = self._filled(reader).score
        query, key = self._wide(score, block, operands)
        pull = partial(_pull_dot, score) if isinstance(score, Dot) else partial(self._pull, reader)
        more = pull(block, query, key, of_raw, goals)
        return jax.tree.map(jnp.add, sums, more)

    def end(self, sums: Any, goals: Goals) -> None:
        of_operand, of_arrays = sums
        width = Span(0, power(self.plan.slots[0].shape[-1], 16))
        if goals.operand is not None:
            goals.operand.put(of_operand[0], width)
        for k, goal, gradient in zip(goals.chosen, goals.arrays, of_arrays, strict=True):
            goal.put(gradient, width if self.plan.slots[k].along("query_width") else None)

    def _pull(self, reader, block, query, key, of_raw, goals):
        side = goals.side

        def tile(operand: Any, arrays: list[Array]) -> Array:
            pair = {"query": (operand, key), "key": (query, operand), None: (query, key)}[side]
            return self._filled(reader, goals.chosen, arrays).score.tile(*pair, *block.where)

        operand = {"query": query, "key": key, None: ()}[side]
        values = _with_width(reader, None)
        _, pulled = jax.vjp(tile, operand, [values[k] for k in goals.chosen])
        of_operand, of_arrays = pulled(of_raw)
        return [of_operand] if side else [], of_arrays

    def _filled(self, reader: Reader, chosen: Any = (), arrays: Any = ()) -> Call:
        changed = dict(zip(chosen, arrays, strict=True))
        values = _with_width(reader, None)
        return self.plan.fill([changed.get(k, value) for k, value in enumerate(values)])

    @staticmethod
    def _wide(score: Score, block: Block, operands: Operands) -> Operands:
        """What a score's `tile` takes: a matrix product's may hold anything where not seen."""
        if isinstance(score, Dot):
            return operands
        query, key = cleared_rows(block, operands[0]), cleared_columns(block, operands[1])
        if score.sums_wide:
            return query, key
        return query.astype(jnp.float32), key.astype(jnp.float32)


def _pull_dot(
    score: Dot, block: Block, query: Array, key: Array, of_raw: Array, goals: Goals
) -> Any:
    """The gradients of a dot product, by matrix products in the operands' dtype."""
    scaled = of_raw * jnp.asarray(score.scale, of_raw.dtype)
    of_operand = []
    if goals.side == "query":
        of_operand = [times(scaled, key)]
    elif goals.side == "key":
        of_operand = [transposed_times(scaled, query)]
    if not goals.chosen:
        return of_operand, []
    product = against(query, key)
    if block.allowed is not None:
        product = jnp.where(block.allowed, product, 0.0)
    return of_operand, [jnp.sum(of_raw * product)]


@dataclass(frozen=True)
class ByFeature:
    """Scores that are sums over the width.

    Gradients along the width would not fit the registers: they are added up where they go, in
    memory that no other program touches.
    """

    plan: Plan
    part: int

    def query(self, reader: Reader, seen: Seen = None) -> None:
        return None

    def key(self, reader: Reader, seen: Seen = None) -> None:
        return None

    def raw(self, reader: Reader, block: Block, operands: Operands) -> Float[Array, "Tq Tk"]:
        width = self.plan.slots[0].shape[-1]
        nothing = jnp.zeros((block.i.shape[0], block.j.shape[1]), jnp.float32)

        def add(d: Any, s: Array) -> Array:
            q, k = (reader.read(at, d).astype(jnp.float32) for at in range(2))
            feature = _feature(self.plan.fill(_with_width(reader, d)))
            return s + feature(q[:, None], k[None, :])

        def add_part(turn: Any, s: Array) -> Array:  # apart, so that rounding does not pile up
            start = turn * self.part
            return s + lax.fori_loop(start, jnp.minimum(start + self.part, width), add, nothing)

        return lax.fori_loop(0, self._parts(), add_part, nothing)

    def begin(self, goals: Goals) -> list[Array]:
        held = [goal for k, goal in goals.own if self._wide(k)]
        held += [] if goals.operand is None else [goals.operand]

        def clear(turn: Any, _: None) -> None:
            for goal in held:
                goal.put(jnp.zeros((*goal.shape, self.part), jnp.float32), self._span(turn))

        lax.fori_loop(0, self._parts(), clear, None)
        for goal in held:
            goal.wait()
        kept = [goal for k, goal in goals.own if not self._wide(k)]
        return [jnp.zeros(goal.shape, jnp.float32) for goal in kept]

    def add(self, sums, goals, reader, block, operands, of_raw):
        seen = seen_rows(block), seen_columns(block)

        def part(turn: Any, sums: list[Array]) -> list[Array]:
            span = self._span(turn)
            of_operand, of_arrays = self._pull(reader, seen, of_raw, goals, span)
            if goals.operand is not None:
                goals.operand.add(of_operand, span)
            kept = []
            for k, goal, gradient in zip(goals.chosen, goals.arrays, of_arrays, strict=True):
                if self._wide(k):
                    goal.add(gradient, span)
                else:
                    kept.append(gradient)
            return [x + y for x, y in zip(sums, kept, strict=True)]

        return lax.fori_loop(0, self._parts(), part, sums)

    def end(self, sums: list[Array], goals: Goals) -> None:
        kept = [goal for k, goal in goals.own if not self._wide(k)]
        for goal, gradient in zip(kept, sums, strict=True):
            goal.put(gradient)

    def _pull(self, reader, seen, of_raw, goals, span):
        side, width = goals.side, self.plan.slots[0].shape[-1]
        shape = *of_raw.shape, span.size
        q, k = (reader.read(at, span, seen[at]).astype(jnp.float32) for at in range(2))
        q, k = jnp.broadcast_to(q[:, None, :], shape), jnp.broadcast_to(k[None, :, :], shape)
        values = _with_width(reader, span)

        def feature(operand: Any, arrays: list[Array]) -> Array:
            changed = dict(zip(goals.chosen, arrays, strict=True))
            filled = [changed.get(at, value) for at, value in enumerate(values)]
            pair = {"query": (operand, k), "key": (q, operand), None: (q, k)}[side]
            return _feature(self.plan.fill(filled))(*pair)

        operand = {"query": q, "key": k, None: ()}[side]
        _, pulled = jax.vjp(feature, operand, [values[at] for at in goals.chosen])
        there = (span.indices() < width)[None, None, :]
        of_features = jnp.where(there, jnp.broadcast_to(of_raw[:, :, None], shape), 0.0)
        of_operand, of_arrays = pulled(of_features)
        if side is not None:
            of_operand = jnp.sum(of_operand, axis=1 if side == "query" else 0)
        return of_operand, of_arrays

    def _wide(self, k: int) -> bool:
        return self.plan.slots[k].along("query_width")

    def _parts(self) -> int:
        return -(-self.plan.slots[0].shape[-1] // self.part)

    def _span(self, turn: Any) -> Span:
        return Span(turn * self.part, self.part)


def _feature(call: Call) -> Callable[..., Array]:
    assert isinstance(call.score, Featurewise)
    return call.score.feature


def _with_width(reader: Reader, width: Any) -> list[Any]:
    """What has been read of each slot, and `width` of the arrays that run along the width."""
    return [
        reader.read(k, width).astype(jnp.float32) if slot.along("query_width") else value
        for k, (slot, value) in enumerate(zip(reader.plan.slots, reader.values, strict=True))
    ]
