"""From what a model made of each item to scores, intervals, scores by length and comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiments.evaluation.bootstrap import compare, interval, resample
from experiments.evaluation.metrics import METRICS, Outputs

LIKELIHOODS = ("nll", "perplexity")
"""Metrics of every task, beside its own."""

SMALLEST_BUCKET = 50
"""Items below which an interval says little, and a bucket is joined with the next."""

_SHORT, _LONG = (4, 6, 8, 10, 12), (5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100)
"""Last lengths of buckets: of sources of at most 20 tokens (words by letter), and of others."""


@dataclass(frozen=True)
class Item:
    """One example of a split and what the model made of it."""

    index: int
    """The example's number in its split."""
    source: str
    reference: str
    hypothesis: str
    nll: float
    """-log P(reference) in nats, teacher-forced."""
    tokens: int
    """Tokens that `nll` sums over, `EOS` among them."""
    source_length: int
    """Tokens of the source without `EOS`."""
    right: int = 0
    """Of `tokens` the ones that were the most likely, all before them given."""


@dataclass(frozen=True)
class Bucket:
    """Scores of the items whose source has `first` to `last` tokens."""

    first: int
    last: int
    n: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a model on a split; `test.json` is its JSON form."""

    metrics: dict[str, float]
    """The task's metrics, its main one first, then "nll" and "perplexity"."""
    intervals: dict[str, tuple[float, float]]
    """Bootstrap percentile intervals, 95%."""
    by_length: list[Bucket]
    signatures: dict[str, str]
    """sacreBLEU's, of the metrics that have one."""
    decoding: str
    """How outputs were found, for people."""
    items: list[Item]
    attends: bool | None = None
    """Whether the model looked at the source by attention as it wrote, where that can be asked."""

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes and `from_json` reads."""
        by_length = [
            {"from": b.first, "to": b.last, "n": b.n, **b.metrics, "interval": _lists(b.intervals)}
            for b in self.by_length
        ]
        return {
            "metrics": self.metrics,
            "intervals": _lists(self.intervals),
            "by_length": by_length,
            "signatures": self.signatures,
            "decoding": self.decoding,
            "items": [asdict(item) for item in self.items],
            **({} if self.attends is None else {"attends": self.attends}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Evaluation":
        """Reads what `to_json` made."""
        names = list(data["metrics"])
        by_length = [
            Bucket(
                first=b["from"],
                last=b["to"],
                n=b["n"],
                metrics={name: b[name] for name in names},
                intervals=_pairs(b["interval"]),
            )
            for b in data["by_length"]
        ]
        return cls(
            metrics=dict(data["metrics"]),
            intervals=_pairs(data["intervals"]),
            by_length=by_length,
            signatures=dict(data["signatures"]),
            decoding=data["decoding"],
            items=[Item(**item) for item in data["items"]],
            attends=data.get("attends"),
        )


def _lists(intervals: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {name: list(bounds) for name, bounds in intervals.items()}


def _pairs(intervals: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (low, high) in intervals.items()}


def assess(
    items: Sequence[Item], metrics: Sequence[str], *, decoding: str, resamples: int
) -> Evaluation:
    """Scores items, all together and by length of source.

    Args:
        items: at least one.
        metrics: names in `METRICS`, the main one first; "nll" and "perplexity" are added.
        decoding: how the hypotheses were found, for people.
        resamples: bootstrap resamples behind each interval.

    Raises:
        ValueError: no items, no resamples, or a metric that does not exist.
    """
    names = list(dict.fromkeys([*metrics, *LIKELIHOODS]))
    counts = {name: count(items, name) for name in names}
    scores, intervals = _score(counts, resamples)
    lengths = np.array([item.source_length for item in items])
    by_length = []
    for first, last in length_buckets(lengths):
        inside = (first <= lengths) & (lengths <= last)
        some = {name: statistics[inside] for name, statistics in counts.items()}
        by_length.append(Bucket(first, last, int(inside.sum()), *_score(some, resamples)))
    signatures = {name: sign() for name in names if (sign := METRICS[name].signature)}
    return Evaluation(scores, intervals, by_length, signatures, decoding, list(items))


def count(items: Sequence[Item], metric: str) -> np.ndarray:
    """The statistics of a metric for each item, float64 [items, F].

    Raises:
        ValueError: no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(METRICS)}")
    outputs = Outputs(
        hypotheses=[item.hypothesis for item in items],
        references=[item.reference for item in items],
        nll=np.array([item.nll for item in items]),
        tokens=np.array([item.tokens for item in items]),
        right=np.array([item.right for item in items]),
    )
    return METRICS[metric].count(outputs)


