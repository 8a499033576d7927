"""The run's numbers, line by line: `metrics.jsonl` and TensorBoard events."""

import json
from collections.abc import Mapping
from pathlib import Path

from experiments.training.folder import METRICS, keep_lines, writing


class Writers:
    """Writes to both. Of a run that goes on, lines after the step it goes on from are dropped."""

    def __init__(self, folder: Path, step: int):
        """Opens the files.

        Args:
            folder: the run's.
            step: steps taken so far.
        """
        # Where PyTorch is installed tensorboardX imports it: seconds, spent when there is need.
        from tensorboardX import SummaryWriter

        self._path = folder / METRICS
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

    def close(self) -> None:
        """Flushes and closes both."""
        self._lines.close()
        self._events.close()


class NoWriters:
    """What the hosts but the first write: nothing."""

    def write(self, kind: str, step: int, values: Mapping[str, float | int]) -> None: ...

    def close(self) -> None: ...
