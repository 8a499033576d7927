import numpy as np
import pytest

from experiments.ablations.results import Quantity
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import NoScore, Sample, Scores
from experiments.ablations.suites.terms import errors, errors_at, least, loss, minus, slope
from experiments.errors import InputError


def sample(value, metric="mean"):
    return Sample(np.tile([value, 1.0], (6, 1)), metric)


@pytest.fixture
def scores():
    def run(base):
        return {
            "accuracy": sample(base / 100, "accuracy"),
            "accuracy @ 1-2": sample(base / 100 + 0.1, "accuracy"),
            "accuracy @ 3-9": sample(base / 100 - 0.2, "accuracy"),
            "nll": sample(base),
        }

    runs = {"a": 30.0, "b": 50.0, "c": 40.0}
    made = {name: {seed: run(base) for seed in range(3)} for name, base in runs.items()}
    return Scores({**made, "lost": {}}, resamples=5)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (loss("a"), 30.0),
        (loss("a", "accuracy"), -30.0),  # higher is better, so it counts negative
        (errors("b"), -50.0),
        (errors_at("b", 0), -60.0),
        (errors_at("b", -1), -30.0),
        (minus(loss("b"), loss("a")), 20.0),
        (least(loss("b"), loss("c"), loss("a")), 30.0),
        (slope((1, 2, 3), [loss("a"), loss("c"), loss("b")]), 10.0),
    ],
)
def test_terms_are_larger_the_worse(scores, term, expected):
    np.testing.assert_allclose(term(scores), np.full(6, expected))


def test_quantities_come_in_the_measures_order(scores):
    assert scores.quantities("a") == ("accuracy", "accuracy @ 1-2", "accuracy @ 3-9", "nll")
    with pytest.raises(NoScore, match="'lost': every run failed"):
        scores.quantities("lost")
    with pytest.raises(InputError, match="unknown variant 'd'"):
        scores.quantities("d")


def test_curves_are_of_what_was_measured_and_of_what_was_published():
    found = {"64": Quantity(1.0, (0.5, 1.5), (1.0,), 3, "nll")}
    assert curve("ours", found).x == [64.0]
    assert curve("ours", found, by_name=True).x == [0]
    assert (curve("ours", found).low, curve("ours", found).high) == ([0.5], [1.5])
    paper = published("heads_dk", "vaswani2017", "perplexity", ["1", "16"], [1, 16], "heads")
    assert (paper.y, paper.paper) == ([5.29, 4.91], True)
    with pytest.raises(InputError, match="heads_dk has no table of vaswani2017 in perplexity with"):
        published("heads_dk", "vaswani2017", "perplexity", ["1", "64"], [1, 64], "heads")
