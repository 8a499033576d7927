"""`bench together`: runs of several seeds trained as one, against one after another."""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from attn.models import fit
from experiments import tasks
from experiments.ablations.suites.bases import pronunciation
from experiments.bench.command import command
from experiments.config import Config
from experiments.configs import model_for
from experiments.errors import InputError
from experiments.machine import hardware, versions
from experiments.tasks import Task
from experiments.training import folder as files
from experiments.training.together import train_together


@dataclass(frozen=True)
class BenchTogether:
    """Measure what it gains to train seeds together, on the task of most ablations.

    Both ways take turns. Whole runs are timed: compilation, which together is paid once, and steps.
    """

    models: tuple[str, ...] = ("seq2seq", "rnnsearch", "transformer")
    """By name, as experiments/configs/models.py has them."""
    seeds: int = 5
    steps: int = 200
    parameters: int = 120_000
    """About so many in every model."""
    rounds: int = 3
    """How often each way runs."""
    output: Path = Path("runs/bench-together.json")
    """File for the figures, hardware and versions."""


@dataclass(frozen=True)
class Measured:
    """One model, all its seeds."""

    model: str
    together_seconds: float
    """Median of whole runs."""
    steps_ratio: float
    """Time of all steps one after another over that together, median over the rounds."""
    whole_ratio: float
    """Likewise of whole runs."""


def bench_together(asked: BenchTogether, console: Console) -> list[Measured]:
    """Measures, prints a table and writes `asked.output`.

    Raises:
        InputError: a number is too small, or a model cannot do the task.
    """
    for field, least in (("seeds", 2), ("steps", 1), ("parameters", 1), ("rounds", 1)):
        if getattr(asked, field) < least:
            raise InputError(f"{field} is {getattr(asked, field)}; expected at least {least}")
    base = pronunciation()
    task = tasks.load(base.task)
    examples = asked.steps * base.train.batch_size
    base = replace(base, parameters=None, train=replace(base.train, examples=examples))
    vocabularies = task.source.size, task.target.size
    configs = [
        replace(base, model=fit(model_for(m, base.task), asked.parameters, *vocabularies, 0.3))
        for m in asked.models
    ]
    found = []
    for name, config in zip(asked.models, configs, strict=True):
        with console.status(name):
            found.append(_measure(name, config, task, asked))
    figures = {
        "bench": "together",
        "command": command("together", asked),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": {k: v for k, v in asdict(asked).items() if k != "output"},
        "models": [asdict(each) for each in found],
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)
    console.print(_table(found, asked.seeds))
    console.print(f"figures: {asked.output}", soft_wrap=True)
    return found


def _measure(name: str, config: Config, task: Task, asked: BenchTogether) -> Measured:
    seeds = [replace(config, train=replace(config.train, seed=seed)) for seed in range(asked.seeds)]
    whole, steps = [], []
    for _ in range(asked.rounds):
        alone = [_timed([each], task) for each in seeds]
        together = _timed(seeds, task)
        whole.append((sum(took for took, _ in alone), together[0]))
        steps.append((sum(took for _, took in alone), together[1]))
    return Measured(
        name,
        statistics.median(took for _, took in whole),
        statistics.median(one / all_ for one, all_ in steps),
        statistics.median(one / all_ for one, all_ in whole),
    )


def _timed(configs: list[Config], task: Task) -> tuple[float, float]:
    """Seconds of the whole run, and of its steps."""
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        learned = train_together(configs, [task] * len(configs), Path(folder))
        took = time.perf_counter() - began
    jax.clear_caches()  # programs of dozens of runs are more than a process may map
    return took, learned.seconds


def _table(found: list[Measured], seeds: int) -> Table:
    title = f"{seeds} seeds one after another, over together: medians"
    table = Table("model", title=title, box=SIMPLE_HEAD, collapse_padding=True)
    for heading in ("together s", "steps", "whole run"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        ratios = f"{each.steps_ratio:.2f}", f"{each.whole_ratio:.2f}"
        table.add_row(each.model, f"{each.together_seconds:.1f}", *ratios)
    return table
