import numpy as np
import pytest
import scipy.stats

from experiments.evaluation import bootstrap


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def statistics(values):
    return np.stack([values, np.ones_like(values)], axis=1)


def test_interval_is_scipys():
    values = np.random.default_rng(1).gamma(2.0, size=200)
    found = bootstrap.interval(mean(bootstrap.resample(statistics(values), resamples=20_000)))
    truth = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=2
    ).confidence_interval
    spread = truth.high - truth.low
    np.testing.assert_allclose(found, truth, atol=0.03 * spread)


def test_a_resample_has_as_many_items_drawn_alike():
    sums = bootstrap.resample(np.eye(50), resamples=4000)
    np.testing.assert_array_equal(sums.sum(axis=1), 50)
    np.testing.assert_allclose(sums.mean(axis=0), 1.0, atol=0.1)
    np.testing.assert_allclose(sums.var(axis=0), 1 - 1 / 50, atol=0.15)


def test_a_seed_fixes_the_resamples_and_columns_share_them():
    values = np.random.default_rng(0).normal(size=(30, 1))
    once = bootstrap.resample(values, resamples=10, seed=5)
    twice = bootstrap.resample(np.concatenate([values, -values], axis=1), resamples=10, seed=5)
    np.testing.assert_allclose(once[:, 0], twice[:, 0], rtol=1e-12)
    np.testing.assert_allclose(once[:, 0], -twice[:, 1], rtol=1e-12)
    assert not np.allclose(once, bootstrap.resample(values, resamples=10, seed=6))


def test_chunks_are_one_stream(monkeypatch):
    values = statistics(np.arange(7.0))
    whole = bootstrap.resample(values, resamples=20)
    monkeypatch.setattr(bootstrap, "_CHUNK", 21)
    np.testing.assert_array_equal(bootstrap.resample(values, resamples=20), whole)


def pair(first, second, resamples):
    systems = [statistics(first), statistics(second)]
    return bootstrap.compare(systems, mean, resamples=resamples)[0, 1]


def test_pairing_finds_a_small_constant_difference():
    rng = np.random.default_rng(3)
    hard = rng.normal(10.0, 5.0, size=300)
    first, second = hard + 0.2 + rng.normal(0, 0.3, size=300), hard
    found = pair(first, second, 1000)
    assert found.difference == pytest.approx(np.mean(first - second))
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.p == pytest.approx(2 / 1001)
    turned = pair(second, first, 1000)
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.p == found.p
    np.testing.assert_allclose(turned.interval, (-found.interval[1], -found.interval[0]))


def test_every_two_of_several_are_compared_as_if_alone():
    systems = np.random.default_rng(6).normal([[0.0], [0.1], [0.5]], size=(3, 40))
    found = bootstrap.compare([statistics(x) for x in systems], mean, resamples=300)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    for (i, j), comparison in found.items():
        alone = pair(systems[i], systems[j], 300)
        assert comparison.difference == pytest.approx(alone.difference)
        assert comparison.interval == pytest.approx(alone.interval)
        assert comparison.p == alone.p


def test_p_is_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(4)
    p = [pair(rng.normal(size=60), rng.normal(size=60), 400).p for _ in range(200)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_a_system_does_not_differ_from_itself():
    found = pair(np.arange(10.0), np.arange(10.0), 100)
    assert (found.difference, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="0 items and 5 resamples"):
        bootstrap.resample(np.zeros((0, 2)), resamples=5)
    with pytest.raises(ValueError, match="3 items and 0 resamples"):
        bootstrap.resample(np.zeros((3, 2)), resamples=0)
    with pytest.raises(ValueError, match=r"\(3, 2\), \(4, 2\)"):
        bootstrap.compare([np.zeros((4, 2)), np.zeros((3, 2))], mean, resamples=5)


def test_p_value_counts_the_rarer_side_of_the_threshold():
    scores = np.arange(10.0)
    assert bootstrap.p_value(scores, threshold=1.5) == pytest.approx(2 * 3 / 11)
    assert bootstrap.p_value(scores, threshold=7.5) == pytest.approx(2 * 3 / 11)
    assert bootstrap.p_value(scores, threshold=7.0) == pytest.approx(2 * 4 / 11)
    assert bootstrap.p_value(scores - 1.5) == bootstrap.p_value(scores, threshold=1.5)
    assert bootstrap.p_value(scores, threshold=-1.0) == pytest.approx(2 / 11)
    assert bootstrap.p_value(scores, threshold=4.5) == 1.0
