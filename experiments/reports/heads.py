"""What a run left of its attention heads: `heads.json` and `heads.npz`."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import InputError, expect_known
from experiments.reports.schema import check, field, read_json

KINDS = ("encoder", "decoder", "cross", "sequence")
"""In the order in which they are shown."""

POSITIONAL = 0.9
"""Share of the largest weights at one offset that makes a head positional (Voita et al. 2019)."""


@dataclass(frozen=True)
class Head:
    """Statistics of one head over test items."""

    layer: int
    head: int
    """Both from 0."""
    entropy: float
    """Mean, in nats."""
    weight: tuple[float, ...]
    """Mean share of the weight at each offset; empty where offsets mean nothing."""
    maximum: tuple[float, ...]
    """Share of positions whose largest weight is at each offset."""

    @property
    def share(self) -> float:
        """The largest of `maximum`."""
        return max(self.maximum, default=0.0)

    @property
    def positional(self) -> bool:
        """Whether nearly all that it looks at is at one offset."""
        return self.share >= POSITIONAL


@dataclass(frozen=True)
class Kind:
    """All heads of the encoder, of the decoder, ..."""

    name: str
    layers: tuple[tuple[Head, ...], ...]
    uniform: float
    """Entropy of looking evenly at all that may be looked at, in nats."""

    @property
    def heads(self) -> list[Head]:
        """Layer by layer."""
        return [head for layer in self.layers for head in layer]


@dataclass(frozen=True)
class Item:
    """A test item as the model read it, and the maps [L, N, rows, columns] of each kind, uint8."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    maps: Mapping[str, np.ndarray]

    def sides(self, kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels of the rows and of the columns of a map."""
        both = (*self.source, *self.target)
        return {
            "encoder": (self.source, self.source),
            "decoder": (self.target, self.target),
            "cross": (self.target, self.source),
            "sequence": (both, both),
        }[kind]


@dataclass(frozen=True)
class Heads:
    """Everything that the two files say."""

    offsets: tuple[int, ...]
    measured: int
    """Items that the statistics are of."""
    kinds: tuple[Kind, ...]
    items: tuple[Item, ...]


def read_heads(folder: Path) -> Heads | None:
    """What a run's folder holds of its heads; None where there is nothing.

    Raises:
        InputError: a file is not what it should be; it is named.
    """
    path = folder / "heads.json"
    if not path.exists():
        return None
    found, where = read_json(path, dict), str(path)
    offsets = [
        check(offset, int, f"{where}: offsets") for offset in field(found, "offsets", list, where)
    ]
    entries = field(found, "kinds", dict, where)
    for name in entries:
        expect_known(f"kind of {where}:", name, KINDS)
    kinds = tuple(
        _kind(name, entries[name], f"{where}: kinds.{name}") for name in KINDS if name in entries
    )
    items = field(found, "items", list, where)
    try:
        with np.load(folder / "heads.npz") as weights:
            shown = tuple(
                _item(place, item, kinds, weights, f"{where}: items[{place}]")
                for place, item in enumerate(items)
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder / 'heads.npz'}: cannot be read ({error})") from error
    return Heads(tuple(offsets), field(found, "measured", int, where), kinds, shown)


def _kind(name: str, entry: Any, where: str) -> Kind:
    check(entry, dict, where)
    entropy = field(entry, "entropy", list, where)
    weight, maximum = (entry.get(name) for name in ("weight", "maximum"))
    try:
        layers = tuple(
            tuple(
                Head(
                    layer,
                    head,
                    check(value, float, f"{where}.entropy"),
                    () if weight is None else tuple(weight[layer][head]),
                    () if maximum is None else tuple(maximum[layer][head]),
                )
                for head, value in enumerate(values)
            )
            for layer, values in enumerate(entropy)
        )
    except (IndexError, TypeError) as error:
        raise InputError(f"{where} has not the same layers and heads throughout") from error
    return Kind(name, layers, field(entry, "uniform_entropy", float, where))


def _item(
    place: int, item: Any, kinds: tuple[Kind, ...], weights: Mapping[str, np.ndarray], where: str
) -> Item:
    check(item, dict, where)
    source, target = (
        tuple(check(label, str, where) for label in field(item, side, list, where))
        for side in ("source", "target")
    )
    found = Item(source, target, {kind.name: weights[f"{place}-{kind.name}"] for kind in kinds})
    for kind in kinds:
        rows, columns = found.sides(kind.name)
        heads = len(kind.layers), len(kind.layers[0])
        expected = (*heads, len(rows), len(columns))
        if found.maps[kind.name].shape != expected:
            raise InputError(
                f"{where}: the {kind.name} maps are {found.maps[kind.name].shape}; "
                f"expected {expected}"
            )
    return found
