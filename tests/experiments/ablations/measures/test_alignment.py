"""The share of tokens that look elsewhere, of a model that always looks at the first place."""

from dataclasses import replace

import numpy as np
import pytest

from attn.models import RNNSearchConfig, Seq2SeqConfig
from experiments.ablations.measures import alignment_error
from experiments.errors import InputError
from tests.experiments.ablations.measures.lanes import lane_of, score
from tests.experiments.evaluation.toy import HistoryModule, task

TASK = task({"train": 5, "validation": 5, "test": 20})


@pytest.fixture(scope="module")
def lane():
    made = lane_of(RNNSearchConfig(), TASK, HistoryModule(vocabulary=8, seed=7))
    return replace(made, params=made.start)


def test_tokens_that_come_from_elsewhere_are_counted(lane):
    lengths = np.array([len(text.split()) for text in TASK.splits["test"].targets])
    always = alignment_error(lane, lambda length: [0] * length)["alignment error"]
    np.testing.assert_array_equal(always.statistics, np.stack([0 * lengths, lengths], axis=1))
    in_order = alignment_error(lane, range)["alignment error"]
    np.testing.assert_array_equal(in_order.statistics, np.stack([lengths - 1, lengths], axis=1))
    backwards = alignment_error(lane, lambda length: range(length)[::-1])["alignment error"]
    np.testing.assert_array_equal(backwards.statistics, in_order.statistics)
    assert score(in_order) == pytest.approx(1 - len(lengths) / lengths.sum())


def test_what_cannot_be_compared_is_refused(lane):
    with pytest.raises(InputError, match="alignment gives 2 places for 1 tokens; expected 1"):
        alignment_error(lane, lambda length: [0] * (length + 1))
    blind = lane_of(Seq2SeqConfig(), TASK, HistoryModule(vocabulary=8, seed=7, attends=False))
    with pytest.raises(InputError, match="model is seq2seq; expected one with attention to its"):
        alignment_error(blind, range)
