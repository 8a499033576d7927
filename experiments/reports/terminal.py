"""The results of a comparison for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.reports.results import Metric, validate
from experiments.reports.summary import Summary, ranked, summarize
from experiments.reports.tables import how_measured, score_cell


def print_table(results: Mapping[str, Any], console: Console) -> None:
    """Each model's size, time and scores with their 95% intervals, in 80 columns where that goes.

    Args:
        results: the content of a `results.json`.
        console: where to print.

    Raises:
        InputError: the results are not what they should be.
    """
    checked = validate(results)
    summaries = summarize(checked)
    metrics = [metric for metric in checked.metrics if metric.name != "perplexity"]
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"{escape(checked.task)}, test split"
    )
    table.add_column("model", no_wrap=True)
    table.add_column("params", justify="right")
    table.add_column("time", justify="right")
    for metric in metrics:
        table.add_column(metric.label, justify="right", width=14)
    for summary in summaries:
        table.add_row(
            escape(summary.model),
            f"{summary.mean('parameters') / 1000:,.0f}k",
            f"{summary.mean('train_seconds'):,.0f} s",
            *(_score(summary, metric, summaries) for metric in metrics),
        )
    console.print(table)
    seeds = len({run.seed for run in checked.runs})
    console.print(
        f"[dim]Parameters; time of training.{f' Means of {seeds} seeds.' if seeds > 1 else ''}"
    )
    console.print("[dim]In brackets: 95% bootstrap interval over test items. Bold: the best.")
    for metric in metrics:
        console.print(f"[dim]{metric.label}: {escape(how_measured(metric, summaries))}.")


def _score(summary: Summary, metric: Metric, summaries: tuple[Summary, ...]) -> str:
    cell = score_cell(metric, summary.test[metric.name])
    best = len(summaries) > 1 and ranked(summaries, metric)[0] is summary
    text = f"[bold green]{escape(cell.text)}[/]" if best else escape(cell.text)
    return f"{text}\n[dim]{escape(cell.note)}[/]" if cell.note else text
