"""Weights & Biases: offline, in the run's folder; one run however often it goes on."""

import importlib.util
import json
import struct
from pathlib import Path

import pytest
from rich.console import Console

from attn.models import Seq2SeqConfig
from experiments.config import Config, TaskConfig, TrainConfig
from experiments.errors import InputError
from experiments.training.loop import train
from experiments.training.tracking import Tracking, check
from tests.experiments.training.toy_task import reversal

CONFIG = Config(
    task=TaskConfig(buckets=1),
    model=Seq2SeqConfig(width=4),
    train=TrainConfig(
        batch_size=8, examples=16, log_every=1, evaluate_every=2, save_every=1, wandb="offline"
    ),
)


def records(path: Path):
    """What an offline run's file holds: a log of LevelDB's, in blocks, behind 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 < len(data):
        if (left := 32768 - place % 32768) < 7:  # no room for a record's head: the next block
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def offline(folder: Path):
    """The run's id and its history, file by file."""
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        found = list(records(path))
        history = [
            {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in r.history.item}
            for r in found
            if r.HasField("history")
        ]
        yield next(r.run.run_id for r in found if r.HasField("run")), history


@pytest.fixture
def unreachable(monkeypatch):
    """No key, no server."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:9")
    monkeypatch.setenv("NETRC", "/nowhere")


def test_a_run_is_told_offline(tmp_path, unreachable):
    pytest.importorskip("wandb")
    train(CONFIG, reversal(), tmp_path / "run", console=Console(quiet=True))
    ((run_id, history),) = offline(tmp_path / "run")
    assert run_id == (tmp_path / "run" / "wandb-id.txt").read_text().strip()
    steps = [line["_step"] for line in history]
    assert steps == [1, 2]
    assert all(line["train/loss"] > 0 for line in history)
    assert history[-1]["validation/nll"] > 0


def test_a_run_that_goes_on_is_the_same_run(tmp_path, unreachable):
    pytest.importorskip("wandb")
    for step in (1, 2):
        tracking = Tracking(tmp_path, "offline", {"seed": 0})
        tracking.write("train", step, {"loss": 1.0 / step})
        tracking.close()
    (first, before), (second, after) = offline(tmp_path)
    assert first == second
    assert [line["train/loss"] for line in (*before, *after)] == [1.0, 0.5]


def test_an_id_from_elsewhere_cannot_name_another_folder(tmp_path, unreachable):
    pytest.importorskip("wandb")
    (tmp_path / "wandb-id.txt").write_text("../../elsewhere")
    with pytest.raises(InputError, match="expected small letters and digits"):
        Tracking(tmp_path, "offline", {})


def test_without_a_key_online_is_refused(tmp_path, unreachable):
    pytest.importorskip("wandb")
    with pytest.raises(InputError, match=r"train\.wandb is online: "):
        Tracking(tmp_path, "online", {})


def test_without_the_package_nothing_is_begun(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name)
    )
    with pytest.raises(InputError, match=r"train\.wandb is offline, but wandb is not installed"):
        train(CONFIG, reversal(), tmp_path / "run", console=Console(quiet=True))
    assert not (tmp_path / "run").exists()
    check(None)
