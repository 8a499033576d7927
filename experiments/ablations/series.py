"""Curves of pictures, from what was measured and from what the papers report."""

from collections.abc import Mapping, Sequence

from experiments.ablations.papers import PUBLISHED
from experiments.ablations.plots import Series
from experiments.ablations.results import Quantity, Results
from experiments.errors import InputError


def curve(label: str, quantities: Mapping[str, Quantity], by_name: bool = False) -> Series:
    """Quantities over the numbers that their conditions are ("64"), or over 0, 1, 2, ...

    Args:
        label: of the curve.
        quantities: by condition.
        by_name: whether conditions are names and not numbers.
    """
    values = list(quantities.values())
    return Series(
        label,
        list(range(len(values))) if by_name else [float(condition) for condition in quantities],
        [quantity.value for quantity in values],
        [quantity.interval[0] for quantity in values],
        [quantity.interval[1] for quantity in values],
    )


def published(
    suite: str, paper: str, unit: str, labels: Sequence[str], x: Sequence[float | int], label: str
) -> Series:
    """A paper's numbers: those that its table has under these labels, at these places.

    Raises:
        InputError: the suite has no such table.
    """
    for table in PUBLISHED[suite]:
        if (table.paper.key, table.unit) == (paper, unit) and set(labels) <= set(table.values):
            return Series(label, list(x), [table.values[name] for name in labels], paper=True)
    raise InputError(f"papers: {suite} has no table of {paper} in {unit} with {', '.join(labels)}")


def main_metric(results: Results) -> str:
    """The first that the first variant was scored by."""
    return next(iter(results.variants[0].quantities))


def named(metric: str) -> str:
    """A metric as an axis names it."""
    return "NLL, nats a token" if metric == "nll" else metric.replace("_", " ")
