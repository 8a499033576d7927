"""Runs of the toy model, in a process that may be killed."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.faults.processes import cache_compilations

DIVERGED, INTERRUPTED, REFUSED = 30, 42, 2


def config(changes: dict[str, Any]) -> Any:
    """The run's configuration; only where annotations are not checked, as a toy is no model."""
    from experiments.config import Config, OptimizerConfig, TaskConfig, TrainConfig
    from tests.experiments.training.toy import ToyConfig

    train = {"batch_size": 8, "examples": 8 * 60, "log_every": 4, "evaluate_every": 9}
    train |= {"save_every": 2, "keep": 2}
    optimizer = {"learning_rate": 0.05, "warmup_steps": 5, "ema": 0.9}
    return Config(
        model=ToyConfig(dropout=0.2, width=changes.get("width", 8)),
        task=TaskConfig(buckets=2),
        optimizer=OptimizerConfig(**optimizer | changes.get("optimizer", {})),
        train=TrainConfig(**train | changes.get("train", {})),
    )


def toy_run(folder: Path, changes: dict[str, Any], says: str | None = None) -> None:
    """Trains in `folder`; a file beside it (`folder`.txt) has what was said."""
    from experiments.errors import InputError
    from experiments.training.errors import DivergedError
    from experiments.training.loop import train
    from experiments.training.signals import Interrupted
    from tests.experiments.training.toy_task import reversal

    cache_compilations(folder.parent / "compiled")
    path = folder.with_name(says or f"{folder.name}.txt")
    said = open(path, "a", buffering=1)  # noqa: SIM115 - open until the very end
    sys.stdout = sys.stderr = said
    logging.basicConfig(stream=said, force=True)
    try:
        train(config(changes), reversal(), folder, console=Console(file=said, width=200))
    except (DivergedError, Interrupted, InputError) as error:
        print(type(error).__name__, error)
        codes = {DivergedError: DIVERGED, Interrupted: INTERRUPTED, InputError: REFUSED}
        sys.exit(codes[type(error)])


def disk_fills(folder: Path, changes: dict[str, Any]) -> None:
    """A run that can write no file of more than 40 KB from its third checkpoint on."""
    import resource

    from experiments.training.checkpoint import Checkpoints

    save = Checkpoints.save

    def save_in_little_room(self: Checkpoints, step: int, *args: Any) -> None:
        if step >= 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
        save(self, step, *args)

    Checkpoints.save = save_in_little_room
    toy_run(folder, changes)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves and that is not a time: final state, best step, lines of metrics."""
    from experiments.training.checkpoint import _read, steps_in

    last = steps_in(folder / "checkpoints")[-1]
    state = _read(folder / "checkpoints", last, "state")["state"]
    summary = json.loads((folder / "summary.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "last": last,
        "state": {name: np.asarray(array).tobytes() for name, array in state.items()},
        "summary": _timeless(summary),
        "lines": [_timeless(line) for line in lines],
    }


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if "second" not in name}
