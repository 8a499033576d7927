"""The memory tape of an LSTMN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.nn import LSTM, LSTMN, DeepLSTMN, Stack

INIT = nnx.initializers.normal(0.5)


def test_with_one_slot_it_is_an_lstm():
    lstm = LSTM(3, 4, init=INIT, rngs=nnx.Rngs(0))
    lstmn = LSTMN(3, 4, tape=1, init=INIT, rngs=nnx.Rngs(1))
    lstm.input.kernel[...] = lstmn.input.kernel[:, :16]
    lstmn.input.bias[...] = jnp.linspace(-1, 1, 20)
    lstm.input.bias[...] = lstmn.input.bias[:16]
    lstm.recurrent[...] = lstmn.recurrent[...]
    xs = jax.random.normal(jax.random.key(0), (7, 2, 3))
    real = jnp.arange(7)[:, None] < jnp.array([7, 3])
    (cell, hidden), want = lstm(xs, lstm.start(2), real)
    tape, got = lstmn(xs, lstmn.start(2), real)
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(tape.latest, jnp.concatenate([hidden, cell], -1), atol=1e-6)


def test_a_tape_as_long_as_the_text_keeps_all_and_a_shorter_one_does_not():
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3))

    def states(tape):
        layer = LSTMN(3, 4, tape=tape, init=INIT, rngs=nnx.Rngs(0))
        return layer(xs, layer.start(2, 6))[1]

    np.testing.assert_allclose(states(None), states(6), atol=1e-6)
    np.testing.assert_allclose(states(None)[:4], states(3)[:4], atol=1e-6)
    assert np.abs(states(None) - states(3))[4:].max() > 1e-3


def test_padding_is_not_remembered():
    layer = LSTMN(3, 4, init=INIT, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3))
    real = jnp.arange(6)[:, None] < jnp.array([6, 2])
    tape, _ = layer(xs, layer.start(2, 6), real)
    alone, _ = layer(xs[:2, 1:], layer.start(1, 6))
    np.testing.assert_array_equal(tape.count, [6, 2])
    for got, want in zip(jax.tree.leaves(tape), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(got[1], want[0], atol=1e-6)


def test_deep_fusion_stacks():
    """A stack's step gives what its layers give for a whole text, each reading its own source."""
    init = {"init": INIT, "rngs": nnx.Rngs(0)}
    stack = Stack(lambda inputs: DeepLSTMN(inputs, 4, **init), 2, 9, 3, dropout=0.0, **init)
    lengths = jnp.array([5, 2])
    sources = tuple(
        layer.annotate(jax.random.normal(jax.random.key(k), (2, 5, 8)), lengths)
        for k, layer in enumerate(stack.layers)
    )
    tokens = jnp.array([[3, 4, 5], [6, 7, 8]])
    xs = tokens
    for depth, layer in enumerate(stack.layers):
        gates = stack.project(depth, xs, None)(layer.input)
        _, xs = layer.run(gates, layer.start(2, 3), memory=sources[depth])
    carries = stack.start(2, 3)
    for t in range(3):
        carries, hidden = stack.step(tokens[:, t], carries, memories=sources)
        np.testing.assert_allclose(hidden, xs[t], atol=1e-6)


def test_what_keeps_nothing_is_refused():
    with pytest.raises(ValueError, match="tape: got 0"):
        LSTMN(3, 4, tape=0, init=INIT, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="capacity"):
        LSTMN(3, 4, init=INIT, rngs=nnx.Rngs(0)).start(2)
