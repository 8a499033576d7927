"""A mesh of eight devices, however it is cut: the numbers of one device."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from attn.models import DecoderConfig, RNNSearchConfig, TransformerConfig
from experiments.config import Config, OptimizerConfig, SearchConfig, TrainConfig
from experiments.errors import InputError
from experiments.evaluation.evaluate import Evaluator
from experiments.faults import processes
from experiments.training.rules import TRANSFORMER, cut
from experiments.training.sharded import machine_of, mesh_of
from experiments.training.step import initialise, make_train_step
from tests.experiments.training.toy import VOCABULARY, rows
from tests.experiments.training.toy_task import reversal

ROWS, STEPS = 16, 3
DECODER = DecoderConfig(
    width=16,
    layers=1,
    heads=4,
    kv_heads=2,
    positions="rope",
    activation="swiglu",
    normalization="rms",
    dropout=0.2,
)
TRANSFORMER_CONFIG = TransformerConfig(width=16, layers=1, heads=2, positions="alibi", dropout=0.2)


def config_of(model, fsdp=1, tensor=1, sequence=1, accumulate=1):
    return Config(
        model=model,
        # Where a gradient is zero but for rounding (a key's bias in attention), Adam with a small
        # eps makes a full step of the rounding.
        optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=2, eps=1e-4, ema=0.9),
        train=TrainConfig(
            batch_size=ROWS,
            accumulate=accumulate,
            parallel="jit",
            fsdp=fsdp,
            tensor=tensor,
            sequence=sequence,
        ),
    )


def train_on(config, devices):
    """The last state on the host, the losses, and the greatest share of it that a device holds."""
    machine = machine_of(config, jax.devices()[:devices])

    def build():
        return config.model.build(VOCABULARY, VOCABULARY, nnx.Rngs(0))

    graphdef, _ = nnx.split(nnx.eval_shape(build))
    step = machine.spread(make_train_step(graphdef, config, STEPS, machine.axis))
    state = machine.begin(lambda: initialise(nnx.split(build())[1], config, STEPS))
    losses = []
    for number in range(STEPS):
        state, metrics = step(state, machine.place_batch(rows(ROWS, number, width=9)))
        losses.append(float(metrics.loss) / int(metrics.tokens))
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    return jax.tree.map(np.array, machine.host(state)), losses, held / whole


def differences(model, ways):
    """Of states and losses, to one device's; and the shares of the state that a device holds."""
    state, losses, _ = train_on(config_of(model), 1)
    found = []
    for fsdp, tensor, sequence, accumulate in ways:
        way = config_of(model, fsdp, tensor, sequence, accumulate)
        other, other_losses, held = train_on(way, 8)
        apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state, other)
        found.append(
            (max(jax.tree.leaves(apart)), float(np.abs(np.subtract(losses, other_losses)).max()))
        )
        assert held < 1 / (fsdp * tensor) + 0.25, "the state is not divided"
    return found


def assert_rounding(found):
    for state, loss in found:
        assert state < 5e-5
        assert loss < 1e-5


def test_all_axes_at_once_give_the_numbers_of_one_device():
    assert_rounding(processes.run(differences, DECODER, [(2, 2, 2, 1)], devices=8))


@pytest.mark.slow
@pytest.mark.parametrize("ways", [[(8, 1, 1, 1), (4, 2, 1, 2)], [(1, 1, 8, 1), (1, 2, 4, 1)]])
def test_every_axis_gives_the_numbers_of_one_device(ways):
    assert_rounding(processes.run(differences, DECODER, ways, devices=8))
    assert_rounding(processes.run(differences, TRANSFORMER_CONFIG, ways, devices=8))


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["products", "full"])
def test_what_is_computed_again_is_the_same(remat):
    model = replace(DECODER, remat=remat)
    state, losses, _ = train_on(config_of(DECODER), 1)
    other, other_losses, _ = train_on(config_of(model), 1)
    np.testing.assert_allclose(losses, other_losses, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), state, other)


