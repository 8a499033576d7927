"""The pictures of an ablation: what was measured, and the paper's numbers beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from experiments.ablations import fitting
from experiments.ablations.fitting import MARGIN
from experiments.ablations.plots import Plot, Series
from experiments.errors import InputError
from experiments.reports import theme
from experiments.reports.drawing import LETTER, LINE, label_ends, log_ticks, place, room, short

__all__ = ["Plot", "Series", "paint"]

_BESIDE = 380
"""Panels stand beside each other where each of ours gets so many pixels, else in more rows."""
_GAP = 28
"""Between panels."""
_SMALL = 0.72
"""Width of a panel of the paper's numbers alone, to that of one of ours."""
_TICK = 36
"""Between the numbers along an axis, at least."""


@dataclass(frozen=True)
class _Box:
    """Where a panel is: CSS pixels from the figure's left and top."""

    left: float | int
    top: float | int
    width: float | int
    height: float | int


def paint(plots: Plot | Sequence[Plot], width: int) -> Figure:
    """A picture of one panel, or of several, in rows.

    A label has the same colour in all panels. To be saved by `experiments.reports.theme`.

    Args:
        plots: at least one.
        width: in CSS pixels.

    Raises:
        InputError: there is no plot.
    """
    panels = [plots] if isinstance(plots, Plot) else list(plots)
    if not panels:
        raise InputError("plots is empty; expected at least one")
    boxes = _lay_out(panels, width)
    looks = _looks(panels)
    height = max(box.top + box.height for box in boxes)

    def draw(figure: Figure) -> None:
        for panel, box in zip(panels, boxes, strict=True):
            (_draw_points if panel.kind == "points" else _draw_lines)(figure, panel, box, looks)

    return theme.draw(width, height, draw)


def _lay_out(panels: Sequence[Plot], width: float | int) -> list[_Box]:
    """Rows of equally many panels, but for the last: as few rows as there is room for."""
    for rows in range(1, len(panels) + 1):
        each = math.ceil(len(panels) / rows)
        chunks = [panels[at : at + each] for at in range(0, len(panels), each)]
        if each == 1 or all(_has_room(chunk, width) for chunk in chunks):
            break
    boxes: list[_Box] = []
    for chunk in chunks:
        top = max((box.top + box.height + _GAP for box in boxes), default=0)
        widths = _widths(chunk, width)
        height = max(map(_height, chunk, widths))
        lefts = [sum(widths[:n]) + _GAP * n for n in range(len(chunk))]
        boxes += [_Box(left, top, w, height) for left, w in zip(lefts, widths, strict=True)]
    return boxes


def _has_room(row: Sequence[Plot], width: float | int) -> bool:
    least = [_BESIDE * share for share in _shares(row)]
    return all(w >= least_w for w, least_w in zip(_widths(row, width), least, strict=True))


def _widths(row: Sequence[Plot], width: float | int) -> list[float]:
    shares, free = _shares(row), width - _GAP * (len(row) - 1)
    return [free * share / sum(shares) for share in shares]


def _shares(row: Sequence[Plot]) -> list[float]:
    return [_SMALL if panel.published and len(row) > 1 else 1.0 for panel in row]


def _height(plot: Plot, width: float | int) -> float | int:
    """What a panel needs: for its rows, or for its curves and their names."""
    head = fitting.head_height(plot, width)
    if plot.kind == "points":
        assert plot.x_ticks is not None
        return (
            head
            + len(plot.x_ticks) * fitting.row_height(plot, width)
            + fitting.legend_height(plot, width)
            + 66
        )
    names = sum(LINE * (name.count("\n") + 1) + 2 for name in fitting.end_labels(plot, width))
    return head + max(min(320, max(220, 0.42 * width)), names) + fitting.foot_height(plot, width)


def _looks(panels: Sequence[Plot]) -> dict[tuple[str, bool], dict[str, Any]]:
    """How each series is drawn, by its label and whose it is."""
    everything = [series for panel in panels for series in panel.series]
    looks: dict[tuple[str, bool], dict[str, Any]] = {}
    for paper in (False, True):
        labels = dict.fromkeys(series.label for series in everything if series.paper == paper)
        for position, label in enumerate(labels):
            look = theme.series(position)
            if paper:
                grey = theme.LIGHT["muted"]
                look |= {"color": grey, "mfc": theme.LIGHT["paper"], "mew": 1.3, "lw": 1.3}
                look["linestyle"] = theme.DASHES[1 + position % 2]
            looks[label, paper] = look
    return looks


