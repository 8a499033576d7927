from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.decode import Cache, attend, merge
from tests.attn.kernels.interpreted import interpreted
from tests.marks import param

BACKENDS = ("reference", "xla", "pallas_gpu", "pallas_tpu")
B, S, N, K, D, E = 2, 11, 4, 2, 8, 6


def tokens(seed=0, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = (B, S, N, D), (B, S, K, D), (B, S, K, E)
    return [jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True)]


def decoded(cache, parts, **options):
    """Outputs of all tokens, appended in parts."""
    query, key, value = tokens()
    outputs, start = [], 0

    @jax.jit
    def step(cache, query, key, value):
        cache = cache.append(key, value)
        return cache, attend(query, cache, **options)

    for part in parts:
        at = slice(start, start + part)
        cache, output = step(cache, query[:, at], key[:, at], value[:, at])
        outputs.append(output)
        start += part
    return jnp.concatenate(outputs, axis=1)


OPTIONS = {
    "plain": {},
    "softcap": {"mods": (attn.SoftCap(2.0),)},
    "alibi": {"mods": (attn.ALiBi(jnp.array([0.1, 0.2, 0.3, 0.4])),)},
    "relative": {"mods": (attn.RelativeBias(jnp.linspace(-1, 1, 32).reshape(8, 4)),)},
    "lengths": {"mask": attn.Lengths(key=jnp.array([4, 9]))},
    "dropout": {"weighting": attn.Dropout(0.4, jax.random.key(5))},
    "additive": {"score": attn.Additive(jnp.ones((4, 8)))},
}


COMPILED = ("reference", "xla")
"""The others are interpreted, which takes long."""


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        param(name, backend, quick=backend in COMPILED or name in ("plain", "lengths"))
        for name, backend in product(OPTIONS, BACKENDS)
    ],
)
def test_steps_are_the_whole(name, backend):
    """A prompt and then a token at a time give what causal attention gives to all at once."""
    options = OPTIONS[name]
    causal = {**options, "mask": attn.masks.joined([attn.Causal(), options.get("mask")])}
    wanted = attn.attention(*tokens(), **causal, backend="reference")
    cache = Cache.create(B, S + 2, K, D, E)
    with interpreted(backend):
        got = decoded(cache, (5, *[1] * (S - 5)), **options, backend=backend)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("capacity", "backend"),
    [
        param(capacity, backend, quick=backend in COMPILED)
        for capacity, backend in product((3, 5), BACKENDS)
    ],
)
def test_a_ring_is_a_window(capacity, backend):
    mask = attn.Window(2, 0)
    mods = (attn.ALiBi(jnp.array([0.1, 0.2, 0.3, 0.4])),)
    wanted = attn.attention(*tokens(), mods=mods, mask=mask, backend="reference")
    parts = (1,) * S if capacity == 3 else (3, 3, 3, 2)
    cache = Cache.create(B, capacity, K, D, E, window=3)
    with interpreted(backend):
        got = decoded(cache, parts, mods=mods, backend=backend)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_rows_of_different_lengths():
    """Padding of a prompt is neither kept nor seen, whatever it holds."""
    query, key, value = tokens()
    count = np.array([5, 2])
    there = (np.arange(5) < count[:, None])[..., None, None]
    cache = Cache.create(B, 7, K, D, E).append(
        jnp.where(there, key[:, :5], jnp.nan), jnp.where(there, value[:, :5], jnp.nan), count
    )
    np.testing.assert_array_equal(cache.length, count)
    cache = cache.append(key[:, 5:6], value[:, 5:6])
    got = attend(query[:, 5:6], cache)
    for b, length in enumerate(count):
        kept = [*range(length), 5]
        alone = attn.attention(query[b, 5:6], key[b, kept], value[b, kept])
        np.testing.assert_allclose(got[b], alone, rtol=1e-5, atol=1e-6)


def test_prompt_positions_can_be_given():
    query, key, value = tokens()
    cache = Cache.create(B, S, K, D, E).append(key, value)
    wanted = attn.attention(query, key, value, mask=attn.Causal())
    got = attend(query[:, 3:5], cache, positions=jnp.array([[3, 4]] * B))
    np.testing.assert_allclose(got, wanted[:, 3:5], rtol=1e-5, atol=1e-6)


def test_a_row_beyond_the_capacity_is_an_error_or_nan():
    query, key, value = tokens()
    cache = Cache.create(B, 4, K, D, E)
    with pytest.raises(ValueError, match="5 tokens in a row; the cache has room for 4"):
        cache.append(key[:, :5], value[:, :5])

    @jax.jit
    def run(count):
        full = cache.append(key[:, :5], value[:, :5], count)
        return attend(query[:, :1], full, return_lse=True)

    output, lse = run(jnp.array([4, 5]))
    assert np.all(np.isfinite(output[0]))
    assert np.all(np.isnan(output[1]))
    assert np.all(np.isnan(lse[1]))


def test_keys_are_read_once_for_a_group():
    """Query heads that share a key head become queries, where no piece tells them apart."""
    query, key, value = tokens()
    cache = Cache.create(B, S, K, D, E).append(key, value)
    text = str(jax.make_jaxpr(lambda q: attend(q, cache, backend="reference"))(query[:, :1]))
    assert "f32[2,2,2,11]" in text.replace(" ", "")  # batch, key heads, group, slots


def test_merged_parts_are_the_whole():
    query, key, value = tokens()
    mask = attn.Lengths(query=jnp.array([11, 3]))

    def part(keys, mask):
        return attn.attention(query, key[:, keys], value[:, keys], mask=mask, return_lse=True)

    whole = attn.attention(query, key, value, mask=mask, return_lse=True)
    parts = [part(slice(0, 4), mask), part(slice(4, 5), mask), part(slice(5, 11), mask)]
    merged = merge(*(jnp.stack(each) for each in zip(*parts, strict=True)))
    for got, wanted in zip(merged, whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert np.all(
        np.isfinite(jax.grad(lambda q: merge(q, parts[0][1][None])[0].sum())(parts[0][0][None]))
    )


BAD = [
    ("batch: got 0", lambda: Cache.create(0, 4, 1, 8)),
    (
        "capacity: got 2; expected at least the window, 3",
        lambda: Cache.create(1, 2, 1, 8, window=3),
    ),
    ("window: got 0", lambda: Cache.create(1, 2, 1, 8, window=0)),
    (
        r"key: got float32 \(2, 1, 2, 7\); expected float32 \[2, tokens, 2, 8\]",
        lambda: Cache.create(2, 4, 2, 8).append(jnp.ones((2, 1, 2, 7)), jnp.ones((2, 1, 2, 8))),
    ),
    (
        "value: got bfloat16",
        lambda: Cache.create(2, 4, 2, 8).append(
            jnp.ones((2, 1, 2, 8)), jnp.ones((2, 1, 2, 8), jnp.bfloat16)
        ),
    ),
    (
        "value: got 2 tokens; expected 1",
        lambda: Cache.create(2, 4, 2, 8).append(jnp.ones((2, 1, 2, 8)), jnp.ones((2, 2, 2, 8))),
    ),
    (
        "key: got 3 tokens at once; a window of 3 in a capacity of 4 takes 2",
        lambda: Cache.create(2, 4, 2, 8, window=3).append(*[jnp.ones((2, 3, 2, 8))] * 2),
    ),
]


@pytest.mark.parametrize(("message", "call"), BAD, ids=[b[0] for b in BAD])
def test_bad_input_is_named(message, call, unchecked):
    with pytest.raises(ValueError, match=message):
        call()
