"""Scores of the test split: how likely its references are, and what a model writes by itself."""

from collections.abc import Sequence

import numpy as np

from experiments.ablations.measures.lane import Lane
from experiments.ablations.statistics import Sample
from experiments.evaluation.outcome import Item, count, length_buckets


def likelihoods(lane: Lane, *, by_length: bool = False) -> dict[str, Sample]:
    """Teacher-forced "nll", in nats a token with `EOS` counted.

    Args:
        lane: any model.
        by_length: also "nll @ 3-5" and so on, for each bucket of source length.
    """
    items = lane.evaluator.items(lane.params, search=False)
    return _scored(items, ("nll",), by_length)


def outputs(lane: Lane, metrics: Sequence[str], *, by_length: bool = False) -> dict[str, Sample]:
    """Metrics of what the model writes by itself, and the teacher-forced "nll".

    Args:
        lane: any model; outputs are found as `lane.config.search` says.
        metrics: names in `experiments.evaluation.metrics.METRICS`.
        by_length: also each of them at every bucket of source length.

    Raises:
        ValueError: no such metric.
    """
    items = lane.evaluator.items(lane.params, search=True)
    return _scored(items, tuple(dict.fromkeys([*metrics, "nll"])), by_length)


def _scored(items: Sequence[Item], metrics: Sequence[str], by_length: bool) -> dict[str, Sample]:
    counts = {name: count(items, name) for name in metrics}
    samples = {name: Sample(statistics, name) for name, statistics in counts.items()}
    if not by_length:
        return samples
    lengths = np.array([item.source_length for item in items])
    for first, last in length_buckets(lengths):
        inside = (first <= lengths) & (lengths <= last)
        for name, statistics in counts.items():
            samples[f"{name} @ {first}-{last}"] = Sample(statistics[inside], name)
    return samples
