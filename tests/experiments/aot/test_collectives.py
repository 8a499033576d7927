"""Bytes that devices send each other, against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from attn import Causal
from attn.models import DecoderConfig
from attn.ring import ring_attention
from experiments.aot.collectives import _group, collectives, sent_bytes
from experiments.config import Config, TrainConfig
from experiments.faults import processes
from experiments.training.sharded import machine_of
from experiments.training.step import initialise, make_train_step
from tests.experiments.training.toy import rows

DEVICES = 8


def test_each_kind_is_counted_with_its_bytes():
    assert processes.run(each_kind, devices=DEVICES) == {
        ("all-reduce", 8, 1, 2 * 7 * 128 // 8 * 4),
        ("all-gather", 4, 1, 3 * 128 * 4),
        ("reduce-scatter", 8, 1, 7 * 128 // 8 * 4),
        ("all-to-all", 8, 1, 7 * 128 // 8 * 4),
        ("collective-permute", 2, 5, 5 * 128 * 4),
    }


def each_kind():
    mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("a", "b"))
    onward = [(i, (i + 1) % 4) for i in range(4)]
    functions = [
        lambda x: jax.lax.psum(x, ("a", "b")),
        lambda x: jax.lax.all_gather(x, "b"),
        lambda x: jax.lax.psum_scatter(x, ("a", "b")),
        lambda x: jax.lax.all_to_all(x, ("a", "b"), 0, 0),
        # As often as its loop turns.
        lambda x: jax.lax.fori_loop(0, 5, lambda _, y: jax.lax.ppermute(y, "b", onward) * 2, x),
    ]
    found = set()
    for function in functions:
        spread = jax.shard_map(
            lambda x, function=function: function(x).sum(),
            mesh=mesh,
            in_specs=PartitionSpec(),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
        compiled = jax.jit(spread).lower(jnp.ones((8, 16))).compile()
        found |= {(one.kind, one.group, one.count, one.bytes) for one in collectives(compiled)}
    return found


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("", 8),
        (", replica_groups={}, x", 8),
        (", replica_groups={{0,1,2,3},{4,5,6,7}}, x", 4),
        (", replica_groups=[4,2]<=[2,4]T(1,0), x", 2),
        (", replica_groups=mesh['a'=2,'b'=4] {'b'}, x", 4),
        (", replica_groups=mesh['a'=2,'b'=4] {'a','b'}, x", 8),
        (", replica_groups=mesh['a'=2,'b'=4] {'a','b':(2)2}, x", 4),
        (", replica_groups=mesh['a'=2,'b'=1,'c'=4], device_ids=([4,2]T(1,0)) {'a','b'}, x", 2),
    ],
)
def test_groups_are_read_in_every_way_that_they_are_written(groups, size):
    assert _group(f"%x = f32[8] all-gather(%y){groups}", 8) == size


def test_groups_in_another_way_are_refused():
    with pytest.raises(ValueError, match=r"replica_groups: got <0-7>"):
        _group("%x = f32[8] all-gather(%y), replica_groups=<0-7>", 8)


def test_data_parallel_sends_two_gradients_but_for_one_part():
    """2(n−1)/n gradients, and a few scalars."""
    sent, parameters = processes.run(data_parallel, devices=DEVICES)
    assert sent == pytest.approx(2 * 7 / 8 * 4 * parameters, rel=0.05)


def data_parallel():
    config = Config(
        model=DecoderConfig(width=32, layers=1, dropout=0.0),
        train=TrainConfig(batch_size=16, parallel="jit"),
    )

    def build():
        return config.model.build(256, 256, nnx.Rngs(0))

    machine = machine_of(config)
    graphdef, params = nnx.split(nnx.eval_shape(build))
    step = machine.spread(make_train_step(graphdef, config, 3, machine.axis))
    state = machine.begin(lambda: initialise(nnx.split(build())[1], config, 3))
    compiled = step.lower(state, machine.place_batch(rows(16, 0))).compile()
    return sent_bytes(collectives(compiled)), sum(x.size for x in jax.tree.leaves(params))


def test_a_ring_sends_keys_and_values_round_and_takes_no_more_memory_for_it():
    found = processes.run(rings, (4, 8), devices=DEVICES)
    for devices, (forward, both, _) in found.items():
        # Keys and values of 256 tokens, 4 heads of 16 numbers, and the tokens' positions.
        part = 2 * 256 * 4 * 16 * 4
        positions = 256 * 4
        assert forward == (devices - 1) * (part + positions)
        # Backward once more round, and what is added up comes home.
        assert both - forward == (devices - 1) * (part + positions) + devices * part
    memory = [temporaries for *_, temporaries in found.values()]
    assert max(memory) < 1.05 * min(memory)


def rings(sizes):
    found = {}
    for devices in sizes:
        mesh = Mesh(np.array(jax.devices()[:devices]), ("ring",))
        cut = PartitionSpec(None, "ring")

        def attend(query, key, value):
            return ring_attention(query, key, value, axis_name="ring", mask=Causal())

        ring = jax.shard_map(attend, mesh=mesh, in_specs=cut, out_specs=cut)
        x = jnp.ones((1, 256 * devices, 4, 16))
        x = jax.device_put(x, jax.NamedSharding(mesh, cut))
        forward = jax.jit(ring).lower(x, x, x).compile()
        gradient = jax.grad(lambda *args: jnp.sum(ring(*args) ** 2), argnums=(0, 1, 2))  # noqa: B023
        backward = jax.jit(gradient).lower(x, x, x).compile()
        found[devices] = (
            sent_bytes(collectives(forward)),
            sent_bytes(collectives(backward)),
            backward.memory_analysis().temp_size_in_bytes,
        )
    return found
