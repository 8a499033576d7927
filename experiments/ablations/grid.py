"""Grids of configurations: changes of fields, and how they combine.

A point of a grid is what changes in a base configuration, and a label for each change:

>>> grid = product(
...     over("model", fixed=Seq2SeqConfig(), attention=RNNSearchConfig()),
...     over("task.train_length", all=None, short=6),
... )
>>> [point.name for point in grid]
['fixed, all', 'fixed, short', 'attention, all', 'attention, short']
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from experiments.config import Config
from experiments.errors import InputError


@dataclass(frozen=True)
class Point:
    """One variant: what it changes, by dotted field, and what people call each change."""

    changes: Mapping[str, Any]
    labels: Mapping[str, str]
    """By the field that the grid's axis is named after, in the order of the axes."""

    @property
    def name(self) -> str:
        """All labels, in the order of the axes."""
        return ", ".join(self.labels.values())

    def __and__(self, other: "Point") -> "Point":
        return Point({**self.changes, **other.changes}, {**self.labels, **other.labels})


Grid = tuple[Point, ...]


def over(field: str, *values: Any, **labelled: Any) -> Grid:
    """One field, a point a value; labels are the keywords (underscores as spaces), else the values.

    Args:
        field: dotted, such as "model.heads".
        values: labelled by themselves.
        labelled: by label.
    """
    found = {str(value): value for value in values}
    found |= {label.replace("_", " "): value for label, value in labelled.items()}
    return tuple(Point({field: value}, {field: label}) for label, value in found.items())


def setting(label: str, changes: Mapping[str, Any]) -> Grid:
    """One point: several changes that have one label, and are named after the first's field."""
    return (Point(changes, {next(iter(changes)): label}),)


def product(*grids: Grid) -> Grid:
    """Every combination, the last grid's points next to each other."""
    return tuple(_joined(points) for points in itertools.product(*grids))


def zipped(*grids: Grid) -> Grid:
    """The first points of all, the second, ...: changes that belong together.

    Raises:
        InputError: the grids differ in length.
    """
    if len({len(grid) for grid in grids}) != 1:
        raise InputError(f"zipped grids have {[len(grid) for grid in grids]} points; expected one")
    return tuple(_joined(points) for points in zip(*grids, strict=True))


def chain(*grids: Grid) -> Grid:
    """One grid's points, then the next one's."""
    return tuple(itertools.chain(*grids))


def _joined(points: tuple[Point, ...]) -> Point:
    first, *rest = points
    for point in rest:
        first &= point
    return first


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration with dotted fields changed, in their order.

    Raises:
        InputError: there is no such field; those that are there are named.
    """
    for path, value in changes.items():
        config = _changed(config, path.split("."), value, path)
    return config


def _changed(value: Any, path: list[str], new: Any, whole: str) -> Any:
    name, *rest = path
    known = [field.name for field in fields(value)] if is_dataclass(value) else []
    if name not in known:
        raise InputError(
            f"grid: {whole!r} names no field of a configuration ({type(value).__name__} has no "
            f"{name!r}); expected one of {', '.join(known) or 'none: it is a plain value'}"
        )
    inner = _changed(getattr(value, name), rest, new, whole) if rest else new
    return replace(value, **{name: inner})
