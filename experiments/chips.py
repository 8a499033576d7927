"""Compiling for accelerators that this machine does not have.

XLA's compilers for TPUs and GPUs run anywhere: what fits in a chip's memory, which kernels its
compiler accepts and how it schedules them can be seen without the chip. Set JAX_PLATFORMS=cpu
before jax is imported: else the plug-ins look for their hardware first, and complain.
"""

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import jax
from jax.experimental.topologies import get_topology_desc
from jax.sharding import (
    AbstractDevice,
    AbstractMesh,
    AxisType,
    SingleDeviceSharding,
    use_abstract_mesh,
)

_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84942979072
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""XLA's `GpuTargetConfigProto` of the card, as text."""

_WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
"""libtpu asks no metadata server what machine this is, and locks out no other process."""


@dataclass(frozen=True)
class Chip:
    """An accelerator to compile for."""

    name: str
    platform: Literal["tpu", "cuda"]
    """What XLA calls it in lowering."""
    kind: str
    """`device_kind` of its devices."""
    cores: int
    """Of one device."""
    memory: int
    """Bytes of one device's main memory; v4 and tpu7x have two devices a chip."""
    topology: str
    """A single host of a TPU, in its plug-in's words; the description of a GPU."""

    @property
    def abstract(self) -> AbstractDevice:
        """What a program under trace sees of it: `get_abstract_mesh().abstract_device`."""
        platform = "gpu" if self.platform == "cuda" else self.platform
        return AbstractDevice(self.kind, self.cores, platform)


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", "tpu", "TPU v4", 1, 2**34, "v4:2x2x1"),
        Chip("v5e", "tpu", "TPU v5 lite", 1, 2**34, "v5e:2x2"),
        Chip("v5p", "tpu", "TPU v5", 2, 95 * 2**30, "v5p:2x2x1"),
        Chip("v6e", "tpu", "TPU v6 lite", 1, 2**35, "v6e:2x2"),
        Chip("tpu7x", "tpu", "TPU7x", 1, 96 * 2**30, "tpu7x:2x2x1"),
        Chip("h100", "cuda", "NVIDIA H100 80GB HBM3", 132, 84942979072, _H100),
    )
}
"""By name."""


@cache
def device(chip: Chip) -> jax.Device:
    """One that programs can be compiled for, but not run on."""
    if jax.default_backend() != "tpu":
        for name, value in _WITHOUT_TPU.items():
            os.environ.setdefault(name, value)
    if chip.platform == "tpu":
        return get_topology_desc(chip.topology, "tpu").devices[0]
    return get_topology_desc("", "cuda", topology="1x1x1", target_config=chip.topology).devices[0]


@cache
def missing(chip: Chip) -> str | None:
    """Why this process cannot compile for a chip; None if it can."""
    try:
        device(chip)
    except Exception as error:  # what a plug-in raises is up to it
        reason = str(error).strip().partition("\n")[0]
        needed = "pip install 'attn[aot]' and JAX_PLATFORMS=cpu from the start"
        return f"cannot compile for {chip.name}; it takes {needed} ({reason})"
    return None


def compile_for(chip: Chip, function: Callable[..., Any], *shapes: Any) -> jax.stages.Compiled:
    """A program for one device of the chip.

    Code under trace learns of the chip by `jax.sharding.get_abstract_mesh().abstract_device`.
    JAX's own caches heed it, so that one function can be compiled for several chips.

    Args:
        chip: of `CHIPS`.
        function: traced; may be jitted.
        *shapes: its arguments: pytrees of arrays or `jax.ShapeDtypeStruct`s.
    """
    there = SingleDeviceSharding(device(chip))
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there),
        jax.eval_shape(lambda *leaves: leaves, *shapes),
    )
    # The axis is there because a mesh has one; Auto, it says nothing of how arrays are sharded.
    mesh = AbstractMesh((1,), ("chip",), (AxisType.Auto,), abstract_device=chip.abstract)
    with use_abstract_mesh(mesh):
        traced = jax.jit(function).trace(*arguments)
        return traced.lower(lowering_platforms=(chip.platform,)).compile()


def temporary_bytes(compiled: jax.stages.Compiled) -> int:
    """What a program sets aside in the device's memory beside its arguments and results.

    What a TPU's compiler keeps in VMEM is not among it.
    """
    memory = compiled.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


def exceeding(error: str) -> int:
    """The temporaries of a program that XLA gave up on for the memory they take.

    Raises:
        ValueError: it gave up on something else.
    """
    found = re.search(r"HLO temporaries \(([\d.]+)([KMG])\)", error)
    if found is None:
        raise ValueError(f"XLA cannot compile the step: {error}")
    return int(float(found[1]) * 1024 ** ("KMG".index(found[2]) + 1))


@dataclass(frozen=True, order=True)
class Buffer:
    """An array that a compiled program holds in memory for a while."""

    bytes: int
    elements: int
    shape: str
    """As XLA writes it: "f32[8,2048,2048]"."""


def largest_buffer(compiled: jax.stages.Compiled) -> Buffer:
    """The largest array that a program makes on its way.

    What exists inside a fusion alone is never in memory, and does not count; nor do arrays that
    are shaped as one of the program's arguments or results.
    """
    text = compiled.as_text()
    assert text is not None
    fused = set(re.findall(r"(?:calls|to_apply)=%?([\w.-]+)", text))
    given: set[str] = set()
    made: set[str] = set()
    for name, header, instructions in computations(text):
        if header.startswith("ENTRY"):
            given.update(_SHAPE.findall(header))
        if name not in fused:
            for line in instructions:
                result = line.partition(" = ")[2]
                made.update(_SHAPE.findall(result[: _end_of_type(result)]))
    return max((_buffer(shape) for shape in made - given), default=Buffer(0, 0, ""))


_SHAPE = re.compile(r"\b(?:pred|[a-z]+\d+\w*)\[[\d,]*\]")


def computations(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, first line and instructions of each function of an HLO module."""
    for part in re.split(r"\n(?=(?:ENTRY )?%?[\w.-]+ \()", text)[1:]:
        header, *lines = part.splitlines()
        yield header.removeprefix("ENTRY ").lstrip("%").split()[0], header, lines


def _end_of_type(result: str) -> int:
    """Where the type ends that "type op(operands), attributes" starts with."""
    depth = 0
    for at, letter in enumerate(result):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == " " and depth == 0:
            return at
    return len(result)


def _buffer(shape: str) -> Buffer:
    dtype, dims = shape.rstrip("]").split("[")
    elements = math.prod(int(size) for size in dims.split(",") if size)
    bits = 8 if dtype == "pred" else int(re.sub(r"^\D+(\d+).*", r"\1", dtype))
    return Buffer(elements * bits // 8, elements, shape)
