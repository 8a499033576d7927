"""Runs of one model taken together, models set against each other, and that in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from experiments.reports.results import Bucket, Estimate, Metric, Results, Run


@dataclass(frozen=True)
class Summary:
    """A model's runs from all of its seeds."""

    model: str
    runs: tuple[Run, ...]
    test: Mapping[str, Estimate]
    by_length: tuple[Bucket, ...]

    @property
    def attends(self) -> bool | None:
        """Whether the decoder looks at the source by attention (None: not known, or there is none
        apart from what reads it)."""
        return self.runs[0].attends

    def mean(self, name: str) -> float:
        """The mean over seeds of a run's field, e.g. `train_seconds`."""
        return fmean(getattr(run, name) for run in self.runs)

    def spread(self, metric: str) -> tuple[float, float]:
        """The least and the largest value of a test metric over the seeds."""
        values = [run.test[metric].value for run in self.runs]
        return min(values), max(values)


def summarize(results: Results) -> tuple[Summary, ...]:
    """One summary for each model, in the order in which the results name them first."""
    models = dict.fromkeys(run.model for run in results.runs)
    return tuple(
        _summary(model, tuple(run for run in results.runs if run.model == model))
        for model in models
    )


def _summary(model: str, runs: tuple[Run, ...]) -> Summary:
    buckets = tuple(
        Bucket(
            first.low,
            first.high,
            first.n,
            _pool([run.by_length[n].test for run in runs]),
        )
        for n, first in enumerate(runs[0].by_length)
    )
    return Summary(model, runs, _pool([run.test for run in runs]), buckets)


def _pool(scores: list[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Means over seeds. The interval reaches from the lowest to the highest bound of any seed: it
    covers both the choice of test items and the choice of seed."""
    pooled = {}
    for name in scores[0]:
        intervals = [score[name].interval for score in scores]
        bounds = [pair for pair in intervals if pair is not None]
        pooled[name] = Estimate(
            fmean(score[name].value for score in scores),
            (min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else None,
        )
    return pooled


def ranked(summaries: tuple[Summary, ...], metric: Metric) -> list[Summary]:
    """From best to worst by a test metric."""
    sign = 1 if metric.lower else -1
    return sorted(summaries, key=lambda summary: sign * summary.test[metric.name].value)


def contenders(summaries: tuple[Summary, ...], metric: Metric) -> tuple[Summary, Summary] | None:
    """The best model with attention and the best without (None: one of the two kinds is absent)."""
    order = ranked(summaries, metric)
    attending = [summary for summary in order if summary.attends is True]
    fixed = [summary for summary in order if summary.attends is False]
    return (attending[0], fixed[0]) if attending and fixed else None


def lengths(bucket: Bucket, unit: str) -> str:
    """The lengths of a bucket in words: "5–8 letters"."""
    return f"{bucket.label} {unit if bucket.high != 1 else unit.removesuffix('s')}"


def write(metric: Metric, estimate: Estimate) -> str:
    """A value with its interval, as text: "13.9% (13.4–14.4)"."""
    value = metric.write(estimate.value)
    if estimate.interval is None:
        return value
    low, high = estimate.interval
    return f"{value} ({low:.{metric.digits}f}–{high:.{metric.digits}f})"
