"""The models of `attn.models` as one writes them with PyTorch's own layers, to measure against.

Same architecture, same sizes, same dropout. Recurrent layers are PyTorch's whole-sequence ones
wherever no step waits for attention; where one does, a Python loop over PyTorch's cells, with all
that can be done for all steps at once before or after it.
"""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attn.models import (
    PAD,
    DecoderConfig,
    LuongConfig,
    ModelConfig,
    RNNSearchConfig,
    Seq2SeqConfig,
    TransformerConfig,
)
from experiments.bench.torch_gpt import GPT
from experiments.configs import MODELS

_SIZES = ("width", "layers", "heads", "feed_forward", "dropout", "max_length")
"""What a Transformer of PyTorch's can be given."""


def counterpart(config: ModelConfig, source_vocabulary: int, target_vocabulary: int) -> nn.Module:
    """The same model in PyTorch: a module from (source [B, S], target_in [B, T]) to [B, T, V].

    Raises:
        ValueError: the configuration has a switch in a place that is not written here.
    """
    sizes = source_vocabulary, target_vocabulary
    if isinstance(config, Seq2SeqConfig):
        _expect(config, context="initial", reverse=True)
        return Seq2Seq(config, *sizes)
    if isinstance(config, RNNSearchConfig):
        _expect(config, readout_state="previous")
        return RNNSearch(config, *sizes)
    if isinstance(config, LuongConfig):
        _expect(config, input_feeding=True, reverse=True, local=None)
        return Luong(config, *sizes)
    if isinstance(config, TransformerConfig):
        _expect(config, **_settings("transformer"))
        return Transformer(config, *sizes)
    if isinstance(config, DecoderConfig):
        _expect(config, **_settings("gpt"))
        if source_vocabulary != target_vocabulary:
            raise ValueError(f"decoder: got vocabularies of {sizes}; expected one for both")
        return GPT(config, target_vocabulary)
    raise ValueError(f"model: got {config.name}; PyTorch's counterpart is not written")


def _settings(model: str) -> dict[str, Any]:
    """All of a model's settings but its sizes."""
    return {k: v for k, v in asdict(MODELS[model]).items() if k not in _SIZES}


def _expect(config: Any, **settings: Any) -> None:
    for name, expected in {"dtype": "float32", **settings}.items():
        if getattr(config, name) != expected:
            raise ValueError(
                f"{config.name}: {name} is {getattr(config, name)!r}; "
                f"PyTorch's counterpart expects {expected!r}"
            )


def reversed_source(source: Tensor) -> Tensor:
    """[B, S] with the tokens before `EOS` backwards; `EOS` and padding keep their places."""
    position = torch.arange(source.shape[1])
    last = (source != PAD).sum(1, keepdim=True) - 2
    return source.gather(1, torch.where(position <= last, last - position, position))


def read(layers: nn.LSTM | nn.GRU, vectors: Tensor, source: Tensor) -> tuple[Tensor, Any]:
    """Runs layers over padded vectors [S, B, m]: outputs [S, B, …] and each layer's last state."""
    lengths = (source != PAD).sum(1)
    packed = pack_padded_sequence(vectors, lengths, enforce_sorted=False)
    states, last = layers(packed)
    return pad_packed_sequence(states, total_length=source.shape[1])[0], last


def seen(source: Tensor) -> Tensor:
    """[B, S]: what to add to scores, −inf where a source has padding."""
    return torch.zeros(source.shape).masked_fill(source == PAD, -torch.inf)


class Seq2Seq(nn.Module):
    """Sutskever et al. 2014: two `nn.LSTM`."""

    def __init__(self, config: Seq2SeqConfig, source_vocabulary: int, target_vocabulary: int):
        super().__init__()
        n, inner = config.width, config.dropout if config.layers > 1 else 0.0
        self.source_embed = nn.Embedding(source_vocabulary, n)
        self.target_embed = nn.Embedding(target_vocabulary, n)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.LSTM(n, n, config.layers, dropout=inner)
        self.decoder = nn.LSTM(n, n, config.layers, dropout=inner)
        self.readout = nn.Linear(n, target_vocabulary)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        source = reversed_source(source)
        _, last = read(self.encoder, self.dropout(self.source_embed(source.T)), source)
        states, _ = self.decoder(self.dropout(self.target_embed(target_in.T)), last)
        return self.readout(self.dropout(states).transpose(0, 1))


