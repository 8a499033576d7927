"""Under meshes with Explicit axes, where arrays' types say how they are sharded."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import attn

NOWHERE, ROWS, HEADS = PartitionSpec(), PartitionSpec("there"), PartitionSpec(None, None, "there")


def explicit():
    """Of one device: the types are those of many."""
    return Mesh(np.array(jax.devices()[:1]), ("there",), axis_types=(AxisType.Explicit,))


def operands():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (2, 20, 2, 8)) for key in keys]


PIECES = {
    "plain": {},
    "additive": {"score": attn.Additive(np.ones((2, 8), np.float32))},
    "alibi": {"mods": (attn.ALiBi(jnp.ones(2)),), "mask": attn.Causal()},
    "lengths-dropout": {
        "mask": attn.Lengths(key=np.array([20, 3])),
        "weighting": attn.Dropout(0.1, jax.random.key(1)),
    },
}


@pytest.mark.parametrize("backend", ["reference", "xla"])
@pytest.mark.parametrize(
    ("name", "spec", "inside"),
    [("plain", NOWHERE, True), ("plain", ROWS, False), ("plain", HEADS, True)]
    + [(name, ROWS, True) for name in PIECES],
)
def test_explicit_axes_change_nothing(backend, name, spec, inside):
    """Results, gradients; inside `set_mesh`, or where arrays alone know of the mesh."""
    mesh, pieces = explicit(), PIECES[name]

    def loss(*arrays):
        output, lse = attn.attention(*arrays, backend=backend, return_lse=True, **pieces)
        return jnp.sum(jnp.sin(output)) + jnp.sum(lse), (output, lse)

    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    wanted = run(*operands())
    with jax.set_mesh(mesh) if inside else contextlib.nullcontext():
        (got, (output, lse)), gradients = run(
            *jax.device_put(operands(), NamedSharding(mesh, spec))
        )
    everything = jax.tree.leaves(((got, (output, lse)), gradients))
    for ours, theirs in zip(everything, jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    along = (*spec, None, None, None)[:3]
    assert jax.typeof(output).sharding.spec == PartitionSpec(*along, None)
    assert jax.typeof(lse).sharding.spec == PartitionSpec(*along)


def test_weights_and_rank_3():
    mesh = explicit()
    query, key, value = operands()
    weights = attn.attention_weights(query, key)
    output = attn.attention(query[0], key[0], value[0])
    with jax.set_mesh(mesh):
        placed = jax.device_put([query, key, value], NamedSharding(mesh, HEADS))
        got = jax.jit(attn.attention_weights)(*placed[:2])
        assert jax.typeof(got).sharding.spec == PartitionSpec(None, "there", None, None)
        np.testing.assert_allclose(got, weights, rtol=1e-5, atol=1e-6)
        got = jax.jit(attn.attention)(*[x[0] for x in placed])
        assert jax.typeof(got).sharding.spec == PartitionSpec(None, "there", None)
        np.testing.assert_allclose(got, output, rtol=1e-5, atol=1e-6)
