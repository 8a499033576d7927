"""The multi-head layer: Flax's own as a special case, its variants as one another's, its cache."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.masks import Causal, Lengths, Prefix, Window
from attn.mods import ALiBi, Bias, RelativeBias, alibi_slopes
from attn.nn import MultiHeadAttention, Noise
from attn.positions import Rope
from tests.marks import param

B, T, S, H = 2, 7, 5, 16


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def jittered(layer, seed=1, scale=0.3):
    """Biases, sinks and norms start at constants that hide mistakes: move every parameter."""
    leaves, structure = jax.tree.flatten(nnx.state(layer, nnx.Param))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    moved = [x + scale * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    nnx.update(layer, jax.tree.unflatten(structure, moved))
    return layer


def build(*args, **kinds):
    return jittered(MultiHeadAttention(*args, rngs=nnx.Rngs(0), **kinds))


def compiled(layer, method=MultiHeadAttention.__call__):
    graphdef, params = nnx.split(layer)

    def run(params, *args, **pieces):
        return method(nnx.merge(graphdef, params, copy=True), *args, **pieces)

    return partial(jax.jit(run), params)


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"qkv_features": 24, "out_features": 10, "in_kv_features": 6, "use_bias": False},
        {"num_kv_heads": 2, "normalize_qk": True},
    ],
    ids=["plain", "widths", "grouped"],
)
def test_weights_of_flax_give_the_output_of_flax(kinds):
    theirs = jittered(nnx.MultiHeadAttention(4, H, decode=False, rngs=nnx.Rngs(3), **kinds))
    ours = build(4, H, **kinds)
    nnx.update(ours, nnx.state(theirs, nnx.Param))
    memory = normal(1, B, S, kinds.get("in_kv_features", H))
    allowed = jnp.arange(S) < jnp.array([5, 3])[:, None]
    mask = jnp.broadcast_to(allowed[:, None, None], (B, 1, T, S))
    want = theirs(normal(0, B, T, H), memory, mask=mask, deterministic=True)
    for ours_mask in (mask, Lengths(key=jnp.array([5, 3]))):
        got = ours(normal(0, B, T, H), memory, mask=ours_mask)
        np.testing.assert_allclose(got, want, atol=2e-5)


def test_multi_query_is_grouped_with_one_head_is_multi_head_with_tied_heads():
    xs, mask = normal(0, B, T, H), Causal()
    whole, single, pairs = build(4, H), build(4, H, num_kv_heads=1), build(4, H, num_kv_heads=2)
    for part in ("key", "value"):
        one = getattr(single, part)
        for layer, copies in ((pairs, 2), (whole, 4)):
            mine = getattr(layer, part)
            mine.kernel[...] = jnp.repeat(one.kernel[...], copies, axis=1)
            mine.bias[...] = jnp.repeat(one.bias[...], copies, axis=0)
    for layer in (pairs, whole):
        for part in ("query", "out"):
            nnx.update(getattr(layer, part), nnx.state(getattr(single, part)))
    want = whole(xs, mask=mask)
    for layer in (single, pairs):
        np.testing.assert_allclose(layer(xs, mask=mask), want, atol=2e-5)


def test_value_heads_can_have_a_width_of_their_own():
    layer = build(4, H, value_features=24, num_kv_heads=2)
    assert layer.value.kernel.shape == (H, 2, 6)
    assert layer.out.kernel.shape == (4, 6, H)
    assert layer(normal(0, B, T, H)).shape == (B, T, H)


@pytest.mark.parametrize(
    "rope",
    [
        Rope(),
        Rope(fraction=0.5, halves=True),
        Rope(scaling="ntk", factor=4.0),
        Rope(scaling="yarn", factor=4.0, trained_length=64, halves=True),
    ],
    ids=lambda rope: f"{rope.scaling}-{rope.fraction}",
)
def test_rope_scores_depend_on_the_distance_alone(rope):
    layer, xs = build(2, H, rope=rope), normal(0, 1, T, H)
    look = compiled(layer, partial(MultiHeadAttention.__call__, return_weights=True))
    near = look(xs, positions=jnp.arange(T)[None])[1]
    far = look(xs, positions=jnp.arange(T)[None] + 91)[1]
    turned = look(xs, positions=3 * jnp.arange(T)[None])[1]
    np.testing.assert_allclose(far, near, atol=2e-5)
    assert np.abs(turned - near).max() > 1e-3


def test_alibi_is_the_dense_bias_of_the_distances():
    layer, xs = build(4, H), normal(0, B, T, H)
    distance = jnp.abs(jnp.arange(T)[:, None] - jnp.arange(T)).astype(jnp.float32)
    dense = -alibi_slopes(4)[:, None, None] * distance
    want = layer(xs, mask=Causal(), mods=(Bias(dense[None]),))
    np.testing.assert_allclose(
        layer(xs, mask=Causal(), mods=(ALiBi(alibi_slopes(4)),)), want, atol=2e-5
    )


def test_an_empty_prefix_is_causal():
    layer, xs = build(4, H), normal(0, B, T, H)
    want = layer(xs, mask=Causal())
    np.testing.assert_allclose(layer(xs, mask=Prefix(jnp.zeros(B, jnp.int32))), want, atol=1e-6)
    assert np.abs(layer(xs, mask=Prefix(jnp.full(B, 3))) - want)[:, :2].max() > 1e-3


def test_a_sink_takes_weight_to_nothing():
    """As an extra key with the sink as its score and zeros as its value."""
    layer, xs = build(2, H, sinks=True), normal(0, B, T, H)
    output, weights = layer(xs, mask=Causal(), return_weights=True)
    query, (key, value) = layer.ask(xs), layer.project(xs)
    scores = jnp.einsum("btnd,bsnd->bnts", query, key) / 8**0.5
    scores = jnp.where(jnp.tril(jnp.ones((T, T), bool)), scores, -jnp.inf)
    sink = jnp.broadcast_to(layer.sinks[...][:, None, None], (B, 2, T, 1))
    want = jax.nn.softmax(jnp.concatenate([scores, sink], axis=-1))[..., :-1]
    np.testing.assert_allclose(weights, want, atol=1e-5)
    np.testing.assert_allclose(
        output, layer.out(jnp.einsum("bnts,bsnd->btnd", want, value)), atol=2e-5
    )


def test_softcap_and_window_reach_the_weights():
    xs = 30 * normal(0, B, T, H)
    _, weights = build(2, H, softcap=0.01)(xs, mask=Causal(), return_weights=True)
    even = jnp.tril(jnp.ones((T, T))) / jnp.arange(1, T + 1)[:, None]
    np.testing.assert_allclose(weights, jnp.broadcast_to(even, weights.shape), atol=0.01)
    _, weights = build(2, H, window=2)(xs / 30, mask=Causal(), return_weights=True)
    assert (np.asarray(weights) > 0).sum() == B * 2 * (2 * T - 1)


def test_scores_are_those_that_were_asked_for():
    xs, found = normal(0, B, T, H), {}
    for score in ("dot", "unscaled", "additive"):
        layer = build(2, H, score=score)
        query, (key, _) = layer.ask(xs), layer.project(xs)
        scores = jnp.einsum("btnd,bsnd->bnts", query, key)
        if score == "dot":
            scores = scores / 8**0.5
        if score == "additive":
            both = jnp.tanh(query[:, :, None] + key[:, None])
            scores = jnp.einsum("btsnd,nd->bnts", both, layer.v[...])
        found[score] = layer(xs, return_weights=True)[1]
        np.testing.assert_allclose(found[score], jax.nn.softmax(scores), atol=1e-5)
    names = [sorted(nnx.to_pure_dict(nnx.state(build(2, H, score=s)))) for s in ("dot", "unscaled")]
    assert names == [["key", "out", "query", "value"]] * 2


def test_additive_scores_start_alike_at_every_width():
    """Of queries and keys of unit variance: their sum's hyperbolic tangent varies by about half."""
    for width in (4, 512):
        v = MultiHeadAttention(4, 4 * width, score="additive", rngs=nnx.Rngs(0)).v[...]
        assert v.shape == (4, width)
        both = np.random.default_rng(0).normal(0, 2**0.5, (2000, 4, width))
        scores = np.einsum("bnd,nd->bn", np.tanh(both), v)
        assert 0.4 < scores.std() < 1.0


