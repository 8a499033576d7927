"""The tables of a comparison, as rows of cells that a page can show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.reports.evidence import Evidence
from experiments.reports.results import METRICS, Estimate, Metric, Pair, Run
from experiments.reports.summary import Summary, ranked

ABSENT = "–"
"""Stands where there is nothing to say."""


@dataclass(frozen=True)
class Cell:
    """A text, a smaller one below it, and whether it is the best of its column."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A heading for each column, and rows that start with a heading of their own."""

    columns: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def results_table(summaries: Sequence[Summary], metrics: Sequence[Metric]) -> Table:
    """What each model cost and scored; means where there are several seeds."""
    columns = (
        Cell("model"),
        Cell("parameters"),
        Cell("examples", "seen"),
        Cell("target tokens", "seen"),
        Cell("training", "seconds"),
        Cell("compiling", "seconds"),
        *(Cell(metric.label, how_measured(metric, summaries)) for metric in metrics),
    )
    best = {metric.name: ranked(tuple(summaries), metric)[0].model for metric in metrics}
    rows = tuple(
        (
            Cell(summary.model, _kind(summary)),
            *(
                Cell(f"{summary.mean(name):,.0f}")
                for name in ("parameters", "examples_seen", "tokens_seen", "train_seconds")
            ),
            Cell(f"{summary.mean('compile_seconds'):,.1f}"),
            *(
                _score(summary, metric, len(summaries) > 1 and best[metric.name] == summary.model)
                for metric in metrics
            ),
        )
        for summary in summaries
    )
    return Table(columns, rows)


def seeds_table(summaries: Sequence[Summary], metrics: Sequence[Metric]) -> Table:
    """Every run on its own."""
    columns = (
        Cell("run"),
        Cell("training", "seconds"),
        *(Cell(metric.label, how_measured(metric, summaries)) for metric in metrics),
    )
    runs = [run for summary in summaries for run in summary.runs]
    return Table(
        columns,
        tuple(
            (
                Cell(run.folder),
                Cell(f"{run.train_seconds:,.0f}"),
                *(score_cell(metric, run.test[metric.name]) for metric in metrics),
            )
            for run in runs
        ),
    )


def length_table(summaries: Sequence[Summary], metric: Metric, unit: str) -> Table:
    """One metric of each model in each bucket of source lengths, the best of a bucket marked."""
    buckets = summaries[0].by_length
    rows = []
    for summary in summaries:
        cells = []
        for n, bucket in enumerate(summary.by_length):
            rivals = [other.by_length[n].test[metric.name].value for other in summaries]
            top = min(rivals) if metric.lower else max(rivals)
            estimate = bucket.test[metric.name]
            best = len(summaries) > 1 and estimate.value == top
            cells.append(score_cell(metric, estimate, best))
        rows.append((Cell(summary.model), *cells))
    heads = (Cell(f"{bucket.label} {unit}", f"{bucket.n:,} items") for bucket in buckets)
    return Table((Cell("model"), *heads), tuple(rows))


def paired_table(pairs: Sequence[Pair]) -> Table:
    """Differences on the same items, for every metric."""
    rows = []
    for pair in pairs:
        metric = METRICS[pair.metric]
        assert pair.difference.interval is not None
        low, high = (_signed(metric, bound) for bound in pair.difference.interval)
        rows.append(
            (
                Cell(f"{pair.a} − {pair.b}"),
                Cell(str(pair.seed)),
                Cell(metric.label),
                Cell(_signed(metric, pair.difference.value)),
                Cell(f"{low} to {high}"),
                Cell("< 0.001" if pair.p < 0.001 else f"{pair.p:.3f}"),
            )
        )
    heads = ("pair", "seed", "metric", "difference", "95% interval", "p")
    return Table(tuple(map(Cell, heads)), tuple(rows))


