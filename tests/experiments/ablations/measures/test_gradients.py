"""Gradients by place against those by the tokens of texts in which none comes twice."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import EncoderConfig, RecurrentReaderConfig, TransformerConfig
from experiments.ablations.measures import gradient_by_lag
from experiments.ablations.measures.lane import map_named
from experiments.errors import InputError
from tests.experiments.ablations.measures.lanes import classes, lane_of, score

TASK = classes(["abcd", "aba", "abe", "h"], ["x", "y", "y", "x"])
"""In the third text, "e" stands where the second has "a" again."""
CONFIGS = [
    RecurrentReaderConfig(width=6, pool="attention"),
    EncoderConfig(width=8, heads=2, layers=1),
]


def twins(name, x):
    """The embedding of "e" is that of "a"."""
    a, e = TASK.source.encode("ae")
    return x.at[e].set(x[a]) if "embed" in name else x


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_norms_are_those_of_the_tokens(config):
    lane = lane_of(config, TASK)
    lane = replace(lane, params=map_named(twins, lane.params), start=map_named(twins, lane.start))
    found = gradient_by_lag(lane, (0, 1, 2, 4))
    assert set(found) == {
        f"{when}gradient @ {k}" for when in ("", "trained ") for k in (0, 1, 2, 4)
    }

    @jax.jit
    def table_gradient(params, source, label):
        def loss(params):
            model = nnx.merge(lane.graphdef, params, copy=True)
            logits = model.decode(model.encode(source), jnp.array([[1]]))
            return -jax.nn.log_softmax(logits[0, 0])[label]

        leaves = jax.tree_util.tree_leaves_with_path(jax.grad(loss)(params))
        return next(g for path, g in leaves if "embed" in str(path))

    split = TASK.splits["test"]
    for when, params in (("", lane.start), ("trained ", lane.params)):
        for row in (0, 2):
            tokens, label = split.source[row], int(split.target[row][1])
            padded = np.pad(tokens, (0, 5 - len(tokens)))[None]
            norms = jnp.linalg.norm(table_gradient(params, padded, label), axis=-1)
            for lag in (0, 1, 2):
                statistics = found[f"{when}gradient @ {lag}"].statistics
                want = float(norms[tokens[len(tokens) - 1 - lag]])
                np.testing.assert_allclose(statistics[row], [want, 1], rtol=1e-4)
        for lag in (0, 1, 2):  # as "e" is read like "a", a text with two of them is no other
            twice, once = found[f"{when}gradient @ {lag}"].statistics[[1, 2]]
            np.testing.assert_allclose(twice, once, rtol=1e-4)
        np.testing.assert_array_equal(found[f"{when}gradient @ 4"].statistics[1:], 0)
    assert score(found["gradient @ 1"]) != pytest.approx(score(found["trained gradient @ 1"]))


def test_what_has_no_such_gradient_is_refused():
    lane = lane_of(CONFIGS[0], TASK)
    with pytest.raises(InputError, match="lags holds 5; expected 0 to 4"):
        gradient_by_lag(lane, (5,))
    with pytest.raises(InputError, match="task is classes; expected one whose texts have a class"):
        gradient_by_lag(replace(lane, task=replace(TASK, kind="sequence")), (1,))
    two = lane_of(TransformerConfig(width=8, heads=2, layers=1), TASK)
    with pytest.raises(InputError, match="transformer, with 2 embedding tables; expected one"):
        gradient_by_lag(two, (1,))
