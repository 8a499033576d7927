import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models.protocol import PAD
from experiments.config import Config, OptimizerConfig, TrainConfig
from experiments.training.parallel import Machine
from experiments.training.step import cross_entropy, initialise, make_train_step
from tests.experiments.training.toy import VOCABULARY, ToyConfig, rows

STEPS = 10
ROWS = 8


def config(ema=None, optimizer=None, **train):
    return Config(
        optimizer=OptimizerConfig(
            **{"learning_rate": 0.02, "warmup_steps": 2, "ema": ema, **(optimizer or {})}
        ),
        train=TrainConfig(batch_size=ROWS, **train),
    )


def toy(dropout=0.0):
    return nnx.split(ToyConfig(dropout=dropout).build(VOCABULARY, VOCABULARY, nnx.Rngs(0)))


def train(config, batches, model=None):
    """The states before and after each step, and its metrics."""
    graphdef, params = model or toy()
    machine = Machine.of("jit")
    step = machine.spread(make_train_step(graphdef, config, STEPS))
    state = machine.place(jax.device_get(initialise(params, config, STEPS)))
    states, metrics = [jax.device_get(state)], []
    for batch in batches:
        state, told = step(state, machine.place_batch(batch))
        states.append(jax.tree.map(np.array, jax.device_get(state)))
        metrics.append(jax.device_get(told))
    return states, metrics


def numpy_cross_entropy(logits, labels, smoothing):
    """The sum over the vocabulary of target probabilities times negative log-probabilities."""
    total = 0.0
    for row, label in zip(logits.reshape(-1, logits.shape[-1]), labels.ravel(), strict=True):
        if label == PAD:
            continue
        log_p = row - np.log(np.exp(row).sum())
        target = np.full(len(row), smoothing / len(row))
        target[label] += 1 - smoothing
        total -= (target * log_p).sum()
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_the_formula(smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 4, 7)).astype(np.float32)
    labels = random.integers(0, 7, (3, 4)).astype(np.int32)
    labels[0, 2:] = PAD
    found = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), smoothing)
    expected = numpy_cross_entropy(logits.astype(np.float64), labels, smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_padding_counts_nothing():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 4)), jnp.float32)
    labels = jnp.array([[2, PAD]])
    loss, gradient = jax.value_and_grad(lambda x: cross_entropy(x, labels, 0.1))(logits)
    np.testing.assert_allclose(loss, cross_entropy(logits[:, :1], labels[:, :1], 0.1), rtol=1e-6)
    assert gradient[0, 0].any()
    assert not gradient[0, 1].any()


@pytest.fixture(scope="module")
def three_steps():
    """States before and after each step, and metrics, with a moving average."""
    return train(config(ema=0.75), [rows(ROWS, step) for step in range(3)])


def test_metrics_are_sums_over_real_rows(three_steps):
    for step, told in enumerate(three_steps[1]):
        batch = rows(ROWS, step)
        assert told.tokens == (batch.target[:, 1:] != PAD).sum()
        assert told.examples == ROWS - 1  # the first row is filler
        assert told.finite
    assert three_steps[1][0].learning_rate == pytest.approx(0.01)
    assert [int(state.step) for state in three_steps[0]] == [0, 1, 2, 3]


def test_golden_first_step():
    """Loss and norm of a fixed model on a fixed batch: what no refactoring may change."""
    _, [told] = train(config(label_smoothing=0.1), [rows(ROWS, 0)], toy(dropout=0.3))
    assert told.loss / told.tokens == pytest.approx(2.3604172, rel=1e-5)
    assert told.gradient_norm == pytest.approx(0.3664514, rel=1e-5)


def test_accumulation_changes_nothing():
    """Parts hold different numbers of tokens, and one of them none at all."""
    batches = [rows(ROWS, step) for step in range(3)]
    whole, told = train(config(), batches, toy(dropout=0.3))
    cut, cut_told = train(config(accumulate=ROWS), batches, toy(dropout=0.3))
    for one, other in zip(jax.tree.leaves(whole[-1]), jax.tree.leaves(cut[-1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(told[-1].loss, cut_told[-1].loss, rtol=1e-5)
    assert told[-1].tokens == cut_told[-1].tokens


def test_moving_average(three_steps):
    states, _ = three_steps
    average = jax.tree.leaves(states[0].params)
    for state in states[1:]:
        leaves = jax.tree.leaves(state.params)
        average = [0.75 * a + 0.25 * p for a, p in zip(average, leaves, strict=True)]
    for found, expected in zip(jax.tree.leaves(states[-1].evaluated), average, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_without_an_average_the_parameters_are_evaluated():
    state = initialise(toy()[1], config(), STEPS)
    assert state.average is None
    assert state.evaluated is state.params


def test_dropout_differs_from_step_to_step_and_seed_to_seed():
    still = {"learning_rate": 1e-12}
    losses = [
        [float(told.loss) for told in train(
            config(seed=seed, optimizer=still), [rows(ROWS, 0)] * 2, toy(dropout=0.5))[1]]
        for seed in (0, 1)
    ]  # fmt: skip
    assert len({*losses[0], *losses[1]}) == 4


def test_numbers_that_are_not_finite_are_told():
    """The step that makes infinite parameters tells, and those after it."""
    wild = config(optimizer={"learning_rate": 3e38, "warmup_steps": 0, "schedule": "constant"})
    states, told = train(wild, [rows(ROWS, step) for step in range(3)])
    finite = [all(np.isfinite(x).all() for x in jax.tree.leaves(s.params)) for s in states[1:]]
    assert [bool(metrics.finite) for metrics in told] == finite
    assert finite[0]
    assert not finite[-1]
