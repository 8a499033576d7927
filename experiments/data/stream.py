"""Batches made ahead of the step that reads them."""

import time
from collections.abc import Callable, Iterator
from itertools import chain

import grain

from experiments.data.batches import Batch

BLOCK = 8
"""Batches that change hands at once: threads that meet at every step wait for each other."""
AHEAD = 4
"""Blocks that are ready or in the making."""


class Stream(Iterator[Batch]):
    """The batches of steps `start` to `stop` in order, made by Grain's thread meanwhile.

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

        def block(first: int) -> list[Batch]:
            return [batches(step) for step in range(first, min(first + BLOCK, stop))]

        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
        blocks = iter(
            grain.MapDataset.range(start, stop, BLOCK).map(block).to_iter_dataset(options)
        )
        blocks.start_prefetch()
        self._iterator = chain.from_iterable(blocks)

    def __next__(self) -> Batch:
        began = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds_waited += time.perf_counter() - began
