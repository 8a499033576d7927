"""Runs that are interrupted, finished or diverge; `tests/experiments/faults` has the rest."""

import os
import re
import signal
import time

import pytest

from experiments.faults import processes
from experiments.faults.outcome import outcome
from tests.experiments.training.toy_run import DIVERGED, INTERRUPTED, toy_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def undisturbed(place):
    code, said = finish(place / "undisturbed")
    assert code == 0, said
    return outcome(place / "undisturbed")


def wait_for(path, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def finish(folder, changes=None, function=toy_run):
    """Runs to whatever end; returns the exit code and what was said."""
    process = processes.start(function, folder, changes or {})
    process.join(240)
    return process.exitcode, folder.with_suffix(".txt").read_text()


def test_an_interrupt_saves_and_stops(place, undisturbed):
    folder = place / "interrupted"
    # Checkpoints are rare here: the one to go on from is the one the signal asked for.
    changes = {"train": {"save_every": 1000, "evaluate_every": 9}}
    process = processes.start(toy_run, folder, changes)
    wait_for(folder / "checkpoints" / "9")
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == INTERRUPTED
    said = folder.with_suffix(".txt").read_text()
    assert "Interrupted stopped by SIGINT after step" in said
    code, said = finish(folder, changes)
    assert code == 0, said
    assert "goes on from step" in said
    assert outcome(folder) == undisturbed


def test_one_device_gives_the_same_bits_under_jit(place, undisturbed):
    folder = place / "jit"
    code, said = finish(folder, {"train": {"parallel": "jit"}})
    assert code == 0, said
    assert outcome(folder) == undisturbed


def test_a_finished_run_is_left_alone(place, undisturbed):
    folder = place / "undisturbed"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, _ = finish(folder)
    assert code == 0
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert {path: time for path, time in after.items() if path != folder} == {
        path: time for path, time in before.items() if path != folder
    }


def test_a_diverging_run_names_the_step_the_examples_and_the_checkpoint(place):
    folder = place / "diverging"
    # Adam's steps are about the learning rate: logits overflow after a few of them.
    wild = {"learning_rate": 1e37, "warmup_steps": 0, "schedule": "constant"}
    code, said = finish(folder, {"optimizer": wild, "train": {"save_every": 1}})
    assert code == DIVERGED, said
    found = re.search(
        r"DivergedError step (\d+) gave numbers that are not finite \(loss \S+, norm of the "
        r"gradients \S+\) on the training examples \[([\d, ]+)\]; "
        r"the last good checkpoint: (\S+)",
        said,
    )
    step, examples, checkpoint = found.groups()
    assert int(step) >= 2
    assert len(examples.split(",")) == 8
    assert checkpoint == str(folder / "checkpoints" / str(int(step) - 1))
    assert os.path.isdir(checkpoint)
    assert not (folder / "checkpoints" / step).exists()
