"""What LSTMNs recall, against what their loops have recalled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.nn import LSTMN, Bidirectional, Stack
from attn.nn.recalls import recalls

INIT = {"init": nnx.initializers.normal(0.7), "rngs": nnx.Rngs(0)}
TOKENS = jnp.array([[3, 5, 4, 8, 6, 7], [5, 7, 3, 0, 0, 0]])
REAL = TOKENS > 0


def stack(tape, layers=1, both=False):
    def one(inputs):
        return LSTMN(inputs, 4, tape=tape, **INIT)

    def make(inputs):
        return Bidirectional(one(inputs), one(inputs)) if both else one(inputs)

    return Stack(make, layers, 9, 4, dropout=0.0, **INIT)


def recalled(layer, xs, start, reverse=False):
    """Hidden states, and what of them each step of the loop recalled: [T, B, n] both."""
    emit = lambda tape: (layer.hidden(tape), tape.recalled)  # noqa: E731
    return layer.run(layer.input(xs), start, REAL.T, reverse, emit=emit)[1]


@pytest.mark.parametrize("tape", [None, 2])
def test_the_weights_mix_what_is_recalled(tape):
    model = stack(tape, both=True)
    start = model.start(*TOKENS.shape)
    weights = recalls(model, TOKENS, start, REAL)
    assert weights.shape == (2, 1, 2, 6, 6)
    xs = model.embed(TOKENS.T)
    (layer,) = model.layers
    for head, (way, tape_, reverse) in enumerate(
        [(layer.forward, start[0][0], False), (layer.backward, start[0][1], True)]
    ):
        hidden, want = recalled(way, xs, tape_, reverse)
        got = jnp.einsum("bij,jbn->ibn", weights[:, 0, head], hidden)
        np.testing.assert_allclose(got[REAL.T], want[REAL.T], atol=1e-6)
        assert np.abs(want[REAL.T]).max() > 0.1
    # Nothing is before the first step, and after it all is among real ones that are kept.
    totals = weights[0, 0].sum(-1)
    np.testing.assert_allclose(totals[0], [0, 1, 1, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(totals[1], [1, 1, 1, 1, 1, 0], atol=1e-6)
    reach = 6 if tape is None else tape
    back = np.subtract.outer(np.arange(6), np.arange(6))
    assert np.all((weights[0, 0, 0] > 0) == ((back > 0) & (back <= reach)))


def test_a_slot_from_before_takes_its_share():
    model = stack(None)
    (layer,) = model.layers
    start = layer.begin(jax.random.normal(jax.random.key(0), (2, 8)), 6)
    weights = recalls(model, TOKENS, (start,), REAL)[:, 0, 0]
    hidden, want = recalled(layer, model.embed(TOKENS.T), start)
    left = 1 - weights.sum(-1)
    got = jnp.einsum("bij,jbn->ibn", weights, hidden) + left.T[..., None] * start.latest[:, :4]
    np.testing.assert_allclose(got[REAL.T], want[REAL.T], atol=1e-6)
    np.testing.assert_allclose(left[:, 0], 1.0)
    assert np.all(left[REAL] > 0)


def test_a_layer_reads_the_one_below():
    model = stack(None, layers=2)
    weights = recalls(model, TOKENS, model.start(*TOKENS.shape), REAL)
    below, _ = recalled(model.layers[0], model.embed(TOKENS.T), model.layers[0].start(2, 6))
    hidden, want = recalled(model.layers[1], below, model.layers[1].start(2, 6))
    got = jnp.einsum("bij,jbn->ibn", weights[:, 1, 0], hidden)
    np.testing.assert_allclose(got[REAL.T], want[REAL.T], atol=1e-6)
