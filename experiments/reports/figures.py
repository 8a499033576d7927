"""The pictures of a comparison: score by length, training curves, paired differences."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from experiments.errors import InputError
from experiments.reports import theme
from experiments.reports.drawing import label_ends, log_ticks, place, room, short
from experiments.reports.evidence import Point
from experiments.reports.results import Metric, Pair, validate
from experiments.reports.summary import Summary, summarize

_POINTS = 400
"""At most so many points of a curve are drawn."""


def score_by_length(
    summaries: Sequence[Summary], metric: Metric, unit: str, width: int, height: int
) -> Figure:
    """A metric against source length: a line for each model, its 95% intervals as a band.

    Args:
        summaries: in the order of their colours.
        metric: which.
        unit: what lengths count ("letters"), or nothing.
        width: in CSS pixels.
        height: in CSS pixels.

    Raises:
        InputError: the results have no buckets of length.
    """
    if not summaries[0].by_length:
        raise InputError("results.runs[0].by_length is empty; expected at least one bucket")
    buckets = summaries[0].by_length
    labels = [summary.model for summary in summaries]

    def paint(figure: Figure) -> None:
        axes = place(figure, left=52, right=room(labels), top=34, bottom=56)
        for position, summary in enumerate(summaries):
            scores = [bucket.test[metric.name] for bucket in summary.by_length]
            look = theme.series(position)
            axes.plot(range(len(scores)), [score.value for score in scores], **look)
            bands = [(n, *score.interval) for n, score in enumerate(scores) if score.interval]
            if bands:
                x, low, high = zip(*bands, strict=True)
                axes.fill_between(x, low, high, color=look["color"], alpha=0.14, lw=0)
        axes.set_title(f"{metric.heading}, {'lower' if metric.lower else 'higher'} is better")
        wide = (width - 52 - room(labels)) / len(buckets) > 80
        counts = [f"\n{bucket.n:,} items" if wide else "" for bucket in buckets]
        ticks = [bucket.label + count for bucket, count in zip(buckets, counts, strict=True)]
        axes.set_xticks(range(len(buckets)), ticks)
        axes.set_xlabel(f"source length, {unit}" if unit else "source length")
        axes.set_xlim(-0.15, len(buckets) - 0.85)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}{metric.unit}"))
        ends = [summary.by_length[-1].test[metric.name].value for summary in summaries]
        colours = [theme.series(position)["color"] for position in range(len(labels))]
        label_ends(axes, [(len(buckets) - 1.0, end) for end in ends], labels, colours)

    return theme.draw(width, height, paint)


def training_curves(
    curves: Mapping[str, Sequence[tuple[Sequence[Point], Sequence[Point]]]],
    against: str,
    width: int,
    height: int,
) -> Figure:
    """Loss on the validation split (thick) and on the training batches (thin).

    Args:
        curves: by model, in the order of their colours; a (training, validation) pair a seed.
        against: "examples" or "seconds".
        width: in CSS pixels.
        height: in CSS pixels.
    """

    def paint(figure: Figure) -> None:
        axes = place(figure, left=52, right=room(list(curves)), top=34, bottom=42)
        ends, labels, colours, seen = [], [], [], []
        for position, (model, seeds) in enumerate(curves.items()):
            look = theme.series(position)
            for train, validation in seeds:
                thin = look | {"marker": "", "linewidth": 0.8, "alpha": 0.55}
                axes.plot(*_along(train, against), **thin)
                thick = 2.2 if len(seeds) == 1 else 1.5
                axes.plot(*_along(validation, against), **look | {"ms": 3.5, "lw": thick})
                seen += [point.loss for point in (*train[len(train) // 20 :], *validation)]
            last = [validation[-1] for _, validation in seeds if validation]
            if last:
                ends.append(
                    (
                        max(float(getattr(point, against)) for point in last),
                        float(np.mean([point.loss for point in last])),
                    )
                )
                labels.append(model)
                colours.append(look["color"])
        _log_axis(axes, seen)
        axes.set_title(f"Loss, nats per token, against {against}")
        axes.set_xlabel(
            "training examples seen" if against == "examples" else "seconds of training"
        )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
        axes.set_xlim(left=0)
        label_ends(axes, ends, labels, colours)

    return theme.draw(width, height, paint)


def paired_differences(pairs: Sequence[Pair], metric: Metric, width: int) -> Figure:
    """Differences between models on the same test items, with 95% intervals; one row a pair, one
    mark a seed."""
    rows = list(dict.fromkeys((pair.a, pair.b) for pair in pairs))
    labels = [f"{a} − {b}" for a, b in rows]

    def paint(figure: Figure) -> None:
        axes = place(figure, left=room(labels), right=20, top=34, bottom=42)
        for row, names in enumerate(rows):
            marks = [pair for pair in pairs if (pair.a, pair.b) == names]
            for n, pair in enumerate(marks):
                y = row + (n - (len(marks) - 1) / 2) * min(0.24, 0.7 / len(marks))
                assert pair.difference.interval is not None
                low, high = pair.difference.interval
                apart = low > 0 or high < 0
                ink = theme.LIGHT["ink" if apart else "muted"]
                axes.plot([low, high], [y, y], color=ink, linewidth=1.6, solid_capstyle="round")
                fill = ink if apart else theme.LIGHT["paper"]
                axes.plot([pair.difference.value], [y], "o", color=ink, mfc=fill, ms=6)
        axes.axvline(0, color=theme.LIGHT["muted"], linewidth=1)
        axes.set_yticks(range(len(rows)), labels, color=theme.LIGHT["ink"])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        better = (
            "left of 0: the first is better" if metric.lower else "right of 0: the first is better"
        )
        axes.set_title(f"Difference in {metric.label}; {better}")
        axes.set_xlabel("difference" + (" in points" if metric.unit == "%" else ""))

    return theme.draw(width, 76 + 26 * len(rows), paint)


def figure_for_readme(results: Mapping[str, Any], path: Path) -> None:
    """The main metric by source length as a picture that stands alone.

    Args:
        results: the content of a `results.json`.
        path: to be written: .svg (follows the reader's colour scheme) or .png (light).

    Raises:
        InputError: the results are not what they should be, or the path ends otherwise.
    """
    checked = validate(results)
    metric = checked.metrics[0]
    figure = score_by_length(summarize(checked), metric, "", 760, 380)
    if path.suffix == ".svg":
        theme.save_svg(figure, path, f"{metric.label} by source length on {checked.task}")
    elif path.suffix == ".png":
        theme.save_png(figure, path)
    else:
        raise InputError(f"path is {path}; expected a name that ends in .svg or .png")


def _along(points: Sequence[Point], against: str) -> tuple[list[float], list[float]]:
    """A curve's coordinates, thinned out evenly to what a picture can show."""
    shown = points[:: max(1, math.ceil(len(points) / _POINTS))]
    return [float(getattr(point, against)) for point in shown], [point.loss for point in shown]


def _log_axis(axes: Axes, losses: Sequence[float]) -> None:
    """A logarithmic axis that holds the losses, with round numbers as ticks."""
    positive = [loss for loss in losses if loss > 0]
    low, high = min(positive, default=0.1) / 1.1, max(positive, default=1.0) * 1.1
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    log_ticks(axes.yaxis, low, high)
