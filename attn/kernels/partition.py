"""How large the blocks of a call are where a core's cache is what counts."""

import math
from dataclasses import dataclass

from attn.kernels.call import Call
from attn.pieces import Sizes

BUDGET = 1 << 20
"""Numbers in the largest array that a block makes."""
LEAST = 8
"""Queries and keys of a block at least, where there are so many."""


@dataclass(frozen=True)
class Blocks:
    """Sizes of a block along the axes of a call; it has all heads."""

    batch: int
    query: int
    key: int

    @classmethod
    def of(cls, call: Call) -> "Blocks":
        """As large as the budget allows: about square, and only then more of the batch.

        Blocks of an axis are of about one size, so that the last one is no block of padding.
        """
        sizes = call.sizes
        numbers = call.score.units(sizes["query_width"]) * sizes["head"]
        pairs = max(BUDGET // numbers, LEAST * LEAST)
        if 4 * math.prod(sizes[axis] for axis in ("batch", "query", "key")) <= 5 * pairs:
            return cls(sizes["batch"], sizes["query"], sizes["key"])  # hardly more than a block
        side = 1 << (math.isqrt(pairs).bit_length() - 1)
        key = _even(sizes["key"], 2 * side if 2 * side * side <= pairs else side)
        query = _even(sizes["query"], pairs // key)
        batch = _even(sizes["batch"], pairs // (key * query))
        return cls(batch, query, key)

    def hold(self, sizes: Sizes) -> bool:
        """Whether one block is the whole call."""
        return all(getattr(self, axis) >= sizes[axis] for axis in ("batch", "query", "key"))


def _even(size: int, most: int) -> int:
    """The fewest parts of at most `most`, all of about one size: how large they are."""
    if size <= most:
        return max(size, 1)
    return -(-size // -(-size // max(most, 1)))
