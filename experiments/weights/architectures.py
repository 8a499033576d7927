"""Hugging Face's `config.json` as a configuration of attn's models, and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from attn.models import DecoderConfig, EncoderConfig
from attn.models.reader import SPECIAL
from experiments.errors import InputError

Config = DecoderConfig | EncoderConfig
Json = Mapping[str, Any]

_GELU = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_HEADS = {
    "BertForMaskedLM": "masked",
    "BertForPreTraining": "masked",
    "BertForSequenceClassification": "class",
    "BertForTokenClassification": "tokens",
    "BertForQuestionAnswering": "span",
}
_LLAMAS = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


@dataclass(frozen=True)
class Architecture:
    """What a `config.json` says, for us."""

    family: str
    """Of names: a key of `experiments.weights.names.ENTRIES`."""
    config: Config
    source_vocabulary: int
    target_vocabulary: int


def read(found: Json) -> Architecture:
    """The architecture that a `config.json` describes.

    Raises:
        InputError: a type of model, or a setting, that attn has no equal for.
    """
    kind = found.get("model_type")
    readers: dict[Any, Callable[[Json], Architecture]] = {
        "gpt2": _read_gpt2,
        "bert": _read_bert,
        **dict.fromkeys(_LLAMAS, _read_llama),
    }
    if kind not in readers:
        known = ", ".join(readers)
        raise InputError(f"config.json: model_type is {kind!r}; expected one of {known}")
    try:
        return readers[kind](found)
    except KeyError as error:
        raise InputError(f"config.json: {error} is missing") from error


def write(config: Config, vocabularies: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    """The family of names and the `config.json` of a model of ours.

    Raises:
        InputError: no architecture of theirs has the model's settings; the nearest one's are named.
    """
    candidates = _candidates(config, vocabularies)
    differing = []
    for candidate in candidates:
        again = read(candidate)
        differences = _differences(again.config, config)
        if not differences:
            return again.family, candidate
        differing.append(f"{candidate['model_type']}: {', '.join(differences)}")
    raise InputError(
        f"the {config.name}'s settings are no architecture of Hugging Face's that attn writes; "
        + "; ".join(differing)
    )


def _differences(theirs: Config, ours: Config) -> list[str]:
    """Fields that change what is computed, and differ."""
    settings = {k: v for k, v in vars(ours).items() if k not in _TRAINING}
    if ours.positions != "rope":
        settings = {k: v for k, v in settings.items() if not k.startswith("rope_")}
        settings.pop("trained_length")
    elif ours.rope_scaling == "none":
        settings = {k: v for k, v in settings.items() if k not in ("rope_factor", "trained_length")}
    if ours.positions != "learned":
        settings.pop("max_length")
    same = {"kv_heads": ours.heads, "head_width": ours.width // ours.heads, "shared": True}
    found = []
    for name, value in settings.items():
        mine = same.get(name) if value is None else value
        other = getattr(theirs, name)
        other = same.get(name) if other is None else other
        if mine != other:
            found.append(f"{name} is {value!r} for {getattr(theirs, name)!r}")
    return found


_TRAINING = frozenset({"dropout", "attention_dropout", "initialization", "dtype", "backend"})
"""Fields that weights know nothing of."""


def _candidates(config: Config, vocabularies: tuple[int, int]) -> list[dict[str, Any]]:
    if isinstance(config, EncoderConfig):
        return [_write_bert(config, vocabularies)]
    if vocabularies[0] != vocabularies[1]:
        raise InputError(
            f"vocabularies: got sizes {vocabularies[0]} and {vocabularies[1]}; expected one for "
            "source and target, as checkpoints of language models have"
        )
    llamas = [_write_llama(config, vocabularies[0], kind) for kind in _LLAMAS]
    return [_write_gpt2(config, vocabularies[0]), *llamas]


def _expect(found: Json, **settings: Any) -> None:
    """Refuses settings that change what is computed."""
    for name, expected in settings.items():
        value = found.get(name, expected)
        if value != expected:
            raise InputError(f"config.json: {name} is {value!r}; expected {expected!r}")


def _gelu(name: str) -> Any:
    if name not in _GELU:
        raise InputError(f"config.json: activation is {name!r}; expected one of {', '.join(_GELU)}")
    return _GELU[name]


def _read_gpt2(found: Json) -> Architecture:
    _expect(
        found,
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
        tie_word_embeddings=True,
    )
    inner = found.get("n_inner") or 4 * found["n_embd"]
    config = DecoderConfig(
        width=found["n_embd"],
        layers=found["n_layer"],
        heads=found["n_head"],
        feed_forward=inner / found["n_embd"],
        activation=_gelu(found["activation_function"]),
        norm_eps=found["layer_norm_epsilon"],
        positions="learned",
        max_length=found["n_positions"],
        scale_embedding=False,
    )
    return Architecture("gpt2", config, found["vocab_size"], found["vocab_size"])


def _write_gpt2(config: DecoderConfig, vocabulary: int) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in reversed(_GELU.items())}
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": vocabulary,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": round(config.feed_forward * config.width),
        "activation_function": names.get(config.activation, "gelu_new"),
        "layer_norm_epsilon": config.norm_eps,
        "n_positions": config.max_length,
    }


def _read_llama(found: Json) -> Architecture:
    _expect(found, hidden_act="silu", attention_bias=False, mlp_bias=False)
    _expect(found, use_sliding_window=False)
    kind, heads = found["model_type"], found["num_attention_heads"]
    config = DecoderConfig(
        width=found["hidden_size"],
        layers=found["num_hidden_layers"],
        heads=heads,
        kv_heads=found.get("num_key_value_heads") or heads,
        head_width=found.get("head_dim") or found["hidden_size"] // heads,
        feed_forward=found["intermediate_size"] / found["hidden_size"],
        activation="swiglu",
        normalization="rms",
        norm_eps=found["rms_norm_eps"],
        positions="rope",
        rope_halves=True,
        **_read_rope(found),
        qk_norm=kind == "qwen3",
        window=found.get("sliding_window") if kind == "mistral" else None,
        bias=False,
        scale_embedding=False,
        tied=found.get("tie_word_embeddings", False),
    )
    return Architecture("llama", config, found["vocab_size"], found["vocab_size"])


def _read_rope(found: Json) -> dict[str, Any]:
    """Settings of rope, as checkpoints wrote them before and after `transformers` 5."""
    rope = dict(found.get("rope_parameters") or found.get("rope_scaling") or {})
    kind = rope.get("rope_type") or rope.get("type") or "default"
    base = rope.get("rope_theta") or found.get("rope_theta", 10000.0)
    if kind == "default":
        return {"rope_base": float(base)}
    if kind not in ("linear", "llama3"):
        raise InputError(f"config.json: rope_type is {kind!r}; expected default, linear or llama3")
    if kind == "llama3":
        _expect(rope, low_freq_factor=1.0, high_freq_factor=4.0)
    length = rope.get("original_max_position_embeddings") or found["max_position_embeddings"]
    return {
        "rope_base": float(base),
        "rope_scaling": kind,
        "rope_factor": float(rope["factor"]),
        "trained_length": length,
    }


def _write_llama(config: DecoderConfig, vocabulary: int, kind: str) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_base}
    if config.rope_scaling != "none":
        rope |= {"rope_type": config.rope_scaling, "factor": config.rope_factor}
        rope["original_max_position_embeddings"] = config.trained_length
    if config.rope_scaling == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if config.rope_scaling not in ("none", "linear", "llama3"):
        rope = {"rope_type": "default"}
    return {
        "model_type": kind,
        "architectures": [_LLAMAS[kind]],
        "vocab_size": vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "head_dim": config.head_width or config.width // config.heads,
        "intermediate_size": round(config.feed_forward * config.width),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_length,
        "rope_parameters": rope,
        "sliding_window": config.window,
        "tie_word_embeddings": config.tied,
    }


def _read_bert(found: Json) -> Architecture:
    _expect(found, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    _expect(found, tie_word_embeddings=True)
    name = (found.get("architectures") or ["none"])[0]
    if name not in _HEADS:
        known = ", ".join(_HEADS)
        raise InputError(f"config.json: architectures is {name}; expected one of {known}")
    head: Any = _HEADS[name]
    config = EncoderConfig(
        width=found["hidden_size"],
        layers=found["num_hidden_layers"],
        heads=found["num_attention_heads"],
        feed_forward=found["intermediate_size"] / found["hidden_size"],
        activation=_gelu(found["hidden_act"]),
        norm="post",
        norm_eps=found["layer_norm_eps"],
        positions="learned",
        max_length=found["max_position_embeddings"],
        scale_embedding=False,
        head=head,
        pool="first",
        embedding_norm=True,
        segments=found["type_vocab_size"],
    )
    words = found["vocab_size"]
    labels = found.get("num_labels") or len(found.get("id2label") or (0, 1))
    targets: dict[Any, int] = {"masked": words, "span": SPECIAL + found["max_position_embeddings"]}
    family = "bert-span" if head == "span" else "bert"
    return Architecture(family, config, words, targets.get(head, labels))


def _write_bert(config: EncoderConfig, vocabularies: tuple[int, int]) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in reversed(_GELU.items())}
    heads = {ours: theirs for theirs, ours in reversed(_HEADS.items())}
    labels = {str(k): f"LABEL_{k}" for k in range(vocabularies[1])}
    return {
        "model_type": "bert",
        "architectures": [heads[config.head]],
        "vocab_size": vocabularies[0],
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": round(config.feed_forward * config.width),
        "hidden_act": names.get(config.activation, "gelu"),
        "layer_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_length,
        "type_vocab_size": config.segments,
        "pad_token_id": 0,
        **({"id2label": labels} if config.head in ("class", "tokens") else {}),
    }
