"""The run that faults are put into: `python -m experiments train` of a small model, forked."""

import logging
import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from experiments.errors import InputError
from experiments.faults import processes
from experiments.faults.lost import Lost, Tally, expect
from experiments.faults.outcome import outcome
from experiments.training import folder as files
from experiments.training.checkpoint import steps_in

LIMIT = 300.0
"""Seconds that anything may take, on a machine that is busy with other things."""

EXPERIMENT = "reverse-seq2seq"
_SETTINGS = {
    "parameters": None,
    "task.length": 5,
    "task.symbols": 8,
    "task.limit": 500,
    "task.buckets": 1,
    "model.width": 32,
    "optimizer.warmup-steps": 5,
    "optimizer.ema": 0.9,
    "train.batch-size": 8,
    "train.examples": 8 * 48,
    "train.log-every": 4,
    "train.evaluate-every": 12,
    "train.save-every": 6,
    "train.keep": 2,
    "search.items": 16,
    "search.max-length": 8,
    "search.resamples": 20,
}
_FLAGS = [word for name, value in _SETTINGS.items() for word in (f"--{name}", str(value))]

Before = Callable[[Path], None]
"""What a process does before it trains in a folder."""


def start(folder: Path, *flags: str, before: Before | None = None) -> BaseProcess:
    """Starts the run in a folder, or lets it go on; what it says is in a text file beside it."""
    return processes.start(_train, folder, flags, before)


def finish(folder: Path, *flags: str, before: Before | None = None) -> tuple[int, str]:
    """Runs to whatever end; returns the exit code and what this launch said."""
    already = len(said(folder))
    code = join(start(folder, *flags, before=before))
    return code, said(folder)[already:]


def join(process: BaseProcess, seconds: float = LIMIT) -> int:
    """The exit code of a process that ends in time.

    Raises:
        Lost: it does not; it is killed.
    """
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise Lost(f"the process did not end within {seconds:.0f} s")
    return process.exitcode


def wait_for(path: Path, process: BaseProcess) -> None:
    """Waits until a running process has made a file.

    Raises:
        Lost: it ends without, or takes too long; it is killed.
    """
    end = time.monotonic() + LIMIT
    while not path.exists():
        if process.exitcode is not None or time.monotonic() > end:
            process.kill()
            raise Lost(f"{path} was not written; exit code {process.exitcode}")
        time.sleep(0.005)


def said(folder: Path) -> str:
    """All that a run's processes said, warnings and errors included."""
    path = _words(folder)
    return path.read_text("utf-8") if path.exists() else ""


def undisturbed(folder: Path) -> dict[str, Any]:
    """Runs to the end without a fault.

    Raises:
        InputError: not even that works.
    """
    code, words = finish(folder)
    if code != 0:
        raise InputError(f"a run without any fault ended with exit code {code}: {words}")
    return outcome(folder)


def expect_end(folder: Path, expected: dict[str, Any], tally: Tally) -> str:
    """Lets a run go on to its end, which must be the expected one; returns what it said.

    Raises:
        Lost: it does not come to an end, or to another.
    """
    code, words = finish(folder)
    expect(code == 0, f"{folder.name} did not go on: exit code {code}; see {_words(folder)}")
    tally.ended += 1
    found = outcome(folder)
    differ = [name for name in expected if found[name] != expected[name]]
    expect(not differ, f"{folder.name} ended in another {', '.join(differ)}")
    tally.same += 1
    return words


def unfinished(whole: Path, folder: Path) -> list[int]:
    """Copies a finished run as one that died after its last checkpoint.

    Returns:
        The steps of its checkpoints, ascending.
    """
    shutil.copytree(whole, folder)
    for name in (files.SUMMARY, files.TEST):
        (folder / name).unlink(missing_ok=True)
    return steps_in(folder / files.CHECKPOINTS)


def _train(folder: Path, flags: tuple[str, ...], before: Before | None) -> None:
    from experiments.cli import main

    processes.cache_compilations(folder.parent / "compiled")
    words = open(_words(folder), "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stdout = sys.stderr = words
    logging.basicConfig(stream=words, force=True)
    if before is not None:
        before(folder)
    where = ["--folder", str(folder), "--task.data-dir", str(folder.parent / "data")]
    sys.exit(main(["train", EXPERIMENT, *_FLAGS, *where, *flags]))


def _words(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.txt")
