"""Attention maps: which source tokens (columns) each target token (row) was written from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from experiments.reports import theme
from experiments.reports.evidence import Alignment

_CELL = (10.0, 19.0)
"""Least and greatest side of a cell in CSS pixels."""
_LETTER = 6.6
"""Width of a letter of a token in CSS pixels, on the safe side."""
_LABEL = 14
"""Letters of a token that are shown at most."""
_HEAT = LinearSegmentedColormap.from_list(
    "heat", [(*to_rgb(theme.LIGHT["heat"]), 0.0), (*to_rgb(theme.LIGHT["heat"]), 1.0)]
)
"""From transparent to full: the paper shows through, light or dark."""


def attention_map(alignment: Alignment, cell: float, left: float) -> Figure:
    """A heat map; every cell is a weight, from 0 (paper) to 1 (full colour) in all maps alike.

    Args:
        alignment: weights [target, source].
        cell: side of a cell in CSS pixels.
        left: pixels to leave for the target's tokens.
    """
    rows, columns = len(alignment.target), len(alignment.source)
    source, target = labels(alignment.source), labels(alignment.target)
    long = [len(label) > 2 for label in source]
    turned = [True] * columns if 2 * sum(long) > columns else long
    top = 22 + max(_LETTER * len(t) if turn else 12 for t, turn in zip(source, turned, strict=True))
    width, height = left + cell * columns + 4, top + cell * rows + 4

    def paint(figure: Figure) -> None:
        box = (left / width, 4 / height, cell * columns / width, cell * rows / height)
        axes = figure.add_axes(box)
        axes.imshow(
            np.array(alignment.weights), cmap=_HEAT, vmin=0, vmax=1, interpolation="none",
            aspect="auto",
        )  # fmt: skip
        axes.xaxis.tick_top()
        axes.set_xticks(range(columns), source, fontsize=min(11.0, cell - 1.5))
        for label, turn in zip(axes.get_xticklabels(), turned, strict=True):
            label.set_rotation(90 if turn else 0)
        axes.set_yticks(range(rows), target, fontsize=min(11.0, cell - 1.5))
        axes.tick_params(colors=theme.LIGHT["ink"], pad=4)
        axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
        axes.grid(axis="both", which="minor", linewidth=0.6)
        axes.grid(visible=False, which="major")
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set(visible=True)
        middle = left + cell * columns / 2, top + cell * rows / 2
        small: dict[str, Any] = {
            "fontsize": 10,
            "color": theme.LIGHT["muted"],
            "ha": "center",
            "va": "center",
        }
        figure.text(middle[0] / width, 1 - 7 / height, "source", **small)
        figure.text(7 / width, 1 - middle[1] / height, "target", rotation=90, **small)

    return theme.draw(width, height, paint)


def labels(tokens: Sequence[str]) -> list[str]:
    """Tokens as a picture shows them.

    SentencePiece marks the start of a word ("▁at", "tend"); people mark what goes on ("at",
    "-tend"). Long tokens end in "…".
    """
    pieces = any(token.startswith("▁") for token in tokens)
    shown = []
    for token in tokens:
        label = "-" + token if pieces and token[:1].isalnum() else token.removeprefix("▁") or "␣"
        shown.append(label if len(label) <= _LABEL else label[: _LABEL - 1] + "…")
    return shown


@dataclass(frozen=True)
class Layout:
    """How the maps of one item stand beside each other."""

    columns: int
    """Maps in a row."""
    cell: float
    left: float


def lay_out(alignments: Sequence[Alignment], width: int, gap: int) -> Layout:
    """The fewest rows of maps in which cells are large enough to read, all cells the same size.

    Args:
        alignments: one or more, of one item.
        width: of the page in CSS pixels.
        gap: between maps.
    """
    least, greatest = _CELL
    left = 24 + _LETTER * max(len(label) for a in alignments for label in (*labels(a.target), ""))
    tokens = max(len(alignment.source) for alignment in alignments)
    for rows in range(1, len(alignments) + 1):
        columns = math.ceil(len(alignments) / rows)
        cell = ((width - gap * (columns - 1)) / columns - left - 4) / tokens
        if cell >= least:
            return Layout(columns, min(cell, greatest), left)
    return Layout(1, least, left)


def shared_items(alignments: Mapping[str, Sequence[Alignment]], most: int) -> list[tuple[str, ...]]:
    """The sources, as tokens, that the models have maps of: those that all have first, then the
    others, each in the order of the files; at most so many."""
    sources = {
        model: list(dict.fromkeys(alignment.source for alignment in maps))
        for model, maps in alignments.items()
    }
    every = dict.fromkeys(source for listed in sources.values() for source in listed)
    common = [s for s in every if all(s in listed for listed in sources.values())]
    return [*common, *(source for source in every if source not in common)][:most]
