"""Runs of the toy model, in a process that may be killed."""

import logging
import sys
from pathlib import Path
from typing import Any

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
