import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn


def test_dropout_keeps_its_share_and_its_mean():
    B, N, T, S, rate = 4, 3, 32, 64, 0.3
    q, k = jnp.zeros((B, T, N, 2)), jnp.zeros((B, S, N, 2))
    drop = attn.Dropout(rate, jax.random.key(0))
    p = np.asarray(attn.attention_weights(q, k, weighting=drop)) * S
    kept = p > 0
    np.testing.assert_allclose(p[kept], 1 / (1 - rate), rtol=1e-5)
    for axes in ((0, 1, 2, 3), (1, 2, 3), (0, 2, 3)):
        size = np.prod([p.shape[a] for a in axes])
        bound = 4.5 * np.sqrt(rate * (1 - rate) / size)
        assert np.all(abs(kept.mean(axis=axes) - (1 - rate)) < bound)
    for axis in range(4):
        same = np.mean(kept == np.roll(kept, 1, axis))
        assert same == pytest.approx(rate**2 + (1 - rate) ** 2, abs=0.02)


def test_dropout_is_the_same_for_every_block():
    drop = attn.Dropout(0.5, jax.random.key(1))
    i, j = jnp.arange(8)[:, None], jnp.arange(12)[None]
    b, n = jnp.int32(1), jnp.int32(2)
    whole = drop.tile(jnp.ones((8, 12)), b, n, i, j)
    for rows, columns in ((slice(0, 3), slice(5, 12)), (slice(3, 8), slice(0, 1))):
        ones = jnp.ones(whole[rows, columns].shape)
        block = drop.tile(ones, b, n, i[rows], j[:, columns])
        np.testing.assert_array_equal(block, whole[rows, columns])


def test_dropout_follows_the_examples_index():
    """However a batch is cut and ordered, an example keeps its noise."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 2, 3)), jnp.float32)

    @jax.jit
    def attend(x, index):
        drop = attn.Dropout(0.5, jax.random.key(0), index)
        return attn.attention(x, x, x, weighting=drop)

    whole = attend(x, jnp.arange(10, 14))
    order = jnp.asarray([3, 1])
    np.testing.assert_allclose(attend(x[order], order + 10), whole[order], rtol=1e-5, atol=1e-6)


def test_dropout_of_nothing_changes_nothing():
    x = jnp.ones((1, 3, 1, 2))
    none = attn.attention_weights(x, x)
    drop = attn.attention_weights(x, x, weighting=attn.Dropout(0.0, jax.random.key(0)))
    np.testing.assert_array_equal(drop, none)


def test_gaussian_is_not_normalised_again():
    q, k = jnp.zeros((1, 2, 1, 4)), jnp.zeros((1, 6, 1, 4))
    center = jnp.asarray([1.0, 4.5]).reshape(1, 1, 2)
    p = attn.attention_weights(q, k, weighting=attn.Gaussian(center, 2.0))
    wanted = np.exp(-((np.arange(6) - np.array([[1.0], [4.5]])) ** 2) / 8) / 6
    np.testing.assert_allclose(p[0, 0], wanted, rtol=1e-5)
