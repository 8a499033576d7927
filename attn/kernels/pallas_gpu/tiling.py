"""How large a program's blocks are."""

from dataclasses import dataclass, replace

import jax.numpy as jnp

from attn.kernels.fused import Plan
from attn.kernels.pallas_gpu.memory import power
from attn.scores import Dot, Featurewise

PROGRAMS = 256
"""With fewer than half of this, programs share the keys of a block of queries: a large GPU has 132
processors."""


@dataclass(frozen=True)
class Tiling:
    """Sizes of a program's blocks."""

    query: int
    key: int
    width: int
    """Numbers of the width at once where gradients go number by number."""
    splits: int
    """Programs that share the keys of a block of queries."""
    warps: int
    stages: int
    barrier: bool
    """Whether threads wait for each other where they share memory: an interpreter has one."""

    def blocks_of_queries(self, length: int) -> int:
        """How many there are."""
        return -(-length // self.query)

    def blocks_of_keys(self, length: int) -> int:
        """How many there are."""
        return -(-length // self.key)

    @classmethod
    def of(cls, plan: Plan, backward: bool, largest: int, barrier: bool) -> "Tiling":
        """Blocks that a program's registers and shared memory hold."""
        sizes = plan.sizes
        query, key, warps, stages = _fitting(plan, backward)
        query = min(query, largest, power(sizes["query"], 16))
        key = min(key, largest, power(sizes["key"], 16))
        alone = cls(query, key, 16, 1, warps, stages, barrier)
        programs = alone.blocks_of_queries(sizes["query"]) * sizes["head"] * sizes["batch"]
        if backward or programs >= PROGRAMS // 2:
            return alone
        turns = alone.blocks_of_keys(sizes["key"])
        splits = max(1, min(PROGRAMS // programs, turns // 2))
        return replace(alone, splits=splits)


def _fitting(plan: Plan, backward: bool) -> tuple[int, int, int, int]:
    """Queries, keys, warps and stages."""
    score = plan.fill([None] * len(plan.slots)).score
    if isinstance(score, Featurewise):
        return (16, 32, 4, 1) if plan.value_width <= 256 else (16, 16, 8, 1)
    if not isinstance(score, Dot):
        return 16, 16, 4, 1
    float32 = plan.slots[0].dtype == jnp.float32
    width = power(max(plan.slots[0].shape[-1], plan.value_width), 16)
    query = 128 if width <= 128 and not backward and not float32 else 64
    key = 64 if width <= 128 else 32
    if float32 and width > 64:
        query, key = 32, 32
    return query, key, 8 if max(width, query) > 64 else 4, 2
