"""Attention alone: what the papers of the Transformer and after report."""

from experiments.ablations.papers.record import Published
from experiments.ablations.papers.works import (
    AINSLIE,
    BRITZ,
    CLARK,
    MICHEL,
    PRESS,
    RADFORD,
    RAFFEL,
    SHAZEER,
    SU,
    VASWANI,
    VOITA,
)

_BRITZ_WIDTHS = tuple(
    Published(
        paper=BRITZ,
        where="",
        what=f"width of {score} attention",
        setting="WMT15 English-German, newstest2013",
        unit="BLEU",
        values=values,
        provenance="notes",
    )
    for score, values in {
        "multiplicative": {"128": 22.03, "256": 22.33, "512": 21.78, "1024": 18.22},
        "additive": {"128": 22.23, "256": 22.33, "512": 22.47, "1024": 22.10},
    }.items()
)


def _table_3(rows: str, what: str, unit: str, values: dict[str, float]) -> Published:
    """Rows of the Transformer paper's ablations."""
    return Published(
        paper=VASWANI,
        where=f"Table 3 ({rows})",
        what=what,
        setting="WMT14 English-German, newstest2013, base model (65M)",
        unit=unit,
        values=values,
        provenance="text",
    )


_WIDTH = "d_k; the base model has 64"
_KEY_WIDTHS = (
    _table_3("B", _WIDTH, "perplexity", {"16": 5.16, "32": 5.01, "64": 4.92}),
    _table_3("B", _WIDTH, "BLEU", {"16": 25.1, "32": 25.4, "64": 25.8}),
)
_HEADS = (
    _table_3(
        "A",
        "heads at fixed compute; the base model has 8",
        "perplexity",
        {"1": 5.29, "4": 5.00, "8": 4.92, "16": 4.91, "32": 5.01},
    ),
    _table_3(
        "A",
        "heads at fixed compute; the base model has 8",
        "BLEU",
        {"1": 24.9, "4": 25.5, "8": 25.8, "16": 25.8, "32": 25.4},
    ),
)
_LEARNED_POSITIONS = (
    _table_3("E", "positions", "perplexity", {"sinusoidal": 4.92, "learned": 4.92}),
    _table_3("E", "positions", "BLEU", {"sinusoidal": 25.8, "learned": 25.7}),
)
_ALIBI = Published(
    paper=PRESS,
    where="",
    what="positions, by training length where it is not 3072",
    setting="WikiText-103, 247M parameters, validation at length 3072",
    unit="perplexity",
    values={
        "sinusoidal": 18.67,
        "rotary": 18.57,
        "T5 bias": 18.01,
        "ALiBi, trained at 512": 18.40,
        "ALiBi, trained at 1024": 17.96,
        "ALiBi": 17.60,
    },
    provenance="notes",
)
_SINUSOIDAL = Published(
    paper=PRESS,
    where="",
    what="validation length, sinusoidal positions trained at 512",
    setting="WikiText-103, 247M parameters",
    unit="perplexity",
    values={"532": 19.91, "602": 20.40, "15512": 406.0},
    provenance="notes",
)
_ROPE = Published(
    paper=SU,
    where="",
    what="positions",
    setting="WMT14 English-German, Transformer base",
    unit="BLEU",
    values={"sinusoidal": 27.3, "RoPE": 27.5},
    provenance="notes",
)


def _one_write_head(what: str, unit: str, values: dict[str, float]) -> Published:
    return Published(
        paper=SHAZEER,
        where="",
        what=what,
        setting="WMT14 English-German",
        unit=unit,
        values=values,
        provenance="notes",
    )


