"""A trace of a few steps, for xprof."""

import logging
from pathlib import Path

import jax

from experiments.training.folder import PROFILE, writing

log = logging.getLogger(__name__)

FIRST, LAST = 10, 19


class Profile:
    """Traces steps `FIRST` to `LAST`, counted from where this process began."""

    def __init__(self, folder: Path, start: int, steps: int, wanted: bool):
        """Traces nothing yet.

        Args:
            folder: the run's.
            start: the step this process begins with.
            steps: of the whole run.
            wanted: whether to trace at all.
        """
        self._folder = folder / PROFILE
        self._first, self._last = start + FIRST, min(start + LAST, steps - 1)
        self._running = False
        self._wanted = wanted
        if wanted and self._first >= steps:
            log.warning(
                "no trace: only %d steps are left, it begins after %d", steps - start, FIRST
            )

    def before(self, step: int) -> None:
        """Call before a step, counted from 0, is dispatched."""
        if self._wanted and step == self._first:
            with writing(self._folder):
                self._folder.mkdir(exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, metrics: object) -> None:
        """Call after it was dispatched; `metrics` are its result."""
        if self._running and step == self._last:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Ends a trace under way."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
