"""Which part of training a process is in, told to whoever is about to kill it.

In the process that is to die, `tell` puts a note into a file at every change; the file stays as it
was at the moment of death.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.evaluation.evaluate import Evaluator
from experiments.training import folder as files
from experiments.training import loop
from experiments.training.checkpoint import Checkpoints
from experiments.training.parallel import Machine

START, COMPILE, STEP, WRITE, EVALUATION = (
    "start",
    "compile",
    "step",
    "checkpoint write",
    "evaluation",
)
_WIDTH = 20
_METHODS: tuple[tuple[type, str, str], ...] = (
    (Machine, "compile", COMPILE),
    (loop._Run, "_loop", STEP),
    (Checkpoints, "save", WRITE),
    (Checkpoints, "wait", WRITE),
    (Evaluator, "likelihood", EVALUATION),
    (Evaluator, "evaluate", EVALUATION),
)


def tell(folder: Path) -> None:
    """From here on this process notes the phase it is in.

    Args:
        folder: of the run; the note is beside it.
    """
    note = os.open(_note(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    phases = [START]

    def write() -> None:
        os.pwrite(note, phases[-1].ljust(_WIDTH).encode(), 0)

    def telling(method: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def told(*args: Any, **settings: Any) -> Any:
            phases.append(phase)
            write()
            try:
                return method(*args, **settings)
            finally:
                phases.pop()
                write()

        return told

    for owner, name, phase in _METHODS:
        setattr(owner, name, telling(getattr(owner, name), phase))
    write()


def phase_of(folder: Path) -> str:
    """The phase that a run's process is in, or died in.

    Checkpoints are written behind the steps: while one is under way, that counts.
    """
    if any((folder / files.CHECKPOINTS).glob("*tmp*")):
        return WRITE
    path = _note(folder)
    return (path.read_text("utf-8").strip() if path.exists() else "") or START


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.phase")
