"""Flax NNX layers. Arithmetic of attention is `attn.attention`'s alone."""

from attn.nn.attention import AdditiveAttention, Annotations, LuongAttention
from attn.nn.attention_fn import attention_fn
from attn.nn.noise import Noise
from attn.nn.recurrent import GRU, LSTM, recur
from attn.nn.transformer import (
    Cache,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    Residual,
)

__all__ = [
    "GRU",
    "LSTM",
    "AdditiveAttention",
    "Annotations",
    "Cache",
    "DecoderLayer",
    "EncoderLayer",
    "FeedForward",
    "LuongAttention",
    "MultiHeadAttention",
    "Noise",
    "Residual",
    "attention_fn",
    "recur",
]
