import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from experiments.evaluation.metrics import METRICS, Outputs, edit_distances

symbols = st.lists(st.sampled_from(["AA1", "B", "K", "S"]), max_size=7)
words = st.sampled_from(["the", "cat", "sat", "on", "mat", ",", ".", "it's", "1,000", "Ä&quot;ö"])
sentences = st.lists(words, max_size=9).map(" ".join)


def outputs(pairs, nll=None, tokens=None):
    count = np.zeros(len(pairs))
    return Outputs(
        [hypothesis for hypothesis, _ in pairs],
        [reference for _, reference in pairs],
        count if nll is None else np.array(nll),
        count if tokens is None else np.array(tokens),
    )


def score(name, given):
    metric = METRICS[name]
    return float(metric.score(metric.count(given).sum(axis=0)))


def levenshtein(a, b):
    """By the definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        levenshtein(a[1:], b) + 1,
        levenshtein(a, b[1:]) + 1,
        levenshtein(a[1:], b[1:]) + (a[0] != b[0]),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(symbols.map(lambda s: s[:5]), symbols.map(lambda s: s[:5])), max_size=6))
def test_edit_distance_is_levenshteins(pairs):
    found = edit_distances([a for a, _ in pairs], [b for _, b in pairs])
    assert list(found) == [levenshtein(a, b) for a, b in pairs]


def test_error_rates_of_pronunciations():
    given = outputs([("K AE1 T", "K AE1 T"), ("B AE1 D S", "B EH1 D"), ("", "D AO1 G")])
    assert score("phoneme_error_rate", given) == pytest.approx(100 * 5 / 9)
    assert score("word_error_rate", given) == pytest.approx(100 * 2 / 3)


def test_likelihoods_are_per_token():
    given = outputs([("", "")] * 2, nll=[6.0, 2.0], tokens=[3, 1])
    assert score("nll", given) == pytest.approx(2.0)
    assert score("perplexity", given) == pytest.approx(math.exp(2.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5))
@pytest.mark.parametrize(("name", "sacrebleu"), [("bleu", BLEU), ("chrf", CHRF)])
def test_corpus_scores_are_sacrebleus(name, sacrebleu, pairs):
    hypotheses, references = [a for a, _ in pairs], [b for _, b in pairs]
    metric = sacrebleu()
    truth = metric.corpus_score(hypotheses, [references]).score
    assert score(name, outputs(pairs)) == pytest.approx(truth, abs=1e-9)
    assert METRICS[name].signature() == str(metric.get_signature())


def test_a_long_corpus_scores_as_sacrebleu_says():
    rng = np.random.default_rng(0)
    vocabulary = np.array(["the", "cat", "sat", "on", "a", "mat", "and", "slept", ".", ","])
    references = [" ".join(rng.choice(vocabulary, size=n)) for n in rng.integers(5, 30, size=80)]
    hypotheses = [
        " ".join(word if rng.random() < 0.8 else rng.choice(vocabulary) for word in line.split())
        for line in references
    ]
    given = outputs(list(zip(hypotheses, references, strict=True)))
    bleu = BLEU().corpus_score(hypotheses, [references]).score
    chrf = CHRF().corpus_score(hypotheses, [references]).score
    assert 20 < bleu < 80
    assert score("bleu", given) == pytest.approx(bleu, abs=1e-9)
    assert score("chrf", given) == pytest.approx(chrf, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_scores_many_sums_at_once(name):
    pairs = [("a b c d e", "a b c d f"), ("the cat sat on it", "the cat sat on the mat"), ("", "x")]
    given = outputs(pairs, nll=[3.0, 4.0, 5.0], tokens=[5, 6, 1])
    statistics = METRICS[name].count(given)
    many = np.stack([[statistics[i], statistics[i] + statistics[1]] for i in range(3)])
    found = METRICS[name].score(many)
    assert found.shape == (3, 2)
    for place in np.ndindex(3, 2):
        assert found[place] == METRICS[name].score(many[place])
