"""Metrics of a corpus as a function of sums over its items.

Every metric counts a few numbers for each item (its sufficient statistics) and turns their sums
into a score. So the score of any resample of the items is one matrix product away, which is what
`experiments.evaluation.bootstrap` lives on.

| metric | numbers of an item | score of their sums |
|---|---|---|
| nll | -log P(reference), tokens of the reference with `EOS` | nats per token |
| perplexity | the same | exp(nll) |
| bits_per_character | -log P(reference), characters of the reference | bits per character |
| masked_accuracy | tokens guessed right, tokens of the reference | percent |
| accuracy, exact_match | 1 if the output is the reference, 1 | percent |
| label_accuracy | labels that are right, labels of the reference | percent |
| silent_f1 | silent letters found, said to be, in the reference | F1, 0 to 100 |
| span_f1 | F1 of the output's places against the reference's, 1 | mean, 0 to 100 |
| phoneme_error_rate | edits, phonemes of the reference | percent |
| word_error_rate | 1 if any phoneme differs, 1 | percent of pronunciations that are wrong |
| bleu | sacreBLEU's n-gram matches, n-grams and lengths | BLEU, 0 to 100 |
| chrf | n-grams of either side and matches, n = 1 to 6 | chrF2, 0 to 100 |
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import eq

import numpy as np
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.metrics.helpers import extract_all_char_ngrams

from experiments.data.silent_letters import SILENT

_BLEU_ORDERS, _CHRF_ORDERS = BLEU().max_ngram_order, CHRF().char_order


@dataclass(frozen=True)
class Outputs:
    """What a model made of some items, in the items' order."""

    hypotheses: Sequence[str]
    references: Sequence[str]
    nll: np.ndarray
    """[items]: -log P of the reference, in nats."""
    tokens: np.ndarray
    """[items]: tokens that `nll` sums over, `EOS` among them."""
    right: np.ndarray
    """[items]: of these the ones that were the most likely, all before them given."""


@dataclass(frozen=True)
class Metric:
    """A score of outputs, by way of sums."""

    count: Callable[[Outputs], np.ndarray]
    """Statistics of each item, float64 [items, F]."""
    score: Callable[[np.ndarray], np.ndarray]
    """Summed statistics [..., F] to scores [...]."""
    signature: Callable[[], str] | None = None
    """What sacreBLEU says must be known to compare the score with others'."""
    searched: bool = True
    """Whether it reads the hypotheses, so that outputs must be searched for."""


def _likelihood_counts(outputs: Outputs) -> np.ndarray:
    return np.stack([outputs.nll, outputs.tokens], axis=1).astype(np.float64)


def _ratio(sums: np.ndarray) -> np.ndarray:
    """First sum over the second; 0 where both are 0 and inf where only the second is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[..., 0] == 0, 0.0, sums[..., 0] / sums[..., 1])


def _perplexity(sums: np.ndarray) -> np.ndarray:
    """Of summed NLL and tokens; inf where it is too large for a float64."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(_ratio(sums)))


def _percent(sums: np.ndarray) -> np.ndarray:
    return np.asarray(100.0 * _ratio(sums))


