"""What the protocol promises, of every model."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import attn
from attn.models import (
    DecoderConfig,
    EncoderConfig,
    LSTMNConfig,
    LuongConfig,
    RecurrentLMConfig,
    RecurrentReaderConfig,
    RNNSearchConfig,
    Seq2SeqConfig,
    TransformerConfig,
    count_parameters,
    fit,
)
from attn.models.one_sequence import OneSequence
from attn.models.protocol import Seq2Seq
from attn.models.reader import NEVER, Reader
from attn.nn import Noise
from tests.marks import param

CONFIGS = [
    Seq2SeqConfig(width=8, layers=2),
    Seq2SeqConfig(width=8, context="every_step"),
    RNNSearchConfig(width=8),
    RNNSearchConfig(width=8, readout_state="current"),
    LuongConfig(width=8, layers=2, score="dot"),
    LuongConfig(width=8, score="general"),
    LuongConfig(width=8, score="concat", input_feeding=False),
    LuongConfig(width=8, layers=2, score="location"),
    LuongConfig(width=8, score="general", local="monotonic", window=1),
    LuongConfig(width=8, layers=2, score="concat", local="predictive", window=2),
    LuongConfig(width=8, score="dot", local="predictive", window=1, input_feeding=False),
    LSTMNConfig(width=8, layers=2),
    LSTMNConfig(width=8, tape=2),
    LSTMNConfig(width=8, layers=2, fusion="deep"),
    RecurrentLMConfig(width=8, cell="rnn", layers=2),
    RecurrentLMConfig(width=8, cell="gru", shared=True, tied=True),
    RecurrentLMConfig(width=8, cell="lstmn", tape=3, remat=True),
    RecurrentReaderConfig(width=8, cell="lstm", layers=2, bidirectional=True),
    RecurrentReaderConfig(width=8, cell="lstmn", head="tokens"),
    RecurrentReaderConfig(width=8, cell="gru", head="span", remat=True),
    TransformerConfig(width=8, heads=2, norm="post", tied="none"),
    TransformerConfig(width=8, layers=1, heads=2, positions="learned"),
    TransformerConfig(
        width=16, layers=1, heads=4, kv_heads=2, positions="rope", qk_norm=True, sinks=True
    ),
    TransformerConfig(
        width=8,
        heads=2,
        positions="t5",
        normalization="rms",
        softcap=5.0,
        window=2,
        activation="swiglu",
        head_width=6,
        bias=False,
    ),
    DecoderConfig(width=8, heads=2, prefix=True, positions="learned", tied=False),
    DecoderConfig(width=8, layers=1, heads=4, kv_heads=1, positions="rope", shared=False, window=3),
    DecoderConfig(width=8, heads=2, positions="alibi", activation="gelu", sinks=True),
    EncoderConfig(width=8, heads=2, norm="post", pool="first", embedding_norm=True),
    EncoderConfig(width=16, layers=1, heads=2, head="tokens", positions="rope", qk_norm=True),
    EncoderConfig(width=8, heads=2, head="span", positions="t5"),
    EncoderConfig(width=8, heads=2, head="masked", positions="alibi"),
    TransformerConfig(width=8, layers=1, heads=2, score="additive", initialization="lecun"),
    RecurrentReaderConfig(width=8, cell="gru", pool="last"),
    RecurrentReaderConfig(width=8, cell="rnn", bidirectional=True, pool="attention"),
]
SOURCE = jnp.array([[5, 4, 6, 7, 2, 0], [3, 8, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
TARGET = jnp.array([[1, 4, 5, 6], [1, 3, 7, 2], [0, 0, 0, 0]])
SECOND = {1, 3, 4, 6, 7, 8, 10, 11, 12, 14, 16, 18, 19, 20, 21, 23, 24, 26, 27, 28, 30, 31, 32, 33}
"""Those whose like is among the others: they wait for `make test-slow`."""
every_model = pytest.mark.parametrize(
    "config",
    [
        param(config, quick=n not in SECOND, id=f"{config.name}{n}")
        for n, config in enumerate(CONFIGS)
    ],
)

MAPPED = LSTMNConfig, TransformerConfig, DecoderConfig, EncoderConfig


@cache
def build(config):
    return config.build(9, 9, nnx.Rngs(0))


def compiled(model, function):
    """`function(model, *args)` as one program: one by one, its operations take long to compile."""
    graphdef, params = nnx.split(model)
    program = jax.jit(lambda params, *args: function(nnx.merge(graphdef, params, copy=True), *args))
    return partial(program, params)


def logits(model, source, target, noise=None):
    return model.decode(model.encode(source, noise), target, noise)


@cache
def program(config):
    return compiled(build(config), logits)


@every_model
def test_stepping_gives_what_decoding_gives(config):
    model = build(config)
    assert isinstance(model, Seq2Seq)

    def walk(model):
        state = model.start(model.encode(SOURCE), TARGET.shape[1])
        steps = []
        for t in range(TARGET.shape[1]):
            state, found = model.step(state, TARGET[:, t])
            steps.append(found)
        return state, jnp.stack(steps, axis=1)

    state, steps = compiled(model, walk)()
    assert steps.dtype == jnp.float32
    np.testing.assert_allclose(steps, program(config)(SOURCE, TARGET), atol=1e-5)
    for leaf in jax.tree.leaves(state):
        assert leaf.shape[0] == 3, "every leaf of a state has the batch as its first axis"


@every_model
def test_padding_changes_nothing(config):
    """Neither further columns nor a row that is filler."""
    loose = jnp.pad(SOURCE[:2], ((0, 0), (0, 4)))
    want, got = program(config)(SOURCE, TARGET), program(config)(loose, TARGET[:2])
    np.testing.assert_allclose(got, want[:2], atol=1e-5)


@every_model
def test_gradients_are_finite_reach_everything_and_ignore_filler_rows(config):
    model = nnx.clone(build(config))
    if isinstance(config, RNNSearchConfig):  # v = 0 blocks the gradient of what it multiplies
        model.attention.v[...] = jnp.ones_like(model.attention.v[...])
    graphdef, params = nnx.split(model)

    def loss(params, source, target):
        model = nnx.merge(graphdef, params, copy=True)
        log_p = jax.nn.log_softmax(logits(model, source, target[:, :-1]))
        real = target[:, 1:] > 0
        nll = -jnp.take_along_axis(log_p, target[:, 1:, None], -1)[..., 0]
        return jnp.where(real, nll, 0).sum()

    slope = jax.jit(jax.grad(loss))
    gradient = slope(params, SOURCE, TARGET)
    # Of each row beside two of filler: if a filler row gave anything, it would be here four times.
    apart = [slope(params, *(jnp.zeros_like(x).at[0].set(x[row]) for x in (SOURCE, TARGET)))
             for row in (0, 1)]  # fmt: skip
    for (path, g), *parts in zip(
        jax.tree.leaves_with_path(gradient), *map(jax.tree.leaves, apart), strict=True
    ):
        assert np.isfinite(g).all(), jax.tree_util.keystr(path)
        assert np.any(g) or "key/bias" in jax.tree_util.keystr(path, simple=True, separator="/")
        np.testing.assert_allclose(g, sum(parts), rtol=1e-4, atol=1e-5)


@every_model
def test_weights_are_distributions_over_the_source(config):
    model = build(config)
    run = compiled(model, lambda model: model.weights(model.encode(SOURCE), TARGET))
    if not model.attends:
        with pytest.raises(attn.Unsupported, match=r"no (attention|decoder)"):
            run()
        return
    weights = np.asarray(run())
    assert weights.ndim == 5
    totals = weights[:2].sum(-1)
    if isinstance(model, OneSequence):  # the rest goes to the target itself, with a window all
        assert (totals > 0).any()
        assert (totals < 1).all()
    elif getattr(config, "local", None) == "predictive":  # a Gaussian's weights sum to less
        assert (totals > 0).all()
        assert (totals < 1).all()
    else:
        np.testing.assert_allclose(totals, 1, atol=1e-5)
    assert not weights[0, ..., 5:].any()
    assert not weights[2].any(), "a row with nothing to look at has no weights"


@pytest.mark.parametrize(
    "config",
    [
        param(config, quick=n not in SECOND, id=f"{config.name}{n}")
        for n, config in enumerate(CONFIGS)
        if isinstance(config, MAPPED) or getattr(config, "cell", None) == "lstmn"
    ],
)
def test_maps_share_out_one_at_every_real_position(config):
    """The first that an LSTMN reads recalls nothing; a sink's share, and that of the state from
    which shallow fusion starts, is not in the map."""
    maps = compiled(build(config), lambda model: model.maps(SOURCE, TARGET))()
    sizes = {"encoder": ((5, 5), (3, 3)), "decoder": ((4, 4), (4, 4)), "cross": ((4, 5), (4, 3)),
             "sequence": ((9, 9), (7, 7))}  # fmt: skip
    recalls = isinstance(config, LSTMNConfig) or getattr(config, "cell", None) == "lstmn"
    for kind, found in maps.items():
        shallow = getattr(config, "fusion", None) == "shallow" and kind == "decoder"
        less = shallow or (getattr(config, "sinks", False) and kind != "cross")
        for row, (rows, columns) in enumerate(sizes[kind]):
            real = np.asarray(found[row, :, :, :rows])
            assert np.all(real[..., columns:] == 0)
            if recalls and kind != "cross":
                assert np.all(real[..., 0, :] == 0)
                real = real[..., 1:, :]
            totals = real.sum(-1)
            assert np.all(totals > 0)
            assert np.all(totals < 1 + 1e-5)
            assert np.any(totals < 0.95) if less else np.allclose(totals, 1)


@every_model
def test_bfloat16_computes_in_bfloat16_with_float32_parameters(config):
    half = build(replace(config, dtype="bfloat16"))
    for leaf in jax.tree.leaves(nnx.state(half)):
        assert leaf.dtype == jnp.float32
    want, got = program(config)(SOURCE, TARGET), compiled(half, logits)(SOURCE, TARGET)
    assert got.dtype == jnp.float32
    if not isinstance(half, OneSequence | Reader):  # these remember token ids, or logits
        memory = jax.eval_shape(compiled(half, lambda model: model.encode(SOURCE)))
        assert jax.tree.leaves(memory)[0].dtype == jnp.bfloat16
    assert 0 < np.abs(got - want)[:2].max() < 0.1


@every_model
def test_dropout_happens_with_noise_and_by_example(config):
    dropping = compiled(build(replace(config, dropout=0.5)), logits)

    def run(rows):
        noise = Noise(jax.random.key(0), jnp.array([3, 7, 9], jnp.int32)[rows])
        return dropping(SOURCE[rows], TARGET[rows], noise)

    rows = jnp.array([0, 1, 2])
    noisy, plain = run(rows), program(config)(SOURCE, TARGET)
    learned = plain > NEVER  # a reader is sure of some logits, with noise or without
    learned = learned.at[2].set(False)
    assert np.abs(noisy - plain)[learned].max() > 0.1 * np.abs(plain)[learned].max()
    np.testing.assert_allclose(run(rows[::-1])[::-1], noisy, atol=1e-6)


@every_model
def test_sizing_meets_the_budget(config):
    one = getattr(config, "shared", False) or getattr(config, "head", "") == "masked"
    vocabularies = (40, 40) if one else (30, 40)
    sized = fit(config, 2_000_000, *vocabularies)
    count = count_parameters(sized, *vocabularies)
    assert abs(count - 2_000_000) <= 100_000
    leaves = jax.tree.leaves(nnx.state(sized.build(*vocabularies, nnx.Rngs(0))))
    assert sum(leaf.size for leaf in leaves) == count


def test_sizing_says_when_no_width_fits():
    with pytest.raises(ValueError, match=r"within 5% of 10;"):
        fit(TransformerConfig(), 10, 30, 40)


def test_what_cannot_be_built_or_read_is_refused():
    with pytest.raises(ValueError, match="sizes 9 and 10"):
        TransformerConfig(width=8, tied="all").build(9, 10, nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_heads: got 3; expected a divisor of 8"):
        TransformerConfig(width=8, heads=3).build(9, 9, nnx.Rngs(0))
    with pytest.raises(ValueError, match="sizes 9 and 10"):
        DecoderConfig(width=8, shared=True).build(9, 10, nnx.Rngs(0))
    with pytest.raises(ValueError, match="sizes 9 and 10"):
        EncoderConfig(width=8, head="masked").build(9, 10, nnx.Rngs(0))
    with pytest.raises(ValueError, match="max_source=4"):
        build(LuongConfig(width=8, score="location", max_source=4)).encode(SOURCE)
    with pytest.raises(ValueError, match="max_length"):
        build(TransformerConfig(width=8, positions="learned", max_length=4)).encode(SOURCE)
