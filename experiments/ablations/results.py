"""What the `results.json` of an ablation holds, as typed records, and the check that it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import InputError
from experiments.reports.schema import check, described, field, interval, optional, read_json

AT = " @ "
"""Stands between a quantity and the condition that it was measured at: "nll @ 5-6"."""
OUTCOMES = ("holds", "fails", "open", "missing")
VERDICTS = ("reproduced", "not reproduced", "inconclusive")


@dataclass(frozen=True)
class Quantity:
    """One score of a variant, over all its seeds and items."""

    value: float
    interval: tuple[float, float]
    """95%, over seeds and items together."""
    by_seed: tuple[float, ...]
    items: int
    metric: str
    """A metric's name, or "mean"."""


@dataclass(frozen=True)
class Variant:
    """One cell of the grid: what was set, what it cost, what it scored."""

    name: str
    labels: Mapping[str, str]
    """What distinguishes it: setting to value."""
    parameters: int
    seeds: tuple[int, ...]
    train_seconds: float
    quantities: Mapping[str, Quantity]

    def quantity(self, name: str) -> Quantity:
        """A quantity by its whole name ("nll", "nll @ 5-6").

        Raises:
            InputError: the variant has no such quantity.
        """
        return _named(self.quantities, name, f"quantity of variant {self.name!r}")

    def conditions(self, name: str) -> dict[str, Quantity]:
        """What a quantity is at each of its conditions, in the file's order; it may have none."""
        return {
            condition: quantity
            for key, quantity in self.quantities.items()
            for base, at, condition in [key.partition(AT)]
            if at and base == name
        }


@dataclass(frozen=True)
class Contrast:
    """One thing that the claim says, as a number that is large if it is so."""

    name: str
    value: float | None
    """None, as the interval and the p-values: a variant that it needs has failed."""
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    """Adjusted for the number of contrasts (Holm 1979)."""
    threshold: float
    """What the value must exceed."""
    matters: float
    """The smallest excess that would count as the paper's effect."""
    falsifier: str
    outcome: str
    """One of `OUTCOMES`."""


@dataclass(frozen=True)
class Failure:
    """A run that gave no scores."""

    variant: str
    seed: int
    error: str


@dataclass(frozen=True)
class Results:
    """A suite at one budget: what was trained, what was found, how to make it again."""

    suite: str
    claim: str
    budget: str
    command: str
    date: str
    hardware: Mapping[str, str]
    versions: Mapping[str, str]
    code: str
    """Of the code that ran: the first digits of a hash."""
    seconds: float
    seeds: tuple[int, ...]
    resamples: int
    mode: str
    """How the scores came about: "teacher-forced", "free-running, greedy"."""
    variants: tuple[Variant, ...]
    failed: tuple[Failure, ...]
    contrasts: tuple[Contrast, ...]
    """The first decides most: its value stands for the suite."""
    verdict: str
    """One of `VERDICTS`."""

    def variant(self, name: str) -> Variant:
        """A variant by its name.

        Raises:
            InputError: there is none, as where all its runs failed.
        """
        return _named({variant.name: variant for variant in self.variants}, name, "variant")


def read(path: Path) -> Results:
    """The results of one suite from its file.

    Raises:
        InputError: the file cannot be read, or a field is missing or wrong; the message names both.
    """
    value = read_json(path, dict)
    try:
        return validate(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def validate(results: Mapping[str, Any]) -> Results:
    """The content of a `results.json`, checked and typed.

    Raises:
        InputError: a field is missing or wrong; the message gives its path.
    """
    where = "results"
    check(results, dict, where)
    checked = Results(
        **{name: field(results, name, str, where) for name in _TEXTS},
        hardware=described(results, "hardware", where),
        versions=described(results, "versions", where),
        seconds=field(results, "seconds", float, where),
        seeds=_numbers(results, "seeds", int, where),
        resamples=field(results, "resamples", int, where),
        variants=_each(results, "variants", _variant, where),
        failed=_each(results, "failed", _failure, where),
        contrasts=_each(results, "contrasts", _contrast, where),
        verdict=_one_of(results, "verdict", VERDICTS, where),
    )
    for name in ("variants", "contrasts"):
        given = [element.name for element in getattr(checked, name)]
        if not given:
            raise InputError(f"{where}.{name} is empty; expected at least one")
        for n, repeated in enumerate(given):
            if repeated in given[:n]:
                raise InputError(f"{where}.{name}[{n}].name is {repeated!r}; expected it once only")
    return checked


_TEXTS = ("suite", "claim", "budget", "command", "date", "code", "mode")


def _variant(value: Mapping[str, Any], where: str) -> Variant:
    quantities = field(value, "quantities", dict, where)
    return Variant(
        name=field(value, "name", str, where),
        labels=described(value, "labels", where),
        parameters=field(value, "parameters", int, where),
        seeds=_numbers(value, "seeds", int, where),
        train_seconds=field(value, "train_seconds", float, where),
        quantities={
            name: _quantity(quantity, f"{where}.quantities[{name!r}]")
            for name, quantity in quantities.items()
        },
    )


def _quantity(value: Any, where: str) -> Quantity:
    check(value, dict, where)
    return Quantity(
        value=field(value, "value", float, where),
        interval=interval(field(value, "interval", list, where), f"{where}.interval"),
        by_seed=_numbers(value, "by_seed", float, where),
        items=field(value, "items", int, where),
        metric=field(value, "metric", str, where),
    )


def _failure(value: Mapping[str, Any], where: str) -> Failure:
    return Failure(
        variant=field(value, "variant", str, where),
        seed=field(value, "seed", int, where),
        error=field(value, "error", str, where),
    )


def _contrast(value: Mapping[str, Any], where: str) -> Contrast:
    outcome = _one_of(value, "outcome", OUTCOMES, where)
    bounds = optional(value, "interval", list, where)
    contrast = Contrast(
        name=field(value, "name", str, where),
        value=optional(value, "value", float, where),
        interval=None if bounds is None else interval(bounds, f"{where}.interval"),
        p=optional(value, "p", float, where),
        p_holm=optional(value, "p_holm", float, where),
        threshold=field(value, "threshold", float, where),
        matters=field(value, "matters", float, where),
        falsifier=field(value, "falsifier", str, where),
        outcome=outcome,
    )
    for name in ("value", "interval", "p", "p_holm"):
        if outcome != "missing" and getattr(contrast, name) is None:
            raise InputError(f"{where}.{name} is null; expected so only where outcome is 'missing'")
    return contrast


def _each(mapping: Mapping[str, Any], name: str, one: Any, where: str) -> tuple[Any, ...]:
    """A list of objects, each checked by `one`."""
    return tuple(
        one(check(value, dict, f"{where}.{name}[{n}]"), f"{where}.{name}[{n}]")
        for n, value in enumerate(field(mapping, name, list, where))
    )


def _numbers(mapping: Mapping[str, Any], name: str, kind: type, where: str) -> tuple[Any, ...]:
    """A list of numbers, at least one."""
    values = field(mapping, name, list, where)
    if not values:
        raise InputError(f"{where}.{name} is empty; expected at least one number")
    return tuple(check(value, kind, f"{where}.{name}[{n}]") for n, value in enumerate(values))


def _one_of(mapping: Mapping[str, Any], name: str, known: tuple[str, ...], where: str) -> str:
    value = field(mapping, name, str, where)
    if value not in known:
        raise InputError(f"{where}.{name} is {value!r}; expected one of {', '.join(known)}")
    return value


def _named(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise InputError(f"{what} is {name!r}; expected one of {', '.join(known) or 'none'}")
    return known[name]
