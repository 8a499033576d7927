"""Batches made ahead of the step that reads them."""

import time
from collections.abc import Callable, Iterator

import grain

from experiments.data.batches import Batch

AHEAD = 16
"""Batches that are ready or in the making."""


class Stream(Iterator[Batch]):
    """The batches of steps `start` to `stop` in order, made by Grain's threads meanwhile.

    Where it stands is the step alone, so there is nothing of it to save: a run that goes on opens
    a new stream at its step.
    """

    def __init__(self, batches: Callable[[int], Batch], start: int, stop: int):
        """Begins to read ahead at once.

        Args:
            batches: the batch of a step, such as `Batches`.
            start: first step.
            stop: the step after the last.
        """
        self.seconds_waited = 0.0
        """Spent in `next` so far: time that a device may have stood still for want of data."""
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
        dataset = grain.MapDataset.range(start, stop).map(batches).to_iter_dataset(options)
        self._iterator = iter(dataset)

    def __next__(self) -> Batch:
        began = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds_waited += time.perf_counter() - began


def stream(batches: Callable[[int], Batch], start: int, stop: int) -> Stream:
    """The batches of steps `start` to `stop`, read ahead."""
    return Stream(batches, start, stop)
