"""The loop over time: same values as `lax.scan`, same gradients, padding held."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from attn.nn import GRU, LSTM, LSTMN, RNN, Bidirectional, Stack
from attn.nn.recurrent import product, recur


def _cell(linear, constants, carry, x):
    """Two products, a constant with a gradient, an integer that has none."""
    shift, mask = constants
    state = jnp.tanh(x + linear("first", carry) + shift)
    state = jnp.where(mask > 0, state, carry) + linear("second", state * carry)
    return state, (state, state.sum())


def _inputs(seed, steps, rows, width):
    draw = np.random.default_rng(seed).normal
    weights = {
        k: jnp.asarray(draw(size=(width, width)) / 2, jnp.float32) for k in ("first", "second")
    }
    shift = jnp.asarray(draw(size=width), jnp.float32)
    carry = jnp.asarray(draw(size=(rows, width)), jnp.float32)
    xs = jnp.asarray(draw(size=(steps, rows, width)), jnp.float32)
    return weights, shift, carry, xs


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_recur_is_scan_with_the_same_gradients(seed, steps, rows, width, reverse):
    inputs = _inputs(seed, steps, rows, width)
    mask = jnp.arange(width) % 2

    def loss(loop, weights, shift, carry, xs):
        last, (ys, totals) = loop(weights, (shift, mask), carry, xs)
        return (last**2).sum() + (ys * jnp.arange(steps)[:, None, None]).sum() + totals.prod()

    def ours(weights, constants, carry, xs):
        return recur(_cell, weights, constants, carry, xs, reverse)

    def plain(weights, constants, carry, xs):
        return lax.scan(partial(_cell, product(weights), constants), carry, xs, reverse=reverse)

    gradient = jax.value_and_grad(loss, argnums=(1, 2, 3, 4))
    for got, want in zip(
        jax.tree.leaves(gradient(ours, *inputs)),
        jax.tree.leaves(gradient(plain, *inputs)),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


def test_a_weight_that_is_not_used_gets_a_zero_gradient():
    weights, shift, carry, xs = _inputs(0, 3, 2, 4)
    weights["idle"] = jnp.ones((4, 2))
    mask = jnp.ones(4, jnp.int32)
    gradient = jax.grad(lambda w: recur(_cell, w, (shift, mask), carry, xs)[0].sum())(weights)
    assert not gradient["idle"].any()
    assert gradient["first"].any()


def test_a_product_used_twice_is_refused():
    def twice(linear, constants, carry, x):
        return linear("first", linear("first", carry)) + x, None

    weights, _, carry, xs = _inputs(0, 3, 2, 4)
    with pytest.raises(ValueError, match="'first' once a step"):
        jax.grad(lambda w: recur(twice, w, None, carry, xs)[0].sum())(weights)


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_padding_holds_the_state_of_each_row(layer):
    lengths = jnp.array([5, 2, 0])
    layer = layer(3, 4, init=nnx.initializers.normal(0.5), rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(1), (5, 3, 3))
    real = jnp.arange(5)[:, None] < lengths
    last, _ = layer(xs, layer.start(3), real)
    for row, length in enumerate(lengths):
        alone, _ = layer(xs[:length, row : row + 1], layer.start(1))
        for got, want in zip(jax.tree.leaves(last), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(got[row], want[0], atol=1e-6)


def test_lstm_is_flax_lstm():
    ours = LSTM(3, 4, init=nnx.initializers.normal(0.5), rngs=nnx.Rngs(0))
    theirs = nnx.LSTMCell(3, 4, rngs=nnx.Rngs(1))
    kernel, bias = ours.input.kernel[...], jnp.linspace(-1, 1, 16)
    ours.input.bias[...] = bias
    recurrent = ours.recurrent[...]
    for at, gate in enumerate("ifgo"):
        columns = slice(4 * at, 4 * at + 4)
        getattr(theirs, "if_" if gate == "f" else f"i{gate}").kernel[...] = kernel[:, columns]
        getattr(theirs, f"h{gate}").kernel[...] = recurrent[:, columns]
        getattr(theirs, f"h{gate}").bias[...] = bias[columns]
    xs = jax.random.normal(jax.random.key(2), (6, 2, 3))
    (cell, hidden), ys = ours(xs, ours.start(2))
    carry = (jnp.zeros((2, 4)), jnp.zeros((2, 4)))
    for x in xs:
        carry, y = theirs(carry, x)
    np.testing.assert_allclose(cell, carry[0], atol=1e-6)
    np.testing.assert_allclose(hidden, carry[1], atol=1e-6)
    np.testing.assert_allclose(ys[-1], y, atol=1e-6)


def test_rnn_is_elmans():
    layer = RNN(3, 4, init=nnx.initializers.normal(0.5), rngs=nnx.Rngs(0))
    layer.input.bias[...] = jnp.linspace(-1, 1, 4)
    xs = np.asarray(jax.random.normal(jax.random.key(1), (5, 2, 3)))
    state = np.zeros((2, 4))
    _, states = layer(jnp.asarray(xs), layer.start(2))
    for x, got in zip(xs, states, strict=True):
        fed = x @ layer.input.kernel[...] + layer.input.bias[...]
        state = np.tanh(fed + state @ layer.recurrent[...])
        np.testing.assert_allclose(got, state, atol=1e-6)


def test_both_directions_read_the_whole_text_and_no_padding():
    options = {"init": nnx.initializers.normal(0.5), "rngs": nnx.Rngs(0)}
    both = Bidirectional(GRU(3, 4, **options), GRU(3, 4, **options))
    xs = jax.random.normal(jax.random.key(1), (5, 1, 3))
    real = jnp.arange(5)[:, None] < 3

    def read(xs, real=None):
        return both.read(lambda linear: linear(xs), both.start(1), real)

    (last, first), states = read(xs, real)
    (want_last, want_first), want = read(xs[:3])
    np.testing.assert_allclose(states[:3], want, atol=1e-6)
    np.testing.assert_allclose(last, want_last, atol=1e-6)
    np.testing.assert_allclose(first, want_first, atol=1e-6)
    backwards, _ = both.backward(xs[:3][::-1], both.backward.start(1))
    np.testing.assert_allclose(first, backwards, atol=1e-6)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, LSTMN])
def test_a_stack_steps_as_it_reads(kind):
    options = {"init": nnx.initializers.normal(0.5), "rngs": nnx.Rngs(0)}
    stack = Stack(lambda inputs: kind(inputs, 4, **options), 2, 9, 3, dropout=0.0, **options)
    tokens = jnp.array([[3, 4, 5, 6], [6, 7, 8, 3]])
    last, want = stack(tokens, stack.start(2, 4), None)
    carries = stack.start(2, 4)
    for t in range(4):
        carries, hidden = stack.step(tokens[:, t], carries)
        np.testing.assert_allclose(hidden, want[t], atol=1e-6)
    for got, leaf in zip(jax.tree.leaves(carries), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(got, leaf, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 9, 11])
def test_what_is_computed_again_is_the_same(steps, reverse):
    weights, shift, carry, xs = _inputs(0, steps, 2, 4)
    weights = {name: w / 4 for name, w in weights.items()}  # or states grow, and rounding with them
    mask = jnp.arange(4) % 2

    def loss(remat, weights, shift, carry, xs):
        last, (ys, totals) = recur(_cell, weights, (shift, mask), carry, xs, reverse, remat=remat)
        seen = (jnp.sin(ys) * jnp.arange(steps)[:, None, None]).sum() + jnp.cos(totals).sum()
        return jnp.tanh(last).sum() + seen

    def gradient(remat):
        run = jax.value_and_grad(partial(loss, remat), argnums=(0, 1, 2, 3))
        return jax.tree.leaves(jax.jit(run)(weights, shift, carry, xs))

    for got, want in zip(gradient(True), gradient(False), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "share"), [(LSTM, 0.6), (LSTMN, 0.2)])
def test_computing_again_saves_memory(kind, share):
    """Temporary bytes of a long sequence's gradient, as the compiler plans them."""
    xs = jnp.zeros((256, 4, 32))

    def temporary(remat):
        layer = kind(32, 32, init=nnx.initializers.normal(0.5), remat=remat, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(layer)

        def loss(params, xs):
            layer = nnx.merge(graphdef, params, copy=True)
            return (layer(xs, layer.start(4, 256))[1] ** 2).sum()

        compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    again, kept = temporary(True), temporary(False)
    print(kind.__name__, again, kept)
    assert again < share * kept
