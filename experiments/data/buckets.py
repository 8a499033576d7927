"""Which few padded shapes waste the least on padding."""

from collections.abc import Sequence

import numpy as np

Shape = tuple[int, int]
"""Widths of source and target."""

COARSE = 40
"""Widths of each side that the first pass looks at: squared, the states of the dynamic program."""


def choose_shapes(lengths: np.ndarray, buckets: int, batch_size: int) -> list[Shape]:
    """At most `buckets` nested shapes in which full batches cover (almost) the fewest positions.

    Nested (each at least as wide on both sides as the one before), so that what is left over of
    one shape's examples fits the next. Found over a coarse choice of widths, then twice over those
    near the best.

    Args:
        lengths: [N, 2] tokens of source and target.
        buckets: how many shapes there may be.
        batch_size: rows of a batch.

    Returns:
        (source, target) widths, ascending; the last holds every example.
    """
    widths = [np.unique(side) for side in lengths.T]
    shapes = _best_chain(lengths, [_thinned(side, COARSE) for side in widths], buckets, batch_size)
    for _ in range(2):
        chosen = np.array(shapes).T
        reach = max(1, COARSE // (2 * len(shapes)))
        near = [_near(side, those, reach) for side, those in zip(widths, chosen, strict=True)]
        shapes = _best_chain(lengths, near, buckets, batch_size)
    return shapes


def smallest_fit(lengths: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """[N]: the number of the first of `shapes` that holds each of `lengths` [N, 2].

    The shapes are ascending and the last must hold every example.
    """
    widths = np.array(shapes)
    sides = [np.searchsorted(widths[:, side], lengths[:, side]) for side in range(2)]
    return np.maximum(*sides)


def _best_chain(
    lengths: np.ndarray, widths: list[np.ndarray], buckets: int, batch_size: int
) -> list[Shape]:
    """The best shapes whose sides are among `widths`.

    Let F(a) be the full batches among all examples that fit a shape a, and |a| the sum of its
    widths. As what is left over moves up, shapes a₁ ≤ a₂ ≤ … make F(aₖ) − F(aₖ₋₁) batches of shape
    aₖ, so they cost Σ (F(aₖ) − F(aₖ₋₁)) · |aₖ|: the k-th term depends on its neighbour alone, and
    dynamic programming over k finds the least.
    """
    count = np.zeros([len(side) for side in widths], np.int64)
    cell = tuple(np.searchsorted(widths[side], lengths[:, side]) for side in range(2))
    np.add.at(count, cell, 1)
    batches = count.cumsum(axis=0).cumsum(axis=1).ravel() // batch_size
    batches[-1] = -(-len(lengths) // batch_size)  # the last batch is completed
    source, target = (grid.ravel() for grid in np.meshgrid(*widths, indexing="ij"))
    area = source + target

    nested = (source[:, None] <= source) & (target[:, None] <= target)
    step = np.where(nested, (batches - batches[:, None]) * area, np.inf)
    cost, before = batches * area, []
    for _ in range(buckets - 1):
        total = cost[:, None] + step
        best = total.argmin(axis=0)
        cost = total[best, np.arange(len(best))]
        before.append(best)

    chain = [len(area) - 1]
    for best in reversed(before):
        chain.append(int(best[chain[-1]]))
    chain.reverse()
    before_each = [0, *(batches[a] for a in chain[:-1])]
    used = [a for a, full in zip(chain, before_each, strict=True) if batches[a] > full]
    return [(int(source[a]), int(target[a])) for a in used]


def _thinned(widths: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of ascending widths, the last too, evenly spaced in their logarithms."""
    if len(widths) <= most:
        return widths
    spaced = np.geomspace(widths[0], widths[-1], most).round().astype(widths.dtype)
    return np.unique(widths[np.searchsorted(widths, spaced)])


def _near(widths: np.ndarray, chosen: np.ndarray, reach: int) -> np.ndarray:
    """The chosen of ascending widths and the `reach` before and after each."""
    places = np.searchsorted(widths, chosen)[:, None] + np.arange(-reach, reach + 1)
    return widths[np.unique(places.clip(0, len(widths) - 1))]
