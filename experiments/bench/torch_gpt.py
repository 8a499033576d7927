"""The decoder-only Transformer as one writes it in PyTorch: one projection for queries, keys and
values, `F.scaled_dot_product_attention`, the layers of nanoGPT (Karpathy 2022) and GPT-2."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from attn.models import PAD, DecoderConfig


class Layer(nn.Module):
    """Self-attention and feed-forward, each normalised before and added."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        width, hidden = config.width, round(config.feed_forward * config.width)
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.joint = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, xs: Tensor) -> Tensor:
        rows, length, width = xs.shape
        joint = self.joint(self.attention_norm(xs)).view(rows, length, 3, self.heads, -1)
        query, key, value = joint.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out = self.out(seen.transpose(1, 2).reshape(rows, length, width))
        xs = xs + self.dropout(out)
        hidden = functional.gelu(self.inner(self.feed_norm(xs)), approximate="tanh")
        return xs + self.dropout(self.outer(hidden))


class GPT(nn.Module):
    """A language model; sources are the same length in every row, as empty ones are."""

    def __init__(self, config: DecoderConfig, vocabulary: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, config.width)
        self.positions = nn.Embedding(config.max_length, config.width)
        for table in (self.embed, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """[B, T, V]: logits of the token after each of the target's.

        Raises:
            ValueError: a source has padding, behind which a target cannot just be put.
        """
        if (source == PAD).any():
            raise ValueError("source: got padding; expected rows of one length")
        tokens = torch.cat([source, target_in], dim=1)
        places = torch.arange(tokens.shape[1])
        xs = self.dropout(self.embed(tokens) + self.positions(places))
        for layer in self.layers:
            xs = layer(xs)
        states = self.norm(xs[:, source.shape[1] :])
        return functional.linear(states, self.embed.weight)
