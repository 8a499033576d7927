"""How parameters are cut over a mesh: by their paths, one table for each family of models.

A rule names, for each of a parameter's axes, the mesh's axis that it is cut along. "fsdp" only
stores a part and gathers the whole where it is used (ZeRO-3, Rajbhandari 2020); "tensor" cuts what
is computed: heads and the feed-forward's hidden units, so that two sums a layer are all that
devices tell each other (Shoeybi 2019).
"""

import re
from collections.abc import Mapping, Sequence

from jax.sharding import PartitionSpec

FSDP, TENSOR = "fsdp", "tensor"

Rule = tuple[str, tuple[str | None, ...]]
"""A pattern that a path ends with, and the mesh's axis for each of the parameter's axes."""

TRANSFORMER: tuple[Rule, ...] = (
    (r"(query|key|value)/kernel", (FSDP, TENSOR, None)),
    (r"(query|key|value)/bias", (TENSOR, None)),
    (r"(attention|cross)/out/kernel", (TENSOR, None, FSDP)),
    (r"(attention|cross)/(v|sinks)", (TENSOR, None)),
    (r"(inner|gate)/kernel", (FSDP, TENSOR)),
    (r"(inner|gate)/bias", (TENSOR,)),
    (r"outer/kernel", (TENSOR, FSDP)),
    (r"\w*embed/table", (TENSOR, FSDP)),
    (r"\w*bias/table", (None, TENSOR)),
    (r"output/kernel", (FSDP, TENSOR)),
)
RECURRENT: tuple[Rule, ...] = ()
"""Gates are computed whole: only what stores them is divided."""

TABLES: Mapping[str, tuple[Rule, ...]] = {
    "transformer": TRANSFORMER,
    "decoder": TRANSFORMER,
    "encoder": TRANSFORMER,
}
"""By the model's name; the others are recurrent."""


def cut(
    path: str, shape: Sequence[int], rules: Sequence[Rule], sizes: Mapping[str, int]
) -> PartitionSpec:
    """How one array is cut.

    An axis that the mesh's does not divide stays whole. Where no rule is for the path, or the rule
    leaves nothing of "fsdp", that cuts the longest axis it divides. Vectors stay whole.

    Args:
        path: names joined by "/", such as "blocks/0/attention/query/kernel".
        shape: of the array.
        rules: the first whose pattern the path ends with counts.
        sizes: of the mesh's axes.
    """
    wanted: list[str | None] = [None] * len(shape)
    for pattern, axes in rules:
        if len(axes) == len(shape) and re.search(rf"(^|/){pattern}(/value)?$", path):
            wanted = list(axes)
            break
    kept = [
        axis if axis is not None and size % sizes.get(axis, 1) == 0 else None
        for axis, size in zip(wanted, shape, strict=True)
    ]
    if FSDP not in kept and len(shape) > 1:
        free = [k for k, axis in enumerate(kept) if axis is None]
        fits = [k for k in free if shape[k] % sizes.get(FSDP, 1) == 0]
        if fits:
            kept[max(fits, key=lambda k: shape[k])] = FSDP
    return PartitionSpec(*kept)
