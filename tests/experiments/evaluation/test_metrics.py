import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from experiments.evaluation.metrics import METRICS, Outputs, edit_distances

LN2 = math.log(2.0)

symbols = st.lists(st.sampled_from(["AA1", "B", "K", "S"]), max_size=7)
words = st.sampled_from(["the", "cat", "sat", "on", "mat", ",", ".", "it's", "1,000", "Ä&quot;ö"])
sentences = st.lists(words, max_size=9).map(" ".join)


def outputs(pairs, nll=None, tokens=None, right=None):
    count = np.zeros(len(pairs))
    return Outputs(
        [hypothesis for hypothesis, _ in pairs],
        [reference for _, reference in pairs],
        count if nll is None else np.array(nll),
        count if tokens is None else np.array(tokens),
        count if right is None else np.array(right),
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


def test_bits_per_character():
    # 10 bits and 6 bits for 5 and 3 characters; tokens do not matter.
    given = outputs([("", "hello"), ("", "a\nb")], nll=[10 * LN2, 6 * LN2], tokens=[3, 1])
    assert score("bits_per_character", given) == pytest.approx(2.0)


def test_masked_accuracy_is_over_tokens():
    given = outputs([("", "")] * 3, tokens=[4, 1, 0], right=[1, 1, 0])
    assert score("masked_accuracy", given) == pytest.approx(40.0)


@pytest.mark.parametrize("name", ["accuracy", "exact_match"])
def test_exact_outputs_are_counted(name):
    given = outputs([("positive", "positive"), ("", "positive"), ("0 1", "0 10"), ("7 8", "7 8")])
    assert METRICS[name].count(given).tolist() == [[1, 1], [0, 1], [0, 1], [1, 1]]
    assert score(name, given) == pytest.approx(50.0)


LABELLED = [
    ("sounded silent", "sounded silent"),
    ("silent sounded sounded", "sounded sounded silent"),
    ("silent", "silent silent sounded"),
    ("silent silent", "silent"),
]


def test_labels_that_are_missing_are_wrong():
    assert score("label_accuracy", outputs(LABELLED)) == pytest.approx(100 * (2 + 1 + 1 + 1) / 9)


def test_f1_of_silent_letters():
    # Found 1 + 0 + 1 + 1; said 1 + 1 + 1 + 2; in the references 1 + 1 + 2 + 1.
    assert score("silent_f1", outputs(LABELLED)) == pytest.approx(100 * 2 * 3 / (5 + 5))
    assert score("silent_f1", outputs([("sounded", "sounded")])) == 0.0


@pytest.mark.parametrize(
    ("said", "wanted", "f1"),
    [
        ("3 5", "3 5", 1.0),
        ("3 3", "3 5", 0.5),
        ("4 7", "3 5", 4 / 7),
        ("6 8", "3 5", 0.0),
        ("5 3", "3 5", 0.0),
        ("3", "3 5", 0.0),
        ("3 5 5", "3 5", 0.0),
        ("", "3 5", 0.0),
    ],
)
def test_f1_of_spans_is_by_place(said, wanted, f1):
    assert score("span_f1", outputs([(said, wanted)])) == pytest.approx(100 * f1)


def test_f1_of_spans_is_the_mean_over_items():
    given = outputs([("3 3", "3 5"), ("0 8", "0 8")])
    assert score("span_f1", given) == pytest.approx(75.0)


def test_metrics_that_read_no_hypothesis_say_so():
    pairs = [("3 4", "3 3"), ("silent", "silent"), ("1 2 3 4 5", "1 2 3 4 6")]
    blank = [("", reference) for _, reference in pairs]
    numbers = {"nll": [3.0, 4.0, 5.0], "tokens": [5, 6, 1], "right": [1, 2, 1]}
    for name, metric in METRICS.items():
        if name == "span_f1":
            pairs, blank = pairs[:1], blank[:1]
        some = {key: value[: len(pairs)] for key, value in numbers.items()}
        same = np.array_equal(
            metric.count(outputs(pairs, **some)), metric.count(outputs(blank, **some))
        )
        assert same is not metric.searched


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
    if name == "span_f1":
        pairs = [("3 4", "3 3"), ("5 9", "6 8"), ("", "1 1")]
    given = outputs(pairs, nll=[3.0, 4.0, 5.0], tokens=[5, 6, 1], right=[4, 0, 1])
    statistics = METRICS[name].count(given)
    many = np.stack([[statistics[i], statistics[i] + statistics[1]] for i in range(3)])
    found = METRICS[name].score(many)
    assert found.shape == (3, 2)
    for place in np.ndindex(3, 2):
        assert found[place] == METRICS[name].score(many[place])
