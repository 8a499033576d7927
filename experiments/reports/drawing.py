"""What pictures of curves share: margins in CSS pixels, names at the ends of lines, round ticks."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

LINE = 15.0
"""Height of a line of text in CSS pixels."""
LETTER = 7.2
"""Width of a letter in CSS pixels, on the generous side."""
_LOG_TICKS = 10
"""At most so many numbers stand along a logarithmic axis."""


def place(
    figure: Figure, *, left: float | int, right: float | int, top: float | int, bottom: float | int
) -> Axes:
    """Axes with margins of so many CSS pixels."""
    width, height = figure.get_size_inches() * 72
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(box)


def room(labels: Sequence[str]) -> int:
    """Pixels that the longest line of the labels needs beside the axes."""
    lines = [line for label in labels for line in label.split("\n")]
    return 26 + math.ceil(LETTER * max(map(len, lines), default=0))


def label_ends(
    axes: Axes,
    ends: Sequence[tuple[float | int, float | int]],
    labels: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Each curve's name to the right of its end, names moved up or down until none overlap.

    Names of several lines have line breaks. They stay beside the axes while there is room.
    """
    axes.get_ylim()  # settles the limits, on which the next line depends
    pixels = axes.transData.transform(ends)
    (_, bottom), (right, top) = axes.transAxes.transform([(0, 0), (1, 1)])
    heights = [LINE * (label.count("\n") + 1) + 2 for label in labels]
    places = spread(pixels[:, 1], heights, bottom - LINE, top + LINE)
    for end, label, colour, y in zip(ends, labels, colours, places, strict=True):
        axes.annotate(
            label,
            end,
            xytext=(right + 16, y),
            textcoords="figure points",
            va="center",
            color=colour,
            fontsize=12,
            linespacing=1.05,
            arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.8, "alpha": 0.6,
                "shrinkA": 2, "shrinkB": 5, "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )  # fmt: skip


def spread(
    values: np.ndarray,
    heights: Sequence[float | int] | float,
    low: float | int = -math.inf,
    high: float | int = math.inf,
) -> np.ndarray:
    """Centres as near to the values, in squares, as things of these heights can stand in a column.

    They keep the values' order. Those that reach over `low` or `high` move inside; where the room
    is too small for all, they hang from `high`.
    """
    order = np.argsort(values, kind="stable")
    tall = np.broadcast_to(heights, np.shape(values))[order]
    slots = np.concatenate([[0.0], np.cumsum((tall[:-1] + tall[1:]) / 2)])
    # Less their slots the centres need only not fall: an isotonic regression, by its max-min form.
    wanted = values[order] - slots
    n = len(wanted)
    level = [
        max(min(np.mean(wanted[i : k + 1]) for k in range(j, n)) for i in range(j + 1))
        for j in range(n)
    ]
    floor, ceiling = low + tall[0] / 2, high - slots[-1] - tall[-1] / 2
    placed = np.minimum(np.maximum(level, floor), ceiling) + slots
    found = np.empty(n)
    found[order] = placed
    return found


def log_ticks(axis: Axis, low: float | int, high: float | int, most: int = _LOG_TICKS) -> None:
    """At most so many round numbers along a logarithmic axis from `low` to `high`, both above 0."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**e for e in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            break
    ticks = ticks[:: math.ceil(len(ticks) / most)] if ticks else [low, high]
    axis.set_ticks(ticks, [short(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def short(number: float | int) -> str:
    """12000 as 12k, 2000000 as 2M, 0.00001 as 10⁻⁵."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size and abs(number) < 1e9:
            return f"{number / size:g}{letter}"
    text = f"{number:g}".replace("-", "−")
    digits, mark, power = text.partition("e")
    if not mark:
        return text
    raised = str(int(power.replace("−", "-"))).translate(_RAISED)
    return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
