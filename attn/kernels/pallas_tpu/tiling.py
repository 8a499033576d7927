"""How large blocks are, and what is too much for them."""

from collections.abc import Sequence
from typing import Any

import jax

from attn.kernels.fused import Plan
from attn.kernels.pallas_tpu.layout import AXES, LANES, Layout, role
from attn.kernels.visits import visits
from attn.masks import Causal
from attn.scores import Dot, Featurewise
from attn.typing import Array

TABLES = 1 << 17
"""Entries of tables that scalar memory holds."""
SPREAD = 8 << 20
"""Bytes for a block of queries whose numbers are spread over all lanes."""


def fitting(plan: Plan, backward: bool) -> Layout:
    """Blocks that fit the chip's memory and what is to be computed."""
    score = plan.fill([None] * len(plan.slots)).score
    width = max(plan.slots[0].shape[-1], plan.slots[1].shape[-1])
    if isinstance(score, Featurewise):
        rows = SPREAD // (width * 512) // 16 * 16
        query, key = min(max(rows, 16), 128), 512
    elif isinstance(score, Dot):
        query, key = 512, 512
        widest = max(width, plan.value_width)
        if widest > 256:
            query, key = 256, 256
    else:
        query, key = 16, 128
    return Layout(plan, _block(plan.sizes["query"], query, 16), _block(plan.sizes["key"], key, 128))


def _block(length: int, most: int, least: int) -> int:
    """A multiple of `least`, as even as can be."""
    blocks = -(-length // most)
    each = -(-length // blocks)
    return -(-each // least) * least


def lacking(plan: Plan, arrays: Sequence[Array]) -> str | None:
    """Why a call's arrays are too much; None if they are not."""
    for slot in plan.slots[3:]:
        strange = [axis for axis in slot.axes if axis not in AXES and slot.size(axis) > 1]
        if strange:
            return f"{slot.name} runs along {', '.join(strange)}"
        if role(slot) == "feature" and slot.along("query", "key"):
            return f"{slot.name} runs along the width and along queries or keys"
    numbers = sum(
        _size(slot.shape) for slot in plan.slots[3:] if role(slot) in ("number", "feature")
    )
    tables = 0
    for backward in (False, True):
        layout = fitting(plan, backward)
        found: Any = jax.eval_shape(
            lambda arrays, layout=layout: visits(plan.fill(arrays), layout.query, layout.key),
            list(arrays),
        )
        tables = max(tables, *(_size(part.order.shape) for part in found[:2]))
    if numbers + tables > TABLES:
        return f"{numbers + tables} numbers and block numbers; scalar memory holds {TABLES}"
    return None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
