"""Several processes that train one model: who they are, and how they find each other.

JAX's own runtime makes them one machine; a scheduler, or flags, tell it where they are. This
schedules nothing.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import InputError

HEARTBEAT = 30
"""Seconds without a sign of life after which a process counts as dead, and the others end."""
GATHER = 300
"""Seconds that processes wait for each other at the start."""


STOPPED, INTERRUPTED = 42, 130
"""Exit codes after SIGTERM and SIGINT: all processes stop after the same step, in good order."""


@dataclass(frozen=True)
class Hosts:
    """Where the processes of one run are. On Cloud TPU, Slurm and Kubernetes leave all out."""

    coordinator: str | None = None
    """HOST:PORT of the process of index 0, which listens there."""
    count: int | None = None
    """Processes in all; 1 is this one alone, whatever a scheduler says."""
    index: int | None = None
    """Of this process, from 0."""


def join(hosts: Hosts) -> None:
    """Makes this process one of several; where it is alone, does nothing.

    To be called before JAX looks for devices.

    Raises:
        InputError: some flags without the others, an index or an address that cannot be, or
            processes that do not find each other.
    """
    import jax

    _check(hosts)
    if hosts.count == 1:
        return
    told = None if hosts.count is None else "the flags"
    where = told or scheduler(os.environ)
    if where is None:
        return
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.count,
            hosts.index,
            # Else a scheduler that is there too would have its say about the devices.
            cluster_detection_method="deactivate" if told else None,
            initialization_timeout=GATHER,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(
            f"hosts: by {where} this is one of several processes, but they did not find each "
            f"other: {error}\nexpected a scheduler that JAX knows, or --hosts.coordinator "
            "HOST:PORT, --hosts.count and --hosts.index; --hosts.count 1 for this process alone"
        ) from error


def scheduler(environment: Mapping[str, str]) -> str | None:
    """Who started this process beside others; None where nobody did.

    Args:
        environment: of the process.
    """
    # A step's own number of tasks: a batch script, or a shell in an allocation, is no step.
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return "Slurm"
    workers = environment.get("TPU_WORKER_HOSTNAMES")
    if workers is not None and "," in workers:
        return "Cloud TPU"
    sought = "tpu" in environment.get("JAX_PLATFORMS", "tpu")
    if workers is None and sought and _has_tpu():
        return "Cloud TPU"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes"
    return None


def meet(what: str) -> None:
    """Waits until all processes have come here; alone, does nothing.

    Args:
        what: is true from here on; the same for all.
    """
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def end(code: int) -> None:
    """Ends the process.

    One of several that fails must not wait for the others, which wait for it: it goes at once, and
    they end as soon as they notice.
    """
    import jax

    if code in (0, STOPPED, INTERRUPTED) or not jax.distributed.is_initialized():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check(hosts: Hosts) -> None:
    given = {"coordinator": hosts.coordinator, "count": hosts.count, "index": hosts.index}
    missing = [f"--hosts.{name}" for name, value in given.items() if value is None]
    if hosts.count is not None and hosts.count < 1:
        raise InputError(f"hosts.count is {hosts.count}; expected at least 1")
    if hosts.count != 1 and 0 < len(missing) < len(given):
        raise InputError(
            f"hosts: {' and '.join(missing)} not given; expected all three, or none of them"
        )
    if hosts.coordinator is not None:
        host, _, port = hosts.coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise InputError(f"hosts.coordinator is {hosts.coordinator!r}; expected HOST:PORT")
    if hosts.index is not None and not 0 <= hosts.index < (hosts.count or 1):
        raise InputError(
            f"hosts.index is {hosts.index}; expected at least 0 and less than the "
            f"{hosts.count or 1} of hosts.count"
        )


def _has_tpu() -> bool:
    chips = any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*"))
    return chips and importlib.util.find_spec("libtpu") is not None
