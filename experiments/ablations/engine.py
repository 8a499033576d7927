"""A suite from its plan to its verdict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from rich.console import Console

from experiments.ablations import work
from experiments.ablations.plan import Group, Plan, code_version
from experiments.ablations.spread import Cluster, Order, spread
from experiments.ablations.statistics import NoScore, Sample, Scores, estimate
from experiments.ablations.suite import check_seeds
from experiments.ablations.verdict import decide, rehearse
from experiments.hosts import meet
from experiments.machine import hardware, versions
from experiments.training import folder as files

RESULTS = "results.json"
RESAMPLES = 2000


@dataclass(frozen=True)
class Launch:
    """What is asked for."""

    order: Order
    command: str
    """How to make it again."""
    jobs: int = 1
    """1 works in this process."""
    cluster: Cluster = "local"
    settings: tuple[str, ...] = ()
    """Of the jobs, as submitit names them."""


def ablate(launch: Launch, console: Console) -> dict[str, Any]:
    """Trains and measures what is not finished, and writes the results.

    Returns:
        The JSON of `results.json`.

    Raises:
        InputError: seeds too few, a plan that cannot be, results of other code in the folder.
        Interrupted: SIGTERM or SIGINT came; the same command goes on.
    """
    order = launch.order
    check_seeds(order.seeds)
    plan = order.plan()
    rehearse(plan.suite.contrasts, plan.variants)
    code = code_version(plan.suite)
    for group in plan.groups:
        work.check_code(plan, group, code)
    meet(f"{order.folder} is looked at")  # before the first host writes there
    left = [n for n, group in enumerate(plan.groups) if work.read(plan, group)[0] is None]
    if launch.jobs > 1 or launch.cluster != "local":
        with console.status(f"{order.suite}: {len(left)} groups in {launch.jobs} jobs"):
            spread(order, left, launch.jobs, launch.cluster, launch.settings)
    for number, group in enumerate(plan.groups):
        if launch.jobs == 1 and launch.cluster == "local":
            with console.status(f"{order.suite} {number + 1}/{len(plan.groups)}: {group.name}"):
                work.work(plan, group, code)
        told, _ = work.read(plan, group)
        state = work.failure(plan, group) if told is None else f"{told['seconds']:.0f} s"
        console.print(f"  {number + 1}/{len(plan.groups)} {group.name}: {state}", soft_wrap=True)
        # What cannot be set side by side is refused before the next group costs time.
        Scores(_samples(plan, plan.groups[: number + 1]), resamples=1)
    results = gather(plan, code, launch.command)
    if jax.process_index() == 0:
        files.write_json(order.folder / RESULTS, results)
    return results


def gather(plan: Plan, code: str, command: str) -> dict[str, Any]:
    """Scores, contrasts and the verdict from what is measured; the JSON of `results.json`.

    Args:
        plan: whose groups are finished or given up.
        code: version of the code that measured.
        command: how to make it again.
    """
    samples = _samples(plan, plan.groups)
    failed, trained, seconds = [], dict.fromkeys(plan.variants, 0.0), 0.0
    for group in plan.groups:
        told, _ = work.read(plan, group)
        seconds += 0.0 if told is None else told["seconds"]
        for number, run in enumerate(group.runs):
            error = work.failure(plan, group) if told is None else None
            if told is not None:
                trained[run.variant] += told["train_seconds"] / len(group.runs)
                if (at := told["runs"][number]["diverged"]) is not None:
                    error = f"diverged at step {at}"
            if error is not None:
                failed.append({"variant": run.variant, "seed": run.seed, "error": error})
    scores = Scores(samples, resamples=RESAMPLES)
    return {
        "suite": plan.suite.name,
        "claim": plan.suite.claim,
        "mode": plan.suite.mode,
        "budget": plan.budget,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "code": code,
        "seconds": seconds,
        "seeds": list(plan.seeds),
        "resamples": RESAMPLES,
        "variants": [
            {
                "name": point.name,
                "labels": dict(point.labels),
                "parameters": plan.parameters(point.name),
                "seeds": sorted(samples[point.name]),
                "train_seconds": trained[point.name],
                "quantities": _quantities(point.name, samples[point.name], scores),
            }
            for point in plan.suite.grid
            if samples[point.name]
        ],
        "failed": failed,
        **decide(plan.suite.contrasts, scores).to_json(),
    }


def _samples(plan: Plan, groups: Sequence[Group]) -> dict[str, dict[int, dict[str, Sample]]]:
    """By variant and seed what each run gave that was trained to its end, by quantity."""
    samples: dict[str, dict[int, dict[str, Sample]]] = {name: {} for name in plan.variants}
    for group in groups:
        told, found = work.read(plan, group)
        for number, run in enumerate(group.runs):
            if told is not None and told["runs"][number]["diverged"] is None:
                each = {name: by_run[number] for name, by_run in found.items()}
                samples[run.variant][run.seed] = each
    return samples


def _quantities(
    variant: str, runs: dict[int, dict[str, Sample]], scores: Scores
) -> dict[str, dict[str, Any]]:
    """Every quantity of a variant with its interval; none where no run is left."""
    found = {}
    for name, sample in next(iter(runs.values()), {}).items():
        try:
            value, interval = estimate(scores.scores(variant, name))
            by_seed = list(scores.by_seed(variant, name).values())
        except NoScore:
            continue
        found[name] = {
            "value": value,
            "interval": list(interval),
            "by_seed": by_seed,
            "items": len(sample.statistics),
            "metric": sample.metric,
        }
    return found
