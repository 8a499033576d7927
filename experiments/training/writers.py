"""The run's numbers, line by line: `metrics.jsonl`, TensorBoard events, Weights & Biases."""

import json
from collections.abc import Mapping
from pathlib import Path

from experiments.training.folder import METRICS, keep_lines, writing
from experiments.training.tracking import Tracking


class Writers:
    """Writes to all. Of a run that goes on, lines after the step it goes on from are dropped."""

    def __init__(self, folder: Path, step: int, tracking: Tracking | None = None):
        """Opens the files.

        Args:
            folder: the run's.
            step: steps taken so far.
            tracking: Weights & Biases, if it is to know.
        """
        # Where PyTorch is installed tensorboardX imports it: seconds, spent when there is need.
        from tensorboardX import SummaryWriter

        self._path, self._tracking = folder / METRICS, tracking
        keep_lines(self._path, step)
        with writing(self._path):
            self._lines = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
        # TensorBoard drops what an earlier file has from the purged step on.
        self._events = SummaryWriter(
            str(folder), purge_step=step + 1 if step else None, filename_suffix=f".from{step}"
        )

    def write(self, kind: str, step: int, values: Mapping[str, float | int]) -> None:
        """One line, on disk when this returns (a killed process loses none)."""
        with writing(self._path):
            self._lines.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._lines.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{kind}/{name}", value, step)
        if self._tracking is not None:
            self._tracking.write(kind, step, values)

    def close(self) -> None:
        """Flushes and closes all."""
        self._lines.close()
        self._events.close()
        if self._tracking is not None:
            self._tracking.close()


class NoWriters:
    """What the hosts but the first write: nothing."""

    def write(self, kind: str, step: int, values: Mapping[str, float | int]) -> None: ...

    def close(self) -> None: ...
