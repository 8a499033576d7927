"""`python -m experiments COMMAND ...`: see `experiments.cli`."""

import os
import sys


def _divide_the_host() -> None:
    """Lets `pmap` see a CPU-only machine's cores as devices: a power of two of them, at most 8.

    Must happen before JAX starts. Devices that were asked for in XLA_FLAGS stay as asked; on a
    GPU or TPU machine this changes nothing, for its devices are used.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        devices = min(8, 1 << ((cores or 1).bit_length() - 1))
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={devices}"


if __name__ == "__main__":
    _divide_the_host()
    from experiments.cli import main

    sys.exit(main(sys.argv[1:]))
