"""Where faults are put in, and what a run without any ends in."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ground:
    """What all faults share."""

    folder: Path
    """Of all runs."""
    whole: Path
    """The folder of the run without faults, finished."""
    expected: dict[str, Any]
    """Its outcome, which a run with faults must have as well."""
    chance: random.Random
    kills: int
    """How often a run is killed."""
    short: bool
    """Few of each kind."""
