"""Head-to-head: models that differ in nothing but themselves, and a report."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
from rich.console import Console
from rich.markup import escape

from experiments import tasks
from experiments.checks import check
from experiments.config import Config
from experiments.configs import model_for
from experiments.errors import InputError
from experiments.evaluation.outcome import Evaluation, compare_pairs
from experiments.machine import hardware, versions
from experiments.reports import REPORT, print_table, write_report
from experiments.runs import run_record, test_run, train_run
from experiments.training import folder as files

RESULTS = "results.json"


@dataclass(frozen=True)
class Contest:
    """What is compared with what."""

    base: Config
    """All that the models share: data, optimizer, budget, search."""
    models: Sequence[str]
    """Names in `experiments.configs.MODELS`."""
    seeds: Sequence[int]
    folder: Path
    command: str
    """How to make it again."""


def compare(contest: Contest, console: Console) -> Path:
    """Trains and tests every model from every seed, then writes `results.json` and the report.

    What is finished in the folder already is not done again.

    Returns:
        The report's path.

    Raises:
        InputError: an unknown model, none, or one given twice, a number that cannot be; or what
            training raises.
    """
    _check(contest)
    began = time.perf_counter()
    models = {name: model_for(name, contest.base.task) for name in contest.models}
    task = tasks.load(contest.base.task, contest.folder)
    runs: list[tuple[str, int, Evaluation]] = []
    for seed in contest.seeds:
        for name in contest.models:
            folder = contest.folder / f"{name}-seed{seed}"
            config = replace(
                contest.base,
                model=models[name],
                train=replace(contest.base.train, seed=seed),
            )
            train_run(config, task, folder, console, contest.command)
            with console.status(escape(f"{folder.name}: test split")):
                evaluation = test_run(folder, task)
            runs.append((name, seed, evaluation))
    if jax.process_index() > 0:  # the first host writes
        return contest.folder / REPORT
    results = {
        "task": contest.base.task.name,
        "command": contest.command,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "config": asdict(replace(contest.base, model=models[contest.models[0]])),
        "runs": [
            run_record(contest.folder / f"{name}-seed{seed}", name, seed, evaluation)
            for name, seed, evaluation in runs
        ],
        "paired": compare_pairs(runs, task.metrics[0], resamples=contest.base.search.resamples),
    }
    files.write_json(contest.folder / RESULTS, results)
    report = write_report(contest.folder)
    print_table(results, console)
    console.print(
        f"{time.perf_counter() - began:,.0f} s in all; report: {escape(str(report))}",
        soft_wrap=True,
    )
    return report


def _check(contest: Contest) -> None:
    check(contest.base)
    for name in contest.models:
        model_for(name, contest.base.task)
    for what, given in (("models", contest.models), ("seeds", contest.seeds)):
        if not given or len(set(given)) < len(given):
            shown = " ".join(map(str, given)) or "none"
            raise InputError(f"{what}: got {shown}; expected at least one, each once")
