"""What must be settled before JAX starts."""

import os
import sys
from pathlib import Path


def divide_the_host() -> None:
    """Lets `pmap` see a CPU-only machine's cores as devices: a power of two of them, at most 8.

    Devices that were asked for in XLA_FLAGS stay as asked; on a GPU or TPU machine this changes
    nothing, for its devices are used.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        devices = min(8, 1 << ((cores or 1).bit_length() - 1))
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={devices}"


def seek_no_accelerator() -> None:
    """Where there is none, keeps JAX's plug-ins from looking for it, and complaining.

    With the extra `aot` they are there to compile for chips that are not.
    """
    found = (
        list(Path("/dev").glob(name)) for name in ("nvidia*", "kfd", "dxg", "accel*", "vfio/*")
    )
    if sys.platform == "linux" and not any(found):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
