"""SIGTERM, as schedulers send it before they take a machine away."""

import os
import re
import signal
import time

from experiments.faults import runs
from experiments.faults.ground import Ground
from experiments.faults.lost import Tally, expect
from experiments.hosts import STOPPED
from experiments.training import folder as files

GRACE = 30.0
"""Seconds until the machine is gone."""


def terminated(ground: Ground) -> Tally:
    """Asks runs to stop: a checkpoint is written and the exit code is 42, in time."""
    tally = Tally("SIGTERM")
    for number in range(1 if ground.short else 3):
        folder = ground.folder / f"terminated-{number}"
        with tally.trial():
            process = runs.start(folder)
            runs.wait_for(folder / files.CHECKPOINTS / "6", process)
            time.sleep(ground.chance.uniform(0, 0.2))
            os.kill(process.pid or 0, signal.SIGTERM)
            code = runs.join(process, GRACE)
            expect(code == STOPPED, f"exit code {code}; expected {STOPPED}")
            told = re.search(
                r"stopped by SIGTERM after step (\d+), which is saved", runs.said(folder)
            )
            expect(told is not None, "it did not say after which step it stopped")
            step = told[1] if told else ""
            saved = (folder / files.CHECKPOINTS / step).is_dir()
            expect(saved, f"step {step} was not saved")
            words = runs.expect_end(folder, ground.expected, tally)
            expect(f"goes on from step {step}" in words, f"it did not go on from step {step}")
    return tally
