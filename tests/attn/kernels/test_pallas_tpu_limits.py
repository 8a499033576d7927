import jax
import jax.numpy as jnp
import pytest
from jax.experimental.pallas import tpu as pltpu

import attn
from tests.attn.kernels.interpreted import interpreted


def attend(**pieces):
    query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 40, 2, 16))
    return attn.attention(query, key, value, **pieces)


def test_says_which_precision_it_lacks():
    with interpreted("pallas_tpu"):
        with pytest.raises(attn.Unsupported, match='no products of precision "high"'):
            attend(backend="pallas_tpu", precision="high")
        got = attend(backend="pallas_tpu", precision="highest")
    assert jnp.allclose(got, attend(backend="reference"), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("score", [attn.Dot(), attn.Additive(jnp.ones((2, 16)))])
def test_runs_as_a_pipeline_does(score):
    """Blocks come and go as on the machine, where a step sees what is there and no more."""
    mask = attn.Causal() & attn.Lengths(key=jnp.array([33]))

    def loss(arrays, backend):
        output = attn.attention(*arrays, score=score, mask=mask, backend=backend)
        return jnp.sum(jnp.sin(output))

    arrays = tuple(jax.random.normal(jax.random.key(0), (3, 1, 40, 2, 16)))
    with interpreted("pallas_tpu", interpret=pltpu.InterpretParams(detect_races=True)):
        got = jax.jit(jax.grad(loss), static_argnums=1)(arrays, "pallas_tpu")
    for ours, wanted in zip(got, jax.grad(loss)(arrays, "reference"), strict=True):
        assert jnp.allclose(ours, wanted, rtol=1e-4, atol=1e-5)
