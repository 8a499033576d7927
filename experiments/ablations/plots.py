"""What a suite says of its pictures: panels and their series, without a word of how they look."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.errors import InputError


@dataclass(frozen=True)
class Series:
    """A curve, or a row of points: places, values, and 95% intervals where they are known.

    Raises:
        InputError: the sequences differ in length, or are empty; or one bound comes without the
            other.
    """

    label: str
    x: Sequence[float | int]
    y: Sequence[float | int]
    low: Sequence[float | int] | None = None
    high: Sequence[float | int] | None = None
    paper: bool = False
    """Published, not measured here: drawn grey, open and dashed."""

    def __post_init__(self):
        if (self.low is None) != (self.high is None):
            raise InputError(f"low and high of {self.label!r}: one is None; expected both or none")
        for name in ("x", "y", "low", "high"):
            values = getattr(self, name)
            if values is not None and not 0 < len(self.x) == len(values):
                raise InputError(
                    f"{name} of {self.label!r} has {len(values)} values, x {len(self.x)}; "
                    "expected the same number, at least one"
                )


@dataclass(frozen=True)
class Plot:
    """One panel. A panel of the paper's series alone is for a scale that is not ours: it is small.

    Raises:
        InputError: there is no series, or the axes do not fit it.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    x_log: bool = False
    y_log: bool = False
    x_ticks: Sequence[str] | None = None
    """Names of the places 0, 1, 2, ...; None where x is a number."""
    kind: Literal["lines", "points"] = "lines"
    """Lines over x; or points, a row for each name of `x_ticks`, whose values go across."""

    def __post_init__(self):
        if not self.series:
            raise InputError(f"series of {self.title!r} is empty; expected at least one")
        if self.kind == "points" and self.x_ticks is None:
            raise InputError(f"x_ticks of {self.title!r} is None; expected a name for each point")
        if self.x_log and self.x_ticks is not None:
            raise InputError(f"x_log of {self.title!r} is True; expected False beside x_ticks")
        for series in self.series:
            last = math.inf if self.x_ticks is None else len(self.x_ticks) - 1
            if self.x_ticks is not None and not 0 <= min(series.x) <= max(series.x) <= last:
                raise InputError(f"x of {series.label!r} is {series.x}; expected 0 to {last}")
            for name, log in (("x", self.x_log), ("y", self.y_log)):
                if log and min(getattr(series, name)) <= 0:
                    raise InputError(f"{name} of {series.label!r} is not above 0, on a log axis")

    @property
    def published(self) -> bool:
        """Whether all of it is the paper's."""
        return all(series.paper for series in self.series)
