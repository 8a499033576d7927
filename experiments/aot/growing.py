"""The same run on more chips: as much for each of them to do."""

import math
from dataclasses import replace

from experiments.aot.plan import resized
from experiments.aot.sheets import SHEETS
from experiments.configs.scale import Scale

_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SOLID = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
_GPUS = ("1", "2", "4", "8", "16", "32", "64", "128", "256", "512")

_LEAST = 16
"""Devices where none are asked for."""


def sizes(chip: str) -> tuple[str, ...]:
    """A chip's topologies, from the smallest there is to 512 chips or all that a pod has."""
    if chip in ("v5e", "v6e"):
        return _FLAT
    return _GPUS if chip == "h100" else _SOLID


def devices_of(chip: str, topology: str) -> int:
    """Of JAX, in a topology."""
    return math.prod(int(n) for n in topology.split("x")) * SHEETS[chip].devices


def usual(scale: Scale, chip: str) -> str:
    """The smallest topology of 16 devices or more over which a run can be divided.

    Where none can be, the smallest of all those: why not is `plan`'s to say.
    """
    train = scale.config.train
    large = [topology for topology in sizes(chip) if devices_of(chip, topology) >= _LEAST]
    parts = train.tensor * train.sequence
    for topology in large:
        data, rest = divmod(devices_of(chip, topology), parts)
        if rest == data % train.fsdp == train.batch_size % (data * train.accumulate) == 0:
            return topology
    return large[0]


def grown(scale: Scale, chip: str, reference: str, topology: str) -> Scale | None:
    """The run on a topology, with as much for each device as on the reference.

    Where texts are divided, they grow with the devices; else the batch does. "fsdp" is at most what
    there is.

    Returns:
        None where the topology is too small for the mesh, or has too little for one device.
    """
    train = scale.config.train
    now, then = devices_of(chip, topology), devices_of(chip, reference)
    if train.sequence > 1:
        sequence, odd = divmod(train.sequence * now, then)
        length, rest = divmod((scale.source + scale.target) * now, then)
        if odd or rest or sequence < 1:
            return None
        return replace(resized(scale, sequence=sequence), target=length - scale.source)
    batch, rest = divmod(train.batch_size * now, then)
    if rest or batch < 1 or now % train.tensor:
        return None
    fsdp = min(train.fsdp, now // train.tensor)
    return resized(scale, batch_size=batch, fsdp=fsdp)