def costs_table(runs: Sequence[Run]) -> Table:
    """How each run spent its time and its batches."""
    rows = []
    for run in runs:
        seconds = run.train_seconds
        speeds = [
            f"{seen / seconds:,.0f}" if seconds else ABSENT
            for seen in (run.tokens_seen, run.examples_seen)
        ]
        waiting = f"{run.data_wait_seconds / seconds:.2%}" if seconds else ABSENT
        rows.append(
            (
                Cell(run.folder),
                *map(Cell, speeds),
                Cell(waiting, f"{run.data_wait_seconds:.2f} s"),
                Cell(f"{run.padding:.1%}"),
            )
        )
    return Table(
        (
            Cell("run"),
            Cell("target tokens per second"),
            Cell("examples per second"),
            Cell("waiting for data", "share of training"),
            Cell("padding", "share of positions"),
        ),
        tuple(rows),
    )


def differences(evidence: Evidence, summaries: Sequence[Summary]) -> tuple[Table, Table]:
    """In what the models' runs differ (cost and settings), and the settings that all share.

    Settings are those of each model's first seed.
    """
    configs = [evidence.files[s.model, s.runs[0].seed].config for s in summaries]
    settings = [None if config is None else flatten(config) for config in configs]
    names = dict.fromkeys(name for flat in settings if flat is not None for name in flat)
    values = {
        name: ["not known" if flat is None else flat.get(name, ABSENT) for flat in settings]
        for name in names
    }
    costs = {
        label: [f"{summary.mean(name):,.{digits}f}" for summary in summaries]
        for label, name, digits in (
            ("parameters", "parameters", 0),
            ("examples seen", "examples_seen", 0),
            ("target tokens seen", "tokens_seen", 0),
            ("seconds of training", "train_seconds", 1),
            ("seconds of compiling", "compile_seconds", 1),
        )
    }
    unequal = {name: row for name, row in (costs | values).items() if len(set(row)) > 1}
    shared = {name: row[0] for name, row in values.items() if name not in unequal}
    return (
        Table(
            (Cell(""), *(Cell(summary.model) for summary in summaries)),
            tuple((Cell(name), *map(Cell, row)) for name, row in unequal.items()),
        ),
        Table(
            (Cell("setting"), Cell("value")),
            tuple((Cell(name), Cell(value)) for name, value in shared.items()),
        ),
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level: {"train.batch_size": "128"}."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value)
    return flat


def how_measured(metric: Metric, summaries: Sequence[Summary]) -> str:
    """How a metric's outputs came about: teacher-forced, or free-running with which search."""
    if metric.forced:
        return "teacher-forced"
    decodings = dict.fromkeys(run.decoding for summary in summaries for run in summary.runs)
    return "free-running, " + " or ".join(decodings)


def _kind(summary: Summary) -> str:
    """Whether a model has attention, where that is known, and how many seeds it has."""
    kinds = {True: ["attention"], False: ["fixed vector"], None: []}[summary.attends]
    seeds = [f"{len(summary.runs)} seeds"] if len(summary.runs) > 1 else []
    return ", ".join(kinds + seeds)


def _score(summary: Summary, metric: Metric, best: bool) -> Cell:
    cell = score_cell(metric, summary.test[metric.name], best)
    if len(summary.runs) == 1:
        return cell
    low, high = (f"{bound:.{metric.digits}f}" for bound in summary.spread(metric.name))
    return Cell(cell.text, f"{cell.note}\n{low}–{high}".strip(), best)


def score_cell(metric: Metric, estimate: Estimate, best: bool = False) -> Cell:
    """A value, and its interval in brackets as the note."""
    text = metric.write(estimate.value)
    if estimate.interval is None:
        return Cell(text, "", best)
    low, high = (f"{bound:.{metric.digits}f}" for bound in estimate.interval)
    return Cell(text, f"[{low}, {high}]", best)


def _signed(metric: Metric, value: float) -> str:
    return f"{value:+.{metric.digits}f}".replace("-", "−")
