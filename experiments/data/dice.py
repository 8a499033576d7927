"""Choices at random for data that is generated: raw Philox output, which NumPy keeps the same for
ever."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Choices at random, the same for the same two numbers."""

    def __init__(self, seed: int, stream: int):
        self._random = np.random.Philox(key=np.array([seed, stream], np.uint64))

    def below(self, n: int) -> int:
        """One of 0 to n - 1."""
        return int(self._random.random_raw()) % n

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def picks(self, items: Sequence[T], n: int) -> list[T]:
        """`n` times one of the items, whichever were picked before."""
        places = self._random.random_raw(n) % np.uint64(len(items))
        return [items[place] for place in places.tolist()]

    def draw(self, items: Sequence[T], n: int) -> list[T]:
        """`n` different ones, in random order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(n)]
