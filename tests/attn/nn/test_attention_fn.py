import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import attn
from attn.nn import attention_fn

X = jax.random.normal(jax.random.key(0), (2, 7, 12))
MASK = jax.random.uniform(jax.random.key(1), (2, 1, 7, 7)) < 0.7


def modern(**options):
    return nnx.MultiHeadAttention(3, 12, decode=False, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_nnx_layers_answer_the_same(batch):
    x = jax.random.normal(jax.random.key(2), (*batch, 7, 12))
    mask = jnp.broadcast_to(jnp.tril(jnp.ones((7, 7), bool)), (*batch, 1, 7, 7))
    ours, theirs = modern(attention_fn=attention_fn()), modern()
    np.testing.assert_allclose(ours(x, mask=mask), theirs(x, mask=mask), rtol=1e-5, atol=1e-6)


def test_nnx_layers_pass_causality_on():
    ours, theirs = modern(attention_fn=attention_fn()), modern()
    same = ours(X, is_causal=True), theirs(X, is_causal=True)
    np.testing.assert_allclose(*same, rtol=1e-5, atol=1e-6)
    assert np.any(ours(X) != same[0])


def test_linen_layers_answer_the_same():
    ours = nn.MultiHeadDotProductAttention(3, attention_fn=attention_fn())
    theirs = nn.MultiHeadDotProductAttention(3)
    params = theirs.init(jax.random.key(3), X)
    got, wanted = ours.apply(params, X, mask=MASK), theirs.apply(params, X, mask=MASK)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_a_bias_is_added_and_own_pieces_join():
    query = jax.random.normal(jax.random.key(4), (2, 7, 3, 4))
    bias = jax.random.normal(jax.random.key(5), (1, 3, 7, 7))
    got = attention_fn(mods=(attn.SoftCap(2.0),), mask=attn.Window(2, 0))(
        query, query, query, bias=bias, mask=MASK
    )
    wanted = attn.attention(
        query,
        query,
        query,
        mods=(attn.SoftCap(2.0), attn.Bias(bias)),
        mask=attn.Window(2, 0) & attn.Dense(MASK),
    )
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("typed", [True, False])
def test_dropout_drops_with_the_layers_key(typed):
    key = jax.random.key(6) if typed else jax.random.PRNGKey(6)
    layer = nn.MultiHeadDotProductAttention(
        3, attention_fn=attention_fn(), dropout_rate=0.5, broadcast_dropout=False
    )
    params = layer.init(jax.random.key(3), X, deterministic=True)

    def run(key):
        return layer.apply(params, X, deterministic=False, rngs={"dropout": key})

    still = layer.apply(params, X, deterministic=True)
    assert np.any(run(key) != still)
    np.testing.assert_array_equal(run(key), run(key))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dropout_rate": 0.1, "dropout_rng": jax.random.key(0)}, "broadcast_dropout"),
        ({"module": object()}, "module"),
        ({"qk_attn_weights_einsum": jnp.einsum}, "qk_attn_weights_einsum"),
        ({"attn_weights_value_einsum": jnp.einsum}, "attn_weights_value_einsum"),
    ],
)
def test_what_would_be_ignored_is_refused(options, named):
    with pytest.raises(attn.Unsupported, match=named):
        attention_fn()(*[jnp.ones((1, 2, 1, 4))] * 3, **options)


def test_dropout_needs_a_key():
    with pytest.raises(ValueError, match="dropout_rng"):
        attention_fn()(*[jnp.ones((1, 2, 1, 4))] * 3, dropout_rate=0.1, broadcast_dropout=False)