_WIDENED = "8 heads (MHA), or one key-value head (MQA) with the feed-forward layer at 5440 for 4096"
_MQA = (
    _one_write_head(
        "8 heads (MHA), one key-value head (MQA, wider feed-forward layer), or fewer or smaller "
        "heads",
        "nats per token",
        {
            "MHA, 8 heads": 1.424,
            "MQA, 8 heads": 1.439,
            "1 head of 128": 1.518,
            "2 heads of 64": 1.480,
            "4 heads of 32": 1.488,
            "8 heads of 16": 1.513,
        },
    ),
    _one_write_head(_WIDENED, "BLEU, dev", {"MHA": 26.7, "MQA": 26.5}),
    _one_write_head(_WIDENED, "BLEU, test, beam 4", {"MHA": 28.4, "MQA": 28.5}),
    _one_write_head("decoder, greedy", "µs per token", {"MHA": 46.0, "MQA": 3.8}),
    _one_write_head("decoder, beam 4", "µs per token", {"MHA": 203.0, "MQA": 32.0}),
)
_GQA = tuple(
    Published(
        paper=AINSLIE,
        where="",
        what="key-value heads",
        setting="T5 Large and XXL, uptrained",
        unit=unit,
        values=values,
        provenance="notes",
    )
    for unit, values in {
        "seconds per sample": {
            "MHA-Large": 0.37,
            "MHA-XXL": 1.51,
            "MQA-XXL": 0.24,
            "GQA-8-XXL": 0.28,
        },
        "average score": {"MHA-Large": 46.0, "MHA-XXL": 47.2, "MQA-XXL": 46.6, "GQA-8-XXL": 47.1},
    }.items()
)

_T5 = tuple(
    Published(
        paper=RAFFEL,
        where="Table 2",
        what="architecture; the encoder-decoder has twice the parameters",
        setting=f"WMT {pair}, T5 base, pretrained to denoise",
        unit="BLEU",
        values=dict(
            zip(("encoder-decoder", "shared", "prefix-LM", "causal LM"), scores, strict=True)
        ),
        provenance="notes",
    )
    for pair, scores in {
        "English-German": (26.98, 26.72, 26.43, 25.09),
        "English-French": (39.82, 39.03, 37.98, 35.28),
        "English-Romanian": (27.65, 27.46, 27.39, 25.86),
    }.items()
)
_GPT2 = Published(
    paper=RADFORD,
    where="",
    what="direction; a causal LM that was never trained to translate",
    setting="WMT14",
    unit="BLEU",
    values={"English-French": 5.0, "French-English": 11.5},
    provenance="notes",
)

_MICHEL_COUNT = Published(
    paper=MICHEL,
    where="",
    what="encoder heads that matter when removed, of all",
    setting="WMT14 English-French, Transformer big",
    unit="heads",
    values={"matter": 8.0, "all": 96.0},
    provenance="notes",
)
_MICHEL_ONE = Published(
    paper=MICHEL,
    where="",
    what="all heads but one of a layer removed, the layer that suffers most",
    setting="WMT14 English-French, Transformer big",
    unit="change of BLEU",
    values={"encoder-decoder, layer 6": -13.56, "encoder, layer 1": -1.31},
    provenance="notes",
)
_MICHEL_SHARE = Published(
    paper=MICHEL,
    where="",
    what="heads that can go, the least and the most",
    setting="WMT14 English-French, Transformer big, and BERT",
    unit="percent of the heads",
    values={"least": 20.0, "most": 40.0},
    provenance="notes",
)
_VOITA = Published(
    paper=VOITA,
    where="",
    what="38 of 48 encoder heads pruned; the heads from decoder to encoder go last",
    setting="WMT English-Russian",
    unit="change of BLEU",
    values={"38 of 48 pruned": -0.15},
    provenance="notes",
)
_CLARK = tuple(
    Published(
        paper=CLARK,
        where="",
        what=f"{relation}: the best head, or the best fixed offset",
        setting="BERT base, Penn Treebank dependencies",
        unit="accuracy, percent",
        values={"head": head, "offset": offset},
        provenance="notes",
    )
    for relation, head, offset in (
        ("det", 94.3, 51.7),
        ("dobj", 86.8, 40.0),
        ("all relations", 34.5, 26.3),
    )
)

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "qk_scaling": (*_BRITZ_WIDTHS, *_KEY_WIDTHS),
    "positions_extrapolate": (_ALIBI, _SINUSOIDAL, _ROPE, *_LEARNED_POSITIONS),
    "heads_dk": (*_HEADS, *_KEY_WIDTHS),
    "kv_sharing": (*_MQA, *_GQA),
    "seq2seq_as_lm": (*_T5, _GPT2),
    "head_pruning": (_MICHEL_COUNT, _MICHEL_ONE, _MICHEL_SHARE, _VOITA, *_CLARK),
}
"""By the suite's name, the most telling first."""
