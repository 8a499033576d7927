"""What a suite is: a claim, the runs that can tell, what is measured, and what would falsify it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from experiments.ablations.grid import Grid, changed
from experiments.ablations.measures import Lane
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.statistics import Sample
from experiments.ablations.verdict import Contrast
from experiments.config import Config
from experiments.errors import InputError

Measure = Callable[[Lane], dict[str, Sample]]

BudgetName = Literal["cpu", "gpu", "paper"]

LEAST_SEEDS = 3


@dataclass(frozen=True)
class Budget:
    """How much is trained."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the base configuration that differ, dotted."""
    models: Mapping[str, Any] = field(default_factory=dict)
    """Fields of every variant that differ, dotted, after the grid: sizes of models."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    together: int = 8
    """Runs that train at once, at most: what fits into memory."""


@dataclass(frozen=True)
class Suite:
    """One claim of a paper, put to the test."""

    name: str
    claim: str
    """One sentence, with the paper."""
    mode: str
    """How outputs are scored: teacher-forced, free-running, or what of each."""
    base: Config
    """What all variants share."""
    grid: Grid
    measure: Measure
    contrasts: tuple[Contrast, ...]
    """All must hold for the claim; the first is the deciding one."""
    budgets: Mapping[BudgetName, Budget]
    figure: Callable[[Results], Sequence[Plot]]
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fields of every variant that say where data is, dotted, after all others."""

    def budget(self, name: str) -> Budget:
        """A budget by its name.

        Raises:
            InputError: this suite has none of that name.
        """
        if name not in self.budgets:
            raise InputError(
                f"budget: {self.name} has no {name!r}; expected one of {', '.join(self.budgets)}"
            )
        return self.budgets[name]  # type: ignore[index]

    def with_data(self, manual_dir: str | None, data_dir: str | None) -> "Suite":
        """The suite with its data in other folders (None: where they are by default)."""
        return replace(self, data={"task.manual_dir": manual_dir, "task.data_dir": data_dir})

    def variants(self, budget: Budget) -> dict[str, Config]:
        """The configuration of every variant, but for the seed and the model's size.

        Raises:
            InputError: the grid names a field that is not there, or one variant twice.
        """
        base = changed(self.base, budget.changes)
        found = {
            point.name: changed(base, {**point.changes, **budget.models, **self.data})
            for point in self.grid
        }
        if len(found) != len(self.grid):
            raise InputError(
                f"grid: {self.name} has {len(self.grid)} points and {len(found)} names; expected "
                "every name once"
            )
        return found


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuses so few that nothing can be said of their spread.

    Raises:
        InputError: fewer than `LEAST_SEEDS`, or one twice.
    """
    if len(set(seeds)) < len(seeds) or len(seeds) < LEAST_SEEDS:
        shown = " ".join(map(str, seeds)) or "none"
        raise InputError(f"seeds: got {shown}; expected at least {LEAST_SEEDS}, each once")
