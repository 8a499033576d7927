"""What a cached token costs is measured on layers that share heads."""

import json

import pytest
from rich.console import Console

from experiments.bench.decode import BenchDecode, bench_decode
from experiments.errors import InputError


def test_writes_costs_beside_exact_cache_bytes(tmp_path):
    asked = BenchDecode(
        batch=2, lengths=(32,), heads=4, kv_heads=(4, 1), head_width=8, rounds=2,
        output=tmp_path / "new" / "decode.json",
    )  # fmt: skip
    costs = bench_decode(asked, Console(quiet=True))
    assert [cost.cache_bytes for cost in costs] == [2 * 2 * 32 * 4 * 8 * 4, 2 * 2 * 32 * 1 * 8 * 4]
    assert costs[0].ratio == 1
    assert min(cost.microseconds for cost in costs) > 0
    assert len(json.loads(asked.output.read_text())["costs"]) == 2


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"batch": 0}, "batch is 0; expected at least 1"),
        ({"lengths": ()}, "lengths is .*; expected numbers of at least 1"),
        ({"kv_heads": (3,)}, "kv_heads: got 3; expected a divisor of 16"),
    ],
)
def test_what_cannot_be_measured_is_refused(kinds, said, tmp_path):
    with pytest.raises(InputError, match=said):
        bench_decode(BenchDecode(**kinds, output=tmp_path / "f.json"), Console(quiet=True))
    assert not list(tmp_path.iterdir())
