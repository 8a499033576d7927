import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.evaluation.outcome import (
    SMALLEST_BUCKET,
    Evaluation,
    Item,
    assess,
    compare_pairs,
    length_buckets,
)


def items(wrong, lengths, nll=1.5):
    """Pronunciations of five phonemes, of which `wrong[i]` are wrong."""
    return [
        Item(
            index=i,
            source="a" * length,
            reference="P P P P P",
            hypothesis=" ".join(["P"] * (5 - k) + ["B"] * k),
            nll=nll,
            tokens=6,
            source_length=int(length),
        )
        for i, (k, length) in enumerate(zip(wrong, lengths, strict=True))
    ]


def evaluation(wrong, lengths=None):
    lengths = np.full(len(wrong), 3) if lengths is None else lengths
    metrics = ("phoneme_error_rate", "word_error_rate")
    return assess(items(wrong, lengths), metrics, decoding="greedy", resamples=200)


def test_scores_all_items_and_each_length():
    lengths = np.repeat([3, 8], [60, 90])
    found = evaluation(np.repeat([1, 2], [60, 90]), lengths)
    assert list(found.metrics) == ["phoneme_error_rate", "word_error_rate", "nll", "perplexity"]
    assert found.metrics["phoneme_error_rate"] == pytest.approx(20 * 0.4 + 40 * 0.6)
    assert found.metrics["word_error_rate"] == 100
    assert found.metrics["nll"] == pytest.approx(0.25)
    low, high = found.intervals["phoneme_error_rate"]
    assert 30 < low < 32 < high < 34
    assert [(b.first, b.last, b.n) for b in found.by_length] == [(3, 4, 60), (5, 8, 90)]
    assert [b.metrics["phoneme_error_rate"] for b in found.by_length] == [20, 40]
    assert found.by_length[0].intervals["phoneme_error_rate"] == (20, 20)


def test_json_is_read_back_as_it_was():
    found = evaluation([0, 1, 2] * 40, np.arange(120) % 7 + 2)
    data = json.loads(json.dumps(found.to_json()))
    assert Evaluation.from_json(data) == found
    assert set(data) == {
        *("metrics", "intervals", "by_length", "signatures", "decoding", "items"),
    }
    bucket = data["by_length"][0]
    assert {"from", "to", "n", "interval", *data["metrics"]} == set(bucket)
    assert set(bucket["interval"]) == set(data["metrics"])
    assert set(data["items"][0]) == {
        *("index", "source", "reference", "hypothesis", "nll", "tokens", "source_length"),
        "right",
    }


def test_signatures_are_of_sacrebleus_metrics():
    found = assess(items([1], [3]), ("bleu", "chrf"), decoding="greedy", resamples=5)
    assert next(iter(found.metrics)) == "bleu"
    assert set(found.signatures) == {"bleu", "chrf"}
    assert "tok:13a" in found.signatures["bleu"]


@given(st.lists(st.integers(1, 70), min_size=1, max_size=400).map(np.array))
def test_buckets_hold_every_length_once_and_are_not_small(lengths):
    buckets = length_buckets(lengths)
    assert (buckets[0][0], buckets[-1][1]) == (lengths.min(), lengths.max())
    assert all(b[0] == a[1] + 1 for a, b in itertools.pairwise(buckets))
    sizes = [np.sum((first <= lengths) & (lengths <= last)) for first, last in buckets]
    assert len(sizes) == 1 or min(sizes) >= SMALLEST_BUCKET


def test_buckets_of_words_and_of_sentences():
    words = np.repeat(np.arange(2, 21), 60)
    assert length_buckets(words) == [(2, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 20)]
    sentences = np.repeat(np.arange(1, 25), 60)
    assert length_buckets(sentences) == [(1, 5), (6, 10), (11, 15), (16, 20), (21, 24)]


def test_compares_models_of_one_seed():
    bad, good = evaluation([2, 3] * 50), evaluation([1, 2] * 50)
    runs = [("seq2seq", 0, bad), ("rnnsearch", 0, good), ("seq2seq", 1, good), ("luong", 0, good)]
    found = compare_pairs(runs, "phoneme_error_rate", resamples=100)
    assert [(pair["a"], pair["b"], pair["seed"]) for pair in found] == [
        ("seq2seq", "rnnsearch", 0),
        ("seq2seq", "luong", 0),
        ("rnnsearch", "luong", 0),
    ]
    assert found[0]["difference"] == pytest.approx(20)
    assert found[0]["interval"] == pytest.approx([20, 20])
    assert found[0]["p"] == pytest.approx(2 / 101)
    assert (found[2]["difference"], found[2]["p"]) == (0, 1)
    assert json.loads(json.dumps(found)) == found


def test_only_the_same_items_are_compared():
    one, other = evaluation([1] * 4), evaluation([1] * 4, np.array([3, 3, 3, 4]))
    with pytest.raises(ValueError, match=r"a and b .* different items"):
        compare_pairs([("a", 0, one), ("b", 0, other)], "nll", resamples=10)


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="'rouge', expected one of phoneme_error_rate"):
        assess(items([1], [3]), ("rouge",), decoding="greedy", resamples=5)
