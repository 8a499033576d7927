"""How the arrays of a call lie in the chip's memory, and which block of each a step has at hand.

One rule serves all pieces: the axes of an array and which of them have size 1 say what it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from attn.kernels.fused import Plan, Slot
from attn.scores import Featurewise
from attn.typing import Array

LANES = 128
"""Numbers side by side in a register."""
SUBLANES = 8
"""Rows of 32-bit numbers in a register."""
AXES = ("batch", "head", "key_head", "query", "key", "query_width")
"""Axes along which an array of a piece may run."""


class Place(NamedTuple):
    """What a step works on: batch, query head, block of queries, block of keys."""

    b: Any
    n: Any
    query: Any
    key: Any


Where = Callable[..., Place]
"""From the indices of a grid and references to its tables to the place."""


def role(slot: Slot) -> str:
    """What an array of a piece is to a kernel.

    A "number" of each batch and head; a "row" along the queries, a "column" along the keys or a
    "pair" along both; a "feature" along the width.
    """
    if slot.along("query_width"):
        return "feature"
    along = slot.along("query"), slot.along("key")
    return {(False, False): "number", (True, False): "row", (False, True): "column"}.get(
        along, "pair"
    )


@dataclass(frozen=True)
class Layout:
    """A call's arrays in blocks of queries and keys. Everything has its heads before its length."""

    plan: Plan
    query: int
    """Queries in a block."""
    key: int
    """Keys in a block."""
    unseen: tuple[bool, bool] = (True, True)
    """Whether there may be queries that see nothing, and keys that are not seen: such may hold
    anything."""

    @property
    def lanes(self) -> int:
        """Of a register, as far as blocks fill one: all but in tests of an interpreter."""
        return min(self.key, LANES)

    @property
    def by_feature(self) -> bool:
        """Whether scores are added up number by number: then keys lie with the width first."""
        return isinstance(self.plan.fill([None] * len(self.plan.slots)).score, Featurewise)

    @property
    def blocks(self) -> tuple[int, int]:
        """Of queries and of keys."""
        sizes = self.plan.sizes
        return -(-sizes["query"] // self.query), -(-sizes["key"] // self.key)

    def array(self, k: int, x: Array) -> Array:
        """The array of slot `k` as kernels take it."""
        slot = self.plan.slots[k]
        if k < 3:
            x = self.padded(x.swapaxes(1, 2), 2, "query" if k == 0 else "key")
            if self.by_feature and k < 2:
                x = x.astype(jnp.float32)  # rows of 16 bits are two to a register
            return x.swapaxes(2, 3) if self.by_feature and k == 1 else x
        x, what = canonical(slot, x), role(slot)
        if what == "pair":
            return x.astype(jnp.int8) if x.dtype == jnp.bool_ else x
        x = _word(x)
        if what == "number" or (what == "feature" and self.by_feature):
            return x.reshape(-1)
        if what == "feature":
            return x.reshape(*x.shape[:2], 1, -1)
        return self.strips(x.reshape(*x.shape[:2], -1), "query" if what == "row" else "key")

    def padded(self, x: Array, axis: int, along: str, fill: Any = 0) -> Array:
        """`x` with an axis filled up to whole blocks of queries or keys."""
        block = self.query if along == "query" else self.key
        missing = -x.shape[axis] % block
        if not missing:
            return x
        edges = [(0, missing if k == axis else 0) for k in range(x.ndim)]
        return jnp.pad(x, edges, constant_values=fill)

    def strips(self, x: Array, along: str, fill: Any = 0) -> Array:
        """[.., L] as [.., blocks, 1, block]: one row to a block, of any size."""
        x = self.padded(x, x.ndim - 1, along, fill)
        block = self.query if along == "query" else self.key
        return x.reshape(*x.shape[:-1], -1, 1, block)

    def spec(self, k: int, where: Where) -> pl.BlockSpec:
        """How `array(k, ...)` is cut."""
        slot, group = self.plan.slots[k], self.plan.group
        if k < 3:
            width, shared = slot.shape[-1], slot.shape[0] == 1

            def index(*ids: Any) -> tuple[Any, ...]:
                at = where(*ids)
                if k == 0:
                    return at.b, at.n, at.query, 0
                front = 0 if shared else at.b, at.n // group
                return (*front, 0, at.key) if self.by_feature and k == 1 else (*front, at.key, 0)

            block = (self.query if k == 0 else self.key), width
            return pl.BlockSpec(
                (None, None, *(block[::-1] if self.by_feature and k == 1 else block)), index
            )
        what = role(slot)
        if what == "number" or (what == "feature" and self.by_feature):
            return pl.BlockSpec(memory_space=pltpu.SMEM)

        def of_piece(*ids: Any) -> tuple[Any, ...]:
            at = where(*ids)
            front = owner(slot, at, group)
            return {
                "feature": (*front, 0, 0),
                "row": (*front, at.query, 0, 0),
                "column": (*front, at.key, 0, 0),
                "pair": (*front, at.query, at.key),
            }[what]

        shape: tuple[int | None, ...] = {
            "feature": (1, slot.size("query_width")),
            "row": (None, 1, self.query),
            "column": (None, 1, self.key),
            "pair": (self.query, self.key),
        }[what]
        return pl.BlockSpec((None, None, *shape), of_piece)


def owner(slot: Slot, at: Place, group: int) -> tuple[Any, Any]:
    """Batch and head index into an array of a piece."""
    head = at.n // group if "key_head" in slot.axes else at.n
    heads = slot.size("head") * slot.size("key_head")
    return at.b if slot.size("batch") > 1 else 0, head if heads > 1 else 0


def canonical(slot: Slot, x: Array) -> Array:
    """An array of a piece as [batch, head or key head, query, key], and width if along it."""
    heads = "key_head" if "key_head" in slot.axes else "head"
    axes = ["batch", heads, "query", "key", *(["query_width"] if role(slot) == "feature" else [])]
    order = [slot.axes.index(axis) for axis in axes if axis in slot.axes]
    order += [k for k in range(x.ndim) if k not in order]
    return x.transpose(order).reshape([slot.size(axis) for axis in axes])


def _word(x: Array) -> Array:
    """In 32 bits a number: what scalar memory holds."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(jnp.float32)
    if x.dtype == jnp.uint32:
        return lax.bitcast_convert_type(x, jnp.int32)
    return x.astype(jnp.int32)


def as_declared(x: Array, dtype: Any) -> Array:
    """What the kernel read of an array, in a dtype that a piece can take for the array's own."""
    if jnp.issubdtype(dtype, jnp.bool_):
        return x.astype(jnp.int32) != 0
    if dtype == jnp.uint32:
        return x.astype(jnp.uint32)
    return x


def column(x: jax.Array) -> jax.Array:
    """[1, L] as [L, 1]."""
    return x.reshape(-1, 1)


def over_lanes(x: jax.Array, lanes: int) -> jax.Array:
    """[rows, columns] as [rows, lanes]: registers side by side added up."""
    parts = [x[:, at : at + lanes] for at in range(0, x.shape[1], lanes)]
    return sum(parts[1:], start=parts[0])
