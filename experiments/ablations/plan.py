"""Which runs a suite needs, and which of them train together."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from attn.models import count_parameters, fit
from attn.nn.transformer import LayerConfig
from experiments import tasks
from experiments.ablations.suite import Suite
from experiments.checks import check_numbers
from experiments.config import Config, TaskConfig
from experiments.data.buckets import choose_shapes
from experiments.errors import InputError
from experiments.tasks import Task
from experiments.training.folder import config_to_json
from experiments.training.together import one_program

MATCH = 0.02
"""Largest deviation of a variant's parameters from the budget, as a share of it."""

ROOT = Path(__file__).parents[2]
MEASURED_BY = ("attn", "experiments/data", "experiments/evaluation", "experiments/tasks",
               "experiments/training", "experiments/ablations/measures")  # fmt: skip
"""Code that a measured number depends on, beside the suite's own file."""


@dataclass(frozen=True)
class Run:
    """One variant from one seed."""

    variant: str
    config: Config
    """Its model sized."""

    @property
    def seed(self) -> int:
        """Of initialisation, data order and dropout."""
        return self.config.train.seed

    @property
    def name(self) -> str:
        """For people and files."""
        return f"{self.variant}, seed {self.seed}"


@dataclass(frozen=True)
class Group:
    """Runs that train together; the unit of work: whoever does it, it gives the same numbers."""

    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The variants, and a digest of all runs that makes it unique."""
        variants = "+".join(dict.fromkeys(run.variant for run in self.runs))
        plain = "".join(c if c.isalnum() or c in "+.-" else "-" for c in variants)[:60]
        whole = json.dumps([config_to_json(run.config) for run in self.runs], sort_keys=True)
        return f"{plain}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


class Plan:
    """All runs of a suite at a budget, in groups.

    Groups depend on the suite, the budget and the seeds alone, not on the machine or on how the
    groups are spread.
    """

    def __init__(self, suite: Suite, budget: str, seeds: Sequence[int], folder: Path):
        """Loads the tasks, whose tokenizers are kept in the folder, and sizes the models.

        Raises:
            InputError: the grid names what is not there, a number that no run can have, a model
                cannot be sized, or what loading a task raises.
        """
        self.suite, self.folder, self.seeds = suite, folder, tuple(seeds)
        self.budget = budget
        self.chosen = suite.budget(budget)
        self._tasks: dict[TaskConfig, Task] = {}
        variants = suite.variants(self.chosen)
        for config in variants.values():
            check_numbers(config)
        self.variants = {
            name: level(config, self.task(config.task)) for name, config in variants.items()
        }

    def task(self, config: TaskConfig) -> Task:
        """A task, loaded once."""
        if config not in self._tasks:
            digest = hashlib.sha256(repr(config).encode()).hexdigest()[:8]
            self._tasks[config] = tasks.load(config, self.folder / "tasks" / digest)
        return self._tasks[config]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Runs of one program and one sequence of shapes train together, variant by variant."""
        alike: dict[Any, list[Run]] = {}
        for variant, config in self.variants.items():
            alike.setdefault(self._program(config), []).extend(
                Run(variant, replace(config, train=replace(config.train, seed=seed)))
                for seed in self.seeds
            )
        most = self.chosen.together
        return tuple(
            Group(tuple(runs[at : at + most]))
            for runs in alike.values()
            for at in range(0, len(runs), most)
        )

    def parameters(self, variant: str) -> int:
        """Numbers that a variant's model learns."""
        config = self.variants[variant]
        task = self.task(config.task)
        return count_parameters(config.model, task.source.size, task.target.size)

    def _program(self, config: Config) -> Any:
        task, batch = self.task(config.task), config.train.batch_size
        lengths = task.splits["train"].lengths
        shapes = tuple(choose_shapes(lengths, config.task.buckets, batch))
        # Shapes come in the same order where examples are as long.
        ordered = lengths[np.lexsort(lengths.T)].tobytes()
        alike = hashlib.sha256(ordered).hexdigest()
        return one_program(config), task.source.size, task.target.size, shapes, alike


def level(config: Config, task: Task) -> Config:
    """The configuration with its model at the parameters it asks for, within `MATCH`.

    Recurrent models are sized by their width. A Transformer keeps the width it is given, for heads
    and caches are of it; its feed-forward layers are as wide as the parameters ask for.

    Raises:
        InputError: no size comes near.
    """
    vocabularies = task.source.size, task.target.size
    wanted = config.parameters
    try:
        if wanted is None:
            count_parameters(config.model, *vocabularies)
            return config
        if not isinstance(config.model, LayerConfig):
            return replace(config, model=fit(config.model, wanted, *vocabularies, MATCH))
        return replace(config, model=_fed_forward(config.model, wanted, vocabularies))
    except ValueError as error:
        raise InputError(str(error)) from error


def _fed_forward(model: Any, wanted: int, vocabularies: tuple[int, int]) -> Any:
    """A Transformer whose feed-forward layers are as wide as a number of parameters asks for."""
    units = round(model.feed_forward * model.width)

    def sized(hidden: int) -> Any:
        return replace(model, feed_forward=hidden / model.width)

    now, more = (count_parameters(sized(u), *vocabularies) for u in (units, units + 1))
    hidden = units + round((wanted - now) / (more - now))
    if hidden < 1:
        raise ValueError(f"parameters: {wanted:,} are too few for {model.name} of {model.width}")
    return sized(hidden)


def code_version(suite: Suite) -> str:
    """Twelve digits of a digest of the code that measures: other code, other digits."""
    digest = hashlib.sha256()
    folders = [ROOT / part for part in MEASURED_BY]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    for file in files:
        digest.update(file.read_bytes())
    digest.update(repr((asdict(suite.base), suite.grid)).encode())
    return digest.hexdigest()[:12]
