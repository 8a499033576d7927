"""How the texts of a panel break into lines, and the room that they need; all in CSS pixels."""

import textwrap

from experiments.ablations.plots import Plot
from experiments.reports.drawing import LETTER, LINE, room

MARGIN = 52
"""Left of the axes of curves, for numbers."""
_HEAVY = 1.08
"""Width of a bold letter, to that of another."""


def head_height(plot: Plot, width: float | int) -> float | int:
    """Above the axes: the title and what stands below it."""
    lines = title(plot, width).count("\n") + subtitle(plot, width).count("\n") + 2
    return (LINE + 2) * lines + 26


def foot_height(plot: Plot, width: float | int) -> float | int:
    """Below the axes of curves: the names of the places, and the label."""
    names, turned = tick_names(plot, width)
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    lines = max((name.count("\n") + 1 for name in names), default=1)
    label = LINE * (x_label(plot, width).count("\n") + 1)
    return (LETTER * longest if turned else LINE * lines) + label + 26


def across(plot: Plot, width: float | int) -> float | int:
    """Width of the axes of curves, which their names leave."""
    return width - MARGIN - room(end_labels(plot, width))


def x_label(plot: Plot, width: float | int) -> str:
    """What the places of curves are."""
    return wrap(plot.x_label, int(across(plot, width) / LETTER))


def tick_names(plot: Plot, width: float | int) -> tuple[list[str], bool]:
    """The names of the places, and whether they stand upright, too long to lie side by side."""
    ticks = plot.x_ticks or ()
    letters = int(across(plot, width) / max(len(ticks), 1) / LETTER) - 1
    longest = max((len(word) for name in ticks for word in name.split()), default=0)
    turned = longest > letters
    return [wrap(name, 24 if turned else letters) for name in ticks], turned


def title(plot: Plot, width: float | int) -> str:
    """The title, in lines that fit even where the axes start at the margin."""
    return wrap(plot.title, int((width - MARGIN) / LETTER / _HEAVY))


def subtitle(plot: Plot, width: float | int) -> str:
    """Below the title: for curves what goes up, for points what the rows are."""
    text = plot.x_label if plot.kind == "points" else plot.y_label
    return wrap(text, int((width - MARGIN) / LETTER))


def end_labels(plot: Plot, width: float | int) -> list[str]:
    """Names of the curves, in lines that leave the curves most of the width."""
    return [wrap(series.label, int(0.36 * width / LETTER)) for series in plot.series]


def row_names(plot: Plot, width: float | int) -> list[str]:
    """Names of the rows of points, in lines that leave the points most of the width."""
    return [wrap(name, int(0.42 * width / LETTER)) for name in plot.x_ticks or ()]


def row_height(plot: Plot, width: float | int) -> float | int:
    """Height of a row of points."""
    lines = max(name.count("\n") + 1 for name in row_names(plot, width))
    return max(15 * len(plot.series) + 10, (LINE + 2) * lines + 8)


def legend_labels(plot: Plot, width: float | int) -> list[str]:
    """Names of the series of points, in lines that fit."""
    return [wrap(series.label, int((width - 40) / LETTER)) for series in plot.series]


def in_a_row(plot: Plot, width: float | int) -> bool:
    """Whether the legend of points fits in one row."""
    return sum(LETTER * len(series.label) + 50 for series in plot.series) <= width


def legend_height(plot: Plot, width: float | int) -> float | int:
    """Points alone of one kind need no legend."""
    if len(plot.series) == 1 and not plot.series[0].paper:
        return 0
    lines = sum(label.count("\n") + 1 for label in legend_labels(plot, width))
    return 10 + (LINE + 5) * (1 if in_a_row(plot, width) else lines)


def wrap(text: str, letters: int) -> str:
    """The text in lines of at most so many letters; a longer word has a line of its own."""
    return "\n".join(textwrap.wrap(text, max(letters, 1), break_long_words=False)) or text
