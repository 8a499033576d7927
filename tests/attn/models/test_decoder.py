"""The decoder-only Transformer: options that are one another's special cases, caches, cost."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import DecoderConfig
from attn.models.source import source_lengths
from tests.marks import param

SOURCE = jnp.array([[5, 4, 6, 7, 2, 0], [3, 8, 2, 0, 0, 0]])
TARGET = jnp.array([[1, 4, 5, 6, 8], [1, 3, 7, 2, 4]])
BASE = DecoderConfig(width=16, heads=4)


def build(config, size=9):
    return config.build(size, size, nnx.Rngs(0))


def run(model, function):
    graphdef, params = nnx.split(model)
    program = jax.jit(lambda params, *args: function(nnx.merge(graphdef, params, copy=True), *args))
    return partial(program, params)


def decode(model, source=SOURCE, target=TARGET):
    return model.decode(model.encode(source), target)


@pytest.mark.parametrize("source", [SOURCE, jnp.array([[2], [0]])], ids=["long", "one and none"])
def test_a_row_is_read_as_one_text(source):
    """With all as it should be behind the padding: the logits are those of the plain sequence."""
    model = build(BASE)
    got = run(model, decode)(source)
    for row, length in enumerate(source_lengths(source).tolist()):
        text = jnp.concatenate([source[row, :length], TARGET[row]])[None]
        want = model(text)[0, length:]
        np.testing.assert_allclose(got[row], want, atol=2e-5)


def test_a_prefix_sees_its_own_end_and_only_then():
    causal, prefix = build(BASE), build(replace(BASE, prefix=True))
    source = SOURCE.at[0, 3].set(8)
    first = run(causal, lambda m, s: m.run(s, source_lengths(s), None)[0, 0])
    np.testing.assert_array_equal(first(source), first(SOURCE))
    first = run(prefix, lambda m, s: m.run(s, source_lengths(s), None)[0, 0])
    assert np.abs(first(source) - first(SOURCE)).max() > 1e-4
    none = jnp.zeros(2, jnp.int32)
    plain = run(prefix, lambda m, s: m.run(s, none, None))(SOURCE)
    np.testing.assert_allclose(plain, run(causal, lambda m, s: m.run(s, None, None))(SOURCE))


def test_no_logits_come_from_targets_behind():
    for config in (BASE, replace(BASE, prefix=True)):
        program = run(build(config), decode)
        changed = program(SOURCE, TARGET.at[:, 3].set(2))
        np.testing.assert_allclose(changed[:, :3], program(SOURCE, TARGET)[:, :3], atol=1e-6)
        assert np.abs(changed[:, 3:] - program(SOURCE, TARGET)[:, 3:]).max() > 1e-4


def test_source_and_target_can_have_vocabularies_of_their_own():
    model = BASE.build(7, 9, nnx.Rngs(0))
    assert (model.joint, model.offset) == (16, 9)
    assert decode(model, SOURCE % 7).shape == (2, 5, 9)
    one = replace(BASE, shared=True)
    assert build(one).joint == 9
    assert build(replace(BASE, shared=False)).joint == 18


OPTIONS = {
    "plain": {},
    "prefix": {"prefix": True, "positions": "t5"},
    "multi-query, rope": {"kv_heads": 1, "positions": "rope", "rope_fraction": 0.5},
    "window, alibi": {"window": 3, "positions": "alibi", "sinks": True},
    "norms": {"qk_norm": True, "normalization": "rms", "norm": "post", "activation": "swiglu"},
    "additive, multi-query": {"score": "additive", "kv_heads": 1},
    "learned": {"positions": "learned", "softcap": 3.0, "tied": False},
}


@pytest.mark.parametrize(
    "kinds",
    [
        param(kinds, quick=name in ("prefix", "multi-query, rope", "window, alibi"), id=name)
        for name, kinds in OPTIONS.items()
    ],
)
def test_prefill_and_extending_give_what_decoding_gives(kinds):
    model = build(replace(BASE, **kinds))

    def walk(model):
        state = model.start(model.encode(SOURCE), TARGET.shape[1])
        state, head = model.extend(state, TARGET[:, :3])
        state, middle = model.step(state, TARGET[:, 3])
        _, tail = model.extend(state, TARGET[:, 4:])
        return jnp.concatenate([head, middle[:, None], tail], axis=1)

    np.testing.assert_allclose(run(model, walk)(), run(model, decode)(), atol=2e-5)


def test_a_long_text_goes_through_a_ring_in_parts():
    model = build(replace(BASE, window=3, positions="rope"))
    text = jax.random.randint(jax.random.key(0), (2, 150), 3, 9)

    def walk(model):
        state = model.start(model.encode(SOURCE), 150)
        assert state.carry[0].capacity < 150
        return model.extend(state, text)[1]

    want = run(model, lambda m: decode(m, SOURCE, text))()
    np.testing.assert_allclose(run(model, walk)(), want, atol=2e-5)


def test_learned_positions_end_where_they_were_learned():
    model = build(replace(BASE, positions="learned", max_length=8))
    with pytest.raises(ValueError, match="longer than the 8 positions"):
        decode(model)
    with pytest.raises(ValueError, match="longer than the 8 positions"):
        model.start(model.encode(SOURCE), 5)


def test_maps_are_of_all_layers_and_heads_and_see_nothing_ahead():
    model = build(BASE)
    maps = run(model, lambda m: m.maps(SOURCE, TARGET))()["sequence"]
    assert maps.shape == (2, 2, 4, 11, 11)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
    assert not np.triu(np.asarray(maps), 1).any()


def test_a_longer_text_does_not_make_all_its_weights():
    """The temporaries of a training step grow as the text does, not as its square."""
    model = build(replace(BASE, layers=1))
    graphdef, params = nnx.split(model)

    def bytes_at(tokens):
        def loss(params, text):
            return nnx.merge(graphdef, params)(text).sum()

        text = jax.ShapeDtypeStruct((1, tokens), jnp.int32)
        compiled = jax.jit(jax.grad(loss)).lower(params, text).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_at(8192) < 6 * bytes_at(2048)
