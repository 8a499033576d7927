from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.kernels import partition
from tests.attn.kernels.base import BackendTests


@pytest.fixture(scope="class")
def small_blocks() -> Iterator[None]:
    """Blocks of a few pairs, so that small calls have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "BUDGET", 1)
        patch.setattr(partition, "LEAST", 2)
        yield


@pytest.mark.usefixtures("small_blocks")
class TestXla(BackendTests):
    backend = "xla"


def operands(batch=1, length=64, heads=1, width=8):
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (batch, length, heads, width)) for key in keys]


def with_gradients(**pieces):
    def run(query, key, value):
        attend = jax.jit(lambda *arrays: attn.attention(*arrays, backend="xla", **pieces))
        output, pull = jax.vjp(attend, query, key, value)
        return output, pull(output)

    return run


PIECES = {
    "plain": {},
    "causal": {"mask": attn.Causal()},
    "lengths": {"mask": attn.Lengths(key=np.array([4000]))},
    "segments": {"mask": attn.Segments(*[np.arange(4096)[None] // 512] * 2)},
    "dropout": {"weighting": attn.Dropout(0.1, jax.random.key(1))},
    "bias": {"mods": (attn.ALiBi(np.ones(1, np.float32)), attn.SoftCap(5.0))},
    "additive": {"score": attn.Additive(np.ones((1, 16), np.float32))},
    "general": {"score": attn.General(np.ones((1, 16, 16), np.float32)), "mask": attn.Causal()},
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_memory_holds_no_score_of_every_pair(pieces):
    shape = jax.ShapeDtypeStruct((1, 4096, 1, 16), jnp.float32)
    program = jax.jit(with_gradients(**pieces)).lower(*[shape] * 3).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4096 * 4096 * 4


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("mask", "blocks"),
    [
        (None, 64),
        (attn.Causal(), 36),
        (attn.Window(2, 0), 15),
        (attn.Lengths(key=np.array([5])), 24),
        (attn.Segments(*[np.arange(16)[None] // 8] * 2), 32),
    ],
)
def test_empty_blocks_are_skipped(mask, blocks):
    """8 × 8 blocks of 2 × 2 pairs: only those that hold an allowed pair are computed."""
    seen = []

    def note(s, b, n, i, j, params):
        jax.debug.callback(lambda *at: seen.append(at), i[0, 0], j[0, 0])
        return s

    call = jax.jit(
        lambda *arrays: attn.attention(
            *arrays, mods=(attn.Mod(note),), mask=mask, backend="xla", return_lse=True
        )
    )
    jax.block_until_ready(call(*operands(length=16)))
    jax.effects_barrier()
    assert len(seen) == blocks


def test_precision_reaches_the_backward_pass():
    pieces = {"precision": "highest", "mask": attn.Causal()}
    arrays = operands(length=2048)
    text = str(jax.make_jaxpr(with_gradients(**pieces))(*arrays))
    products = text.count("dot_general[")
    assert products >= 5
    assert text.count("Precision.HIGHEST, Precision.HIGHEST") == products


def test_batches_and_long_calls_at_full_block_size():
    query, key, value = operands(batch=3, length=1500, heads=2)
    pieces = {"mask": attn.Causal() & attn.Lengths(key=np.array([1500, 700, 3]))}
    got = jax.jit(with_gradients(**pieces))(query, key, value)

    def plain(*arrays):
        return attn.attention(*arrays, backend="reference", **pieces)

    output, pull = jax.vjp(jax.jit(plain), query, key, value)
    for ours, theirs in zip(jax.tree.leaves(got), [output, *pull(output)], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
