"""Attention before training: what is even, and gradients found another way."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import DecoderConfig, RecurrentLMConfig
from experiments.ablations.measures import attention_at_start
from experiments.ablations.measures.lane import leaf_name, map_named
from experiments.errors import InputError
from tests.experiments.ablations.measures.lanes import lane_of, running, score

CONFIG = DecoderConfig(width=8, heads=2, layers=2)
CHUNKS = ["abcd", "eh", "gfa"]
ITEMS, SIZES = 2, np.array([6, 4])
"""Positions of an item: the empty source's `EOS`, `BOS` and the letters."""
EVEN = CONFIG.layers * CONFIG.heads * np.array([np.log(np.arange(1, n + 1)).sum() for n in SIZES])


@pytest.fixture(scope="module")
def lane():
    return lane_of(CONFIG, running(CHUNKS))


def blank(params):
    """No query differs from another."""
    return map_named(lambda name, x: jnp.zeros_like(x) if ".query." in name else x, params)


def test_even_weights_have_the_entropy_of_their_number(lane):
    found = attention_at_start(replace(lane, start=blank(lane.start)), items=ITEMS)
    entropy = found["entropy at start"].statistics
    np.testing.assert_allclose(entropy[:, 0], EVEN, rtol=1e-5)
    np.testing.assert_array_equal(entropy[:, 1], CONFIG.layers * CONFIG.heads * SIZES)
    assert score(found["relative entropy at start"]) == pytest.approx(1.0, abs=1e-5)


def test_saturated_weights_have_none_and_still_know_what_they_may_see(lane):
    """So sharp that all other weights are 0 in float32."""
    sharp = map_named(lambda name, x: 1e4 * x if ".query." in name else x, lane.start)
    found = attention_at_start(replace(lane, start=sharp), items=ITEMS)
    relative = found["relative entropy at start"]
    np.testing.assert_allclose(relative.statistics[:, 1], EVEN, rtol=1e-5)
    assert score(relative) < 0.02


def test_gradient_norms_are_those_of_each_item_alone(lane):
    found = attention_at_start(lane, items=ITEMS)["gradient norm at start"].statistics
    assert found.shape == (ITEMS, 2)
    target = jnp.asarray(lane.task.splits["test"].target[1])[None]

    def loss(params):
        model = nnx.merge(lane.graphdef, params, copy=True)
        logits = model.decode(model.encode(jnp.array([[2]])), target[:, :-1])
        log_p = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(log_p, target[:, 1:, None], axis=-1).mean()

    gradients = jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(lane.start))
    parts = [g for path, g in gradients if leaf_name(path).split(".")[-2] in ("query", "key")]
    assert len(parts) == CONFIG.layers * 2 * 2  # kernels and biases
    assert found[1, 0] == pytest.approx(np.sqrt(sum((g**2).sum() for g in parts)), rel=1e-4)


def test_a_model_without_attention_is_refused(lane):
    other = lane_of(RecurrentLMConfig(width=4), lane.task)
    with pytest.raises(InputError, match="model is recurrent-lm; expected one with attention maps"):
        attention_at_start(other)
