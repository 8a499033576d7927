import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.kernels import reference
from attn.kernels.call import Call
from attn.kernels.hoisting import aligned, hoisted
from attn.masks import Mask
from attn.pieces import checked, leaf, piece

B, T, S, N = 2, 5, 7, 4
RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def tilt(s, b, n, i, j, params):
    slope = jnp.sum(params["table"][b] * params["mix"]) * params["heads"][n]
    return s + jax.jit(jnp.sin)(slope) * jnp.where(i > j, 1.0, params["other"]) + b


@piece
class Every(Mask):
    """Keys that a table names, by head."""

    steps: jax.Array = leaf("many head", "integer")

    def tile(self, b, n, i, j):
        return (j % self.steps[0]) <= self.steps[1]


def call_of(**pieces):
    query, key = normal(B, T, N, 3), normal(B, S, 2, 3)
    call = Call(query, key, key, attn.Dot(1.0), (), None, None)
    return dataclasses.replace(
        call, **{name: checked(name, held, call.sizes) for name, held in pieces.items()}
    )


PIECES = {
    "user": {
        "mods": (
            attn.Mod(
                tilt,
                {"table": normal(B, 3), "mix": normal(3), "heads": normal(N), "other": normal()},
            ),
        )
    },
    "relative": {"mods": (attn.RelativeBias(normal(8, N), max_distance=6),)},
    "dropout": {"weighting": attn.Dropout(0.4, jax.random.key(3))},
    "dropout by example": {"weighting": attn.Dropout(0.4, jax.random.key(3), np.array([7, 1]))},
    "mask": {"mask": Every(np.array([[2, 3, 4, 5], [0, 1, 2, 3]])) & attn.Causal(3)},
}


@pytest.mark.parametrize("name", PIECES)
def test_what_is_left_is_the_same_piece(name):
    """Values, and gradients of all arrays, which go through what is computed before."""
    call = call_of(**PIECES[name])

    def taken_apart(call):
        parts = {
            field: hoisted(getattr(call, field), call.sizes, call.sums)
            for field in ("mods", "mask", "weighting")
        }
        assert all(aligned(x) for x in (*parts["mods"], parts["weighting"]) if x is not None)
        return dataclasses.replace(call, **parts)

    def loss(call):
        return jnp.sum(jnp.sin(reference.forward(call)[0]))

    differentiate = jax.jit(jax.value_and_grad(loss, allow_int=True))
    wanted = differentiate(call)
    got = jax.jit(jax.value_and_grad(lambda call: loss(taken_apart(call)), allow_int=True))(call)
    for ours, theirs in zip(*map(jax.tree.leaves, (got, wanted)), strict=True):
        if ours.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_rest_serves_blocks_of_any_size():
    call = call_of(**PIECES["user"])
    (mod,), (rest,) = call.mods, hoisted(call.mods, call.sizes, call.sums)
    place = jnp.int32(1), jnp.int32(2)
    here = dataclasses.replace(
        rest, numbers=tuple(dataclasses.replace(x, array=x.array[1, 2]) for x in rest.numbers)
    )
    for rows, columns in ((1, 4), (3, 2)):
        at = jnp.arange(rows)[:, None], jnp.arange(columns)[None, :]
        s = normal(rows, columns)
        np.testing.assert_allclose(
            here.tile(s, *place, *at), mod.tile(s, *place, *at), rtol=1e-5, atol=1e-6
        )


def test_what_a_kernel_could_not_look_up_is_named():
    by_distance = attn.Mod(lambda s, b, n, i, j, table: s + table[j - i + T], normal(T + S))
    call = call_of(mods=(by_distance,))
    with pytest.raises(attn.Unsupported, match=r"Mod looks up an array of shape \(12,\)"):
        hoisted(call.mods, call.sizes, call.sums)
