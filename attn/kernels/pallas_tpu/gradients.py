"""In what shapes kernels take what the backward pass is given, and leave what it finds."""

from typing import Any

import jax.numpy as jnp
from jax.experimental import pallas as pl

from attn.kernels.fused import Known, Plan
from attn.kernels.pallas_tpu.layout import Layout, Where, role
from attn.typing import Array

Shape = tuple[tuple[int, ...], Any]
"""And dtype."""


def rows(layout: Layout, where: Where, width: int) -> pl.BlockSpec:
    """A block of [B, N, T, width]."""

    def index(*ids: Any) -> tuple[Any, ...]:
        at = where(*ids)
        return at.b, at.n, at.query, 0

    return pl.BlockSpec((None, None, layout.query, width), index)


def strip(layout: Layout, where: Where) -> pl.BlockSpec:
    """A block of [B, N, T], in `Layout.strips`."""

    def index(*ids: Any) -> tuple[Any, ...]:
        at = where(*ids)
        return at.b, at.n, at.query, 0, 0

    return pl.BlockSpec((None, None, None, 1, layout.query), index)


def known_arrays(layout: Layout, known: Known) -> list[Array]:
    """The output's gradient, log-sum-exp and delta as kernels take them."""
    of_output = layout.padded(known.of_output.swapaxes(1, 2), 2, "query")
    lse, delta = (x.swapaxes(1, 2) for x in (known.lse, known.delta))
    # A query that is not there has weights exp(s − ∞) = 0, whatever a mod makes of it.
    return [
        of_output,
        layout.strips(lse, "query", jnp.inf),
        layout.strips(delta, "query"),
    ]


def known_specs(layout: Layout, where: Where) -> list[pl.BlockSpec]:
    """How these are cut."""
    return [rows(layout, where, layout.plan.value_width), *[strip(layout, where)] * 2]


def owners(plan: Plan, k: int) -> tuple[int, int]:
    """For how many batches and heads an array along queries and keys has a gradient of its own."""
    slot = plan.slots[k]
    return slot.size("batch"), plan.sizes["head"] if "key_head" in slot.axes else slot.size("head")


def shape(layout: Layout, k: int) -> Shape:
    """In which a kernel leaves a gradient."""
    plan, slot = layout.plan, layout.plan.slots[k]
    sizes, (nq, nk) = plan.sizes, layout.blocks
    if k < 3:
        heads = sizes["head" if k == 0 else "key_head"]
        length = nq * layout.query if k == 0 else nk * layout.key
        matrix = length, slot.shape[-1]
        if layout.by_feature and k == 1:
            matrix = matrix[::-1]
        return (sizes["batch"], heads, *matrix), slot.dtype
    what = role(slot)
    if what == "pair":
        return (*owners(plan, k), sizes["query"], sizes["key"]), slot.dtype
    ends = {
        "number": (nq, 8, 128),
        "feature": (nq, 1, slot.size("query_width")),
        "row": (nq, 1, layout.query),
        "column": (nk, 1, layout.key),
    }
    return (sizes["batch"], sizes["head"], *ends[what]), jnp.float32


def spec(layout: Layout, k: int, where: Where) -> pl.BlockSpec:
    """How that is cut."""
    slot, group = layout.plan.slots[k], layout.plan.group
    if k == 0:
        return rows(layout, where, slot.shape[-1])
    if k < 3:
        turned = layout.by_feature and k == 1

        def index(*ids: Any) -> tuple[Any, ...]:
            at = where(*ids)
            front = at.b, at.n // group
            return (*front, 0, at.key) if turned else (*front, at.key, 0)

        matrix = layout.key, slot.shape[-1]
        return pl.BlockSpec((None, None, *(matrix[::-1] if turned else matrix)), index)
    what = role(slot)
    if what == "pair":
        own = owners(layout.plan, k)

        def of_pair(*ids: Any) -> tuple[Any, ...]:
            at = where(*ids)
            front = (at.b if own[0] > 1 else 0), (at.n if own[1] > 1 else 0)
            return (*front, at.query, at.key)

        return pl.BlockSpec((None, None, layout.query, layout.key), of_pair)

    def of_piece(*ids: Any) -> tuple[Any, ...]:
        at = where(*ids)
        return at.b, at.n, at.key if what == "column" else at.query, 0, 0

    return pl.BlockSpec((None, None, None, *shape(layout, k)[0][-2:]), of_piece)


def fitted(layout: Layout, k: int, x: Array) -> Array:
    """A gradient from `shape` as `fused.Machine` says."""
    sizes, slot = layout.plan.sizes, layout.plan.slots[k]
    if k < 3:
        x = x.swapaxes(2, 3) if layout.by_feature and k == 1 else x
        return x[:, :, : sizes["query" if k == 0 else "key"]].swapaxes(1, 2)
    what = role(slot)
    if what == "number":
        return x[:, :, :, 0, :1]
    if what == "row":
        return x.reshape(*x.shape[:2], -1)[:, :, : sizes["query"], None]
    if what == "column":
        return x.reshape(*x.shape[:2], -1)[:, :, None, : sizes["key"]]
    return x
