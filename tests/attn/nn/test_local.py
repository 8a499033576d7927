"""Luong's local attention: global where the window is everything, as cheap for a long source."""

from dataclasses import replace
from functools import partial
from math import inf

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import LuongConfig
from attn.nn.attention import Annotations
from attn.nn.recurrent import Windows, recur

SOURCE = jnp.array([[5, 4, 6, 7, 2, 0], [3, 8, 2, 0, 0, 0]])
TARGET = jnp.array([[1, 4, 5, 6], [1, 3, 7, 2]])
LOCAL_P = LuongConfig(width=8, local="predictive", window=1, init_scale=0.5)


def build(config):
    return config.build(9, 9, nnx.Rngs(0))


def logits(graphdef, params, source, target):
    model = nnx.merge(graphdef, params, copy=True)
    return model.decode(model.encode(source), target)


@pytest.mark.parametrize("input_feeding", [True, False])
def test_a_window_of_everything_without_gaussian_is_global(input_feeding):
    config = replace(LOCAL_P, input_feeding=input_feeding)
    everything = build(replace(config, window=64, sigma=inf))
    globally = build(replace(config, local=None))
    state = nnx.state(everything)
    for name in ("focus", "v_focus"):
        del state["attention"][name]
    nnx.update(globally, state)
    run = partial(jax.jit(logits, static_argnums=0))
    want = run(*nnx.split(globally), SOURCE, TARGET)
    np.testing.assert_allclose(run(*nnx.split(everything), SOURCE, TARGET), want, atol=1e-5)
    narrow = build(config)
    assert np.abs(run(*nnx.split(narrow), SOURCE, TARGET) - want).max() > 1e-3


@pytest.mark.parametrize("input_feeding", [True, False])
def test_gradients_reach_the_predicted_place(input_feeding):
    """By the Gaussian alone, and as finite differences say."""
    graphdef, params = nnx.split(build(replace(LOCAL_P, input_feeding=input_feeding, sigma=2.0)))

    def loss(params):
        return (logits(graphdef, params, SOURCE, TARGET) ** 2).sum()

    gradient = jax.jit(jax.grad(loss))(params)["attention"]
    for name in ("focus", "v_focus"):
        assert np.abs(gradient[name].get_value()).max() > 0
    v, step = params["attention"]["v_focus"].get_value(), 1e-3
    values = []
    for sign in (-1, 1):
        params["attention"]["v_focus"].set_value(v + sign * step * jnp.eye(8)[2])
        values.append(jax.jit(loss)(params))
    slope = (values[1] - values[0]) / (2 * step)
    np.testing.assert_allclose(gradient["v_focus"].get_value()[2], slope, rtol=0.05, atol=1e-3)


def test_place_t_stays_on_the_source_and_counts_from_its_beginning():
    model = build(LuongConfig(width=8, local="monotonic", window=1))
    target = jnp.ones((2, 6), jnp.int32)
    weights = jax.jit(lambda: model.weights(model.encode(SOURCE), target)[:, 0, 0])()
    for row, length in enumerate((5, 3)):
        for t in range(6):
            place = min(t, length - 1)
            want = [abs(j - place) <= 1 and j < length for j in range(6)]
            np.testing.assert_array_equal(weights[row, t] > 0, want)


@pytest.mark.parametrize("local", ["monotonic", "predictive"])
@pytest.mark.parametrize("gradient", [False, True], ids=["step", "gradient"])
def test_cost_does_not_grow_with_the_source(local, gradient):
    """In operations of a decoder's loop, as the compiler counts them: once for all its steps."""

    def cost(config, length):
        attention = build(replace(config, width=32)).attention
        lengths = jnp.full(2, length, jnp.int32)

        def cell(linear, alignment, carry, time):
            return carry + alignment.context(linear, carry[:, None], time)[:, 0], None

        def last(key, value, carry):
            annotations = Annotations(key, value, lengths)
            linear, alignment = attention.weights(annotations), attention.align(annotations)
            time = jnp.zeros((5, 2, 1), jnp.int32)
            return recur(cell, linear, alignment, carry, time)[0].sum()

        run = jax.jit(jax.grad(last, argnums=(0, 1, 2)) if gradient else last)
        key = jnp.ones((2, length, 1, 32))
        return run.lower(key, key, jnp.ones((2, 32))).compile().cost_analysis()["flops"]

    config = replace(LOCAL_P, local=local, window=10, score="dot")
    short, long = (cost(config, length) for length in (256, 2048))
    assert long < 1.01 * short
    short, long = (cost(replace(config, local=None), length) for length in (256, 2048))
    assert long > 3 * short


def test_windows_are_rows_with_the_gradient_of_rows():
    table = jax.random.normal(jax.random.key(0), (2, 9, 3))
    first = jnp.array([[0, 6], [2, 2]])
    rows = first[..., None] + jnp.arange(3)
    plain = lambda table: jnp.take_along_axis(  # noqa: E731
        table[:, None], rows[..., None], axis=2
    )
    np.testing.assert_array_equal(Windows(table, 3).at(first), plain(table))

    def cell(linear, constants, carry, first):
        return carry, linear("rows", first)

    def looped(table):
        return recur(cell, {"rows": Windows(table, 3)}, None, None, first[None])[1][0]

    weight = jax.random.normal(jax.random.key(1), (2, 2, 3, 3))
    got, want = (jax.grad(lambda t, f=f: (f(t) * weight).sum())(table) for f in (looped, plain))
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "location"}, "score: local attention aligns by content"),
        ({"window": 0}, "window: got 0"),
        ({"sigma": 0.0}, "sigma: got 0"),
    ],
)
def test_what_is_no_local_attention_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build(replace(LOCAL_P, **change))
