import dataclasses
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from attn.models import Seq2SeqConfig, count_parameters
from attn.models.protocol import PAD
from experiments.config import Config, OptimizerConfig, TaskConfig, TrainConfig
from experiments.data.batches import Batches
from experiments.errors import InputError
from experiments.evaluation.evaluate import Evaluator
from experiments.training.loop import train
from experiments.training.restore import load_best
from tests.experiments.training.toy_task import reversal

CONFIG = Config(
    task=TaskConfig(buckets=1),
    model=Seq2SeqConfig(width=8, dropout=0.1),
    optimizer=OptimizerConfig(learning_rate=0.01, warmup_steps=3, ema=0.5),
    train=TrainConfig(
        batch_size=8,
        examples=8 * 24 - 3,
        log_every=5,
        evaluate_every=6,
        save_every=4,
        keep=1,
        profile=True,
    ),
)


@pytest.fixture(scope="module")
def task():
    return reversal()


@pytest.fixture(scope="module")
def run(task, tmp_path_factory):
    """A finished run: its folder, its summary and what was shown."""
    folder = tmp_path_factory.mktemp("runs") / "seq2seq-seed0"
    shown = io.StringIO()
    summary = train(CONFIG, task, folder, console=Console(file=shown, width=120))
    return folder, summary, shown.getvalue()


def lines_of(folder, kind):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_summary(run, task):
    folder, summary, _ = run
    assert json.loads((folder / "summary.json").read_text()) == dataclasses.asdict(summary)
    assert summary.steps == 24  # the last, begun batch is completed
    assert summary.examples_seen == 24 * 8
    batches = Batches(task.splits["train"], 8, 0, 1)
    targets = [batches(step).target for step in range(24)]
    assert summary.tokens_seen == sum(int((target[:, 1:] != PAD).sum()) for target in targets)
    assert summary.padding == batches.padding
    assert summary.parameters == count_parameters(CONFIG.model, task.source.size, task.target.size)
    assert 0 < summary.data_wait_seconds < summary.train_seconds
    assert summary.compile_seconds > 0
    assert summary.best_step in range(6, 25, 6)


def test_training_lines(run):
    folder, summary, _ = run
    lines = lines_of(folder, "train")
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 24]
    assert [line["examples"] for line in lines] == [40, 80, 120, 160, 192]
    assert lines[-1]["tokens"] == summary.tokens_seen
    for name in ("tokens", "seconds"):
        values = [line[name] for line in lines]
        assert values == sorted(values)
    for line in lines:
        assert set(line) == {
            "kind", "step", "examples", "tokens", "seconds", "loss", "learning_rate",
            "gradient_norm", "tokens_per_second",
        }  # fmt: skip
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_validation_lines(run):
    lines = lines_of(run[0], "validation")
    assert [line["step"] for line in lines] == [6, 12, 18, 24]
    for line in lines:
        assert set(line) == {"kind", "step", "examples", "seconds", "nll", "perplexity"}
        assert line["perplexity"] == pytest.approx(np.exp(line["nll"]))
    assert min(lines, key=lambda line: line["nll"])["step"] == run[1].best_step


def test_the_folder(run):
    folder, summary, _ = run
    kept = sorted(int(path.name) for path in (folder / "checkpoints").iterdir())
    assert kept == sorted({24, summary.best_step})
    assert list(folder.glob("events.out.tfevents.*"))
    assert list((folder / "profile").rglob("*.xplane.pb"))


def test_progress_is_plain_lines_where_there_is_no_terminal(run):
    shown = run[2].splitlines()
    assert shown[0].startswith("seq2seq-seed0: step 5/24  loss ")
    assert all(" tokens/s" in line for line in shown)
    assert len(shown) == 5


def test_the_best_parameters_come_back(run, task):
    folder, summary, _ = run
    best = load_best(folder, task.source.size, task.target.size)
    assert best.config == CONFIG
    assert best.step == summary.best_step
    line = next(x for x in lines_of(folder, "validation") if x["step"] == best.step)
    assert best.nll == line["nll"]
    evaluator = Evaluator(best.graphdef, task, CONFIG.search)
    assert evaluator.likelihood(best.params)["nll"] == pytest.approx(line["nll"], rel=1e-6)


def test_the_best_parameters_are_the_average(run, task):
    """What comes back is the moving average, which differs from the parameters behind it."""
    folder, summary, _ = run
    best = load_best(folder, task.source.size, task.target.size)
    from experiments.training.checkpoint import _read

    saved = _read(folder / "checkpoints", summary.best_step, "state")["state"]
    leaf = "decoder.embed.embedding.value"
    found = nnx.merge(best.graphdef, best.params).decoder.embed.embedding[...]
    np.testing.assert_array_equal(found, saved[f"average.{leaf}"])
    assert np.abs(np.asarray(found) - saved[f"params.{leaf}"]).max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"examples": 0}}, "train.examples is 0"),
        ({"train": {"batch_size": 0}}, "train.batch_size is 0"),
        ({"train": {"log_every": 0}}, "train.log_every is 0"),
        ({"train": {"evaluate_every": -1}}, "train.evaluate_every is -1"),
        ({"train": {"save_every": 0}}, "train.save_every is 0"),
        ({"train": {"keep": 0}}, "train.keep is 0"),
        ({"train": {"label_smoothing": 1.0}}, "train.label_smoothing is 1.0"),
        ({"train": {"accumulate": 3}}, "train.batch_size is 8, which"),
        ({"optimizer": {"b1": 2.0}}, "optimizer.b1 is 2.0"),
        ({"parameters": 10**6}, "parameters is 1,000,000, but the seq2seq given has"),
    ],
)
def test_numbers_that_cannot_be_leave_no_folder_behind(task, tmp_path, changes, message):
    config = CONFIG
    for name, value in changes.items():
        if isinstance(value, dict):
            value = replace(getattr(CONFIG, name), **value)
        config = replace(config, **{name: value})
    with pytest.raises(InputError, match=message):
        train(config, task, tmp_path / "run", console=Console(quiet=True))
    assert not (tmp_path / "run").exists()
