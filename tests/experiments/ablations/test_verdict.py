"""Every outcome of a contrast and every verdict on a claim."""

import json

import numpy as np
import pytest

from experiments.ablations.statistics import Sample, Scores
from experiments.ablations.suites.terms import errors, least, loss, minus
from experiments.ablations.verdict import Contrast, decide, rehearse
from experiments.errors import InputError

SPREAD = 0.01
"""Standard error of a score, about."""


def scores_of(**values):
    """Scores "x" of variants: one seed, 100 items about the value given."""
    noise = np.random.default_rng(0).normal(scale=10 * SPREAD, size=100)
    noise -= noise.mean()
    return Scores(
        {
            name: {0: {"x": Sample(np.stack([value + noise, np.ones(100)], 1), "mean")}}
            if value is not None
            else {}
            for name, value in values.items()
        },
        resamples=1000,
    )


def contrast(variant, **settings):
    return Contrast(
        variant,
        lambda scores: scores.scores(variant, "x"),
        f"{variant} is within noise",
        **{"matters": 0.1, **settings},
    )


def outcome(value, **settings):
    (finding,) = decide([contrast("a", **settings)], scores_of(a=value)).findings
    return finding.outcome


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, "holds"),
        (0.05, "holds"),  # smaller than what matters, but certain
        (0.0, "fails"),
        (0.01, "fails"),  # within noise, and too small in any case
        (-0.5, "fails"),
        (None, "missing"),
        (float("nan"), "missing"),
        (float("inf"), "missing"),
    ],
)
def test_outcomes(value, expected):
    assert outcome(value) == expected


def test_what_is_within_noise_but_may_matter_is_open():
    assert outcome(0.0, matters=SPREAD) == "open"
    assert outcome(SPREAD, matters=2 * SPREAD) == "open"


def test_a_threshold_moves_everything():
    assert outcome(0.5, threshold=0.5) == "fails"
    assert outcome(0.5, threshold=0.45) == "holds"
    assert outcome(0.5, threshold=0.5, matters=SPREAD) == "open"
    assert outcome(0.2, threshold=0.5) == "fails"


def test_a_contrast_must_hold_among_all():
    values = {"likely": 2.3 * SPREAD, **{f"other{i}": 0.0 for i in range(4)}}
    contrasts = [contrast(name, matters=0.5) for name in values]
    scores = scores_of(**values)
    (alone,) = decide(contrasts[:1], scores).findings
    assert alone.outcome == "holds"
    assert alone.p_holm == alone.p
    among = decide(contrasts, scores).findings[0]
    assert among.p == alone.p
    assert among.p_holm == pytest.approx(5 * alone.p)
    assert among.outcome == "fails"
    small = [contrast("likely", matters=SPREAD), *contrasts[1:]]
    assert decide(small, scores).findings[0].outcome == "open"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"a": 0.5, "b": 0.5}, "reproduced"),
        ({"a": 0.5, "b": 0.0}, "not reproduced"),
        ({"a": 0.5, "b": None}, "inconclusive"),
        ({"a": None, "b": None}, "inconclusive"),
        ({"a": 0.0, "b": None}, "not reproduced"),
    ],
)
def test_verdicts(values, verdict):
    assert decide([contrast(name) for name in values], scores_of(**values)).verdict == verdict


def test_an_open_contrast_leaves_the_claim_open():
    contrasts = [contrast("a"), contrast("b", matters=SPREAD)]
    decision = decide(contrasts, scores_of(a=0.5, b=0.0))
    assert [finding.outcome for finding in decision.findings] == ["holds", "open"]
    assert decision.verdict == "inconclusive"


def test_json_form():
    decision = decide([contrast("a", threshold=0.1), contrast("b")], scores_of(a=0.5, b=None))
    form = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert form["verdict"] == "inconclusive"
    a, b = form["contrasts"]
    low, high = a.pop("interval")
    assert low < 0.5 < high
    assert a.pop("value") == pytest.approx(0.5)
    assert a.pop("p") == a.pop("p_holm") == pytest.approx(2 / 1001)
    assert a == {
        "name": "a",
        "threshold": 0.1,
        "matters": 0.1,
        "falsifier": "a is within noise",
        "outcome": "holds",
    }
    assert b == {
        "name": "b",
        "value": None,
        "interval": None,
        "p": None,
        "p_holm": None,
        "threshold": 0.0,
        "matters": 0.1,
        "falsifier": "b is within noise",
        "outcome": "missing",
    }


def test_says_what_is_wrong():
    scores = scores_of(a=0.5)
    with pytest.raises(InputError, match=r"a: matters is 0\.0; expected"):
        contrast("a", matters=0.0)
    with pytest.raises(InputError, match="a: threshold is inf; expected"):
        contrast("a", threshold=float("inf"))
    with pytest.raises(InputError, match=r"contrasts are \[\]; expected at least one"):
        decide([], scores)
    with pytest.raises(InputError, match=r"\['a', 'a'\]"):
        decide([contrast("a"), contrast("a")], scores)
    with pytest.raises(InputError, match="unknown variant 'b'; nearest: a"):
        decide([contrast("b")], scores)
    short = Contrast("short", lambda scores: scores.scores("a", "x")[1:], "never", matters=0.1)
    with pytest.raises(InputError, match=r"short: .* shape \[1000\]; expected \[1001\]"):
        decide([short], scores)


def test_a_variant_that_is_not_there_is_refused_before_training():
    wrong = least(loss("one"), minus(errors("one"), errors("tow")))
    contrast = Contrast("first", wrong, "it is not", matters=1.0)
    with pytest.raises(InputError, match="unknown variant 'tow'; nearest: two"):
        rehearse([contrast], ["one", "two"])
    rehearse([contrast], ["one", "tow"])


def test_a_contrast_may_choose_among_quantities_that_are_not_there_yet():
    chosen = Contrast("first", lambda scores: [][0], "it is not", matters=1.0)
    rehearse([chosen], ["one"])
