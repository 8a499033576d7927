import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.nn.noise import Noise
from attn.nn.words import Words


@pytest.mark.parametrize(("words", "products"), [(5, 2), (200, 1)])
def test_both_orders_are_the_layer_of_the_embedding(words, products):
    """Of few words a table is made, of which a second product picks rows."""
    embed = nnx.Embed(words, 16, rngs=nnx.Rngs(0))
    linear = nnx.Linear(16, 3, rngs=nnx.Rngs(1))
    tokens = jax.random.randint(jax.random.key(0), (12, 4), 0, words)
    through = Words(embed, tokens).through
    got, wanted = through(linear), linear(embed(tokens))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert str(jax.make_jaxpr(lambda: through(linear))()).count("dot_general[") == products


def test_dropout_is_on_the_embeddings():
    embed = nnx.Embed(5, 16, rngs=nnx.Rngs(0))
    linear = nnx.Linear(16, 16, use_bias=False, rngs=nnx.Rngs(1))
    linear.kernel[...] = jnp.eye(16)
    tokens = jnp.zeros((12, 4), jnp.int32)
    noise = Noise(jax.random.key(2), jnp.arange(4))
    got = np.asarray(Words(embed, tokens, noise, 0.5).through(linear))
    kept = got != 0
    assert 0.3 < kept.mean() < 0.7
    whole = np.broadcast_to(2 * embed(tokens), got.shape)
    np.testing.assert_allclose(got[kept], whole[kept], rtol=1e-5)
