"""One self-contained page of small maps: what every head of every layer looks at."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.image import imsave

from experiments.errors import InputError
from experiments.reports import theme
from experiments.reports.heads import POSITIONAL, Head, Heads, Kind, read_heads
from experiments.reports.maps import labels
from experiments.reports.pages import environment
from experiments.reports.tables import Cell, Table

PAGE = "heads.html"

TITLES = {
    "encoder": "Encoder: the source looks at the source",
    "decoder": "Decoder: the target looks at the target before it",
    "cross": "Cross-attention: the target looks at the source",
    "sequence": "One sequence: each token looks at those before it",
}
_RANKED = 10
"""Rows of a ranking at most."""


@dataclass(frozen=True)
class Small:
    """One small map and what is written under it."""

    name: str
    image: str
    """A PNG as a data URI: transparent at weight 0."""
    entropy: str
    shares: str
    """Of the weight at each offset; nothing where offsets mean nothing."""
    positional: str
    """The offset of a positional head."""


@dataclass(frozen=True)
class Grid:
    """All heads of one kind on one item, layer by layer."""

    item: int
    kind: str
    text: str
    """The item, for people."""
    rows: Sequence[str]
    columns: Sequence[str]
    """Labels of the tokens."""
    layers: list[list[Small]]


@dataclass(frozen=True)
class HeadsPage:
    """What a report says of a page of heads."""

    path: Path
    sentence: str


def write_heads(folder: Path) -> HeadsPage | None:
    """Writes `folder/heads.html` from a run's `heads.json` and `heads.npz`, if they are there.

    Raises:
        InputError: they are not what they should be, or the page cannot be written.
    """
    heads = read_heads(folder)
    if heads is None:
        return None
    path = folder / PAGE
    try:
        path.write_text(render_heads(heads, folder.name), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    return HeadsPage(path, describe(heads))


def render_heads(heads: Heads, name: str) -> str:
    """The page as text."""
    return (
        environment()
        .get_template("heads.html")
        .render(
            name=name,
            sentence=describe(heads),
            measured=heads.measured,
            offsets=[_signed(offset) for offset in heads.offsets],
            threshold=f"{POSITIONAL:.0%}",
            sections=[
                (kind, TITLES[kind.name], _rankings(kind, heads.offsets), _grids(kind, heads))
                for kind in heads.kinds
            ],
            light=theme.variables(theme.LIGHT),
            dark=theme.variables(theme.DARK),
            sans=theme.SANS,
        )
    )


def describe(heads: Heads) -> str:
    """How many heads there are, and how many of those that could be are positional."""
    said = []
    for kind in heads.kinds:
        count = f"{kind.name}: {len(kind.layers)} × {len(kind.layers[0])} heads"
        if len(kind.heads) == 1:
            count = f"{kind.name}: one head"
        if kind.heads[0].maximum:
            count += f", {sum(head.positional for head in kind.heads)} positional"
        said.append(count)
    return "; ".join(said)


def picture(weights: np.ndarray) -> str:
    """Weights [rows, columns], uint8, as a PNG of one pixel a cell, in a data URI.

    The colour is everywhere the same; how much it covers is the square root of the weight, so that
    a weight spread over many tokens still shows.
    """
    rgb = [round(255 * part) for part in to_rgb(theme.LIGHT["heat"])]
    image = np.empty((*weights.shape, 4), np.uint8)
    image[..., :3] = rgb
    image[..., 3] = np.round(255 * np.sqrt(weights / 255))
    stream = io.BytesIO()
    imsave(stream, image, format="png", pil_kwargs={"optimize": True})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _grids(kind: Kind, heads: Heads) -> list[Grid]:
    grids = []
    for place, item in enumerate(heads.items):
        rows, columns = (labels(side) for side in item.sides(kind.name))
        layers = [
            [
                _small(head, item.maps[kind.name][head.layer, head.head], heads.offsets)
                for head in layer
            ]
            for layer in kind.layers
        ]
        text = " ".join(labels(item.source if len(item.source) > 1 else item.target))
        grids.append(Grid(place, kind.name, text, rows, columns, layers))
    return grids


def _small(head: Head, weights: np.ndarray, offsets: Sequence[int]) -> Small:
    at = dict(zip(head.maximum, offsets, strict=False))
    return Small(
        name=_name(head),
        image=picture(weights),
        entropy=f"{head.entropy:.2f}",
        shares=_shares(head.weight),
        positional=_signed(at[head.share]) if head.positional else "",
    )


def _rankings(kind: Kind, offsets: Sequence[int]) -> Mapping[str, Table]:
    """The first heads by positional share, where offsets mean something, and by entropy."""
    positional = sorted(kind.heads, key=lambda head: -head.share)
    sharp = sorted(kind.heads, key=lambda head: head.entropy)
    wanted = {"By the share of their largest weights at one offset": positional}
    if not kind.heads[0].maximum:
        wanted = {}
    wanted["By entropy, the sharpest first"] = sharp
    return {
        caption: _ranking(ranked[:_RANKED], kind, offsets) for caption, ranked in wanted.items()
    }


def _ranking(heads: Sequence[Head], kind: Kind, offsets: Sequence[int]) -> Table:
    columns = [Cell("layer.head"), Cell("entropy", f"even: {kind.uniform:.2f}")]
    if kind.heads[0].maximum:
        at = " / ".join(map(_signed, offsets))
        columns += [Cell("largest weights", f"at {at}"), Cell("weight", f"at {at}")]
    rows = []
    for head in heads:
        cells = [Cell(_name(head), "positional" if head.positional else "")]
        cells.append(Cell(f"{head.entropy:.2f}"))
        cells += [Cell(_shares(shares)) for shares in (head.maximum, head.weight) if shares]
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows))


def _name(head: Head) -> str:
    """Layer and head, counted from 1."""
    return f"{head.layer + 1}.{head.head + 1}"


def _shares(shares: Sequence[float]) -> str:
    return " / ".join(f"{share:.2f}".removeprefix("0") for share in shares)


def _signed(offset: int) -> str:
    return f"{offset:+d}".replace("-", "−") if offset else "0"
