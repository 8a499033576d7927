"""Where a suite's groups are worked off: here one after another, or by jobs side by side.

Groups are the same however they are spread, so the suite's result is too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import submitit
from submitit.core.utils import FailedJobError

from experiments.ablations.plan import Plan, code_version
from experiments.ablations.suites import find
from experiments.ablations.work import work
from experiments.errors import InputError

Cluster = Literal["local", "slurm"]


@dataclass(frozen=True)
class Order:
    """All that a job needs to know: with it, it makes the plan anew."""

    suite: str
    budget: str
    seeds: tuple[int, ...]
    folder: Path
    """Of the suite at this budget."""
    manual_dir: str | None = None
    data_dir: str | None = None

    def plan(self) -> Plan:
        """The runs in their groups.

        Raises:
            InputError: what `Plan` raises.
        """
        suite = find(self.suite).with_data(self.manual_dir, self.data_dir)
        return Plan(suite, self.budget, self.seeds, self.folder)


def spread(
    order: Order, groups: Sequence[int], jobs: int, cluster: Cluster, settings: Sequence[str] = ()
) -> None:
    """Has groups worked off by so many jobs; returns when all have ended, well or not.

    Args:
        order: what to do.
        groups: numbers of groups in the order's plan.
        jobs: processes on this machine, or jobs on the cluster.
        cluster: which.
        settings: submitit's, as "slurm_partition=gpu" and "gpus_per_node=1".

    Raises:
        InputError: no such cluster is here or it refuses, a setting that submitit does not know, or
            jobs below 1.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; expected at least 1")
    try:
        executor = submitit.AutoExecutor(folder=order.folder / "jobs", cluster=cluster)
        own = {"timeout_min": 24 * 60, "name": f"ablate-{order.suite}"}
        executor.update_parameters(**own | _parsed(settings))
        running = [
            executor.submit(run_groups, order, list(groups[number::jobs]))
            for number in range(min(jobs, len(groups)))
        ]
    except (RuntimeError, NameError, TypeError, FailedJobError) as error:
        raise InputError(f"cluster is {cluster!r}, settings {list(settings)}: {error}") from error
    for job in running:
        # A job that dies leaves groups unfinished, which the suite reports; it sinks nothing.
        job.exception()


def run_groups(order: Order, groups: Sequence[int]) -> None:
    """Works off some of an order's groups, one after another."""
    plan = order.plan()
    code = code_version(plan.suite)
    for number in groups:
        work(plan, plan.groups[number], code)


def _parsed(settings: Sequence[str]) -> dict[str, int | str]:
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise InputError(f"settings holds {name!r}; expected name=value")
    return {name: int(value) if value.isdigit() else value for name, _, value in pairs}
