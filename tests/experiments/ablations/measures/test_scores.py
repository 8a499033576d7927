"""Scores of a split, all together and by length, beside the evaluator's own."""

import re
from dataclasses import replace

import numpy as np
import pytest

from attn.models import TransformerConfig
from experiments.ablations.measures import likelihoods, outputs
from experiments.evaluation.evaluate import Evaluator
from experiments.evaluation.outcome import length_buckets
from tests.experiments.ablations.measures.lanes import lane_of, score
from tests.experiments.evaluation.toy import HistoryModule, task

ITEMS = 130


@pytest.fixture(scope="module")
def lane():
    toy = task({"train": 9, "validation": 9, "test": ITEMS})
    made = lane_of(TransformerConfig(), toy, HistoryModule(vocabulary=8, seed=7))
    return replace(made, params=made.start)  # its seed is a whole number


def test_scores_are_those_of_the_evaluator(lane):
    wanted = lane.evaluator.evaluate(lane.params).metrics
    assert wanted["phoneme_error_rate"] > 0
    found = outputs(lane, ["phoneme_error_rate", "word_error_rate"])
    assert set(found) == {"phoneme_error_rate", "word_error_rate", "nll"}
    for name, sample in found.items():
        assert score(sample) == pytest.approx(wanted[name])
    forced = likelihoods(lane)
    assert set(forced) == {"nll"}
    np.testing.assert_array_equal(forced["nll"].statistics, found["nll"].statistics)


def test_likelihoods_search_nothing(lane, monkeypatch):
    monkeypatch.setattr(Evaluator, "_free", None)
    assert len(likelihoods(lane)["nll"].statistics) == ITEMS


def test_buckets_are_parts_of_the_whole(lane):
    lengths = lane.task.splits["test"].source.lengths - 1
    assert len(length_buckets(lengths)) > 1
    for found in (likelihoods(lane, by_length=True), outputs(lane, ["bleu"], by_length=True)):
        for name, whole in found.items():
            if " @ " in name:
                continue
            parts = {k: v for k, v in found.items() if k.startswith(f"{name} @ ")}
            assert all(part.metric == whole.metric for part in parts.values())
            for key, part in parts.items():
                first, last = map(int, re.fullmatch(rf"{name} @ (\d+)-(\d+)", key).groups())
                inside = (first <= lengths) & (lengths <= last)
                np.testing.assert_array_equal(part.statistics, whole.statistics[inside])
            assert sum(len(part.statistics) for part in parts.values()) == ITEMS
