"""Scores over resampled seeds and items, against SciPy, by simulation, and Holm's by hand."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from experiments.ablations.statistics import NoScore, Sample, Scores, estimate, holm
from experiments.errors import InputError
from experiments.evaluation.metrics import METRICS, Outputs


def mean_of(values):
    return Sample(np.stack([values, np.ones_like(values)], axis=1), "mean")


def one_quantity(tables, **settings):
    """Scores of variants whose items' values are [seeds, items]."""
    samples = {
        variant: {seed: {"x": mean_of(row)} for seed, row in enumerate(table)}
        for variant, table in tables.items()
    }
    return Scores(samples, **{"resamples": 50, **settings})


def test_the_observed_score_is_that_of_all_seeds_and_items():
    table = np.random.default_rng(0).normal(size=(3, 20))
    scores = one_quantity({"a": table})
    assert scores.scores("a", "x").shape == (51,)
    assert scores.scores("a", "x")[0] == pytest.approx(table.mean(), rel=1e-12)
    assert scores.by_seed("a", "x") == pytest.approx(dict(enumerate(table.mean(axis=1))))


def test_of_one_seed_the_interval_is_scipys():
    values = np.random.default_rng(1).gamma(2.0, size=200)
    _, found = estimate(one_quantity({"a": values[None]}, resamples=20_000).scores("a", "x"))
    truth = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=2
    ).confidence_interval
    np.testing.assert_allclose(found, truth, atol=0.03 * (truth.high - truth.low))


@pytest.mark.parametrize("seeds", [6, 12])
def test_of_one_item_the_spread_is_students(seeds):
    values = np.random.default_rng(2).normal(size=(seeds, 1))
    found = one_quantity({"a": values}, resamples=20_000).scores("a", "x")[1:]
    student = scipy.stats.t(seeds - 1, scale=scipy.stats.sem(values[:, 0]))
    assert found.var() == pytest.approx(student.var(), rel=0.05)
    assert found.mean() == pytest.approx(values.mean(), abs=0.05 * student.std())


def test_intervals_of_a_difference_hold_the_truth_95_times_of_100():
    rng = np.random.default_rng(3)
    seeds, items, repeats, truth = 5, 60, 300, 0.5
    held = 0
    for repeat in range(repeats):
        hard = rng.normal(size=items)
        tables = {
            name: effect
            + hard
            + rng.normal(scale=0.1, size=(seeds, 1))
            + rng.normal(scale=0.3, size=(seeds, items))
            for name, effect in (("a", truth), ("b", 0.0))
        }
        scores = one_quantity(tables, resamples=200, seed=repeat)
        _, (low, high) = estimate(scores.scores("a", "x") - scores.scores("b", "x"))
        held += low <= truth <= high
    assert 0.90 < held / repeats < 0.995


def test_variants_are_paired_by_seed_and_item():
    rng = np.random.default_rng(4)
    table = rng.normal(size=(5, 30))
    scores = one_quantity({"a": table, "b": table + 0.25})
    difference = scores.scores("b", "x") - scores.scores("a", "x")
    np.testing.assert_allclose(difference, 0.25, rtol=1e-9)
    assert np.ptp(scores.scores("a", "x")) > 0.1


def test_quantities_of_as_many_items_are_paired_and_others_are_not():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(1, 40))
    run = {"x": mean_of(values[0]), "y": mean_of(3 * values[0]), "z": mean_of(values[0][:39])}
    scores = Scores({"a": {0: run}}, resamples=400)
    x, y, z = (scores.scores("a", name)[1:] for name in "xyz")
    np.testing.assert_allclose(y, 3 * x, rtol=1e-9)
    assert abs(np.corrcoef(x, z)[0, 1]) < 0.2


def test_a_seed_fixes_the_resamples():
    table = np.random.default_rng(6).normal(size=(4, 10))
    once, twice, other = (
        one_quantity({"a": table}, seed=seed).scores("a", "x") for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, twice)
    assert not np.allclose(once, other)


def test_scores_are_the_metrics_of_the_sums():
    said = ["the cat sat on the mat", "a dog ran over the hill today", "no one is here at all"]
    wanted = ["the cat sat on a mat", "a dog ran up the hill today", "no one was here at all"]
    none = np.zeros(len(said))
    counts = METRICS["bleu"].count(Outputs(said, wanted, none, none, none))
    scores = Scores({"a": {7: {"bleu": Sample(counts, "bleu")}}}, resamples=5)
    expected = BLEU().corpus_score(said, [wanted]).score
    assert scores.scores("a", "bleu")[0] == pytest.approx(expected)
    assert scores.by_seed("a", "bleu") == {7: pytest.approx(expected)}


