"""The models that a comparison can name, before they are sized to its budget."""

from attn.models import (
    LuongConfig,
    ModelConfig,
    RNNSearchConfig,
    Seq2SeqConfig,
    TransformerConfig,
)

MODELS: dict[str, ModelConfig] = {
    "seq2seq": Seq2SeqConfig(),
    "seq2seq-every-step": Seq2SeqConfig(context="every_step"),
    "rnnsearch": RNNSearchConfig(),
    "luong-dot": LuongConfig(score="dot"),
    "luong-general": LuongConfig(score="general"),
    "luong-concat": LuongConfig(score="concat"),
    "luong-location": LuongConfig(score="location"),
    "transformer": TransformerConfig(),
}
