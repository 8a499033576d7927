"""What a user can do with pieces: write new ones, carry them through jit and grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.masks import Mask
from attn.pieces import leaf, piece, static
from attn.scores import Score
from attn.typing import ArrayLike


@piece
class Distance(Score):
    """s = −|q − k|² / width."""

    width: ArrayLike = leaf("head", "floating")

    def tile(self, query, key, b, n, i, j):
        return -jnp.sum((query[:, None] - key) ** 2, axis=-1) / self.width


@piece
class Strided(Mask):
    """Every so many keys."""

    stride: int = static()

    def tile(self, b, n, i, j):
        return (i - j) % self.stride == 0


def test_a_score_and_a_mask_of_ones_own():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 4, 3, 5)), jnp.float32) for _ in "qkv")

    def plain(width):
        s = -((q[:, :, None] - k[:, None]) ** 2).sum(-1) / width
        s = jnp.where((jnp.arange(4)[:, None] - jnp.arange(4))[None, ..., None] % 2 == 0, s, -1e30)
        return jnp.einsum("btsn,bsne->btne", jax.nn.softmax(s, axis=2), v)

    def ours(width):
        return attn.attention(q, k, v, score=Distance(width), mask=Strided(2))

    width = jnp.asarray([0.5, 1.0, 2.0])
    got, wanted = (
        jax.jit(jax.value_and_grad(lambda w, f=f: jnp.sum(f(w) ** 2)))(width) for f in (ours, plain)
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4), got, wanted)


def test_pieces_are_pytrees_with_static_parts():
    mask = attn.Causal(2) & attn.Lengths(key=jnp.ones(3, jnp.int32))
    leaves, structure = jax.tree.flatten(mask)
    assert len(leaves) == 1
    assert jax.tree.unflatten(structure, ["anything"]).right.key == "anything"
    traced = []

    @jax.jit
    def run(x, mask):
        traced.append(mask)
        return attn.attention(x, x, x, mask=mask)

    x = jnp.ones((3, 4, 1, 2))
    run(x, mask)
    run(x, attn.Causal(2) & attn.Lengths(key=jnp.zeros(3, jnp.int32)))
    assert len(traced) == 1
    run(x, attn.Causal(1) & attn.Lengths(key=jnp.ones(3, jnp.int32)))
    assert len(traced) == 2


def test_a_missing_axis_and_size_one_are_the_same_for_all():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), jnp.float32)
    v = jnp.arange(5.0)
    wanted = attn.attention(x, x, x, score=attn.Additive(jnp.tile(v, (4, 1))))
    for shape in ((5,), (1, 5)):
        got = attn.attention(x, x, x, score=attn.Additive(v.reshape(shape)))
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_pieces_are_frozen():
    with pytest.raises(AttributeError):
        attn.Causal().offset = 3
