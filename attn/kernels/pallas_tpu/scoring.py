"""Scores of a block and their gradients, for scores that take whole rows of query and key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu

from attn.kernels.pallas_tpu.layout import Layout, role
from attn.kernels.pallas_tpu.reading import Reader
from attn.kernels.tiles import (
    Block,
    against,
    times,
    transposed_times,
)
from attn.scores import Dot
from attn.typing import Array, Float


@dataclass(frozen=True)
class Aim:
    """Which gradients a family of scores is to find: of an operand and of arrays of its own."""

    side: str | None = None
    """ "query" or "key"."""
    chosen: tuple[int, ...] = ()
    again: bool = False
    """Whether scores are computed for the backward pass."""


@runtime_checkable
class Scoring(Protocol):
    """What a kernel asks of a family: `Whole` or `ByFeature`, which own memory in the chip."""

    @property
    def aim(self) -> Aim:
        """What it is to find."""

    def enter(self, reader: Reader) -> None:
        """Prepares for a new block of queries."""

    def raw(self, reader: Reader, block: Block) -> Float[Array, "Tq Tk"]:
        """Scores before the mods; anything where a pair takes no part."""

    def raw_again(self, reader: Reader, block: Block) -> Float[Array, "Tq Tk"]:
        """The same for the backward pass: finite where a pair takes no part."""

    def clear_operand(self) -> None:
        """Before the first `pull` for a block of the operand."""

    def clear_arrays(self) -> None:
        """Before the first `pull` for a block of the arrays."""

    def pull(self, reader: Reader, block: Block, of_raw: Float[Array, "Tq Tk"]) -> None:
        """Adds up gradients, after `raw_again` of the same block."""

    def of_operand(self) -> Array:
        """The operand's gradient: [Tq, D] or, as the key lies, [Tk, D'] or [D, Tk]."""

    def of_array(self, at: int) -> Array:
        """The gradient of the `at`-th of the arrays, as `sum_shape`."""


def sum_shape(layout: Layout, k: int) -> tuple[int, int]:
    """In what a gradient of an array of a piece is summed up: a number fills its whole block."""
    return {
        "number": (8, 128),
        "row": (layout.query, 1),
        "column": (1, layout.key),
        "pair": (layout.query, layout.key),
        "feature": (1, layout.plan.slots[k].size("query_width")),
    }[role(layout.plan.slots[k])]


def sums(shape: tuple[int, ...]) -> Any:
    """Memory in which float32 numbers are added up."""
    return pltpu.VMEM(shape, jnp.float32)


def add(ref: Any, x: Array) -> None:
    """Adds what a block found: a number, or an array."""
    x = x.astype(jnp.float32)
    ref[...] += x.reshape(ref.shape) if x.shape else x


def clear(ref: Any) -> None:
    """Zeros."""
    ref[...] = jnp.zeros(ref.shape, ref.dtype)


@dataclass(frozen=True)
class Whole:
    """Any score."""

    layout: Layout
    aim: Aim
    memory: Sequence[Any]

    @staticmethod
    def scratch(layout: Layout, aim: Aim) -> list[Any]:
        """The memory that it needs."""
        slots, operand = layout.plan.slots, []
        if aim.side == "query":
            operand = [sums((layout.query, slots[0].shape[-1]))]
        if aim.side == "key":
            operand = [sums((layout.key, slots[1].shape[-1]))]
        return operand + [sums(sum_shape(layout, k)) for k in aim.chosen]

    def enter(self, reader: Reader) -> None:
        return None

    def raw(self, reader: Reader, block: Block) -> Float[Array, "Tq Tk"]:
        return self._score(reader, reader.refs[0][...], reader.refs[1][...], block)

    def raw_again(self, reader: Reader, block: Block) -> Float[Array, "Tq Tk"]:
        return self._score(reader, reader.query(block), reader.key(block), block)

    def clear_operand(self) -> None:
        if self.aim.side:
            clear(self.memory[0])

    def clear_arrays(self) -> None:
        for ref in self._arrays:
            clear(ref)

    def pull(self, reader: Reader, block: Block, of_raw: Float[Array, "Tq Tk"]) -> None:
        query, key = reader.query(block), reader.key(block)
        score = reader.head().score
        if isinstance(score, Dot):
            self._pull_dot(score, query, key, of_raw)
            return
        query, key = (x.astype(jnp.float32) for x in (query, key))
        side, chosen = self.aim.side, self.aim.chosen

        def tile(operand: Any, arrays: list[Array]) -> Array:
            pair = {"query": (operand, key), "key": (query, operand), None: (query, key)}[side]
            return reader.head(chosen, arrays).score.tile(*pair, *block.where)

        operand = {"query": query, "key": key, None: ()}[side]
        _, pulled = jax.vjp(tile, operand, [reader.values[k] for k in chosen])
        of_operand, of_arrays = pulled(of_raw)
        if side:
            add(self.memory[0], of_operand)
        for ref, x in zip(self._arrays, of_arrays, strict=True):
            add(ref, x)

    def of_operand(self) -> Array:
        return self.memory[0][...]

    def of_array(self, at: int) -> Array:
        return self._arrays[at][...]

    @property
    def _arrays(self) -> Sequence[Any]:
        return self.memory[1:] if self.aim.side else self.memory

    def _pull_dot(self, score: Dot, query: Array, key: Array, of_raw: Array) -> None:
        scaled = of_raw * jnp.asarray(score.scale, of_raw.dtype)
        if self.aim.side == "query":
            add(self.memory[0], times(scaled, key))
        if self.aim.side == "key":
            add(self.memory[0], transposed_times(scaled, query))
        for ref in self._arrays:
            add(ref, jnp.sum(of_raw * against(query, key)))

    def _score(self, reader: Reader, query: Array, key: Array, block: Block) -> Array:
        score = reader.head().score
        if not score.sums_wide:
            query, key = query.astype(jnp.float32), key.astype(jnp.float32)
        return score.tile(query, key, *block.where)
