import jax.numpy as jnp
import numpy as np
import pytest

from attn.models.protocol import BOS, PAD
from experiments.errors import InputError
from experiments.evaluation.sampling import Sampling, min_p, never, top_k, top_p

RANDOM = jnp.array(np.random.default_rng(0).normal(0.0, 2.0, (7, 50)), jnp.float32)


def left(logits) -> list[list[int]]:
    """The tokens that are not ruled out, row by row."""
    return [np.flatnonzero(row > -np.inf).tolist() for row in np.asarray(logits)]


def of(*probabilities) -> jnp.ndarray:
    return jnp.log(jnp.array([probabilities]))


def test_top_k_keeps_exactly_k():
    expected = [sorted(np.argsort(-row)[:5].tolist()) for row in RANDOM]
    assert left(top_k(RANDOM, 5)) == expected
    assert left(top_k(jnp.zeros((1, 6)), 4)) == [[0, 1, 2, 3]]
    np.testing.assert_array_equal(top_k(RANDOM, 99), RANDOM)


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.9, 0.999])
def test_top_p_keeps_the_fewest_tokens_that_have_the_mass(p):
    for row, kept in zip(np.float64(RANDOM), left(top_p(RANDOM, p)), strict=True):
        mass = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        assert sorted(kept, key=lambda token: -row[token]) == np.argsort(-row)[: len(kept)].tolist()
        assert mass[kept].sum() >= p
        assert mass[kept].sum() - mass[kept].min() < p


def test_top_p_of_one_keeps_all_and_of_equal_ones_the_first():
    assert left(top_p(of(0.25, 0.25, 0.25, 0.25), 0.5)) == [[0, 1]]
    np.testing.assert_array_equal(top_p(of(0.5, 0.3, 0.2), 1.0), of(0.5, 0.3, 0.2))


def test_min_p_is_a_share_of_the_likeliest():
    logits = of(0.5, 0.2, 0.16, 0.1, 0.04)
    assert left(min_p(logits, 0.3)) == [[0, 1, 2]]
    assert left(min_p(logits, 0.5)) == [[0]]
    assert left(min_p(logits, 1.0)) == [[0]]


def test_never_rules_out():
    assert left(never(jnp.zeros((2, 4)), 0, 2)) == [[1, 3], [1, 3]]


def test_filters_come_after_the_temperature_and_one_after_the_other():
    """At temperature 1/2 probabilities are squared: .5 .3 .2 become .66 .24 .11."""
    logits = jnp.concatenate([jnp.full((1, 2), 9.0), of(0.5, 0.3, 0.2)], axis=1)
    assert left(Sampling(top_p=0.6).keep(logits)) == [[2, 3]]
    assert left(Sampling(temperature=0.5, top_p=0.6).keep(logits)) == [[2]]
    # Of the two likeliest alone, .5 / .8 is already more than .6.
    assert left(Sampling(top_k=2, top_p=0.6).keep(logits)) == [[2]]
    # Squared, the last is less than a fifth of the first.
    assert left(Sampling(temperature=0.5, min_p=0.2).keep(logits)) == [[2, 3]]
    assert left(Sampling(min_p=0.2).keep(logits)) == [[2, 3, 4]]


def test_padding_and_the_beginning_are_never_drawn():
    logits = jnp.zeros((500, 4)).at[:, jnp.array([PAD, BOS])].set(50.0)
    for sampling in (Sampling(), Sampling(temperature=0.0), Sampling(temperature=9.0, top_k=9)):
        drawn = np.asarray(sampling.draw(logits, jnp.int32(0)))
        assert not np.isin(drawn, [PAD, BOS]).any()


def test_temperature_0_is_greedy_and_low_ones_nearly():
    best = RANDOM[:, 2:].argmax(axis=1) + 2
    for temperature in (0.0, 1e-30):
        for seed in (0, 1):
            sampling = Sampling(temperature, top_k=3, top_p=0.9, min_p=0.1, seed=seed)
            np.testing.assert_array_equal(sampling.draw(RANDOM, jnp.int32(3)), best)


def test_draws_as_often_as_likely():
    logits = jnp.tile(jnp.concatenate([jnp.zeros((1, 2)), of(0.6, 0.3, 0.1)], axis=1), (4000, 1))
    counts = np.bincount(Sampling(seed=3).draw(logits, jnp.int32(0)), minlength=5)
    expected = np.array([0.0, 0.0, 0.6, 0.3, 0.1])
    error = np.sqrt(expected * (1 - expected) / 4000)
    assert np.all(np.abs(counts / 4000 - expected) <= 4 * error)


def test_a_draw_depends_on_seed_row_and_time_alone():
    logits = jnp.zeros((64, 1000))

    def draw(seed, time, rows):
        return np.asarray(Sampling(seed=seed).draw(logits[:rows], jnp.int32(time)))

    np.testing.assert_array_equal(draw(0, 5, 64), draw(0, 5, 64))
    np.testing.assert_array_equal(draw(0, 5, 64)[:3], draw(0, 5, 3))
    assert len(set(draw(0, 5, 64))) > 50
    assert np.mean(draw(0, 5, 64) == draw(1, 5, 64)) < 0.1
    assert np.mean(draw(0, 5, 64) == draw(0, 6, 64)) < 0.1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; expected a finite number of at least 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0; expected at least 1"),
        ({"top_p": 0.0}, "top_p is 0.0; expected more than 0 and at most 1"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"min_p": -1.0}, "min_p is -1.0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_values_out_of_range_are_named(wrong, said):
    with pytest.raises(InputError, match=said):
        Sampling(**wrong)
