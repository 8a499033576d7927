"""How far a score could have come out otherwise: the bootstrap over items.

A resample draws as many items as there are, with replacement. It is described by how often each
item was drawn, so the sums of any statistics over it are a product of matrices.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

_CHUNK = 2**20
"""Numbers drawn at a time: bounds the memory, and is part of what a seed means."""


@dataclass(frozen=True)
class Comparison:
    """The difference of two systems' scores over the same items, first minus second."""

    difference: float
    interval: tuple[float, float]
    """Percentile interval of the difference, 95%."""
    p: float
    """Two-sided: how readily a resample puts the systems level or in the other order."""


def resample(statistics: np.ndarray, *, resamples: int, seed: int = 0) -> np.ndarray:
    """Sums of the statistics over bootstrap resamples of the items.

    Args:
        statistics: [items, F]; the same rows are drawn for all F columns, so put side by side what
            belongs together.
        resamples: how many, at least 1.
        seed: the same seed and number of items draw the same resamples.

    Returns:
        float64 [resamples, F].

    Raises:
        ValueError: no items or no resamples.
    """
    if len(statistics) == 0 or resamples < 1:
        raise ValueError(
            f"{len(statistics)} items and {resamples} resamples, expected at least 1 of each"
        )
    draws = _draws(len(statistics), resamples, np.random.default_rng(seed))
    return np.concatenate([counts @ statistics for counts in draws])


def _draws(items: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each item is in each resample: float64 [some, items], a few resamples at a time."""
    rows = max(1, _CHUNK // items)
    for first in range(0, resamples, rows):
        some = min(rows, resamples - first)
        drawn = rng.integers(items, size=(some, items)) + items * np.arange(some)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=some * items)
        yield counts.reshape(some, items).astype(np.float64)


def interval(scores: np.ndarray) -> tuple[float, float]:
    """The middle 95% of resampled scores (Efron and Tibshirani 1993, the percentile interval)."""
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def compare(
    systems: Sequence[np.ndarray],
    score: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int,
    seed: int = 0,
) -> dict[tuple[int, int], Comparison]:
    """Paired bootstrap of every two systems (Koehn 2004): all are scored on the same resamples.

    The p-value is that of no difference (`p_value`).

    Args:
        systems: of each the statistics [items, F] of the same items in the same order.
        score: summed statistics [..., F] to scores [...].
        resamples: how many, at least 1.
        seed: of the resamples.

    Returns:
        By the systems' numbers, (0, 1), (0, 2), ...: the first's score minus the second's.

    Raises:
        ValueError: the systems differ in shape, or there is nothing to resample.
    """
    shapes = {statistics.shape for statistics in systems}
    if len(shapes) != 1:
        raise ValueError(f"statistics of shapes {sorted(shapes)}, expected one shape")
    drawn = resample(np.concatenate(systems, axis=1), resamples=resamples, seed=seed)
    scores = [score(sums) for sums in np.split(drawn, len(systems), axis=1)]
    whole = [score(statistics.sum(axis=0)) for statistics in systems]
    return {
        (i, j): _comparison(float(whole[i] - whole[j]), scores[i] - scores[j])
        for i, j in combinations(range(len(systems)), 2)
    }


def p_value(scores: np.ndarray, *, threshold: float = 0.0) -> float:
    """How readily a resample puts a score at the threshold or on its rarer side, two-sided.

    Twice the share of resamples that do, the observed score counted in, so that it is below 0.05
    where the interval leaves out the threshold (to within one resample) and never 0.
    """
    rarer = min(np.sum(scores <= threshold), np.sum(scores >= threshold))
    return float(min(1.0, 2 * (int(rarer) + 1) / (len(scores) + 1)))


def _comparison(difference: float, resampled: np.ndarray) -> Comparison:
    return Comparison(difference, interval(resampled), p_value(resampled))
