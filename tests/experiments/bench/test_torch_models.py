"""PyTorch's counterparts: the same sizes and, with the same parameters, the same logits."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import (
    BOS,
    EOS,
    PAD,
    LuongConfig,
    Seq2SeqConfig,
    TransformerConfig,
    count_parameters,
    fit,
)
from experiments.configs import MODELS

torch = pytest.importorskip("torch")

from experiments.bench.torch_models import counterpart  # noqa: E402
from experiments.bench.train import COMPARED  # noqa: E402

VOCABULARIES = 30, 43


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    source, target_in = np.full((4, 7), PAD), np.full((4, 6), PAD)
    for row, (length, words) in enumerate([(6, 5), (3, 2), (1, 4), (0, 0)]):
        source[row, :length] = random.integers(4, VOCABULARIES[0], length)
        source[row, length] = EOS
        target_in[row, 0] = BOS
        target_in[row, 1 : words + 1] = random.integers(4, VOCABULARIES[1], words)
    return source, target_in


def attn_logits(model, source: np.ndarray, target_in: np.ndarray) -> np.ndarray:
    forward = jax.jit(lambda source, target_in: model.decode(model.encode(source), target_in))
    return np.asarray(forward(source.astype(np.int32), target_in.astype(np.int32)))


def torch_logits(model, source: np.ndarray, target_in: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.train()(torch.from_numpy(source), torch.from_numpy(target_in)).numpy()


def put(parameter, value) -> None:
    with torch.no_grad():
        assert parameter.shape == value.shape
        parameter.copy_(torch.tensor(np.asarray(value)))


def put_linear(linear, ours: nnx.Linear) -> None:
    put(linear.weight, ours.kernel[...].T)
    if linear.bias is not None:
        put(linear.bias, ours.bias[...])


def put_lstm(theirs, ours, suffix: str = "_l0", extra=()) -> None:
    put(getattr(theirs, f"weight_ih{suffix}"), jnp.concatenate([ours.input.kernel, *extra]).T)
    put(getattr(theirs, f"weight_hh{suffix}"), ours.recurrent[...].T)
    put(getattr(theirs, f"bias_ih{suffix}"), ours.input.bias[...])
    put(getattr(theirs, f"bias_hh{suffix}"), jnp.zeros_like(ours.input.bias))


def put_recurrent(theirs, ours) -> None:
    put(theirs.source_embed.weight, ours.encoder.embed.embedding[...])
    put(theirs.target_embed.weight, ours.decoder.embed.embedding[...])
    put_linear(theirs.readout, ours.readout)
    for depth, layer in enumerate(ours.encoder.layers):
        put_lstm(theirs.encoder, layer, f"_l{depth}")


def put_attention(theirs, ours) -> None:
    parts, width = (ours.query, ours.key, ours.value), ours.out.kernel.shape[-1]
    heads_in = [part.kernel[...].reshape(width, -1).T for part in parts]
    put(theirs.in_proj_weight, jnp.concatenate(heads_in))
    put(theirs.in_proj_bias, jnp.concatenate([part.bias[...].reshape(-1) for part in parts]))
    put(theirs.out_proj.weight, ours.out.kernel[...].reshape(-1, width).T)
    put(theirs.out_proj.bias, ours.out.bias[...])


def put_layer(theirs, ours) -> None:
    put_linear(theirs.linear1, ours.feed_forward.inner)
    put_linear(theirs.linear2, ours.feed_forward.outer)
    for place, residual in enumerate(ours.residuals, start=1):
        put_norm(getattr(theirs, f"norm{place}"), residual.norm)


def put_norm(theirs, ours) -> None:
    put(theirs.weight, ours.scale[...])
    put(theirs.bias, ours.bias[...])


@pytest.mark.parametrize("name", COMPARED)
def test_same_size(name):
    vocabularies = (43, 43) if name == "gpt" else VOCABULARIES
    config = fit(MODELS[name], 500_000, *vocabularies)
    theirs = sum(p.numel() for p in counterpart(config, *vocabularies).parameters())
    assert abs(theirs / count_parameters(config, *vocabularies) - 1) < 0.05


def test_seq2seq_gives_the_same_logits():
    config = Seq2SeqConfig(width=6, layers=2, init_scale=0.8)
    ours, theirs = config.build(*VOCABULARIES, nnx.Rngs(0)), counterpart(config, *VOCABULARIES)
    put_recurrent(theirs, ours)
    for depth, layer in enumerate(ours.decoder.layers):
        put_lstm(theirs.decoder, layer, f"_l{depth}")
    np.testing.assert_allclose(
        torch_logits(theirs, *batch()), attn_logits(ours, *batch()), atol=2e-5
    )


@pytest.mark.parametrize("score", ["dot", "general"])
def test_luong_gives_the_same_logits(score):
    config = LuongConfig(score=score, width=6, layers=2, init_scale=0.8)
    ours, theirs = config.build(*VOCABULARIES, nnx.Rngs(0)), counterpart(config, *VOCABULARIES)
    put_recurrent(theirs, ours)
    for depth, layer in enumerate(ours.decoder.layers):
        put_lstm(theirs.decoder[depth], layer, "", () if depth else (ours.feed[...],))
    put_linear(theirs.combine, ours.combine)
    if score == "general":
        put_linear(theirs.key, ours.attention.key)
    np.testing.assert_allclose(
        torch_logits(theirs, *batch()), attn_logits(ours, *batch()), atol=2e-5
    )


def test_transformer_gives_the_same_logits():
    config = TransformerConfig(width=8, layers=2, heads=2, dropout=0.0)
    ours, theirs = config.build(*VOCABULARIES, nnx.Rngs(0)), counterpart(config, *VOCABULARIES)
    put(theirs.source_embed.weight, ours.source_embed.table[...])
    put(theirs.target_embed.weight, ours.target_embed.table[...])
    for layer, mine in zip(theirs.layers.encoder.layers, ours.encoder, strict=True):
        put_layer(layer, mine)
        put_attention(layer.self_attn, mine.attention)
    for layer, mine in zip(theirs.layers.decoder.layers, ours.decoder, strict=True):
        put_layer(layer, mine)
        put_attention(layer.self_attn, mine.attention)
        put_attention(layer.multihead_attn, mine.cross)
    put_norm(theirs.layers.encoder.norm, ours.encoder_norm)
    put_norm(theirs.layers.decoder.norm, ours.decoder_norm)
    np.testing.assert_allclose(
        torch_logits(theirs, *batch()), attn_logits(ours, *batch()), atol=2e-5
    )


def test_gpt_gives_the_same_logits():
    config = replace(MODELS["gpt"], width=8, heads=2, dropout=0.0, max_length=16)
    ours, theirs = config.build(9, 9, nnx.Rngs(0)), counterpart(config, 9, 9)
    put(theirs.embed.weight, ours.embed.table[...])
    put(theirs.positions.weight, ours.embed.positions[...])
    put_norm(theirs.norm, ours.norm)
    for layer, mine in zip(theirs.layers, ours.blocks, strict=True):
        put_norm(layer.attention_norm, mine.residuals[0].norm)
        put_norm(layer.feed_norm, mine.residuals[1].norm)
        put_attention(Joint(layer), mine.attention)
        put_linear(layer.inner, mine.feed_forward.inner)
        put_linear(layer.outer, mine.feed_forward.outer)
    source, target = np.full((3, 1), 2, np.int32), np.arange(12, dtype=np.int32).reshape(3, 4) % 9
    np.testing.assert_allclose(
        torch_logits(theirs, source, target), attn_logits(ours, source, target), atol=2e-5
    )
    with pytest.raises(ValueError, match="source: got padding"):
        torch_logits(theirs, *batch())
    with pytest.raises(ValueError, match="expected one for both"):
        counterpart(config, 9, 10)


class Joint:
    """A layer of `torch_gpt` by the names of PyTorch's own attention."""

    def __init__(self, layer):
        self.in_proj_weight, self.in_proj_bias = layer.joint.weight, layer.joint.bias
        self.out_proj = layer.out


def test_only_the_transformer_drops_what_leaves_a_sublayer():
    config = TransformerConfig(width=8, layers=1, heads=2, dropout=0.5)
    layer = counterpart(config, *VOCABULARIES).layers.decoder.layers[0]
    assert (layer.dropout.p, layer.self_attn.dropout, layer.multihead_attn.dropout) == (0, 0, 0)
    assert layer.dropout1.p == layer.dropout2.p == layer.dropout3.p == 0.5


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (replace(MODELS["seq2seq"], context="every_step"), "every_step.*'initial'"),
        (replace(MODELS["luong-dot"], score="concat"), "concat.*'dot' or 'general'"),
        (replace(MODELS["transformer"], norm="post"), "norm is 'post'"),
        (replace(MODELS["rnnsearch"], dtype="bfloat16"), "dtype is 'bfloat16'"),
    ],
)
def test_other_architectures_are_refused(config, said):
    with pytest.raises(ValueError, match=said):
        counterpart(config, *VOCABULARIES)
