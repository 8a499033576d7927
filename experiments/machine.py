"""What a number was measured on: it goes into every results file."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax


def hardware() -> dict[str, str]:
    """The devices that computed, and the machine they are in."""
    devices = jax.devices()
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "devices": f"{len(devices)} × {devices[0].device_kind}",
        "hosts": str(jax.process_count()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    packages = "attn jax jaxlib flax optax numpy sacrebleu torch libtpu jax-cuda13-plugin"
    for package in packages.split():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
