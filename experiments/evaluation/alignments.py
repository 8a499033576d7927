"""Where a model looked while it wrote: attention weights beside the tokens, and their picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

END = "</s>"
"""How `EOS` is shown."""

_INK, _FAINT, _RULE = "#1c2024", "#5f6870", "#dfe3e6"
_HEAT = LinearSegmentedColormap.from_list(
    "heat",
    [(0.0, "#ffffff"), (0.2, "#b9d4ec"), (0.45, "#5b96cb"), (0.8, "#0a4a8c"), (1.0, "#06264a")],
)
_CELL = 0.3
"""Inches."""


@dataclass(frozen=True)
class Alignment:
    """Attention of one output to its source."""

    source: tuple[str, ...]
    """Labels of the tokens read, `EOS` last."""
    target: tuple[str, ...]
    """Labels of the tokens written, `EOS` last."""
    weights: np.ndarray
    """[target, source]: how much a token written looks at each token read; rows sum to 1."""
    layers: int
    """Layers of the decoder that attend to the source."""
    heads: int
    """Heads of each."""

    @property
    def shown(self) -> str:
        """Which of the model's weights these are, for people."""
        heads = "" if self.heads == 1 else f"mean of {self.heads} heads"
        layer = "" if self.layers == 1 else f"layer {self.layers} of {self.layers}"
        return ", ".join(filter(None, [layer, heads])) or "one layer, one head"

    def to_json(self) -> dict[str, Any]:
        """An entry of `alignments.json`."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "weights": np.round(self.weights, 4).tolist(),
            "layers": self.layers,
            "heads": self.heads,
            "shown": self.shown,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Alignment":
        """Reads what `to_json` made."""
        weights = np.array(data["weights"], np.float64)
        return cls(
            tuple(data["source"]), tuple(data["target"]), weights, data["layers"], data["heads"]
        )


def choose(lengths: np.ndarray, count: int) -> list[int]:
    """Numbers of `count` items from short to long, evenly spread over the ranks of their lengths.

    The same lengths give the same items, so that models show the same ones. Fewer than `count`
    items are all chosen.
    """
    order = np.argsort(lengths, kind="stable")
    ranks = np.linspace(0.05, 0.98, count) * (len(order) - 1)
    return [int(item) for item in order[np.unique(ranks.round().astype(int))]]


def draw(alignment: Alignment, path: Path) -> None:
    """Draws an alignment as a PNG: source across, output down, the darker the heavier."""
    rows, columns = alignment.weights.shape
    width, height = _CELL * columns, _CELL * rows
    # Tokens are shown as they are: a dollar sign is no mathematics.
    with rc_context({"text.parse_math": False, "font.size": 9.5}):
        figure = Figure(figsize=(width, height), dpi=200, facecolor="white")
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        image = axes.imshow(
            alignment.weights, cmap=_HEAT, vmin=0.0, vmax=1.0, aspect="auto", interpolation="none"
        )
        _label(axes, alignment)
        _rule(axes, rows, columns)
        axes.annotate(
            f"attention weights ({alignment.shown})",
            xy=(0.0, 0.0),
            xycoords="axes fraction",
            xytext=(0.0, -9.0),
            textcoords="offset points",
            va="top",
            color=_FAINT,
            fontsize=8.5,
        )
        _scale(figure, image, (1.0 + 0.14 / width, 0.0, 0.09 / width, 1.0))
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.18)


def _label(axes: Axes, alignment: Alignment) -> None:
    """The tokens; long ones across are turned, and all of them where most are long."""
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(alignment.source)), alignment.source)
    axes.set_yticks(range(len(alignment.target)), alignment.target)
    long = [len(token) > 2 for token in alignment.source]
    for label, turned in zip(axes.get_xticklabels(), long, strict=True):
        label.set_rotation(90 if turned or 2 * sum(long) > len(long) else 0)
    axes.tick_params(length=0, pad=5, labelcolor=_INK)
    axes.set_xlabel("source", color=_FAINT, fontsize=8.5, labelpad=7)
    axes.set_ylabel("output", color=_FAINT, fontsize=8.5, labelpad=7)


def _rule(axes: Axes, rows: int, columns: int) -> None:
    """Thin lines between the cells and around them."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=_RULE, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set(color=_RULE, linewidth=0.6)


def _scale(figure: Figure, image: AxesImage, box: tuple[float, float, float, float]) -> None:
    """The scale of the colours, at the right."""
    bar = figure.colorbar(image, cax=figure.add_axes(box), ticks=[0.0, 0.5, 1.0])
    bar.outline.set(edgecolor=_RULE, linewidth=0.6)
    bar.ax.set_yticklabels(["0", "½", "1"])
    bar.ax.tick_params(length=0, pad=4, labelcolor=_FAINT, labelsize=8)
