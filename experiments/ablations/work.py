"""The work of a suite, group by group: train, measure, keep."""

import json
import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.ablations.measures import Lane
from experiments.ablations.plan import Group, Plan, Run
from experiments.ablations.statistics import Sample
from experiments.errors import InputError
from experiments.evaluation.evaluate import Evaluator
from experiments.hosts import meet
from experiments.training import folder as files
from experiments.training.signals import Interrupted
from experiments.training.together import Learned, train_together

MEASURED, STATISTICS, FAILED = "measured.json", "statistics.npz", "failed.json"


def work(plan: Plan, group: Group, code: str) -> None:
    """Trains and measures a group's runs in its folder, unless that is done.

    What goes wrong in training or measuring is kept there as `failed.json`: the suite goes on
    without these runs, and they are tried again when it is launched again. With several hosts it
    goes no further, for the others may wait for this one in the midst of a step.

    Args:
        plan: of the suite.
        group: one of its groups.
        code: version of the code that measures.

    Raises:
        InputError: the folder is in use, cannot be written, or was made by other code.
        Interrupted: SIGTERM or SIGINT came; a checkpoint is written.
    """
    folder = folder_of(plan, group)
    runs = {run.name: files.config_to_json(run.config) for run in group.runs}
    primary = jax.process_index() == 0
    with files.claimed(folder, {"code": code, "runs": runs}, primary):
        meet(f"{folder} is claimed")
        if (folder / MEASURED).exists():
            return
        if primary:
            (folder / FAILED).unlink(missing_ok=True)
        try:
            measured = _train_and_measure(plan, group, folder)
            if primary:
                _keep(folder, *measured)
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
            files.write_json(folder / FAILED, told)
            if jax.process_count() > 1:
                raise
        meet(f"{folder} is measured")


def check_code(plan: Plan, group: Group, code: str) -> None:
    """Refuses a group's folder that other code has begun or finished.

    Raises:
        InputError: it names both versions.
    """
    path = folder_of(plan, group) / files.CONFIG
    if not path.exists():
        return
    theirs = json.loads(path.read_text("utf-8")).get("code")
    if theirs != code:
        raise InputError(
            f"{path.parent} is of code version {theirs}, and this is {code}: expected one version "
            "in a suite's results; choose another --folder, or delete that one"
        )


def folder_of(plan: Plan, group: Group) -> Path:
    """Where a group's runs are kept."""
    return plan.folder / "groups" / group.name


def read(plan: Plan, group: Group) -> tuple[dict[str, Any] | None, Mapping[str, list[Sample]]]:
    """What was measured: {"seconds", "train_seconds", "runs": [{"variant", ...}]}, and the runs'
    samples by quantity; None where the group is not finished."""
    folder = folder_of(plan, group)
    if not (folder / MEASURED).exists():
        return None, {}
    told = json.loads((folder / MEASURED).read_text("utf-8"))
    with np.load(folder / STATISTICS, allow_pickle=False) as arrays:
        samples = {
            quantity: [Sample(statistics, metric) for statistics in arrays[quantity]]
            for quantity, metric in told["quantities"].items()
        }
    return told, samples


def failure(plan: Plan, group: Group) -> str:
    """Why a group is not finished, in a line."""
    path = folder_of(plan, group) / FAILED
    if not path.exists():
        return "not finished: its process ended early"
    return json.loads(path.read_text("utf-8"))["error"]


def _train_and_measure(
    plan: Plan, group: Group, folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Items' statistics by quantity, [run, item, statistic], and what is told of the runs."""
    began = time.perf_counter()
    learned = train_together(
        [run.config for run in group.runs], [plan.task(run.config.task) for run in group.runs],
        folder,
    )  # fmt: skip
    measured = [
        plan.suite.measure(lane) if at is None else None
        for lane, at in zip(_lanes(plan, group.runs, learned), learned.diverged, strict=True)
    ]
    sound = [each for each in measured if each is not None]
    quantities = {name: sample.metric for name, sample in sound[0].items()} if sound else {}
    blank = {name: np.full_like(sound[0][name].statistics, np.nan) for name in quantities}
    stacked = {
        name: np.stack([blank[name] if m is None else m[name].statistics for m in measured])
        for name in quantities
    }
    return stacked, {
        "seconds": time.perf_counter() - began,
        "train_seconds": learned.seconds,
        "quantities": quantities,
        "runs": [
            {"variant": run.variant, "seed": run.seed, "loss": loss, "diverged": at}
            for run, loss, at in zip(group.runs, learned.losses, learned.diverged, strict=True)
        ],
    }


def _keep(folder: Path, statistics: dict[str, np.ndarray], told: dict[str, Any]) -> None:
    """Writes what `read` reads; the group is finished when the second file is there."""
    with files.writing(folder / STATISTICS):
        new = folder / f"{STATISTICS}{files.NEW}"
        with open(new, "wb") as file:
            np.savez_compressed(file, **statistics)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / STATISTICS)
    files.write_json(folder / MEASURED, told)


def _lanes(plan: Plan, runs: Sequence[Run], learned: Learned) -> Iterator[Lane]:
    """Each run's model; runs of one task share an evaluator, and with it what it has compiled."""
    evaluators: dict[Any, Evaluator] = {}
    for number, run in enumerate(runs):
        task, search = plan.task(run.config.task), run.config.search
        if run.config.task not in evaluators:
            evaluators[run.config.task] = Evaluator(learned.graphdef, task, search)
        start, params = jax.device_put(learned.run(number))
        yield Lane(
            graphdef=learned.graphdef,
            params=params,
            start=start,
            task=task,
            config=run.config,
            evaluator=evaluators[run.config.task],
        )
