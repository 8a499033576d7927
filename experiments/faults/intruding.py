"""Launches into a folder that is another run's, or in use."""

from experiments.cli.parsing import USAGE
from experiments.faults import runs
from experiments.faults.ground import Ground
from experiments.faults.lost import Tally, expect
from experiments.training import folder as files


def reconfigured(ground: Ground) -> Tally:
    """Launches with another configuration: refused, and what differs is named."""
    tally = Tally("configuration changed")
    folder = ground.folder / "reconfigured"
    runs.unfinished(ground.whole, folder)
    with tally.trial():
        code, words = runs.finish(folder, "--train.seed", "1")
        expect(code == USAGE, f"exit code {code}; expected {USAGE}")
        expect("train.seed: 0 there, 1 now" in words, "what differs is not named")
        runs.expect_end(folder, ground.expected, tally)
    return tally


def contested(ground: Ground) -> Tally:
    """Launches twice: the second is refused, the first goes on to the same end."""
    tally = Tally("launched twice")
    folder = ground.folder / "contested"
    with tally.trial():
        first = runs.start(folder)
        runs.wait_for(folder / files.METRICS, first)
        code, words = runs.finish(folder)
        expect(code == USAGE, f"exit code {code}; expected {USAGE}")
        expect("is in use" in words, "that the folder is in use is not said")
        code = runs.join(first)
        expect(code == 0, f"the first ended with exit code {code}")
        runs.expect_end(folder, ground.expected, tally)
    return tally
