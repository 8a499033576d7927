"""From the fixed vector to attention: what the recurrent models' papers report."""

from experiments.ablations.papers.record import Published
from experiments.ablations.papers.works import (
    BAHDANAU,
    BRITZ,
    CHENG,
    KREUTZER,
    LUONG,
    SUTSKEVER,
    TREVETT,
    VASWANI,
)

_WMT_EN_FR = "WMT14 English-French, newstest2014"
_WMT_EN_DE = "WMT14 English-German, newstest2014"
_LUONG = f"{_WMT_EN_DE}, 4 x 1000 LSTM"

_BAHDANAU_ALL = Published(
    paper=BAHDANAU,
    where="Table 1",
    what="fixed vector (encdec) or additive attention (search), trained up to 30 or 50 words",
    setting=f"{_WMT_EN_FR}, all sentences",
    unit="BLEU",
    values={
        "RNNencdec-30": 13.93,
        "RNNsearch-30": 21.50,
        "RNNencdec-50": 17.82,
        "RNNsearch-50": 26.75,
        "RNNsearch-50*": 28.45,
        "Moses": 33.30,
    },
    provenance="text",
)
_BAHDANAU_KNOWN = Published(
    paper=BAHDANAU,
    where="Table 1",
    what="fixed vector (encdec) or additive attention (search), trained up to 30 or 50 words",
    setting=f"{_WMT_EN_FR}, sentences without unknown words",
    unit="BLEU",
    values={
        "RNNencdec-30": 24.19,
        "RNNsearch-30": 31.44,
        "RNNencdec-50": 26.71,
        "RNNsearch-50": 34.16,
        "RNNsearch-50*": 36.15,
        "Moses": 35.63,
    },
    provenance="text",
)
_SUTSKEVER = Published(
    paper=SUTSKEVER,
    where="Table 1",
    what="fixed vector: the source as it is or reversed, one model or 5, by beam size",
    setting=f"{_WMT_EN_FR}, 4 x 1000 LSTM",
    unit="BLEU",
    values={
        "forward": 26.17,
        "reversed": 30.59,
        "5 reversed, beam 1": 33.00,
        "5 reversed, beam 2": 34.50,
        "5 reversed, beam 12": 34.81,
    },
    provenance="text",
)
_BRITZ_WHETHER = Published(
    paper=BRITZ,
    where="",
    what="attention of width 512, or none",
    setting="WMT15 English-German, newstest2013",
    unit="BLEU",
    values={
        "additive": 22.47,
        "multiplicative": 21.78,
        "none, input every step": 11.57,
        "none, state only": 9.98,
    },
    provenance="notes",
)
_BRITZ_ENCODERS = Published(
    paper=BRITZ,
    where="",
    what="encoder",
    setting="WMT15 English-German, newstest2013",
    unit="BLEU",
    values={"forward": 20.54, "reversed": 21.16, "bidirectional, 2 layers": 21.78},
    provenance="notes",
)
_LUONG_SCORES_PERPLEXITY = Published(
    paper=LUONG,
    where="Table 4",
    what="attention and score, with input feeding",
    setting=_LUONG,
    unit="perplexity",
    values={
        "global, location": 6.4,
        "global, dot": 6.1,
        "global, general": 6.1,
        "local-m, dot": 7.0,
        "local-m, general": 6.2,
        "local-p, dot": 6.6,
        "local-p, general": 5.9,
    },
    provenance="text",
)
_LUONG_SCORES_BLEU = Published(
    paper=LUONG,
    where="Table 4",
    what="attention and score, with input feeding",
    setting=_LUONG,
    unit="BLEU",
    values={
        "global, location": 18.1,
        "global, dot": 18.6,
        "global, general": 17.3,
        "local-m, general": 18.6,
        "local-p, dot": 18.0,
        "local-p, general": 19.0,
    },
    provenance="text",
)
_LUONG_ALIGNMENT = Published(
    paper=LUONG,
    where="Table 6",
    what="attention",
    setting="508 sentences of the RWTH English-German alignments",
    unit="alignment error rate",
    values={"global, location": 0.39, "local-m, general": 0.34, "local-p, general": 0.36},
    provenance="text",
)
_LUONG_LADDER_PERPLEXITY = Published(
    paper=LUONG,
    where="Table 1",
    what="each line adds to the one before; local-p replaces global attention",
    setting=_LUONG,
    unit="perplexity",
    values={
        "base": 10.6,
        "+ reverse": 9.9,
        "+ dropout": 8.1,
        "+ global attention (location)": 7.3,
        "+ input feeding": 6.4,
        "local-p (general) + input feeding": 5.9,
    },
    provenance="text",
)
_LUONG_LADDER_BLEU = Published(
    paper=LUONG,
    where="Table 1",
    what="each line adds to the one before; local-p replaces global attention",
    setting=_LUONG,
    unit="BLEU",
    values={
        "base": 11.3,
        "+ reverse": 12.6,
        "+ dropout": 14.0,
        "+ global attention (location)": 16.8,
        "+ input feeding": 18.1,
        "local-p (general) + input feeding": 19.0,
        "+ unknown words replaced": 20.9,
        "ensemble of 8": 23.0,
    },
    provenance="text",
)
_VASWANI_TEST = tuple(
    Published(
        paper=VASWANI,
        where="Table 2",
        what="size of the Transformer",
        setting=setting,
        unit="BLEU",
        values={"base": base, "big": big},
        provenance="text",
    )
    for setting, base, big in ((_WMT_EN_DE, 27.3, 28.4), (_WMT_EN_FR, 38.1, 41.8))
)
_MULTI30K = Published(
    paper=TREVETT,
    where="notebooks 1 to 6",
    what="model",
    setting="Multi30k German-English, one run each",
    unit="BLEU",
    values={
        "LSTM": 13.8,
        "GRU encoder-decoder": 20.6,
        "Bahdanau": 28.3,
        "convolutional": 34.1,
        "Transformer, 3 layers of 256": 36.5,
    },
    provenance="text",
)
_IWSLT14 = Published(
    paper=KREUTZER,
    where="benchmarks of its documentation",
    what="model",
    setting="IWSLT14 German-English",
    unit="BLEU",
    values={"RNN": 30.74, "Transformer": 33.73},
    provenance="text",
)
_IWSLT15 = Published(
    paper=KREUTZER,
    where="benchmarks of its documentation",
    what="systems of recurrent models with attention",
    setting="IWSLT15 English-Vietnamese",
    unit="BLEU",
    values={"Luong and Manning 2015": 23.3, "TF NMT": 26.1, "Joey NMT": 26.5},
    provenance="text",
)
_CHENG = Published(
    paper=CHENG,
    where="",
    what="attention over the past states (LSTMN), or none",
    setting="Penn Treebank, one layer",
    unit="perplexity",
    values={"5-gram Kneser-Ney": 141.0, "RNN": 129.0, "LSTM": 115.0, "LSTMN": 108.0},
    provenance="memory",
)

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "length_bottleneck": (_BAHDANAU_ALL, _BAHDANAU_KNOWN, _BRITZ_WHETHER, _SUTSKEVER),
    "score_function": (_LUONG_SCORES_PERPLEXITY, _LUONG_SCORES_BLEU, _BRITZ_WHETHER),
    "gradient_path": (_CHENG,),
    "local_alignment": (_LUONG_SCORES_PERPLEXITY, _LUONG_SCORES_BLEU, _LUONG_ALIGNMENT),
    "nmt_ladder": (
        _LUONG_LADDER_PERPLEXITY,
        _LUONG_LADDER_BLEU,
        *_VASWANI_TEST,
        _SUTSKEVER,
        _BAHDANAU_ALL,
        _BRITZ_ENCODERS,
        _MULTI30K,
        _IWSLT14,
        _IWSLT15,
    ),
}
"""By the suite's name, the most telling first."""
