"""The search with the real models: what it says of an output is what they say of it read whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import (
    BOS,
    PAD,
    LSTMNConfig,
    LuongConfig,
    RecurrentLMConfig,
    RNNSearchConfig,
    Seq2SeqConfig,
    TransformerConfig,
)
from experiments.evaluation.search import search
from tests.experiments.evaluation.toy import sources

CONFIGS = [
    Seq2SeqConfig(width=16),
    RNNSearchConfig(width=16),
    LuongConfig(width=16),
    LuongConfig(width=16, local="monotonic", window=2),
    LSTMNConfig(width=16),
    LSTMNConfig(width=16, fusion="deep", tape=3),
    RecurrentLMConfig(width=16, cell="lstmn"),
    TransformerConfig(width=16),
]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_scores_are_the_models_own(config):
    graphdef, params = nnx.split(config.build(30, 11, nnx.Rngs(0)))
    # Larger weights than at the start of training: outputs of many lengths, and hardly any ties.
    params = jax.tree.map(lambda x: 3.0 * x, params)

    @jax.jit
    def found(params, source):
        model = nnx.merge(graphdef, params, copy=True)
        return search(model, source, beam=4, length_penalty=0.0, max_length=9)

    @jax.jit
    def log_p(params, source, output):
        model = nnx.merge(graphdef, params, copy=True)
        target_in = jnp.pad(output[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
        each = jax.nn.log_softmax(model.decode(model.encode(source), target_in))
        each = jnp.take_along_axis(each, output[..., None], axis=2)[..., 0]
        return jnp.sum(each, axis=1, where=output != PAD)

    source = sources(6, 7)
    best = found(params, source)
    assert len(np.unique(best.lengths)) > 1
    for place in range(4):
        np.testing.assert_allclose(
            best.scores[:, place],
            log_p(params, source, best.tokens[:, place]),
            rtol=1e-4,
            atol=1e-4,
        )
