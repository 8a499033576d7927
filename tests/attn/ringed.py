"""`python -m tests.attn.ringed {some,all}`, with 8 devices: fails if a ring changes the op."""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import attn
from attn.ring import ring_attention

WHOLE, CUT = PartitionSpec(), PartitionSpec(None, "ring")
ROWS, HEADS, KEY_HEADS, WIDTH, VALUES = 2, 4, 2, 5, 3


def pieces(score, mods, mask, random, length):
    """Of these names; every array a ring can hold a part of, or all of."""
    draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)  # noqa: E731
    segments = jnp.asarray(np.sort(random.integers(0, 3, (ROWS, length)), axis=1), jnp.int32)
    center = jnp.asarray(random.uniform(0, length, (ROWS, HEADS, length)), jnp.float32)
    scores = {
        "dot": attn.Dot(),
        "additive": attn.Additive(draw(HEADS, WIDTH)),
        "general": attn.General(draw(HEADS, WIDTH, WIDTH)),
    }
    known_mods = {
        "softcap": attn.SoftCap(2.0),
        "alibi": attn.ALiBi(jnp.abs(draw(HEADS))),
        "t5": attn.RelativeBias(draw(8, HEADS), max_distance=32),
    }
    masks = {
        "causal": attn.Causal(),
        "window": attn.Causal() & attn.Window(left=5),
        "prefix": attn.Prefix(jnp.array([3, length])),
        "segments": attn.Segments(segments, segments),
        # A row that sees nothing, and one whose last keys are padding.
        "lengths": attn.Lengths(key=jnp.array([0, length - 3])),
        "local": attn.Local(center, 4),
        "none": None,
    }
    return scores[score], tuple(known_mods[name] for name in mods), masks[mask]


CASES = [
    ("dot", (), "causal"),
    ("additive", ("softcap", "alibi"), "lengths"),
    ("dot", ("t5",), "prefix"),
    ("general", (), "segments"),
    ("dot", ("alibi",), "window"),
    ("additive", (), "local"),
]


def specs(tree, length):
    """Arrays that run along the sequence are cut along their last axis."""

    def of(x):
        along = x.ndim > 0 and x.shape[-1] == length and x.ndim > 1
        return PartitionSpec(*[None] * (x.ndim - 1), "ring") if along else WHOLE

    return jax.tree.map(of, tree)


def with_gradients(attend):
    def loss(operands, described):
        output, lse = attend(*operands, described)
        weights = jnp.cos(jnp.arange(output.size)).reshape(output.shape)
        finite = jnp.where(jnp.isfinite(lse), lse, 0.0)
        return jnp.sum(output * weights) + jnp.sum(jnp.sin(finite)), (output, lse)

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True, allow_int=True))


def check(case, devices, balanced, dtype):
    """The ring's error is at most twice that of plain `jnp` in the same dtype, plus a few ulp."""
    random = np.random.default_rng(0)
    length = 6 * devices
    described = pieces(*case, random, length)
    operands = [
        random.normal(size=(ROWS, length, heads, width))
        for heads, width in ((HEADS, WIDTH), (KEY_HEADS, WIDTH), (KEY_HEADS, VALUES))
    ]
    if case[2] == "lengths":
        operands[2][1, length - 2 :] = np.nan  # padding may hold anything

    def ring(query, key, value, described):
        score, mods, mask = described
        kinds = {"score": score, "mods": mods, "mask": mask, "return_lse": True}
        return ring_attention(
            query, key, value, axis_name="ring", balanced=balanced, backend="xla", **kinds
        )

    def plain(query, key, value, described):
        score, mods, mask = described
        kinds = {"score": score, "mods": mods, "mask": mask, "return_lse": True}
        return attn.attention(query, key, value, backend="reference", **kinds)

    mesh = Mesh(np.array(jax.devices()[:devices]), ("ring",))
    cut = jax.shard_map(
        ring,
        mesh=mesh,
        in_specs=(CUT, CUT, CUT, specs(described, length)),
        out_specs=CUT,
    )
    narrow = [jnp.asarray(x, dtype) for x in operands]
    got = with_gradients(cut)(narrow, described)
    yardstick = with_gradients(plain)(narrow, described)
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x,
            (narrow, described),
        )
        wanted = with_gradients(plain)(*wide)
    for ours, theirs, true in zip(*map(jax.tree.leaves, (got, yardstick, wanted)), strict=True):
        if ours.dtype == jax.dtypes.float0:
            continue
        ours, theirs, true = (np.asarray(x, np.float64) for x in (ours, theirs, true))
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(true))
        seen = np.isfinite(true)
        ours, theirs, true = ours[seen], theirs[seen], true[seen]
        allowed = 2 * np.abs(theirs - true).max(initial=0.0)
        allowed += 8 * np.abs(true).max(initial=1.0) * float(jnp.finfo(dtype).eps)
        assert np.abs(ours - true).max(initial=0.0) <= allowed, (case, devices, balanced)


def main(extent: str) -> None:
    check(CASES[0], 8, balanced=True, dtype="float32")
    check(CASES[1], 3, balanced=False, dtype="bfloat16")
    check_refusals()
    if extent == "all":
        for number, (case, dtype) in enumerate(itertools.product(CASES, ("float32", "bfloat16"))):
            # Odd rings and a ring of one among them.
            check(case, (1, 3, 4, 8)[number % 4], balanced=number % 2 == 0, dtype=dtype)


def check_refusals() -> None:
    part = jnp.ones((1, 3, 1, 2))
    mesh = Mesh(np.array(jax.devices()[:2]), ("ring",))

    def refused(message, **kinds):
        def attend(x):
            return ring_attention(x, x, x, axis_name="ring", **kinds)

        whole = jnp.concatenate([part, part], axis=1)
        with pytest.raises(ValueError, match=message):
            jax.shard_map(attend, mesh=mesh, in_specs=CUT, out_specs=CUT)(whole)

    refused("part of 3 tokens; expected an even number", balanced=True)
    refused(r"Bias.array: got shape \(1, 1, 3, 3\)", mods=(attn.Bias(jnp.ones((1, 1, 3, 3))),))


if __name__ == "__main__":
    main(sys.argv[1])
