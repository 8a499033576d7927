import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.mods import alibi_slopes, relative_bucket
from tests.attn.oracle import t5_bucket


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (8, 6), (16, 1000), (32, 20)])
def test_relative_buckets_are_t5s(buckets, max_distance, bidirectional):
    distance = np.arange(-1200, 1201)
    got = relative_bucket(jnp.asarray(distance), buckets, bidirectional, max_distance)
    wanted = t5_bucket(distance, buckets, bidirectional, max_distance)
    np.testing.assert_array_equal(got, wanted)
    assert (got.min(), got.max()) == (0, buckets - 1)


def test_relative_bias_asks_for_room():
    x = jnp.ones((1, 3, 1, 2))
    with pytest.raises(ValueError, match="RelativeBias: got 2 buckets"):
        attn.attention(x, x, x, mods=(attn.RelativeBias(jnp.ones((2, 1))),))


def test_alibi_slopes_are_the_papers():
    np.testing.assert_allclose(alibi_slopes(8), 0.5 ** np.arange(1, 9))
    np.testing.assert_allclose(alibi_slopes(16)[:2], [2**-0.5, 2**-1], rtol=1e-6)


def test_order_of_mods_is_the_tuples():
    rng = np.random.default_rng(0)
    q = jnp.asarray(5 * rng.normal(size=(1, 3, 2, 4)), jnp.float32)
    cap, bias = attn.SoftCap(1.0), attn.Bias(jnp.asarray(rng.normal(size=(3, 3)), jnp.float32))
    s = np.einsum("btnd,bsnd->bnts", q, q) / 2
    for mods, e in (
        ((cap, bias), np.exp(np.tanh(s) + bias.array)),
        ((bias, cap), np.exp(np.tanh(s + bias.array))),
    ):
        got = attn.attention_weights(q, q, mods=mods)
        np.testing.assert_allclose(got, e / e.sum(-1, keepdims=True), rtol=1e-4)
