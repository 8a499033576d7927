"""Dropout by example: the same elements wherever an example lies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn.nn import Noise


def _noise(index):
    return Noise(jax.random.key(3), jnp.asarray(index, jnp.int32))


def test_an_example_is_dropped_alike_in_any_batch():
    x = jax.random.normal(jax.random.key(0), (6, 5, 7))
    whole = _noise([4, 8, 15, 16, 23, 42]).drop(x, 0.4)
    halves = [_noise([4, 8, 15]).drop(x[:3], 0.4), _noise([16, 23, 42]).drop(x[3:], 0.4)]
    np.testing.assert_array_equal(whole, jnp.concatenate(halves))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_dropped_is_the_rate_and_the_mean_stays(rate):
    dropped = _noise(range(64)).drop(jnp.ones((64, 2000)), rate)
    assert abs(float((dropped == 0).mean()) - rate) < 0.01
    assert abs(float(dropped.mean()) - 1) < 0.05


def test_sites_and_examples_are_independent():
    ones = jnp.ones((2, 4000))
    noise = _noise([1, 2])
    here, there = (noise.at(site).drop(ones, 0.5) for site in (0, 1))
    assert abs(np.corrcoef(here[0], there[0])[0, 1]) < 0.06
    assert abs(np.corrcoef(here[0], here[1])[0, 1]) < 0.06


def test_rate_zero_changes_nothing():
    x = jnp.arange(6.0).reshape(2, 3)
    assert _noise([0, 1]).drop(x, 0.0) is x
