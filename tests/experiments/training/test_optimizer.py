import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.config import OptimizerConfig
from experiments.errors import InputError
from experiments.training.optimizer import decayed, make, schedule


def rates(steps=100, **changes):
    config = OptimizerConfig(**{"learning_rate": 0.1, "warmup_steps": 10, **changes})
    of = schedule(config, steps)
    return np.array([float(of(step)) for step in range(steps + 1)])


@pytest.mark.parametrize("name", ["constant", "inverse_sqrt", "cosine", "linear"])
def test_warm_up_is_a_line_to_the_peak(name):
    np.testing.assert_allclose(rates(schedule=name)[:10], 0.1 * np.arange(1, 11) / 10, rtol=1e-6)


def test_decays():
    step = np.arange(10, 101)
    np.testing.assert_allclose(rates(schedule="constant")[10:], 0.1, rtol=1e-6)
    np.testing.assert_allclose(
        rates(schedule="inverse_sqrt")[10:], 0.1 * np.sqrt(10 / step), rtol=1e-6
    )
    np.testing.assert_allclose(
        rates(schedule="linear")[10:], 0.1 * (100 - step) / 90, rtol=1e-5, atol=1e-8
    )
    np.testing.assert_allclose(
        rates(schedule="cosine")[10:],
        0.05 * (1 + np.cos(np.pi * (step - 10) / 90)),
        rtol=1e-4,
        atol=1e-8,
    )


@pytest.mark.parametrize("name", ["constant", "inverse_sqrt", "cosine", "linear"])
@pytest.mark.parametrize("warmup", [0, 1])
def test_without_a_warm_up_the_first_step_is_at_the_peak(name, warmup):
    assert rates(schedule=name, warmup_steps=warmup)[0] == pytest.approx(0.1)


def test_a_run_shorter_than_its_warm_up_ends_on_the_way_up():
    np.testing.assert_allclose(rates(steps=4), 0.1 * np.arange(1, 6) / 10, rtol=1e-6)


def test_gradients_are_clipped_before_adam():
    """Adam's first moment is 1 - b1 of the clipped gradient."""
    params = {"w": jnp.zeros((2, 2))}
    gradients = {"w": jnp.full((2, 2), 10.0)}
    for clip, expected in [(1.0, 0.5), (0.0, 10.0), (100.0, 10.0)]:
        optimizer = make(OptimizerConfig(clip_norm=clip, b1=0.9), 10)
        _, state = optimizer.update(gradients, optimizer.init(params), params)
        moment = optax.tree.get(state, "mu")["w"]
        np.testing.assert_allclose(moment, 0.1 * expected, rtol=1e-6)


def test_weight_decay_reaches_matrices_alone():
    params = {
        "layer": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
        "heads": {"bias": jnp.ones((2, 4))},
    }
    assert decayed(params) == {
        "layer": {"kernel": True, "bias": False},
        "heads": {"bias": False},
    }
    config = OptimizerConfig(weight_decay=0.1, warmup_steps=0, schedule="constant")
    optimizer = make(config, 10)
    zero = {"layer": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)},
            "heads": {"bias": jnp.zeros((2, 4))}}  # fmt: skip
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(updates["layer"]["kernel"], -0.1 * config.learning_rate, rtol=1e-6)
    assert not updates["layer"]["bias"].any()
    assert not updates["heads"]["bias"].any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("warmup_steps", -1),
        ("b1", 1.0),
        ("b2", -0.1),
        ("eps", 0.0),
        ("weight_decay", -1.0),
        ("clip_norm", -1.0),
        ("ema", 1.0),
    ],
)
def test_numbers_that_cannot_be_are_refused(name, value):
    with pytest.raises(InputError, match=rf"optimizer\.{name} is {value}; expected"):
        make(OptimizerConfig(**{name: value}), 10)
