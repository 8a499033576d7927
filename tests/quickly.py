"""Prints the flags with which this XLA compiles quickly what runs once: most of a test.

XLA ends a process that gives it a flag it does not know, and releases differ in those they know.
"""

import os
import subprocess
import sys

FLAGS = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")


def known(flag: str) -> bool:
    """Whether a process with the flag comes up."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flag}
    program = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(program, env=environment, capture_output=True).returncode == 0


if __name__ == "__main__":
    print(*filter(known, FLAGS))
