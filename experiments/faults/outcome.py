"""What two runs must have in common to be the same run."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.training import folder as files
from experiments.training.checkpoint import arrays_in, steps_in


def outcome(folder: Path) -> dict[str, Any]:
    """All that a finished run leaves and that is not a time.

    Returns:
        "last" step, "state" by name as bytes, "summary", and "lines" of metrics.

    Raises:
        InputError: it holds no checkpoint, or the last one is damaged.
    """
    checkpoints = folder / files.CHECKPOINTS
    last = max(steps_in(checkpoints), default=0)
    state = arrays_in(checkpoints, last)
    summary = json.loads((folder / files.SUMMARY).read_text("utf-8"))
    lines = (folder / files.METRICS).read_text("utf-8").splitlines()
    return {
        "last": last,
        "state": {name: np.asarray(array).tobytes() for name, array in state.items()},
        "summary": _timeless(summary),
        "lines": [_timeless(json.loads(line)) for line in lines],
    }


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if "second" not in name}
