"""One device, eight under pmap and eight under jit: the same numbers."""

import jax
import numpy as np
import pytest

from attn.models import TransformerConfig
from experiments.errors import InputError
from experiments.faults import processes
from experiments.training.parallel import Machine
from tests.experiments.training.toy import VOCABULARY, ToyConfig, rows

ROWS, STEPS = 16, 4


def train_on(model_config, parallel, devices, accumulate=1):
    """The last state on the host and every step's metrics; checks what must hold on the way."""
    from flax import nnx

    from experiments.config import Config, OptimizerConfig, TrainConfig
    from experiments.training.step import initialise, make_train_step

    config = Config(
        # Where a gradient is zero but for rounding (a key's bias in attention), Adam with a small
        # eps makes a full step of the rounding.
        optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=2, eps=1e-4, ema=0.9),
        train=TrainConfig(batch_size=ROWS, accumulate=accumulate, label_smoothing=0.1),
    )
    graphdef, params = nnx.split(model_config.build(VOCABULARY, VOCABULARY, nnx.Rngs(0)))
    machine = Machine.of(parallel, jax.devices()[:devices])
    step = machine.spread(make_train_step(graphdef, config, STEPS))
    state = machine.place(jax.device_get(initialise(params, config, STEPS)))
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    told = []
    for number in range(STEPS):
        before = jax.tree.leaves(state)
        with jax.transfer_guard("disallow"):
            state, metrics = step(state, machine.place_batch(rows(ROWS, number)))
        told.append(jax.device_get(metrics))
        assert all(leaf.is_deleted() for leaf in before), "the old state was not donated"
    for leaf, shape in zip(jax.tree.leaves(state), shapes, strict=True):
        assert leaf.shape == shape, "a stacked copy"
        assert leaf.sharding.is_fully_replicated
        assert len(leaf.addressable_shards) == devices
    return jax.tree.map(np.array, jax.device_get(state)), told


EIGHT = [("pmap", 8, 1), ("jit", 8, 1)]
OTHERS = [("pmap", 1, 1), ("pmap", 4, 2), ("jit", 2, 4)]


def all_ways(model_config, ways):
    """The greatest difference of any number in the state, and of losses, to those of one device."""
    state, told = train_on(model_config, "jit", 1)
    assert told[0].loss > 0
    found = {}
    for parallel, devices, accumulate in ways:
        other, other_told = train_on(model_config, parallel, devices, accumulate)
        differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), state, other)
        losses = [abs(float(a.loss) - float(b.loss)) for a, b in zip(told, other_told, strict=True)]
        counts = [(int(m.tokens), int(m.examples)) for m in told]
        assert counts == [(int(m.tokens), int(m.examples)) for m in other_told]
        found[parallel, devices, accumulate] = (
            float(max(jax.tree.leaves(differences))),
            max(losses) / float(told[0].loss),
        )
    return found


def assert_rounding(found):
    for way, (state, loss) in found.items():
        assert state < 2e-5, way
        assert loss < 1e-5, way


def test_all_layouts_agree_with_uneven_padding_and_dropout():
    assert_rounding(processes.run(all_ways, ToyConfig(dropout=0.3), EIGHT, devices=8))


@pytest.mark.slow
def test_other_layouts_and_accumulation_agree_too():
    assert_rounding(processes.run(all_ways, ToyConfig(dropout=0.3), OTHERS, devices=8))


@pytest.mark.slow
def test_all_layouts_agree_for_a_real_model():
    model = TransformerConfig(width=16, layers=1, heads=2, dropout=0.3)
    assert_rounding(processes.run(all_ways, model, EIGHT, devices=8))


def test_compiled_shapes_are_not_compiled_again():
    processes.run(compile_ahead, devices=2)


def compile_ahead():
    from flax import nnx

    from experiments.config import Config
    from experiments.training.step import initialise, make_train_step

    graphdef, params = nnx.split(ToyConfig().build(VOCABULARY, VOCABULARY, nnx.Rngs(0)))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: (
            compiled.append(event)
            if event == "/jax/core/compile/backend_compile_duration"
            else None
        )
    )
    for parallel in ("pmap", "jit"):
        machine = Machine.of(parallel)
        step = machine.spread(make_train_step(graphdef, Config(), 10))
        state = machine.place(jax.device_get(initialise(params, Config(), 10)))
        machine.compile(step, state, [rows(ROWS, 0, width) for width in (7, 9)])
        before = len(compiled)
        assert before
        for width in (7, 9, 7):
            state, _ = step(state, machine.place_batch(rows(ROWS, 0, width)))
        assert len(compiled) == before, parallel


def test_batches_that_do_not_divide_are_refused():
    machine = Machine.of("pmap")
    devices = len(machine.devices)
    machine.check_divides(6 * devices, 3)
    for batch_size, accumulate in [(0, 1), (7 * devices, 2), (devices, 2)]:
        with pytest.raises(InputError, match=f"batch_size is {batch_size}.*{devices} device.*"):
            machine.check_divides(batch_size, accumulate)
    with pytest.raises(InputError, match="accumulate is 0; expected at least 1"):
        machine.check_divides(devices, 0)


def test_the_refusal_names_a_size_that_would_do():
    assert processes.run(refusal, devices=8) == (
        "train.batch_size is 100, which 8 device(s) times train.accumulate 3 don't divide; "
        "expected a multiple of 24, such as 96"
    )


def refusal():
    with pytest.raises(InputError) as error:
        Machine.of("jit").check_divides(100, 3)
    return str(error.value)
