"""Scores of a block and their gradients: two families of scores, one set of methods.

`Whole` runs a score's `tile` on whole rows of query and key. `ByFeature` adds up a score number by
number along the width, so that a block of pairs never meets all the numbers of a pair at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax

from attn.kernels.call import Call
from attn.kernels.fused import Plan
from attn.kernels.pallas_gpu.reading import Reader, Span, power
from attn.kernels.tiles import (
    Block,
    against,
    cleared_columns,
    cleared_rows,
    times,
    transposed_times,
)
from attn.scores import Dot, Featurewise
from attn.typing import Array, Float

Parts = list[Array]
"""An array along the width, in parts of it."""


@runtime_checkable
class Scoring(Protocol):
    """What a kernel asks of a family."""

    def query(self, reader: Reader) -> Any:
        """What to read of the query before a loop over keys."""

    def key(self, reader: Reader) -> Any:
        """What to read of the key before a loop over queries."""

    def raw(self, reader: Reader, block: Block, query: Any, key: Any) -> Float[Array, "Tq Tk"]:
        """Scores before the mods."""

    def spans(self) -> list[Span]:
        """The parts of the width in which gradients come."""

    def pull(
        self,
        reader: Reader,
        block: Block,
        query: Any,
        key: Any,
        of_raw: Float[Array, "Tq Tk"],
        side: str | None,
        chosen: Sequence[int],
    ) -> tuple[Parts, list[Parts]]:
        """Gradients of the query or the key (`side`), and of the score's own arrays `chosen`.

        An array that runs along the width comes in parts as query and key do, others in one.
        """


def scoring(plan: Plan, tile_width: int) -> Scoring:
    """The family of a plan's score."""
    score = plan.fill([None] * len(plan.slots)).score
    return ByFeature(plan, tile_width) if isinstance(score, Featurewise) else Whole(plan)


@dataclass(frozen=True)
class Whole:
    """Any score."""

    plan: Plan

    def query(self, reader: Reader) -> Array:
        return reader.read(0)

    def key(self, reader: Reader) -> Array:
        return reader.read(1)

    def raw(self, reader: Reader, block: Block, query: Any, key: Any) -> Float[Array, "Tq Tk"]:
        query, key = self._cleared(reader, block, query, key)
        return self._filled(reader).score.tile(query, key, *block.where)

    def spans(self) -> list[Span]:
        return [Span(0, power(self.plan.slots[0].shape[-1], 16))]

    def pull(self, reader, block, query, key, of_raw, side, chosen):
        query, key = self._cleared(reader, block, query, key)
        score = self._filled(reader).score
        if isinstance(score, Dot):
            return self._pull_dot(score, query, key, of_raw, side, chosen)

        def tile(operand: Any, arrays: list[Array]) -> Array:
            pair = {"query": (operand, key), "key": (query, operand), None: (query, key)}[side]
            return self._filled(reader, chosen, arrays).score.tile(*pair, *block.where)

        operand = {"query": query, "key": key, None: ()}[side]
        values = _with_width(reader, None)
        _, pulled = jax.vjp(tile, operand, [values[k] for k in chosen])
        of_operand, of_arrays = pulled(of_raw)
        return [of_operand], [[x] for x in of_arrays]

    def _pull_dot(self, score, query, key, of_raw, side, chosen):
        scaled = of_raw * jnp.asarray(score.scale, of_raw.dtype)
        parts = []
        if side is not None:
            pulled = times(scaled, key) if side == "query" else transposed_times(scaled, query)
            parts.append(pulled)
        of_scale = [[jnp.sum(of_raw * against(query, key))] for _ in chosen]
        return parts, of_scale

    def _filled(self, reader: Reader, chosen: Any = (), arrays: Any = ()) -> Call:
        changed = dict(zip(chosen, arrays, strict=True))
        values = _with_width(reader, None)
        return self.plan.fill([changed.get(k, value) for k, value in enumerate(values)])

    def _cleared(self, reader: Reader, block: Block, query: Any, key: Any) -> tuple[Array, Array]:
        query, key = cleared_rows(block, query), cleared_columns(block, key)
        if reader.head().score.sums_wide:
            return query, key
        return query.astype(jnp.float32), key.astype(jnp.float32)


@dataclass(frozen=True)
class ByFeature:
    """Scores that are sums over the width."""

    plan: Plan
    part: int
    """Numbers of the width that a gradient is computed of at once."""

    def query(self, reader: Reader) -> None:
        return None

    def key(self, reader: Reader) -> None:
        return None

    def raw(self, reader: Reader, block: Block, query: Any, key: Any) -> Float[Array, "Tq Tk"]:
        def add(d: Any, s: Array) -> Array:
            q = cleared_rows(block, reader.read(0, d)[:, None]).astype(jnp.float32)
            k = cleared_columns(block, reader.read(1, d)[:, None]).astype(jnp.float32)
            return s + self._score(reader, d).feature(q, k.reshape(1, -1))

        shape = block.i.shape[0], block.j.shape[1]
        return lax.fori_loop(0, self.plan.slots[0].shape[-1], add, jnp.zeros(shape, jnp.float32))

    def spans(self) -> list[Span]:
        width = self.plan.slots[0].shape[-1]
        part = min(self.part, power(width))
        return [Span(start, part) for start in range(0, width, part)]

    def pull(self, reader, block, query, key, of_raw, side, chosen):
        pulled = [
            self._pull_part(reader, block, of_raw, side, chosen, span) for span in self.spans()
        ]
        of_operand = [part[0] for part in pulled if side is not None]
        of_arrays = []
        for at, k in enumerate(chosen):
            parts = [part[1][at] for part in pulled]
            along = self.plan.slots[k].along("query_width")
            of_arrays.append(parts if along else [sum(parts[1:], parts[0])])
        return of_operand, of_arrays

    def _pull_part(self, reader, block, of_raw, side, chosen, span):
        q = cleared_rows(block, reader.read(0, span)).astype(jnp.float32)[:, None, :]
        k = cleared_columns(block, reader.read(1, span)).astype(jnp.float32)[None, :, :]
        q, k = jnp.broadcast_to(q, (q.shape[0], k.shape[1], q.shape[2])), k
        values = _with_width(reader, span)

        def feature(operand: Any, arrays: list[Array]) -> Array:
            changed = dict(zip(chosen, arrays, strict=True))
            filled = [changed.get(at, value) for at, value in enumerate(values)]
            pair = {"query": (operand, k), "key": (q, operand), None: (q, k)}[side]
            return self.plan.fill(filled).score.feature(*pair)

        operand = {"query": q, "key": jnp.broadcast_to(k, q.shape), None: ()}[side]
        _, pulled = jax.vjp(feature, operand, [values[at] for at in chosen])
        there = (span.indices() < self.plan.slots[0].shape[-1])[None, None, :]
        of_features = jnp.where(there, jnp.broadcast_to(of_raw[:, :, None], q.shape), 0.0)
        of_operand, of_arrays = pulled(of_features)
        if side is not None:
            of_operand = jnp.sum(of_operand, axis=1 if side == "query" else 0)
        return of_operand, of_arrays

    def _score(self, reader: Reader, width: Any) -> Any:
        return self.plan.fill(_with_width(reader, width)).score


def _with_width(reader: Reader, width: Any) -> list[Any]:
    """What has been read of each slot, and `width` of the arrays that run along the width."""
    return [
        reader.read(k, width).astype(jnp.float32) if slot.along("query_width") else value
        for k, (slot, value) in enumerate(zip(reader.plan.slots, reader.values, strict=True))
    ]