def test_dropout_zeroes_whole_weights_by_example():
    layer, xs = build(2, H, dropout_rate=0.5), normal(0, B, T, H)
    noise = Noise(jax.random.key(0), jnp.array([4, 9]))
    _, weights = layer(xs, noise=noise, return_weights=True)
    assert 0.3 < np.mean(np.asarray(weights) == 0) < 0.7
    swapped = Noise(noise.key, noise.index[::-1])
    np.testing.assert_allclose(
        layer(xs[::-1], noise=swapped)[::-1], layer(xs, noise=noise), atol=1e-5
    )
    np.testing.assert_array_equal(layer(xs), build(2, H)(xs))


CACHED = {
    "plain": {},
    "multi-query": {"num_kv_heads": 1},
    "grouped, own value width": {"num_kv_heads": 2, "value_features": 24},
    "normalised": {"normalize_qk": "rms"},
    "rope": {"rope": Rope(fraction=0.5)},
    "rope, halves, yarn": {"rope": Rope(halves=True, scaling="yarn", factor=2.0)},
    "softcap": {"softcap": 2.0},
    "window": {"window": 3},
    "window of one": {"window": 1},
    "sinks": {"sinks": True, "window": 4},
    "no bias": {"use_bias": False},
    "unscaled": {"score": "unscaled"},
    "additive, grouped": {"score": "additive", "num_kv_heads": 2},
}


