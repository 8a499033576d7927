"""`kill -9` at random instants of every phase of training."""

import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

from experiments.faults import phases, runs
from experiments.faults.ground import Ground
from experiments.faults.lost import Lost, Tally

SPANS = {phases.COMPILE: 0.5, phases.STEP: 0.3, phases.WRITE: 0.03, phases.EVALUATION: 0.03}
"""Seconds at most from when a phase is seen to begin to the kill: about as long as it lasts."""


def killed(ground: Ground) -> Tally:
    """Kills a run again and again until it is finished, then another, as often as is asked for.

    Each time one of the phases is waited for, in turn; where the kill then falls is noted by the
    process that dies.
    """
    tally, struck, number = Tally("kill -9"), Counter[str](), 0
    while tally.times < ground.kills:
        folder, times = ground.folder / f"killed-{number}", 0
        number += 1
        try:
            while tally.times + times < ground.kills:
                aim = list(SPANS)[(tally.times + times) % len(SPANS)]
                process = runs.start(folder, before=phases.tell)
                if not _reached(aim, folder, process):
                    break
                time.sleep(ground.chance.uniform(0, SPANS[aim]))
                process.kill()
                process.join()
                struck[phases.phase_of(folder)] += 1
                times += 1
            runs.expect_end(folder, ground.expected, tally)
        except Lost as error:
            tally.notes.append(str(error))
        else:
            tally.survived += times
        tally.times += times
    tally.notes.insert(0, ", ".join(f"{phase} {count}" for phase, count in struck.items()))
    return tally


def _reached(aim: str, folder: Path, process: BaseProcess) -> bool:
    """Waits until a phase begins; False where the run ends before.

    Raises:
        Lost: it takes too long; the process is killed.
    """
    end = time.monotonic() + runs.LIMIT
    while phases.phase_of(folder) != aim:
        if process.exitcode is not None:
            return False
        if time.monotonic() > end:
            process.kill()
            raise Lost(f"{folder.name}: {aim} did not begin within {runs.LIMIT} s")
        time.sleep(0.001)
    return True
