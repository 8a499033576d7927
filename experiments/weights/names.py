"""What tensors are called in Hugging Face's checkpoints and in attn's models: data alone.

`{}` stands for a layer's number.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One of their tensors, or a part of one, and one of our parameters."""

    theirs: str
    ours: str
    """The path of a parameter, dotted."""
    turned: bool = False
    """Whether theirs is [outputs, inputs], as PyTorch's linear layers have it."""
    inputs: int = 1
    """How many of the axes of ours, the first ones, are inputs; the others are outputs."""
    part: int = 0
    """Which of the equal parts of their outputs this is."""
    parts: int = 1


def _linear(theirs: str, ours: str, *, bias: bool, inputs: int = 1) -> list[Entry]:
    entries = [Entry(f"{theirs}.weight", f"{ours}.kernel", turned=True, inputs=inputs)]
    if bias:
        entries.append(Entry(f"{theirs}.bias", f"{ours}.bias"))
    return entries


def _norm(theirs: str, ours: str, *, bias: bool) -> list[Entry]:
    entries = [Entry(f"{theirs}.weight", f"{ours}.scale")]
    if bias:
        entries.append(Entry(f"{theirs}.bias", f"{ours}.bias"))
    return entries


def _listed(*groups: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for group in groups for entry in group)


def _gpt2() -> tuple[Entry, ...]:
    """Its linear layers are [inputs, outputs]; queries, keys and values are one."""
    block, entries = "blocks.{}", []
    for theirs, ours, inputs in (
        ("attn.c_proj", "attention.out", 2),
        ("mlp.c_fc", "feed_forward.inner", 1),
        ("mlp.c_proj", "feed_forward.outer", 1),
    ):
        kernel = f"{block}.{ours}.kernel"
        entries += [
            Entry("transformer.h.{}." + f"{theirs}.weight", kernel, inputs=inputs),
            Entry("transformer.h.{}." + f"{theirs}.bias", f"{block}.{ours}.bias"),
        ]
    for part, name in enumerate(("query", "key", "value")):
        for theirs, ours in (("weight", "kernel"), ("bias", "bias")):
            path = f"{block}.attention.{name}.{ours}"
            joint = "transformer.h.{}.attn.c_attn." + theirs
            entries.append(Entry(joint, path, part=part, parts=3))
    return _listed(
        [
            Entry("transformer.wte.weight", "embed.table"),
            Entry("transformer.wpe.weight", "embed.positions"),
        ],
        entries,
        _norm("transformer.h.{}.ln_1", f"{block}.residuals.0.norm", bias=True),
        _norm("transformer.h.{}.ln_2", f"{block}.residuals.1.norm", bias=True),
        _norm("transformer.ln_f", "norm", bias=True),
    )


def _llama() -> tuple[Entry, ...]:
    theirs, ours = "model.layers.{}", "blocks.{}"
    return _listed(
        [Entry("model.embed_tokens.weight", "embed.table")],
        [Entry("lm_head.weight", "output.kernel", turned=True)],
        _norm("model.norm", "norm", bias=False),
        _norm(f"{theirs}.input_layernorm", f"{ours}.residuals.0.norm", bias=False),
        _norm(f"{theirs}.post_attention_layernorm", f"{ours}.residuals.1.norm", bias=False),
        _norm(f"{theirs}.self_attn.q_norm", f"{ours}.attention.query_ln", bias=False),
        _norm(f"{theirs}.self_attn.k_norm", f"{ours}.attention.key_ln", bias=False),
        *(
            _linear(f"{theirs}.{their}", f"{ours}.{our}", bias=False, inputs=inputs)
            for their, our, inputs in (
                ("self_attn.q_proj", "attention.query", 1),
                ("self_attn.k_proj", "attention.key", 1),
                ("self_attn.v_proj", "attention.value", 1),
                ("self_attn.o_proj", "attention.out", 2),
                ("mlp.gate_proj", "feed_forward.gate", 1),
                ("mlp.up_proj", "feed_forward.inner", 1),
                ("mlp.down_proj", "feed_forward.outer", 1),
            )
        ),
    )


def _bert(output: str) -> tuple[Entry, ...]:
    theirs, ours = "bert.encoder.layer.{}", "blocks.{}"
    return _listed(
        [
            Entry("bert.embeddings.word_embeddings.weight", "embed.table"),
            Entry("bert.embeddings.position_embeddings.weight", "embed.positions"),
            Entry("bert.embeddings.token_type_embeddings.weight", "segments"),
            Entry("cls.predictions.bias", "output_bias"),
        ],
        _norm("bert.embeddings.LayerNorm", "embed_norm", bias=True),
        _norm(f"{theirs}.attention.output.LayerNorm", f"{ours}.residuals.0.norm", bias=True),
        _norm(f"{theirs}.output.LayerNorm", f"{ours}.residuals.1.norm", bias=True),
        _norm("cls.predictions.transform.LayerNorm", "transform_norm", bias=True),
        _linear("cls.predictions.transform.dense", "transform", bias=True),
        _linear("bert.pooler.dense", "pooler", bias=True),
        _linear(output, "output", bias=True),
        *(
            _linear(f"{theirs}.{their}", f"{ours}.{our}", bias=True, inputs=inputs)
            for their, our, inputs in (
                ("attention.self.query", "attention.query", 1),
                ("attention.self.key", "attention.key", 1),
                ("attention.self.value", "attention.value", 1),
                ("attention.output.dense", "attention.out", 2),
                ("intermediate.dense", "feed_forward.inner", 1),
                ("output.dense", "feed_forward.outer", 1),
            )
        ),
    )


ENTRIES: dict[str, tuple[Entry, ...]] = {
    "gpt2": _gpt2(),
    "llama": _llama(),
    "bert": _bert("classifier"),
    "bert-span": _bert("qa_outputs"),
}
"""By family of architectures."""

DERIVED = (
    "lm_head.weight",
    "transformer.h.{}.attn.bias",
    "transformer.h.{}.attn.masked_bias",
    "bert.embeddings.position_ids",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
)
"""Theirs that may go unread where no parameter of ours asks for them: copies of tied matrices,
causal masks, and BERT's pooler and next-sentence head beside a head that needs neither."""
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""How BERT's first checkpoints ended names."""
BARE = {"gpt2": "transformer.", "llama": "model.", "bert": "bert.", "bert-span": "bert."}
"""What names of a checkpoint without a head leave out."""
