"""A step's time and the cache's bytes, which can be counted by hand."""

import numpy as np
import pytest

from attn.models import DecoderConfig, TransformerConfig
from experiments.ablations.measures import decode_speed
from experiments.errors import InputError
from tests.experiments.ablations.measures.lanes import lane_of, score
from tests.experiments.evaluation.toy import task

TASK = task({"train": 2, "validation": 2, "test": 2})


def test_fewer_key_heads_take_fewer_bytes():
    lane = lane_of(TransformerConfig(width=16, heads=4, kv_heads=1, layers=1), TASK)
    whole = DecoderConfig(width=16, heads=4, layers=1)
    found = decode_speed(lane, whole, batch=3, length=11, rounds=2)
    assert set(found) == {"decode time ratio", "cache bytes", "cache bytes ratio"}
    number = 4 * 2 * 4  # bytes of a float32, keys and values, width of a head
    assert score(found["cache bytes"]) == 3 * 11 * 1 * number
    # The decoder-only model keeps its source, a lone EOS, in the same cache.
    assert score(found["cache bytes ratio"]) == pytest.approx(11 * 1 / (12 * 4))
    seconds = found["decode time ratio"].statistics
    assert seconds.shape == (2, 2)
    assert np.all(seconds > 0)


@pytest.mark.parametrize(("name", "least"), [("batch", 1), ("length", 4), ("rounds", 1)])
def test_too_little_is_refused(name, least):
    sizes = {"batch": 2, "length": 8, "rounds": 2, name: least - 1}
    config = DecoderConfig(width=8, heads=2, layers=1)
    with pytest.raises(InputError, match=f"{name} is {least - 1}; expected at least {least}"):
        decode_speed(lane_of(config, TASK), config, **sizes)
