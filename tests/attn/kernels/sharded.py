"""`python -m tests.attn.kernels.sharded BACKEND`, with 8 devices: fails if sharding changes it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

import attn
from attn.kernels import BACKENDS, partition
from tests.attn.kernels.interpreted import interpreted


def main(backend: str) -> None:
    partition.BUDGET = 64  # several blocks a shard, where a backend has blocks
    keys = jax.random.split(jax.random.key(0), 4)
    query = jax.random.normal(keys[0], (4, 20, 4, 8))
    key, value = (jax.random.normal(k, (4, 24, 2, 8)) for k in keys[1:3])
    slopes, lengths = jax.random.uniform(keys[3], (4,)), jnp.array([24, 9, 0, 17])

    def attend(query, key, value, slopes, lengths):
        return attn.attention(
            query,
            key,
            value,
            mods=(attn.ALiBi(slopes),),
            mask=attn.Causal(4) & attn.Lengths(key=lengths),
            backend=backend,
        )

    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("batch", "heads"))
    rows = PartitionSpec("batch", None, "heads")
    sharded = jax.shard_map(
        attend,
        mesh=mesh,
        in_specs=(rows, rows, rows, PartitionSpec("heads"), PartitionSpec("batch")),
        out_specs=rows,
        # JAX's interpreter does not keep track of what differs between devices.
        check_vma=not hasattr(BACKENDS[backend], "interpret"),
    )

    def with_gradients(function):
        def loss(*floats):
            output = function(*floats, lengths)
            return jnp.sum(jnp.sin(output)), output

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))

    floats = query, key, value, slopes
    got, wanted = with_gradients(sharded)(*floats), with_gradients(attend)(*floats)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    with interpreted(sys.argv[1]):
        main(sys.argv[1])
