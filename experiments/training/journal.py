"""What befell a run: every launch and every error is a line in its folder, for people and `status`.

Nothing in training reads it. Several hosts share a folder, so each writes errors of its own file.
"""

import contextlib
import json
import platform
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from experiments.machine import hardware, versions
from experiments.secrets import redacted
from experiments.training.folder import ERRORS, LAUNCHES, writing
from experiments.training.signals import Interrupted


def note_launch(folder: Path, command: str) -> None:
    """Writes when, where and with which versions a run begins or goes on.

    Args:
        folder: the run's.
        command: what launched it ("": not known).

    Raises:
        InputError: the folder cannot be written.
    """
    line = {
        **_now(),
        "command": redacted(command),
        "hardware": hardware(),
        "versions": versions(),
    }
    with writing(folder / LAUNCHES):
        _append(folder / LAUNCHES, line)


@contextlib.contextmanager
def errors_noted(folder: Path) -> Iterator[None]:
    """Writes what goes wrong inside to this host's `errors-HOST.jsonl`, and lets it pass.

    Being asked to stop is no error.
    """
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        line = {
            **_now(),
            "error": type(error).__name__,
            "message": redacted(str(error)),
            "trace": redacted(traceback.format_exc()),
        }
        # On a disk that is full this line is lost too; the error itself must be what is told.
        with contextlib.suppress(OSError):
            _append(folder / f"{ERRORS}-{jax.process_index()}.jsonl", line)
        raise


def launches(folder: Path) -> list[dict[str, Any]]:
    """The launches of a run, the first one first; none of a run older than this record."""
    return _lines(folder / LAUNCHES)


def errors(folder: Path) -> list[dict[str, Any]]:
    """The errors of all hosts of a run, the latest last."""
    found = [line for path in folder.glob(f"{ERRORS}-*.jsonl") for line in _lines(path)]
    return sorted(found, key=lambda line: line["time"])


def _now() -> dict[str, Any]:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"time": time, "host": jax.process_index(), "name": platform.node()}


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        # After a new line: the one before may have been cut short.
        file.write(("\n" if file.tell() else "") + json.dumps(line, ensure_ascii=False))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines; one that was cut short by a kill or a full disk is no line."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("time"), str):
                found.append(value)
    return found