def _score(
    counts: Mapping[str, np.ndarray], resamples: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Scores and intervals; all metrics are scored on the same resamples."""
    ends = np.cumsum([statistics.shape[1] for statistics in counts.values()])
    drawn = resample(np.concatenate(list(counts.values()), axis=1), resamples=resamples)
    scores, intervals = {}, {}
    for (name, statistics), sums in zip(
        counts.items(), np.split(drawn, ends[:-1], axis=1), strict=True
    ):
        scores[name] = float(METRICS[name].score(statistics.sum(axis=0)))
        intervals[name] = interval(METRICS[name].score(sums))
    return scores, intervals


def length_buckets(lengths: np.ndarray) -> list[tuple[int, int]]:
    """First and last length of each bucket: fixed edges, so that runs on the same data agree.

    Neighbours are joined until each holds `SMALLEST_BUCKET` items (or there is one).
    """
    shortest, longest = int(lengths.min()), int(lengths.max())
    edges = _SHORT if longest <= 20 else _LONG
    buckets: list[tuple[int, int]] = []
    first = shortest
    for last in [edge for edge in edges if shortest <= edge < longest] + [longest]:
        if np.sum((first <= lengths) & (lengths <= last)) >= SMALLEST_BUCKET:
            buckets.append((first, last))
            first = last + 1
    if first <= longest:  # too few were left for a bucket of their own
        start = buckets.pop()[0] if buckets else shortest
        buckets.append((start, longest))
    return buckets


def compare_pairs(
    runs: Sequence[tuple[str, int, Evaluation]], metric: str, *, resamples: int
) -> list[dict[str, Any]]:
    """Every two models trained with the same seed, compared by the paired bootstrap.

    Args:
        runs: name of the model, its training seed, and its evaluation.
        metric: a name in `METRICS`.
        resamples: bootstrap resamples behind each comparison.

    Returns:
        For each pair {"a", "b", "seed", "metric", "difference", "interval", "p"}: the score of a
        minus that of b, its 95% interval [low, high], and the two-sided p-value.

    Raises:
        ValueError: two evaluations are not of the same items.
    """
    pairs = []
    for seed in dict.fromkeys(seed for _, seed, _ in runs):
        names = [name for name, its, _ in runs if its == seed]
        evaluations = [evaluation for _, its, evaluation in runs if its == seed]
        for name, evaluation in zip(names, evaluations, strict=True):
            if _questions(evaluation) != _questions(evaluations[0]):
                raise ValueError(
                    f"{names[0]} and {name} (seed {seed}) were evaluated on different items, "
                    "expected the same"
                )
        counts = [count(evaluation.items, metric) for evaluation in evaluations]
        found = compare(counts, METRICS[metric].score, resamples=resamples)
        pairs += [
            {
                "a": names[i],
                "b": names[j],
                "seed": seed,
                "metric": metric,
                "difference": comparison.difference,
                "interval": list(comparison.interval),
                "p": comparison.p,
            }
            for (i, j), comparison in found.items()
        ]
    return pairs


def _questions(evaluation: Evaluation) -> list[tuple[int, str, str]]:
    return [(item.index, item.source, item.reference) for item in evaluation.items]
