"""Fresh processes for what must happen in one: many devices, signals, sudden death.

A fork server imports everything once, without the run-time checks of annotations that tests have,
so a process starts in no time. Nothing but its own process has touched a device.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["experiments.faults.preload"])


def run(function: Any, *args: Any, devices: int = 1) -> Any:
    """What a module's function returns in a fresh process with so many devices."""
    with ProcessPoolExecutor(
        1, mp_context=SERVER, initializer=prepare, initargs=(devices,)
    ) as pool:
        return pool.submit(function, *args).result(timeout=300)


def start(function: Any, *args: Any) -> BaseProcess:
    """Starts a function in a fresh process with one device."""
    process = SERVER.Process(target=_prepared, args=(function, *args))
    process.start()
    return process


def prepare(devices: int) -> None:
    """Before JAX starts: so many devices where there is only a CPU."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"


def _prepared(function: Any, *args: Any) -> None:
    prepare(1)
    function(*args)


def cache_compilations(folder: Path) -> None:
    """Lets processes share what they compile."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
