"""Runs of every state, told from their files."""

import json
import os
import re
import time

import pytest

from experiments.cli import main
from experiments.config import Config, TrainConfig
from experiments.errors import InputError
from experiments.status import read_status
from experiments.training.folder import claimed, config_to_json
from experiments.training.journal import errors_noted, note_launch

CONFIG = config_to_json(Config(train=TrainConfig(examples=100, batch_size=8)))


def begin(folder, config=CONFIG):
    """A run that was launched, and told of step 5."""
    with claimed(folder, config):
        note_launch(folder, "train")
    line = {"kind": "train", "step": 5, "loss": 1.5, "tokens_per_second": 1234.5}
    lines = [line, {"kind": "validation", "step": 6, "nll": 2.0}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"kin')
    (folder / "checkpoints" / "4").mkdir(parents=True)
    (folder / "checkpoints" / "10.orbax-checkpoint-tmp").mkdir()


def fail(folder, message):
    with pytest.raises(ValueError, match=re.escape(message)), errors_noted(folder):
        raise ValueError(message)


def states(folder):
    return {each.run: each.state for each in read_status(folder)}


def test_a_run_is_told_from_its_files(tmp_path):
    begin(tmp_path / "deep" / "down" / "run")
    os.utime(tmp_path / "deep" / "down" / "run" / "checkpoints" / "4", (0, time.time() - 100))
    (found,) = read_status(tmp_path)
    assert (found.run, found.state) == ("deep/down/run", "stopped")
    assert (found.step, found.steps) == (5, 13)
    assert (found.loss, found.tokens_per_second) == (1.5, 1234.5)
    assert found.checkpoint == 4
    assert 100 <= found.checkpoint_age < 200
    assert (found.error, found.host_errors) == (None, {})


def test_states(tmp_path):
    for name in ("finished", "stopped", "failed", "mended"):
        begin(tmp_path / name)
    (tmp_path / "finished" / "summary.json").write_text("{}")
    for name in ("failed", "mended"):
        fail(tmp_path / name, "no luck")
    begin(tmp_path / "evaluated")  # at the second try
    fail(tmp_path / "evaluated", "no memory")
    for name in ("summary.json", "test.json"):
        (tmp_path / "evaluated" / name).write_text("{}")
    time.sleep(0.002)
    note_launch(tmp_path / "mended", "train")
    with claimed(tmp_path / "new", CONFIG):
        pass
    for name, text in (("odd", '{"train"'), ("weights", '{"model_type": "gpt2"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    begin(tmp_path / "running")
    with claimed(tmp_path / "running", CONFIG):
        assert states(tmp_path) == {
            "evaluated": "finished",
            "failed": "failed",
            "finished": "finished",
            "mended": "stopped",
            "new": "never started",
            "odd": "unreadable",
            "running": "running",
            "stopped": "stopped",
        }
    by_name = {each.run: each for each in read_status(tmp_path)}
    assert by_name["failed"].error == "ValueError: no luck"
    assert by_name["mended"].error is None
    assert by_name["mended"].host_errors == {"0": 1}
    assert by_name["finished"].step == 13


def test_groups_of_an_ablation(tmp_path):
    group = {"code": "abc", "runs": {"one": CONFIG, "two": CONFIG}}
    for name in ("measured", "unlucky"):
        with claimed(tmp_path / "groups" / name, group):
            pass
    (tmp_path / "groups" / "measured" / "measured.json").write_text("{}")
    (tmp_path / "groups" / "unlucky" / "failed.json").write_text('{"error": "ValueError: no"}')
    one, two = read_status(tmp_path)
    assert (one.run, one.state, one.steps) == ("groups/measured", "finished", 13)
    assert (two.run, two.state, two.error) == ("groups/unlucky", "failed", "ValueError: no")


def test_the_folder_itself_may_be_the_run(tmp_path):
    begin(tmp_path / "run")
    assert states(tmp_path / "run") == {"run": "stopped"}


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="is not there, or no folder"):
        read_status(tmp_path / "nowhere")


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["status", str(tmp_path)]) == 0
    assert "no run under" in capsys.readouterr().out
    begin(tmp_path / "a[bold]")
    fail(tmp_path / "a[bold]", "no luck [here]")
    assert main(["status", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for text in (
        "a[bold]",
        "failed",
        "5/13",
        "1.500",
        "1,234",
        "0: 1",
        "ValueError: no luck [here]",
    ):
        assert text in said
    assert main(["status", str(tmp_path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["run"] == "a[bold]"
    assert found["step"] == 5
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not there" in capsys.readouterr().err
