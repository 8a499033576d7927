"""Which family a plan's score belongs to."""

from collections.abc import Sequence
from typing import Any

from attn.kernels.pallas_tpu.features import ByFeature
from attn.kernels.pallas_tpu.layout import Layout
from attn.kernels.pallas_tpu.scoring import Aim, Scoring, Whole


def scoring(layout: Layout, aim: Aim, memory: Sequence[Any]) -> Scoring:
    """The family, with its memory."""
    if layout.by_feature:
        return ByFeature(layout, aim, memory)
    return Whole(layout, aim, memory)


def scratch(layout: Layout, aim: Aim) -> list[Any]:
    """The memory that it needs."""
    return (ByFeature if layout.by_feature else Whole).scratch(layout, aim)
