"""From scores to a verdict on a claim: what it predicts, what would refute it, and what came.

A claim is one or more contrasts, each a number that is larger the truer the claim. Of a contrast

| outcome | where |
|---|---|
| holds | it and its interval are above the threshold, and Holm's p-value is below 0.05 |
| fails | else, if its interval ends below threshold + matters: what there may be is too small |
| open | else: the data let the claim be true and let it be false |
| missing | it has no number, because a variant failed or diverged |

An effect that is certain but smaller than what matters holds: the falsifiers ask whether the claim
is within noise. Whether it is as large as the paper's is for the reader of the numbers to say.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np

from experiments.ablations.statistics import NoScore, Scores, estimate, holm
from experiments.errors import InputError, expect_known
from experiments.evaluation.bootstrap import p_value

Outcome = Literal["holds", "fails", "open", "missing"]
Verdict = Literal["reproduced", "not reproduced", "inconclusive"]

_LEVEL = 0.05


@dataclass(frozen=True)
class Contrast:
    """One thing that a claim predicts.

    Raises:
        InputError: a threshold that is not finite, or a `matters` that is not finite and positive.
    """

    name: str
    """What is compared, for people."""
    of: Callable[[Scores], np.ndarray]
    """Float64 [1 + resamples], as `Scores.scores`: larger is more as the claim says."""
    falsifier: str
    """What would refute the claim, in words."""
    _: KW_ONLY
    matters: float
    """The smallest excess over the threshold that would count as the paper's effect."""
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.threshold):
            raise InputError(
                f"{self.name}: threshold is {self.threshold}; expected a finite number"
            )
        if not 0 < self.matters < np.inf:
            raise InputError(f"{self.name}: matters is {self.matters}; expected a number above 0")


@dataclass(frozen=True)
class Finding:
    """What came of a contrast; the numbers are None where the outcome is "missing"."""

    contrast: Contrast
    outcome: Outcome
    value: float | None = None
    interval: tuple[float, float] | None = None
    """95%, over seeds and items."""
    p: float | None = None
    """Two-sided, of the value being the threshold."""
    p_holm: float | None = None
    """Adjusted for all contrasts that have a number."""

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        return {
            "name": self.contrast.name,
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "p": self.p,
            "p_holm": self.p_holm,
            "threshold": self.contrast.threshold,
            "matters": self.contrast.matters,
            "falsifier": self.contrast.falsifier,
            "outcome": self.outcome,
        }


@dataclass(frozen=True)
class Decision:
    """What came of a claim."""

    findings: tuple[Finding, ...]
    """In the order of the contrasts."""

    @property
    def verdict(self) -> Verdict:
        """One contrast that fails refutes the claim, whatever became of the others."""
        outcomes = {finding.outcome for finding in self.findings}
        if "fails" in outcomes:
            return "not reproduced"
        return "reproduced" if outcomes == {"holds"} else "inconclusive"

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        return {
            "contrasts": [finding.to_json() for finding in self.findings],
            "verdict": self.verdict,
        }


def rehearse(contrasts: Sequence[Contrast], variants: Collection[str]) -> None:
    """Refuses contrasts that ask for variants which are not there, before anything is trained.

    Which quantities there will be is not known yet; `decide` looks at those.

    Raises:
        InputError: a contrast names an unknown variant.
    """
    for contrast in contrasts:
        # A contrast that chooses among quantities finds none, and may stumble over that.
        with suppress(NoScore, ValueError, IndexError):
            contrast.of(_StandIn(variants))


class _StandIn(Scores):
    """Scores of runs that are not there: knows the variants' names, and makes up the numbers."""

    def __init__(self, variants: Collection[str]) -> None:
        super().__init__({name: {} for name in variants}, resamples=1)

    def scores(self, variant: str, quantity: str) -> np.ndarray:
        expect_known("variant", variant, self._samples)
        return np.ones(1 + self.resamples)  # of which a contrast may take the logarithm

    def quantities(self, variant: str) -> tuple[str, ...]:
        expect_known("variant", variant, self._samples)
        return ("stand-in",)


def decide(contrasts: Sequence[Contrast], scores: Scores) -> Decision:
    """Puts every contrast to the test.

    Raises:
        InputError: no contrast, two of one name, one that gives no vector over the resamples, or
            one that asks for an unknown variant or quantity.
    """
    names = [contrast.name for contrast in contrasts]
    if not names or len(set(names)) < len(names):
        raise InputError(f"contrasts are {names}; expected at least one, each with its own name")
    values = {contrast.name: _values(contrast, scores) for contrast in contrasts}
    p = {
        contrast.name: p_value(found[1:], threshold=contrast.threshold)
        for contrast in contrasts
        if (found := values[contrast.name]) is not None
    }
    p_holm = dict(zip(p, holm(list(p.values())), strict=True))
    return Decision(
        tuple(
            Finding(contrast, "missing")
            if (found := values[contrast.name]) is None
            else _finding(contrast, found, p[contrast.name], p_holm[contrast.name])
            for contrast in contrasts
        )
    )


def _values(contrast: Contrast, scores: Scores) -> np.ndarray | None:
    """The contrast's vector; None where it has no number."""
    try:
        values = np.asarray(contrast.of(scores), np.float64)
    except NoScore:
        return None
    if values.shape != (1 + scores.resamples,):
        raise InputError(
            f"{contrast.name}: `of` gave an array of shape {list(values.shape)}; expected "
            f"[{1 + scores.resamples}], the observed value and one a resample"
        )
    return values if np.isfinite(values).all() else None


def _finding(contrast: Contrast, values: np.ndarray, p: float, p_holm: float) -> Finding:
    value, (low, high) = estimate(values)
    outcome: Outcome = "open"
    if p_holm < _LEVEL and min(value, low) > contrast.threshold:
        outcome = "holds"
    elif high < contrast.threshold + contrast.matters:
        outcome = "fails"
    return Finding(contrast, outcome, value, (low, high), p, p_holm)
