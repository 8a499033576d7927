"""`eval`: a run's scores on a split."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from experiments.cli.parsing import given, parse
from experiments.cli.searching import Search
from experiments.hosts import Hosts, join


@dataclass(frozen=True)
class Eval:
    """Score a run's best model on a split."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    split: Literal["train", "validation", "test"] = "test"
    items: int | None = None
    """Score the first so many items only."""
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)
    hosts: Hosts = field(default_factory=Hosts)


def run_eval(arguments: list[str]) -> None:
    """score a run's best model on a split"""
    asked = parse(Eval, "eval", arguments)
    join(asked.hosts)
    import jax

    from experiments.runs import evaluate_run
    from experiments.training.folder import read_config

    search = given(asked.search.over(read_config(asked.run).search), items=asked.items)
    console = Console(quiet=jax.process_index() > 0)
    print_scores(console, evaluate_run(asked.run, asked.split, search), asked.split)


def print_scores(console: Console, evaluation: Any, split: str) -> None:
    """Prints the metrics of an `Evaluation` with their intervals."""
    from experiments.reports.results import METRICS

    console.print(f"{split} split, {len(evaluation.items):,} items, {evaluation.decoding}")
    for name, value in evaluation.metrics.items():
        low, high = evaluation.intervals[name]
        write = METRICS[name].write
        console.print(
            f"  {METRICS[name].label:<22} {write(value):>8}   95% {write(low)} to {write(high)}",
            highlight=False,
        )
    for name, signature in evaluation.signatures.items():
        console.print(f"  {name}: {signature}", style="dim", highlight=False, soft_wrap=True)
