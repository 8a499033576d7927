"""Flax NNX layers. Arithmetic of attention is `attn.attention`'s alone."""

from attn.nn.attention import AdditiveAttention, Annotations, LuongAttention
from attn.nn.attention_fn import attention_fn
from attn.nn.cells import GRU, LSTM, RNN, Bidirectional
from attn.nn.embedding import Embedding, PositionBias
from attn.nn.intra import LSTMN, DeepLSTMN
from attn.nn.multi_head import MultiHeadAttention
from attn.nn.noise import Noise
from attn.nn.recurrent import recur
from attn.nn.stack import Stack
from attn.nn.transformer import Block, FeedForward, LayerConfig, Residual, Source

__all__ = [
    "GRU",
    "LSTM",
    "LSTMN",
    "RNN",
    "AdditiveAttention",
    "Annotations",
    "Bidirectional",
    "Block",
    "DeepLSTMN",
    "Embedding",
    "FeedForward",
    "LayerConfig",
    "LuongAttention",
    "MultiHeadAttention",
    "Noise",
    "PositionBias",
    "Residual",
    "Source",
    "Stack",
    "attention_fn",
    "recur",
]
