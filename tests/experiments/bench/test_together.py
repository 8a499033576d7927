import json

import pytest
from rich.console import Console

from experiments.bench.together import BenchTogether, bench_together
from experiments.errors import InputError

QUIET = Console(quiet=True)


@pytest.mark.slow
def test_both_ways_are_timed(tmp_path):
    asked = BenchTogether(
        models=("seq2seq",), seeds=2, steps=2, parameters=20_000, rounds=1,
        output=tmp_path / "figures.json",
    )  # fmt: skip
    found = bench_together(asked, QUIET)
    assert found[0].steps_ratio > 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["models"][0]["whole_ratio"] == found[0].whole_ratio
    assert figures["command"] == (
        "python -m experiments bench together --models seq2seq --seeds 2 --steps 2 "
        "--parameters 20000 --rounds 1"
    )


def test_one_seed_is_refused(tmp_path):
    with pytest.raises(InputError, match="seeds is 1; expected at least 2"):
        bench_together(BenchTogether(seeds=1), QUIET)