def edit_distances(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> np.ndarray:
    """Levenshtein distance of each pair of symbol sequences, int64 [items].

    The table is filled for all pairs at once, a row (one hypothesis symbol) at a time. Within a row
    the best run of insertions is a running minimum: d[j] = min over k <= j of c[k] + (j - k), where
    c holds what substitutions and deletions cost.
    """
    ids: dict[str, int] = {}
    hypothesis = _padded(hypotheses, ids, filler=-1)
    reference = _padded(references, ids, filler=-2)
    lengths = np.array([len(symbols) for symbols in hypotheses], np.int64)
    ends = np.array([len(symbols) for symbols in references], np.int64)
    items, column = np.arange(len(ends)), np.arange(reference.shape[1] + 1)

    row = np.tile(column, (len(ends), 1))
    distances = row[items, ends]
    for i in range(hypothesis.shape[1]):
        cost = row + 1
        substituted = row[:, :-1] + (reference != hypothesis[:, i, None])
        np.minimum(cost[:, 1:], substituted, out=cost[:, 1:])
        row = np.minimum.accumulate(cost - column, axis=1) + column
        distances = np.where(lengths == i + 1, row[items, ends], distances)
    return distances


def _padded(sequences: Sequence[Sequence[str]], ids: dict[str, int], filler: int) -> np.ndarray:
    """Symbols numbered by `ids`, which grows, as one int64 array [items, longest]."""
    array = np.full((len(sequences), max(map(len, sequences), default=0)), filler, np.int64)
    for line, symbols in zip(array, sequences, strict=True):
        line[: len(symbols)] = [ids.setdefault(symbol, len(ids)) for symbol in symbols]
    return array


def _phoneme_counts(outputs: Outputs) -> np.ndarray:
    """Edits and reference length of each item; phonemes are what white space separates."""
    wanted = [text.split() for text in outputs.references]
    edits = edit_distances([text.split() for text in outputs.hypotheses], wanted)
    return np.stack([edits, [len(phonemes) for phonemes in wanted]], axis=1).astype(np.float64)


def _pairs(outputs: Outputs) -> Iterator[tuple[str, str]]:
    return zip(outputs.hypotheses, outputs.references, strict=True)


def _word_counts(outputs: Outputs) -> np.ndarray:
    wrong = [hypothesis.split() != reference.split() for hypothesis, reference in _pairs(outputs)]
    return np.stack([wrong, np.ones(len(wrong))], axis=1).astype(np.float64)


def _bleu_counts(outputs: Outputs) -> np.ndarray:
    """Length of the hypothesis and the reference, matches and n-grams by order: [items, 10]."""
    # The counts do not depend on effective_order, which sacreBLEU wants for single sentences.
    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(a, [b]) for a, b in _pairs(outputs)]
    rows = [[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores]
    return np.array(rows, np.float64).reshape(-1, 2 + 2 * _BLEU_ORDERS)


def _bleu_score(sums: np.ndarray) -> np.ndarray:
    """What `BLEU.compute_bleu` makes of the same sums, with sacreBLEU's default smoothing "exp"."""
    said, wanted = sums[..., 0], sums[..., 1]
    matches, ngrams = np.split(sums[..., 2:], 2, axis=-1)
    missed = matches == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        brevity = np.where(said < wanted, np.exp(1.0 - wanted / said), 1.0)
        # The n-th order without a match counts 1 / 2 ** n of one.
        halved = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
        score = 100.0 * brevity * np.exp(np.mean(np.log(halved / ngrams), axis=-1))
    # Without any match, or without a single n-gram of the highest order, BLEU is 0.
    return np.where(missed.all(axis=-1) | (ngrams == 0).any(axis=-1), 0.0, score)


def _chrf_counts(outputs: Outputs) -> np.ndarray:
    """N-grams of the hypothesis, of the reference, and in both, by order: [items, 18]."""
    rows = []
    for hypothesis, reference in _pairs(outputs):
        row: list[int] = []
        said = extract_all_char_ngrams(hypothesis, _CHRF_ORDERS)
        wanted = extract_all_char_ngrams(reference, _CHRF_ORDERS)
        for a, b in zip(said, wanted, strict=True):
            # As sacreBLEU: an order that the reference is too short for does not count.
            row += [a.total() if b else 0, b.total(), (a & b).total()]
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, 3 * _CHRF_ORDERS)


