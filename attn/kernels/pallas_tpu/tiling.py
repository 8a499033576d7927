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


def fitting(plan: Plan, backward: bool, largest: int) -> Layout:
    """Blocks that fit the chip's memory and what is to be computed, of at most so many rows."""
    call = plan.fill([None] * len(plan.slots))
    score = call.score
    width = max(plan.slots[0].shape[-1], plan.slots[1].shape[-1])
    if isinstance(score, Featurewise):
        rows = SPREAD // (4 if small() else 1) // (width * 512) // 16 * 16
        query, key = min(max(rows, 16), 128), 256 if small() else 512
    elif isinstance(score, Dot):
        # A mask's edge goes through smaller blocks with less of them beyond it.
        query, key = 512, 1024 if call.mask is None else 512
        plain = call.mask is None or isinstance(call.mask, Causal)
        if not backward and plain and _few_steps(plan):
            query, key = 1024, 1024
        if call.mods or call.weighting is not None:
            query, key = 256, 512  # what they compute is unrolled, and takes long to compile
        if max(width, plan.value_width) > 256 or small():
            query, key = 256, 256
    else:
        query, key = 16, 128
    rows = _block(plan.sizes["query"], min(query, largest), 16)
    columns = _block(plan.sizes["key"], min(key, largest), min(LANES, largest))
    return Layout(plan, rows, columns, _unseen(plan))


def small() -> bool:
    """Whether the machine has 16 MiB of vector memory, not 64 or more."""
    return _kind().startswith(("TPU v2", "TPU v3", "TPU v4"))


def _kind() -> str:
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.devices()[0].device_kind if device is None else device.device_kind


def _few_steps(plan: Plan) -> bool:
    """Whether products are so quick that fewer steps gain more than a large diagonal loses."""
    long = min(plan.sizes["query"], plan.sizes["key"]) >= 2048
    return long and _kind().startswith(("TPU v6", "TPU7x"))


def _unseen(plan: Plan) -> tuple[bool, bool]:
    """Whether there may be queries that see nothing, and keys that nothing sees."""
    mask, sizes = plan.fill([None] * len(plan.slots)).mask, plan.sizes
    if mask is None:
        return False, False
    if isinstance(mask, Causal) and not plan.slots_of("places"):
        return mask.offset < 0, sizes["key"] > sizes["query"] + mask.offset
    return True, True


def _block(length: int, most: int, least: int) -> int:
    """A multiple of `least`, as even as can be."""
    blocks = -(-length // most)
    each = -(-length // blocks)
    return -(-each // least) * least


def lacking(plan: Plan, arrays: Sequence[Array], largest: int) -> str | None:
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
        layout = fitting(plan, backward, largest)
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
