"""Flax NNX models; all sequence-to-sequence models answer `attn.models.protocol.Seq2Seq`."""

from attn.models.decoder import Decoder, DecoderConfig
from attn.models.encoder import Encoder, EncoderConfig
from attn.models.lstmn import LSTMNConfig, LSTMNSeq2Seq
from attn.models.luong import Luong, LuongConfig
from attn.models.protocol import BOS, EOS, PAD, State
from attn.models.recurrent import (
    RecurrentLM,
    RecurrentLMConfig,
    RecurrentReader,
    RecurrentReaderConfig,
)
from attn.models.rnnsearch import RNNSearch, RNNSearchConfig
from attn.models.seq2seq import Seq2Seq, Seq2SeqConfig
from attn.models.sizing import ModelConfig, count_parameters, fit
from attn.models.transformer import Transformer, TransformerConfig

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "Decoder",
    "DecoderConfig",
    "Encoder",
    "EncoderConfig",
    "LSTMNConfig",
    "LSTMNSeq2Seq",
    "Luong",
    "LuongConfig",
    "ModelConfig",
    "RNNSearch",
    "RNNSearchConfig",
    "RecurrentLM",
    "RecurrentLMConfig",
    "RecurrentReader",
    "RecurrentReaderConfig",
    "Seq2Seq",
    "Seq2SeqConfig",
    "State",
    "Transformer",
    "TransformerConfig",
    "count_parameters",
    "fit",
]
