"""`bench train` at a tiny size: both sides learn, and the figures hold together."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from experiments.bench import train as bench
from experiments.bench.train import COMPARED, BenchTrain, bench_train, duel
from experiments.config import Config, OptimizerConfig, TrainConfig
from experiments.data.batches import Batches
from experiments.errors import InputError
from tests.experiments.training.toy_task import reversal

TINY = Config(
    parameters=34_000,
    optimizer=OptimizerConfig(learning_rate=0.01, schedule="constant", warmup_steps=0),
    train=TrainConfig(batch_size=8),
)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("name", ["rnnsearch", "transformer"])
def test_both_sides_learn_alike(torch, name):
    one_shape = replace(TINY, task=replace(TINY.task, buckets=1))
    found = duel(name, one_shape, reversal(32), steps=4, rounds=4)
    for side in (found.attn, found.pytorch):
        assert side.loss < 2.0  # a uniform guess is ln 11 = 2.4
        assert len(side.seconds) == 4
    assert found.lowest <= found.ratio <= found.highest


def test_writes_its_figures(torch, tmp_path, monkeypatch):
    task = reversal(24)
    monkeypatch.setattr(bench.tasks, "load", lambda config: task)
    asked = BenchTrain(("seq2seq",), 22_000, 8, 3, 3, output=tmp_path / "new" / "f.json")
    console = Console(record=True, width=150)
    (found,) = bench_train(asked, console)

    figures = json.loads(asked.output.read_text("utf-8"))
    assert {"torch", "jax", "flax"} <= figures["versions"].keys()
    assert figures["hardware"]["cores"]
    assert figures["command"] == (
        "python -m experiments bench train --models seq2seq --parameters 22000 "
        "--batch-size 8 --steps 3 --rounds 3"
    )
    (model,) = figures["models"]
    assert model["ratio"] == found.ratio
    batches = Batches(task.splits["train"], 8, 0, 6)
    tokens = sum(int((batches(step).target[:, 1:] != 0).sum()) for step in range(3))
    for side in (model["attn"], model["pytorch"]):
        seconds = np.median(side["seconds"])
        assert side["examples_per_second"] == pytest.approx(24 / seconds)
        assert side["tokens_per_second"] == pytest.approx(tokens / seconds)
    assert "seq2seq" in console.export_text()


def test_says_which_extra_pytorch_comes_with(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"\[bench\]"):
        bench_train(BenchTrain(), Console())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (BenchTrain(models=("luong-concat",)), "unknown model 'luong-concat'"),
        (BenchTrain(models=()), "models: got none"),
        (BenchTrain(models=COMPARED[:1] * 2), "each once"),
        (BenchTrain(rounds=0), "rounds is 0"),
    ],
)
def test_refuses(torch, asked, said):
    with pytest.raises(InputError, match=said):
        bench_train(asked, Console())
