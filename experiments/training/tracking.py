"""Weights & Biases beside TensorBoard, for those who ask for it."""

import importlib.util
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from experiments.errors import InputError
from experiments.secrets import redacted
from experiments.training.folder import WANDB_ID, write_text

Mode = Literal["offline", "online"]
PROJECT = "attn"


def check(mode: Mode | None) -> None:
    """Looks whether the package is there where it is asked for.

    Raises:
        InputError: it is not.
    """
    if mode is not None and importlib.util.find_spec("wandb") is None:
        raise InputError(
            f"train.wandb is {mode}, but wandb is not installed; expected it: "
            "pip install -e '.[wandb]'"
        )


class Tracking:
    """A run as Weights & Biases sees it: one, however often it was stopped and launched again."""

    def __init__(self, folder: Path, mode: Mode, config: Mapping[str, Any]):
        """Begins or goes on.

        Args:
            folder: the run's; it keeps the id, and what is not sent.
            mode: offline writes into the folder, for `wandb sync` to send later.
            config: all of it, as JSON.

        Raises:
            InputError: Weights & Biases refuses, such as for want of a key.
        """
        import wandb

        settings = wandb.Settings(
            # Numbers alone: no output, code or repository, and no command line.
            console="off", disable_git=True, save_code=False, silent=True, x_disable_meta=True,
            x_disable_stats=True,
        )  # fmt: skip
        try:
            self._run = wandb.init(
                project=PROJECT,
                name=folder.name,
                id=_id(folder),
                resume="allow" if mode == "online" else None,  # offline there is nobody to ask
                mode=mode,
                dir=str(folder),
                config=dict(config),
                settings=settings,
            )
        except wandb.Error as error:
            raise InputError(f"train.wandb is {mode}: {redacted(str(error))}") from error

    def write(self, kind: str, step: int, values: Mapping[str, float | int]) -> None:
        """The numbers of a step; of a step that was sent before a restart, the first count."""
        self._run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        """Waits until all is written or sent."""
        self._run.finish()


def _id(folder: Path) -> str:
    """The run's id, made at its first launch.

    Raises:
        InputError: the file that keeps it holds something else.
    """
    path = folder / WANDB_ID
    if not path.exists():
        write_text(path, secrets.token_hex(4) + "\n")
    found = path.read_text("utf-8").strip()
    # It becomes part of a folder's name.
    if not re.fullmatch(r"[0-9a-z]{1,32}", found):
        raise InputError(f"{path} holds {found[:40]!r}; expected small letters and digits")
    return found
