"""Windows on a running text against a loop that reads each on its own."""

from dataclasses import replace

import numpy as np
import pytest

from attn.models import DecoderConfig
from attn.models.protocol import BOS, EOS
from experiments.ablations.measures import extrapolation
from experiments.errors import InputError
from tests.experiments.ablations.measures.lanes import LETTERS, lane_of, running
from tests.experiments.evaluation.toy_language import RecurrentModel

TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 31))


@pytest.fixture(scope="module")
def lane():
    task = running([TEXT[at : at + 7] for at in range(0, len(TEXT), 7)])
    made = lane_of(DecoderConfig(), task, RecurrentModel(task.target.size))
    return replace(made, params=made.start)


def read(model, window):
    """-log P of each token of a window."""
    expected = model.expects([EOS, BOS, *window[:-1]])[1:]
    return -expected[np.arange(len(window)), window]


def test_every_token_is_read_as_the_protocol_says(lane):
    found = extrapolation(lane, (4, 8))
    assert set(found) == {"nll @ 4", "nll @ 8", "sliding nll @ 4", "sliding nll @ 8"}
    model, ids = RecurrentModel(lane.task.target.size), lane.task.target.encode(TEXT)
    for length in (4, 8):
        plain, sliding = [], []
        for item in range(3):  # 4 letters lead, 3 stretches of 8, 3 letters are left
            stretch = range(4 + 8 * item, 12 + 8 * item)
            starts = stretch[::length]
            plain.append(sum(read(model, ids[at : at + length]).sum() for at in starts))
            half = length // 2
            sliding.append(
                sum(read(model, ids[at - half : at + half])[half:].sum() for at in stretch[::half])
            )
        for name, wanted in ((f"nll @ {length}", plain), (f"sliding nll @ {length}", sliding)):
            assert found[name].metric == "nll"
            np.testing.assert_allclose(found[name].statistics[:, 0], wanted, rtol=1e-4)
            np.testing.assert_array_equal(found[name].statistics[:, 1], 8)


def test_parts_of_a_batch_and_a_limit_change_nothing(lane, monkeypatch):
    whole = extrapolation(lane, (4, 8))
    monkeypatch.setattr("experiments.ablations.measures.windows._TOKENS_AT_ONCE", 16)
    parts = extrapolation(lane, (4, 8), tokens=27)  # room for two stretches
    for name, sample in parts.items():
        np.testing.assert_allclose(sample.statistics, whole[name].statistics[:2], rtol=1e-5)


def test_what_cannot_be_read_is_refused(lane):
    with pytest.raises(InputError, match="lengths holds 6; expected even divisors of 8"):
        extrapolation(lane, (6, 8))
    with pytest.raises(InputError, match="the test text has 31 tokens; expected at least 48"):
        extrapolation(lane, (32,))
    short = DecoderConfig(positions="learned", max_length=8)
    learned = replace(lane, config=replace(lane.config, model=short))
    with pytest.raises(InputError, match=r"lengths holds 8; expected at most 7, .* 8 positions"):
        extrapolation(learned, (8,))
    with pytest.raises(InputError, match="task is running; expected one of running text"):
        extrapolation(replace(lane, task=replace(lane.task, kind="sequence")), (8,))
