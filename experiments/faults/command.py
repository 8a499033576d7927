"""Puts every fault in and tells what came of it."""

import os
import random
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.errors import InputError
from experiments.faults import runs
from experiments.faults.damage import damaged
from experiments.faults.disk import filled
from experiments.faults.ground import Ground
from experiments.faults.intruding import contested, reconfigured
from experiments.faults.killing import killed
from experiments.faults.lost import Tally
from experiments.faults.stopping import terminated
from experiments.machine import hardware, versions
from experiments.training import folder as files

RESULTS = "faults.json"

_FAULTS: tuple[Callable[[Ground], Tally | list[Tally]], ...] = (
    terminated, killed, damaged, filled, reconfigured, contested,
)  # fmt: skip


@dataclass(frozen=True)
class Faults:
    """Put faults into small training runs and see whether they survive them.

    SIGTERM; kill -9 at random instants; checkpoint files truncated, changed, missing; a full disk;
    another configuration; two launches. Ends with 1 if any is not survived.
    """

    short: bool = False
    """Few of each, at most 3 minutes on two cores."""
    folder: Path = Path("runs/faults")
    """New or empty; the runs and faults.json stay there."""
    kills: int | None = None
    """How often runs are killed (None: 30; 4 if short)."""
    seed: int = 0
    """Of the instants."""


def put_in(asked: Faults, console: Console) -> list[Tally]:
    """Puts all faults in, prints a table and leaves `faults.json`.

    Raises:
        InputError: the folder holds something, a number that cannot be, or a run without any
            fault fails.
    """
    kills = (4 if asked.short else 30) if asked.kills is None else asked.kills
    if kills < 1:
        raise InputError(f"kills is {kills}; expected at least 1")
    with files.writing(asked.folder):
        asked.folder.mkdir(parents=True, exist_ok=True)
        if any(asked.folder.iterdir()):
            raise InputError(f"folder: {asked.folder} holds files; expected a new or empty one")
    # Who is killed leaves semaphores behind; Python clears them away, and need not tell.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    folder = asked.folder.absolute()
    whole = folder / "undisturbed"
    with console.status("a run without faults"):
        expected = runs.undisturbed(whole)
    ground = Ground(folder, whole, expected, random.Random(asked.seed), kills, asked.short)
    tallies: list[Tally] = []
    for fault in _FAULTS:
        with console.status(fault.__name__):
            began = time.perf_counter()
            found = fault(ground)
            found = found if isinstance(found, list) else [found]
            for tally in found:
                tally.seconds = (time.perf_counter() - began) / len(found)
        tallies += found
    console.print(_table(tallies))
    files.write_json(folder / RESULTS, _results(asked, tallies))
    return tallies


def _results(asked: Faults, tallies: Iterable[Tally]) -> dict[str, Any]:
    words = ["python", "-m", "experiments", "faults", "--seed", str(asked.seed)]
    words += ["--short"] if asked.short else []
    words += [] if asked.kills is None else ["--kills", str(asked.kills)]
    return {
        "command": shlex.join(words),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "faults": [asdict(tally) for tally in tallies],
    }


def _table(tallies: Iterable[Tally]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("fault", "times", "survived", "bits equal", "seconds", "notes"):
        table.add_column(name, justify="left" if name in ("fault", "notes") else "right")
    for tally in tallies:
        colour = "green" if tally.survived == tally.times else "bold red"
        table.add_row(
            tally.fault,
            str(tally.times),
            f"[{colour}]{tally.survived}[/]",
            f"{tally.same} of {tally.ended} runs" if tally.ended else "",
            f"{tally.seconds:.0f}",
            escape("; ".join(tally.notes)),
        )
    return table
