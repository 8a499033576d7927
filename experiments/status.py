"""How the runs under a folder stand, told from their files alone."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.ablations.work import FAILED, MEASURED
from experiments.errors import InputError
from experiments.training import folder as files
from experiments.training import journal
from experiments.training.checkpoint import steps_in

State = Literal["finished", "running", "stopped", "failed", "never started", "unreadable"]


@dataclass(frozen=True)
class Status:
    """How a run stands; None where nothing is known."""

    run: str
    """Its folder, below the one that was searched."""
    state: State
    """stopped: asked to, or killed; the same command goes on."""
    steps: int | None = None
    """Of the whole run."""
    step: int | None = None
    """The last one that it told of."""
    loss: float | None = None
    """In training, nats a token."""
    tokens_per_second: float | None = None
    checkpoint: int | None = None
    """Step of the newest."""
    checkpoint_age: float | None = None
    """Seconds since it was written."""
    error: str | None = None
    """The last one, if the run failed of it."""
    host_errors: Mapping[str, int] = field(default_factory=dict)
    """Errors in all launches, by host."""


def read_status(folder: Path) -> list[Status]:
    """The runs in and under a folder: single ones, those of comparisons, groups of ablations.

    Reads only, so it may be called while they train.

    Args:
        folder: to search, at any depth.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not there, or no folder; expected one with runs in it")
    found = (_status(folder, place) for place in sorted(_places(folder)))
    return [each for each in found if each is not None]


def _places(folder: Path) -> Iterator[Path]:
    """Folders with a configuration."""
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if name != files.CHECKPOINTS]
        if files.CONFIG in names:
            yield Path(place)


def _status(top: Path, place: Path) -> Status | None:
    """None: the configuration is of something else; other programs' files have the name too."""
    name = place.relative_to(top).as_posix() if place != top else place.resolve().name
    try:
        config = json.loads((place / files.CONFIG).read_text("utf-8"))
        if not {"train", "runs"} & config.keys():
            return None
        first = next(iter(config["runs"].values())) if "runs" in config else config
        train = first["train"]
        steps = -(-train["examples"] // train["batch_size"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as damage:
        told = f"{files.CONFIG}: {type(damage).__name__}: {damage}"
        return Status(name, "unreadable", error=told)
    errors = journal.errors(place)
    state, error = _state(place, errors)
    last = _last_line(place / files.METRICS)
    checkpoints = steps_in(place / files.CHECKPOINTS)
    newest = checkpoints[-1] if checkpoints else None
    finished = state == "finished"
    return Status(
        run=name,
        state=state,
        steps=steps,
        step=steps if finished else last.get("step", newest),
        loss=last.get("loss"),
        tokens_per_second=last.get("tokens_per_second"),
        checkpoint=newest,
        checkpoint_age=None if newest is None else _age(place / files.CHECKPOINTS / str(newest)),
        error=error,
        host_errors=dict(Counter(str(line.get("host")) for line in errors)),
    )


def _state(place: Path, errors: list[dict[str, Any]]) -> tuple[State, str | None]:
    """The state, and the error that a failed run failed of."""
    if files.in_use(place):
        return "running", None
    if (place / files.TEST).exists() or (place / MEASURED).exists():
        return "finished", None
    launches = journal.launches(place)
    # An error before the last launch has been got over.
    since = launches[-1]["time"] if launches else ""
    if errors and errors[-1]["time"] >= since:
        return "failed", f"{errors[-1].get('error')}: {errors[-1].get('message')}"
    if (place / FAILED).exists():
        return "failed", _told(place / FAILED)
    if (place / files.SUMMARY).exists():
        return "finished", None
    begun = launches or (place / files.METRICS).exists() or (place / files.CHECKPOINTS).exists()
    return ("stopped" if begun else "never started"), None


def _told(path: Path) -> str:
    try:
        return str(json.loads(path.read_text("utf-8"))["error"])
    except (ValueError, LookupError, TypeError):
        return f"{path.name} is damaged"


def _last_line(path: Path) -> dict[str, Any]:
    """The last whole line of training."""
    if not path.exists():
        return {}
    for line in reversed(path.read_text("utf-8", errors="replace").splitlines()):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and value.get("kind") == "train":
            return value
    return {}


def _age(path: Path) -> float | None:
    """Seconds; None if it was removed meanwhile."""
    try:
        return max(time.time() - path.stat().st_mtime, 0.0)
    except FileNotFoundError:
        return None
