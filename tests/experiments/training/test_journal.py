"""Launches and errors are kept in a run's folder, whatever cuts a line short."""

import json
import signal

import pytest

from experiments.secrets import HIDDEN, redacted
from experiments.training.journal import errors, errors_noted, launches, note_launch
from experiments.training.signals import Interrupted


def test_launches_name_hardware_versions_and_command(tmp_path):
    note_launch(tmp_path, "python -m experiments train one")
    with open(tmp_path / "launches.jsonl", "a") as file:
        file.write('\n{"time": "20')  # killed while it was written
    note_launch(tmp_path, "python -m experiments train two")
    first, second = launches(tmp_path)
    assert first["command"] == "python -m experiments train one"
    assert second["command"] == "python -m experiments train two"
    assert "jax" in first["versions"]
    assert "processor" in first["hardware"]
    assert first["time"] <= second["time"]


def test_an_error_is_kept_and_passes(tmp_path):
    with pytest.raises(ZeroDivisionError), errors_noted(tmp_path):
        _ = 1 / 0
    (found,) = errors(tmp_path)
    assert (found["error"], found["message"]) == ("ZeroDivisionError", "division by zero")
    assert "test_journal.py" in found["trace"]
    assert json.loads((tmp_path / "errors-0.jsonl").read_text()) == found


def test_being_asked_to_stop_is_no_error(tmp_path):
    with pytest.raises(Interrupted), errors_noted(tmp_path):
        raise Interrupted(signal.SIGTERM, 3)
    assert errors(tmp_path) == []


def test_errors_of_all_hosts_in_order_of_time(tmp_path):
    for host, time in ((0, "2026-01-02"), (1, "2026-01-01"), (2, "2026-01-03")):
        (tmp_path / f"errors-{host}.jsonl").write_text(json.dumps({"host": host, "time": time}))
    assert [line["host"] for line in errors(tmp_path)] == [1, 0, 2]


def test_an_error_that_cannot_be_kept_does_not_hide_itself(tmp_path):
    (tmp_path / "errors-0.jsonl").symlink_to("/dev/full")
    with pytest.raises(ZeroDivisionError), errors_noted(tmp_path):
        _ = 1 / 0


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "my_secret", "DB_PASSWORD"])
def test_secrets_are_hidden(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "hush-hush")
    with pytest.raises(ValueError, match="hush-hush"), errors_noted(tmp_path):
        raise ValueError("401: hush-hush is not known")
    assert errors(tmp_path)[0]["message"] == f"401: {HIDDEN} is not known"
    assert "hush-hush" not in (tmp_path / "errors-0.jsonl").read_text()


def test_what_is_no_secret_stays():
    environment = {"KEYBOARD": "qwerty", "A_KEY": "abc", "B_KEY": "secret-one", "C_KEY": "secret"}
    assert redacted("qwerty abc secret-one", environment) == f"qwerty abc {HIDDEN}"