def test_only_seeds_that_all_variants_have_count():
    table = np.random.default_rng(7).normal(size=(4, 10))
    runs = {seed: {"x": mean_of(row)} for seed, row in enumerate(table)}
    survivors = {seed: runs[seed] for seed in (3, 1)}
    scores = Scores({"a": runs, "b": survivors, "failed": {}}, resamples=9)
    assert scores.seeds == (1, 3)
    assert scores.scores("a", "x")[0] == pytest.approx(table[[1, 3]].mean())
    np.testing.assert_array_equal(scores.scores("a", "x"), scores.scores("b", "x"))
    with pytest.raises(NoScore, match="'failed': every run failed"):
        scores.scores("failed", "x")


def test_variants_without_a_common_seed_have_no_score():
    run = {"x": mean_of(np.arange(3.0))}
    scores = Scores({"a": {0: run}, "b": {1: run}}, resamples=9)
    with pytest.raises(NoScore, match="no seed in common"):
        scores.scores("a", "x")


def test_a_diverged_run_taints_its_own_variant_alone():
    table = np.random.default_rng(8).normal(size=(2, 10))
    scores = one_quantity({"a": table, "b": np.full((2, 10), np.nan)})
    assert np.isnan(scores.scores("b", "x")).all()
    assert np.isfinite(scores.scores("a", "x")).all()
    assert np.isnan(estimate(scores.scores("b", "x"))[1]).all()


def test_variants_may_differ_in_their_quantities():
    x, y = mean_of(np.arange(3.0)), mean_of(np.arange(4.0))
    scores = Scores({"a": {0: {"x": x, "y": y}}, "b": {0: {"x": x}}}, resamples=9)
    assert scores.scores("a", "y")[0] == 1.5
    with pytest.raises(InputError, match="unknown quantity of variant 'b' 'y'; nearest: x"):
        scores.scores("b", "y")


def test_scores_cannot_be_overwritten():
    scores = one_quantity({"a": np.ones((2, 3))})
    with pytest.raises(ValueError, match="read-only"):
        scores.scores("a", "x")[0] = 0.0


GOOD = mean_of(np.arange(4.0))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"a": {0: {"x": GOOD}, 1: {"y": GOOD}}}, "'a' from seed 1: .* gives x, y"),
        (
            {"a": {0: {"x": GOOD}}, "b": {0: {"x": mean_of(np.arange(3.0))}}},
            r"'x' of 'b' from seed 0 is mean of statistics \[3, 2\]; expected mean of \[4, 2\]",
        ),
        (
            {"a": {0: {"x": GOOD}, 2: {"x": Sample(GOOD.statistics, "nll")}}},
            "'x' of 'a' from seed 2 is nll of .*; expected mean of .* as 'a' from seed 0 gives",
        ),
        ({"a": {0: {"x": Sample(GOOD.statistics, "blue")}}}, "metric of .* 'blue'; nearest: bleu"),
        ({"a": {0: {"x": Sample(np.zeros((0, 2)), "nll")}}}, r"shape \[0, 2\]; expected"),
        ({"a": {0: {"x": Sample(np.zeros(4), "nll")}}}, r"shape \[4\]; expected"),
    ],
)
def test_says_which_samples_do_not_fit(samples, message):
    with pytest.raises(InputError, match=message):
        Scores(samples, resamples=2)


def test_says_what_else_is_wrong():
    with pytest.raises(InputError, match="resamples is 0; expected at least 1"):
        Scores({"a": {0: {"x": GOOD}}}, resamples=0)
    with pytest.raises(InputError, match="seed is -1; expected at least 0"):
        Scores({"a": {0: {"x": GOOD}}}, resamples=1, seed=-1)
    with pytest.raises(InputError, match="unknown variant 'additve'; nearest: additive"):
        Scores({"additive": {0: {"x": GOOD}}}, resamples=1).scores("additve", "x")


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.001, 0.02]) == pytest.approx([1.0, 1.0, 0.004, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_is_the_step_down_procedure(p):
    adjusted = holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert max(adjusted) <= 1.0
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
            if p[i] * (len(p) - step) > level:
                break
            rejected.add(i)
        assert {i for i, a in enumerate(adjusted) if a <= level} == rejected


@given(st.permutations([0.001, 0.01, 0.02, 0.3, 0.3, 0.9]))
def test_holm_keeps_the_order(p):
    adjusted = dict(zip(p, holm(p), strict=True))
    assert adjusted == dict(zip(sorted(p), holm(sorted(p)), strict=True))
    assert sorted(adjusted.values()) == [adjusted[x] for x in sorted(adjusted)]
