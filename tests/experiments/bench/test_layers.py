import json

import jax
import pytest
from rich.console import Console

from experiments.bench.layers import BenchLayers, bench_layers
from experiments.errors import InputError

SMALL = BenchLayers((4, 12), 1, (1, 2), batch_size=2, width=4, steps=3, rounds=2)


@pytest.mark.slow
def test_figures_say_how_they_were_made(tmp_path):
    output = tmp_path / "deep" / "figures.json"
    asked = BenchLayers(**{**vars(SMALL), "output": output})
    found = bench_layers(asked, Console(quiet=True))
    figures = json.loads(output.read_text())
    assert figures["command"] == (
        "python -m experiments bench layers --sources 4 12 --window 1 --unrolls 1 2 "
        "--batch-size 2 --width 4 --steps 3 --rounds 2"
    )
    assert figures["versions"]["jax"] == jax.__version__
    assert [group["group"] for group in figures["groups"]] == [each.group for each in found]
    assert {"attention, S = 4", "attention, S = 12 and gradient", "LSTM loop", "GRU loop"} < {
        each.group for each in found
    }
    for each in found:
        assert next(iter(each.ratios.values())) == 1
        assert all(took > 0 for took in each.milliseconds.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rounds": 0}, "rounds is 0"), ({"unrolls": (1, 0)}, "unrolls: got 1 0")],
)
def test_what_cannot_be_is_refused(tmp_path, change, message):
    asked = BenchLayers(**{**vars(SMALL), "output": tmp_path / "f.json", **change})
    with pytest.raises(InputError, match=message):
        bench_layers(asked, Console(quiet=True))
