"""The models that a comparison can name, before they are sized to its budget, and their tasks."""

from dataclasses import replace
from typing import Any

from attn.models import (
    DecoderConfig,
    EncoderConfig,
    LSTMNConfig,
    LuongConfig,
    ModelConfig,
    RecurrentLMConfig,
    RecurrentReaderConfig,
    RNNSearchConfig,
    Seq2SeqConfig,
    TransformerConfig,
)
from experiments.config import TaskConfig
from experiments.errors import InputError, expect_known
from experiments.tasks.family import Kind
from experiments.tasks.registry import family_of

MODELS: dict[str, ModelConfig] = {
    "seq2seq": Seq2SeqConfig(),
    "seq2seq-every-step": Seq2SeqConfig(context="every_step"),
    "rnnsearch": RNNSearchConfig(),
    "luong-dot": LuongConfig(score="dot"),
    "luong-general": LuongConfig(score="general"),
    "luong-concat": LuongConfig(score="concat"),
    "luong-location": LuongConfig(score="location"),
    "luong-local-m": LuongConfig(local="monotonic"),
    "luong-local-p": LuongConfig(local="predictive"),
    "lstmn": LSTMNConfig(),
    "lstmn-deep": LSTMNConfig(fusion="deep"),
    "rnn-lm": RecurrentLMConfig(cell="rnn"),
    "lstm-lm": RecurrentLMConfig(cell="lstm"),
    "gru-lm": RecurrentLMConfig(cell="gru"),
    "lstmn-lm": RecurrentLMConfig(cell="lstmn"),
    "lstm-reader": RecurrentReaderConfig(cell="lstm"),
    "bilstm-reader": RecurrentReaderConfig(cell="lstm", bidirectional=True),
    "lstmn-reader": RecurrentReaderConfig(cell="lstmn"),
    "transformer": TransformerConfig(),
    "decoder": DecoderConfig(),
    "prefix-lm": DecoderConfig(prefix=True),
    "gpt": DecoderConfig(positions="learned", activation="gelu_tanh", scale_embedding=False),
    "llama": DecoderConfig(
        positions="rope",
        normalization="rms",
        activation="swiglu",
        feed_forward=8 / 3,
        bias=False,
        scale_embedding=False,
    ),
    "encoder": EncoderConfig(),
    "encoder-rope": EncoderConfig(positions="rope"),
    "bert": EncoderConfig(
        norm="post",
        positions="learned",
        activation="gelu",
        embedding_norm=True,
        scale_embedding=False,
    ),
}

CONTESTS: dict[Kind, tuple[str, ...]] = {
    "sequence": ("seq2seq", "rnnsearch", "luong-dot", "luong-general", "transformer"),
    "text": ("lstm-lm", "lstmn-lm", "gpt", "llama"),
    "class": ("lstm-reader", "bilstm-reader", "lstmn-reader", "encoder"),
    "tokens": ("lstm-reader", "bilstm-reader", "encoder"),
    "span": ("bilstm-reader", "encoder", "encoder-rope"),
}
"""What is compared where nothing else is asked for."""

_READERS = EncoderConfig, RecurrentReaderConfig
_LANGUAGE_MODELS = DecoderConfig, RecurrentLMConfig


def fits(name: str, task: TaskConfig) -> bool:
    """Whether a model can do a task: readers answer, language models write text that follows
    nothing, and all but readers write what is made of a source."""
    model, family = MODELS[name], family_of(task.name)
    if family.kind == "text":
        return isinstance(model, _LANGUAGE_MODELS)
    if isinstance(model, _READERS):
        return family.kind != "sequence"
    return not family.holes


def model_for(name: str, task: TaskConfig) -> ModelConfig:
    """A model by its name, with the head that a task asks for.

    Raises:
        InputError: no such model, or one that cannot do the task; those that can are named.
    """
    expect_known("model", name, MODELS)
    if not fits(name, task):
        able = ", ".join(other for other in MODELS if fits(other, task))
        raise InputError(f"models: {name} cannot do {task.name}; expected one of {able}")
    model, family = MODELS[name], family_of(task.name)
    if isinstance(model, EncoderConfig) and family.holes:
        return replace(model, head="masked")
    if isinstance(model, _READERS):
        head: Any = family.kind
        return replace(model, head=head)
    return model
