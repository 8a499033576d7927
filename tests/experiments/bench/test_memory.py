"""A training step on long texts in a chip's memory, by the chip's own compiler."""

import pytest
from rich.console import Console

from experiments.bench.memory import BenchMemory, bench_memory, measure
from experiments.chips import CHIPS, missing
from experiments.errors import InputError

absent = missing(CHIPS["v5e"])
on_v5e = pytest.mark.skipif(absent is not None, reason=str(absent))


@pytest.mark.slow
@on_v5e
def test_eight_thousand_tokens_fit_one_v5e_where_plain_attention_does_not(tmp_path):
    asked = BenchMemory(output=tmp_path / "memory.json")
    assert (asked.tokens, asked.heads, asked.head_width) == (8192, 8, 64)
    ours, plain = bench_memory(asked, Console(quiet=True))
    assert ours.fits
    assert ours.total < plain.total / 5
    assert not plain.fits


@on_v5e
def test_plain_attention_takes_more_already_on_shorter_texts():
    asked = BenchMemory(tokens=2048, layers=1, vocabulary=256)
    ours, plain = (measure(asked, way) for way in ("attn", "plain attention"))
    weights = 8 * 2048**2 * 4
    assert plain.temporaries > weights > 2 * ours.temporaries
    assert ours.arguments == plain.arguments


@pytest.mark.parametrize(
    ("kinds", "said"),
    [({"chip": "v9"}, "unknown chip 'v9'"), ({"tokens": 0}, "tokens is 0; expected at least 1")],
)
def test_what_cannot_be_compiled_is_refused(kinds, said, tmp_path):
    with pytest.raises(InputError, match=said):
        bench_memory(BenchMemory(**kinds, output=tmp_path / "f.json"), Console(quiet=True))
