"""What a recurrent reader tells a class from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import RecurrentReaderConfig

REAL = jnp.array([[True, True, True, False], [True, False, False, False], [False] * 4])
STATES = jax.random.normal(jax.random.key(0), (3, 4, 6))


def pooled(pool):
    model = RecurrentReaderConfig(width=6, pool=pool).build(9, 9, nnx.Rngs(0))
    padding = jnp.where(REAL[..., None], STATES, jnp.nan) if pool != "last" else STATES
    return model, np.asarray(model.pooled(padding, REAL))


def test_the_last_state_is_the_last_real_one():
    model, found = pooled("last")
    np.testing.assert_array_equal(found[:2], STATES[jnp.arange(2), jnp.array([2, 0])])
    assert model.readout.kernel.shape == (6, 9)


def test_attention_is_of_the_last_state_to_all_real_ones():
    model, found = pooled("attention")
    for row, length in ((0, 3), (1, 1)):
        states = np.asarray(STATES[row, :length], np.float64)
        scores = states @ states[-1] / 6**0.5
        weights = np.exp(scores) / np.exp(scores).sum()
        want = np.concatenate([weights @ states, states[-1]])
        np.testing.assert_allclose(found[row], want, atol=1e-5)
    assert model.readout.kernel.shape == (12, 9)


def test_the_mean_is_of_real_states_alone():
    _, found = pooled("mean")
    np.testing.assert_allclose(found[0], STATES[0, :3].mean(0), atol=1e-6)
    np.testing.assert_array_equal(found[2], 0)


def test_what_pools_nothing_takes_no_pool():
    for head in ("tokens", "span"):
        with pytest.raises(
            ValueError, match=f"pool: got 'last'; expected 'mean' for head '{head}'"
        ):
            RecurrentReaderConfig(head=head, pool="last").build(9, 9, nnx.Rngs(0))