def _chrf_score(sums: np.ndarray) -> np.ndarray:
    """F2 of precision and recall, each averaged over the orders that both sides have."""
    said, wanted, matches = np.moveaxis(sums.reshape(*sums.shape[:-1], _CHRF_ORDERS, 3), -1, 0)
    both = (said > 0) & (wanted > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision = np.where(both, matches / np.maximum(said, 1), 0.0).sum(axis=-1) / orders
    recall = np.where(both, matches / np.maximum(wanted, 1), 0.0).sum(axis=-1) / orders
    weight = CHRF.BETA**2
    with np.errstate(invalid="ignore"):
        score = (1 + weight) * precision * recall / (weight * precision + recall)
    return np.where(precision + recall > 0, 100.0 * score, 0.0)


def _character_counts(outputs: Outputs) -> np.ndarray:
    return np.stack([outputs.nll, [len(text) for text in outputs.references]], axis=1)


def _bits(sums: np.ndarray) -> np.ndarray:
    return np.asarray(_ratio(sums) / np.log(2.0))


def _guess_counts(outputs: Outputs) -> np.ndarray:
    return np.stack([outputs.right, outputs.tokens], axis=1).astype(np.float64)


def _exact_counts(outputs: Outputs) -> np.ndarray:
    right = [hypothesis == reference for hypothesis, reference in _pairs(outputs)]
    return np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)


def _label_counts(outputs: Outputs) -> np.ndarray:
    """Labels that stand where the reference has the same; one that is missing is wrong."""
    rows = []
    for hypothesis, reference in _pairs(outputs):
        said, wanted = hypothesis.split(), reference.split()
        rows.append([sum(map(eq, said, wanted)), len(wanted)])
    return np.array(rows, np.float64).reshape(-1, 2)


def _silent_counts(outputs: Outputs) -> np.ndarray:
    rows = []
    for hypothesis, reference in _pairs(outputs):
        said, wanted = hypothesis.split(), reference.split()
        found = sum(a == b == SILENT for a, b in zip(said, wanted, strict=False))
        rows.append([found, said.count(SILENT), wanted.count(SILENT)])
    return np.array(rows, np.float64).reshape(-1, 3)


def _f1(sums: np.ndarray) -> np.ndarray:
    """Of summed matches, items said and items wanted; 0 where there is no match."""
    whole = np.maximum(sums[..., 1] + sums[..., 2], 1.0)
    return np.asarray(200.0 * sums[..., 0] / whole)


def _span_counts(outputs: Outputs) -> np.ndarray:
    """F1 of each item: spans overlap in places; what is no span has none."""
    rows = []
    for hypothesis, reference in _pairs(outputs):
        said, wanted = _span(hypothesis), _span(reference)
        rows.append([2 * len(said & wanted) / max(len(said) + len(wanted), 1), 1])
    return np.array(rows, np.float64).reshape(-1, 2)


def _span(text: str) -> set[int]:
    """The places of "first last"."""
    ends = [int(place) for place in text.split()]
    return set(range(ends[0], ends[1] + 1)) if len(ends) == 2 else set()


@cache
def _bleu_signature() -> str:
    bleu = BLEU()
    bleu.corpus_score(["a"], [["a"]])  # tells it the number of references
    return str(bleu.get_signature())


@cache
def _chrf_signature() -> str:
    chrf = CHRF()
    chrf.corpus_score(["a"], [["a"]])
    return str(chrf.get_signature())


METRICS = {
    "phoneme_error_rate": Metric(_phoneme_counts, _percent),
    "word_error_rate": Metric(_word_counts, _percent),
    "bleu": Metric(_bleu_counts, _bleu_score, _bleu_signature),
    "chrf": Metric(_chrf_counts, _chrf_score, _chrf_signature),
    "accuracy": Metric(_exact_counts, _percent),
    "exact_match": Metric(_exact_counts, _percent),
    "label_accuracy": Metric(_label_counts, _percent),
    "silent_f1": Metric(_silent_counts, _f1),
    "span_f1": Metric(_span_counts, _percent),
    "bits_per_character": Metric(_character_counts, _bits, searched=False),
    "masked_accuracy": Metric(_guess_counts, _percent, searched=False),
    "nll": Metric(_likelihood_counts, _ratio, searched=False),
    "perplexity": Metric(_likelihood_counts, _perplexity, searched=False),
}
"""By the names that tasks list and results use."""