FIRST = ("grouped, own value width", "rope, halves, yarn", "sinks", "window of one")
"""They stand for the others."""


@pytest.mark.parametrize(
    ("kinds", "bias"),
    [
        *(param(kinds, "none", quick=name in FIRST, id=name) for name, kinds in CACHED.items()),
        param({}, "alibi", quick=True, id="alibi"),
        param({"window": 3}, "t5", quick=True, id="window, t5"),
    ],
)
def test_prefill_and_steps_give_the_full_forward(kinds, bias):
    layer, xs = build(4, H, **kinds), normal(0, B, 12, H)
    mods = {
        "none": (),
        "alibi": (ALiBi(alibi_slopes(4)),),
        "t5": (RelativeBias(normal(7, 8, 4), bidirectional=False, max_distance=8),),
    }[bias]
    lengths = jnp.array([5, 3])

    @jax.jit
    def walk(xs):
        cache = layer.create_cache(B, 12)
        first, cache = layer.prefill(xs[:, :5], cache, mask=Causal(), mods=mods, count=lengths)
        steps = []
        for t in range(5):
            at = lengths + t
            token = jnp.take_along_axis(xs, at[:, None, None], axis=1)
            out, cache = layer.extend(token, cache, mods=mods)
            steps.append(out[:, 0])
        both = jnp.stack([xs[0, 10:12], xs[1, 8:10]])
        last, cache = layer.extend(both, cache, mods=mods)
        return first, jnp.stack(steps, axis=1), last

    want = compiled(layer)(xs, mask=Causal(), mods=mods)
    first, steps, last = walk(xs)
    for row, length in enumerate((5, 3)):
        np.testing.assert_allclose(first[row, :length], want[row, :length], atol=2e-5)
        np.testing.assert_allclose(steps[row], want[row, length : length + 5], atol=2e-5)
        np.testing.assert_allclose(last[row], want[row, length + 5 : length + 7], atol=2e-5)


def test_a_ring_keeps_the_window_alone():
    layer = build(4, H, window=3)
    assert layer.create_cache(B, 5000).capacity == 3 + 63
    assert build(4, H, num_kv_heads=1).create_cache(B, 50).key.shape == (B, 50, 1, 4)


def test_gradients_reach_every_parameter():
    layer = build(4, H, num_kv_heads=2, normalize_qk=True, rope=Rope(), sinks=True, softcap=3.0)
    graphdef, params = nnx.split(layer)

    def loss(params):
        layer = nnx.merge(graphdef, params, copy=True)
        return (layer(normal(0, B, T, H), mask=Causal() & Window(3, 0)) ** 2).sum()

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.any(gradient), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"num_heads": 3}, "num_heads: got 3; expected a divisor of 16"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads: got 3; expected a divisor of 4"),
        ({"num_heads": 4, "value_features": 10}, "num_heads: got 4; expected a divisor of 10"),
        ({"num_heads": 4, "score": "cosine"}, "score: got 'cosine'; expected one of dot, unscaled"),
        ({"num_heads": 4, "window": 0}, "window: got 0; expected at least 1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_is_refused(kinds, said):
    with pytest.raises(ValueError, match=said):
        MultiHeadAttention(in_features=H, rngs=nnx.Rngs(0), **kinds)


def test_positions_mean_nothing_between_two_sequences():
    with pytest.raises(ValueError, match="inputs_k: got another sequence"):
        build(4, H, rope=Rope())(normal(0, B, T, H), normal(1, B, S, H))