class RNNSearch(nn.Module):
    """Bahdanau et al. 2014, but that PyTorch's gated unit resets after its recurrent product."""

    def __init__(self, config: RNNSearchConfig, source_vocabulary: int, target_vocabulary: int):
        super().__init__()
        n, m = config.width, config.embedding or config.width
        alignment, maxout = config.alignment or n, config.maxout or max(n // 2, 1)
        self.source_embed = nn.Embedding(source_vocabulary, m)
        self.target_embed = nn.Embedding(target_vocabulary, m)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.GRU(m, n, bidirectional=True)
        self.first = nn.Linear(n, n)
        self.query = nn.Linear(n, alignment, bias=False)
        self.key = nn.Linear(2 * n, alignment, bias=False)
        self.score = nn.Linear(alignment, 1, bias=False)
        self.cell = nn.GRUCell(m + 2 * n, n)
        self.readout = nn.Linear(n + m + 2 * n, 2 * maxout)
        self.output = nn.Linear(maxout, target_vocabulary)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        vectors = self.dropout(self.source_embed(source.T))
        states, last = read(self.encoder, vectors, source)
        annotations = states.transpose(0, 1).contiguous()
        keys, unseen = self.key(annotations), seen(source)

        words = self.dropout(self.target_embed(target_in.T))
        state, read_out = torch.tanh(self.first(last[1])), []
        for word in words.unbind(0):
            energies = self.score(torch.tanh(self.query(state)[:, None] + keys)).squeeze(-1)
            weights = torch.softmax(energies + unseen, dim=-1)
            context = torch.bmm(weights[:, None], annotations).squeeze(1)
            inputs = torch.cat([word, context], dim=-1)
            read_out.append(torch.cat([state, inputs], dim=-1))
            state = self.cell(inputs, state)
        units = self.readout(torch.stack(read_out, dim=1))
        return self.output(self.dropout(torch.maximum(*units.chunk(2, dim=-1))))


class Luong(nn.Module):
    """Luong et al. 2015: dot or general attention, its output fed to the next step."""

    def __init__(self, config: LuongConfig, source_vocabulary: int, target_vocabulary: int):
        super().__init__()
        n, inner = config.width, config.dropout if config.layers > 1 else 0.0
        if config.score not in ("dot", "general"):
            raise ValueError(f"luong: got score {config.score!r}; expected 'dot' or 'general'")
        self.source_embed = nn.Embedding(source_vocabulary, n)
        self.target_embed = nn.Embedding(target_vocabulary, n)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.LSTM(n, n, config.layers, dropout=inner)
        self.decoder = nn.ModuleList(
            nn.LSTMCell(n if depth else 2 * n, n) for depth in range(config.layers)
        )
        self.key = nn.Identity() if config.score == "dot" else nn.Linear(n, n, bias=False)
        self.combine = nn.Linear(2 * n, n, bias=False)
        self.readout = nn.Linear(n, target_vocabulary)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        source = reversed_source(source)
        vectors = self.dropout(self.source_embed(source.T))
        states, last = read(self.encoder, vectors, source)
        annotations = states.transpose(0, 1).contiguous()
        keys, unseen = self.key(annotations).transpose(1, 2), seen(source)[:, None]

        layers = list(zip(*last, strict=True))  # (hidden, cell) of each
        words = self.dropout(self.target_embed(target_in.T))
        fed, read_out = torch.zeros_like(layers[-1][0]), []
        for word in words.unbind(0):
            below = torch.cat([word, fed], dim=-1)
            for depth, cell in enumerate(self.decoder):
                layers[depth] = cell(self.dropout(below) if depth else below, layers[depth])
                below = layers[depth][0]
            weights = torch.softmax(torch.bmm(below[:, None], keys) + unseen, dim=-1)
            context = torch.bmm(weights, annotations).squeeze(1)
            fed = torch.tanh(self.combine(torch.cat([context, below], dim=-1)))
            read_out.append(fed)
        return self.readout(self.dropout(torch.stack(read_out, dim=1)))


class Transformer(nn.Module):
    """Vaswani et al. 2017, normalised before each sub-layer: the layers behind `nn.Transformer`."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, source_vocabulary: int, target_vocabulary: int):
        super().__init__()
        width, heads = config.width, config.heads
        hidden = round(config.feed_forward * width)
        self.width = width
        self.source_embed = nn.Embedding(source_vocabulary, width)
        self.target_embed = nn.Embedding(target_vocabulary, width)
        for embed in (self.source_embed, self.target_embed):
            nn.init.normal_(embed.weight, std=width**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("positions", _sinusoidal(config.max_length, width))
        options: dict[str, Any] = {
            "dim_feedforward": hidden,
            "dropout": config.dropout,
            "batch_first": True,
            "norm_first": True,
            "layer_norm_eps": 1e-6,
        }
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, heads, **options),
            config.layers,
            nn.LayerNorm(width, eps=1e-6),
            enable_nested_tensor=False,
        )
        self.layers = nn.Transformer(
            width, heads, 0, config.layers, custom_encoder=encoder, **options
        )
        # attn drops what leaves a sub-layer alone: neither attention's weights nor ReLU's output.
        for layer in (*self.layers.encoder.layers, *self.layers.decoder.layers):
            layer.dropout.p = 0.0
            layer.self_attn.dropout = 0.0
        for layer in self.layers.decoder.layers:
            layer.multihead_attn.dropout = 0.0

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        padding = source == PAD
        causal = nn.Transformer.generate_square_subsequent_mask(target_in.shape[1])
        states = self.layers(
            self._embed(self.source_embed, source),
            self._embed(self.target_embed, target_in),
            tgt_mask=causal,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return functional.linear(states, self.target_embed.weight)

    def _embed(self, embed: nn.Embedding, tokens: Tensor) -> Tensor:
        vectors = embed(tokens) * self.width**0.5
        return self.dropout(vectors + self.positions[: tokens.shape[1]])


def _sinusoidal(length: int, width: int) -> Tensor:
    rates = torch.exp(-torch.arange(0, width, 2) * (torch.log(torch.tensor(1e4)) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