@pytest.mark.slow
def test_recurrent_models_are_stored_in_parts_too():
    model = RNNSearchConfig(width=16)
    assert_rounding(processes.run(differences, model, [(4, 1, 1, 1)], devices=8))


@pytest.mark.slow
def test_bfloat16_learns_on_a_mesh_as_on_one_device():
    narrow = replace(DECODER, dtype="bfloat16")
    (state, loss) = processes.run(differences, narrow, [(2, 2, 2, 1)], devices=8)[0]
    assert loss < 0.02
    assert state < 0.1


def likelihoods(model, ways):
    """-log P of each test item: by a copy of the parameters on each device, and by parts of them;
    and the greatest share of them that a device holds."""
    task, settings = reversal(), SearchConfig(batch_size=10)
    graphdef, params = nnx.split(model.build(task.source.size, task.target.size, nnx.Rngs(0)))
    params = jax.device_get(params)

    def of(evaluator, params):
        return np.array([item.nll for item in evaluator.items(params, "test", search=False)])

    found = [of(Evaluator(graphdef, task, settings), params)]
    for way in ways:
        machine = machine_of(config_of(model, *way))
        placed = machine.place(params)
        for lying, again in zip(
            *map(jax.tree.leaves, (placed, machine.place(placed))), strict=True
        ):
            assert lying is again, "what lies on the mesh stays there"
        largest = max(jax.tree.leaves(placed), key=lambda leaf: leaf.nbytes)
        assert largest.addressable_shards[0].data.nbytes <= largest.nbytes / 2
        found.append(of(Evaluator(graphdef, task, settings, machine), placed))
    return found


def test_parameters_are_evaluated_where_they_lie():
    whole, *parts = processes.run(
        likelihoods, DECODER, [(2, 2, 2), (4, 1, 1), (2, 1, 4)], devices=8
    )
    assert whole.std() > 0.1
    for found in parts:
        np.testing.assert_allclose(found, whole, rtol=1e-5)


def meshes(ways):
    machines = [mesh_of(config_of(DECODER, *way)) for way in ways]
    return [None if machine is None else machine.sizes for machine in machines]


def test_a_run_is_evaluated_on_its_mesh_where_there_are_devices_for_it():
    found = processes.run(meshes, [(1, 1, 1), (2, 2, 1), (16, 1, 1), (3, 1, 1)], devices=8)
    assert found == [None, (2, 2, 2, 1), None, None]


SIZES = {"data": 1, "fsdp": 2, "tensor": 4, "sequence": 1}


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        ("blocks/0/attention/query/kernel", (16, 8, 4), ("fsdp", "tensor", None)),
        ("blocks/0/attention/key/kernel", (16, 2, 4), ("fsdp", None, None)),
        (
            "optimizer/0/mu/blocks/0/attention/out/kernel/value",
            (8, 4, 16),
            ("tensor", None, "fsdp"),
        ),
        ("blocks/0/feed_forward/inner/kernel", (16, 64), ("fsdp", "tensor")),
        ("blocks/0/feed_forward/outer/kernel", (64, 16), ("tensor", "fsdp")),
        ("target_embed/table", (31, 16), (None, "fsdp")),
        ("embed/table", (32, 16), ("tensor", "fsdp")),
        ("norm/scale", (16,), (None,)),
        ("some/other/matrix", (6, 10), (None, "fsdp")),
        ("some/other/odd", (5, 7), (None, None)),
        ("step", (), ()),
    ],
)
def test_parameters_are_cut_by_their_paths(path, shape, expected):
    assert cut(path, shape, TRANSFORMER, SIZES) == PartitionSpec(*expected)


def test_meshes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"train\.fsdp is 2 with train.parallel pmap"):
        machine_of(Config(train=TrainConfig(fsdp=2)))
    with pytest.raises(InputError, match=r"train\.tensor is 0; expected at least 1"):
        machine_of(Config(train=TrainConfig(parallel="jit", tensor=0)))
    with pytest.raises(InputError, match=r"is 3, which 1 device.* not a multiple"):
        machine_of(Config(train=TrainConfig(parallel="jit", fsdp=3)), jax.devices()[:1])