def _draw_lines(figure: Figure, plot: Plot, box: _Box, looks: Mapping[Any, Any]) -> None:
    labels = fitting.end_labels(plot, box.width)
    head, bottom = fitting.head_height(plot, box.width), fitting.foot_height(plot, box.width)
    axes = _axes(figure, box, head, left=MARGIN, right=room(labels), bottom=bottom)
    for series in plot.series:
        look = looks[series.label, series.paper]
        axes.plot(series.x, series.y, **look)
        if series.low is not None and series.high is not None:
            colour = look["color"]
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.14, lw=0)
    _write_head(figure, plot, box, MARGIN)
    axes.set_xlabel(fitting.x_label(plot, box.width))
    _settle_x(axes, plot, box.width)
    if plot.y_log:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, *_log_limits(axes, plot))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: short(y)))
    colours = [looks[series.label, series.paper]["color"] for series in plot.series]
    label_ends(axes, [(s.x[-1], s.y[-1]) for s in plot.series], labels, colours)


def _draw_points(figure: Figure, plot: Plot, box: _Box, looks: Mapping[Any, Any]) -> None:
    assert plot.x_ticks is not None
    names, legend = fitting.row_names(plot, box.width), fitting.legend_height(plot, box.width)
    head = fitting.head_height(plot, box.width)
    axes = _axes(figure, box, head + legend, left=room(names), right=22, bottom=66)
    for n, series in enumerate(plot.series):
        look = looks[series.label, series.paper] | {"linestyle": ""}
        rows = [x + (n - (len(plot.series) - 1) / 2) * 0.7 / len(plot.series) for x in series.x]
        if series.low is not None and series.high is not None:
            axes.hlines(rows, series.low, series.high, color=look["color"], lw=1.8)
        axes.plot(series.y, rows, label=series.label, **look)
    _write_head(figure, plot, box, 0)
    if plot.y_log:
        axes.set_xscale("log")
        log_ticks(axes.xaxis, *_log_limits(axes, plot))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
        low, high = axes.get_xlim()
        if low < 0 < high:
            axes.axvline(0, color=theme.LIGHT["muted"], linewidth=1)
    axes.set_yticks(range(len(names)), names, color=theme.LIGHT["ink"])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)
    across = box.width - room(names) - 22
    axes.set_xlabel(fitting.wrap(plot.y_label, int(across / LETTER)))
    if legend:
        _, height = figure.get_size_inches() * 72
        anchor = (box.left / (figure.get_figwidth() * 72), 1 - (box.top + head - 10) / height)
        figure.legend(
            handles=axes.get_lines()[: len(plot.series)],
            labels=fitting.legend_labels(plot, box.width),
            loc="upper left",
            bbox_to_anchor=anchor,
            ncols=len(plot.series) if fitting.in_a_row(plot, box.width) else 1,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handletextpad=0.4,
        )


def _settle_x(axes: Axes, plot: Plot, width: float | int) -> None:
    """The horizontal axis of curves: names, or numbers."""
    places = sorted({x for series in plot.series for x in series.x})
    if plot.x_ticks is not None:
        names, turned = fitting.tick_names(plot, width)
        axes.set_xticks(range(len(names)), names, rotation=90 if turned else 0)
        axes.set_xlim(-0.15, max(len(plot.x_ticks) - 0.85, 0.15))
    elif plot.x_log:
        axes.set_xscale("log")
        ticks = places[:: -math.ceil(len(places) * _TICK / fitting.across(plot, width))][::-1]
        steps = [math.log(b / a) for a, b in pairwise(ticks)]
        if (
            min(steps, default=0) * fitting.across(plot, width)
            >= _TICK * math.log(places[-1] / places[0]) * 0.8
        ):
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()
        else:
            most = max(1, int(fitting.across(plot, width) / _TICK))
            log_ticks(axes.xaxis, places[0], places[-1], most)
    else:
        whole = all(float(x).is_integer() for x in places)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))


def _log_limits(axes: Axes, plot: Plot) -> tuple[float | int, float | int]:
    """Of the values: a bound at or below 0 has no place on a logarithmic axis."""
    values = [
        value
        for series in plot.series
        for side in (series.y, series.low or (), series.high or ())
        for value in side
        if value > 0
    ]
    low, high = min(values) / 1.1, max(values) * 1.1
    (axes.set_xlim if plot.kind == "points" else axes.set_ylim)(low, high)
    return low, high


def _axes(
    figure: Figure,
    box: _Box,
    head: float | int,
    *,
    left: float | int,
    right: float | int,
    bottom: float | int,
) -> Axes:
    """Axes inside a panel, below its head."""
    width, height = figure.get_size_inches() * 72
    return place(
        figure,
        left=box.left + left,
        right=width - box.left - box.width + right,
        top=box.top + head,
        bottom=height - box.top - box.height + bottom,
    )


def _write_head(figure: Figure, plot: Plot, box: _Box, left: float | int) -> None:
    """The title, and below it what goes up or what the rows are."""
    width, height = figure.get_size_inches() * 72
    x, y = (box.left + left) / width, box.top + 4
    title = fitting.title(plot, box.width)
    figure.text(x, 1 - y / height, title, va="top", weight="bold", color=theme.LIGHT["ink"])
    y += (LINE + 2) * (title.count("\n") + 1) + 3
    figure.text(
        x, 1 - y / height, fitting.subtitle(plot, box.width), va="top", color=theme.LIGHT["muted"]
    )
