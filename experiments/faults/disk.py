"""A disk that has no room left."""

import re
import resource
from pathlib import Path
from typing import Any

from experiments.cli.parsing import USAGE
from experiments.faults import runs
from experiments.faults.damage import files_of
from experiments.faults.ground import Ground
from experiments.faults.lost import Tally, expect
from experiments.training import folder as files
from experiments.training.checkpoint import Checkpoints, steps_in

ROOM = 100_000
"""Bytes at most in a file, once the disk is full: metrics and what is said (TensorStore says much)
go on; a checkpoint, of which one file has twice as many, does not."""
FULL = 12
"""The step from which on it is."""


def fill_up(folder: Path) -> None:
    """From a step on this process can write no file of a checkpoint's size."""
    save = Checkpoints.save

    def save_in_little_room(self: Checkpoints, step: int, *args: Any, **settings: Any) -> None:
        if step >= FULL:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        save(self, step, *args, **settings)

    setattr(Checkpoints, "save", save_in_little_room)  # noqa: B010 - mypy forbids the other way


def filled(ground: Ground) -> Tally:
    """The run stops and says why; what was saved before is as it was; with room it goes on."""
    tally = Tally("disk full")
    for number in range(1 if ground.short else 3):
        folder = ground.folder / f"full-{number}"
        with tally.trial():
            code, words = runs.finish(folder, before=fill_up)
            expect(code == USAGE, f"exit code {code}; expected {USAGE}")
            # TensorStore's threads may print of their own before.
            told = re.search(r"^error: cannot write \S+: .*as it was$", words, re.MULTILINE)
            expect(told is not None, "it did not say what it cannot write")
            saved = steps_in(folder / files.CHECKPOINTS)
            expect(bool(saved) and saved[-1] < FULL, f"checkpoints {saved}")
            whole = [path for step in saved for path in files_of(folder / files.CHECKPOINTS, step)]
            before = {path: path.read_bytes() for path in whole}
            code, words = runs.finish(folder, before=fill_up)
            expect(code == USAGE, f"exit code {code} while the disk is full; expected {USAGE}")
            kept = {path: path.read_bytes() for path in before if path.exists()}
            expect(kept == before, "a checkpoint that was written before is not as it was")
            words = runs.expect_end(folder, ground.expected, tally)
            expect(f"goes on from step {saved[-1]}" in words, f"not from step {saved[-1]}")
            expect("is damaged" not in words, "a checkpoint was damaged")
    return tally
