"""What is done to a score before the softmax: `tile` takes a block of scores and returns another.

They run in the order of the tuple they come in. All arithmetic is in the scores' dtype.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from attn.pieces import Index, Piece, leaf, piece, static
from attn.typing import Array, ArrayLike, Float, Int


class ScoreMod(Piece):
    """Base of mods."""

    def tile(
        self,
        s: Float[Array, "Tq Tk"],
        b: Index,
        n: Index,
        i: Int[Array, "Tq 1"],
        j: Int[Array, "1 Tk"],
    ) -> Float[Array, "Tq Tk"]:
        """Scores after the mod, of queries `i` and keys `j` of batch `b` and query head `n`."""
        raise NotImplementedError


@piece
class SoftCap(ScoreMod):
    """s ← cap · tanh(s / cap): scores stay within (−cap, cap) (Gemma 2).

    Attributes:
        cap: a positive number.
    """

    by_place = False

    cap: float | int = static()

    def __post_init__(self):
        if not self.cap > 0:
            raise ValueError(f"SoftCap.cap: got {self.cap}; expected a positive number")

    def tile(self, s, b, n, i, j):
        return self.cap * jnp.tanh(s / self.cap)


@piece
class Bias(ScoreMod):
    """s ← s + array. An entry of −inf forbids its pair.

    Attributes:
        array: floating, broadcasts to [B, N, T, S].
    """

    by_place = False

    array: ArrayLike = leaf("batch head query key", "floating")

    def tile(self, s, b, n, i, j):
        return s + self.array.astype(s.dtype)


@piece
class ALiBi(ScoreMod):
    """s ← s − slope · |i − j| (Press 2021).

    Attributes:
        slopes: [N]; the paper's are `alibi_slopes(N)`.
    """

    by_place = False

    slopes: ArrayLike = leaf("head", "floating")

    def tile(self, s, b, n, i, j):
        return s - self.slopes.astype(s.dtype) * jnp.abs(i - j).astype(s.dtype)


def alibi_slopes(heads: int) -> Float[Array, "N"]:
    """The paper's slopes 2^(−8n/N) for n = 1 … N."""
    return jnp.exp2(-8.0 * jnp.arange(1, heads + 1, dtype=jnp.float32) / heads)


@piece
class RelativeBias(ScoreMod):
    """s ← s + table[bucket(j − i)]: T5's relative position bias (Raffel 2019, section 2.1).

    Near distances have a bucket each, farther ones share buckets that widen as the logarithm.

    Attributes:
        table: [buckets, N].
        bidirectional: half of the buckets are for keys after the query; if false, these all fall
            into bucket 0.
        max_distance: distances from here on share the last bucket.
    """

    by_place = False

    table: ArrayLike = leaf("buckets head", "floating")
    bidirectional: bool = static(default=True)
    max_distance: int = static(default=128)

    def tile(self, s, b, n, i, j):
        ways, starts = _ranges(self.table.shape[0], self.bidirectional, self.max_distance)
        table = [entry.astype(s.dtype) for entry in self.table]
        distance = j - i
        bias = _stepwise(jnp.maximum(-distance, 0), table[:ways], starts)
        if self.bidirectional:
            after = _stepwise(distance, table[ways:], starts)
            bias = jnp.where(distance > 0, after, bias)
        return s + bias


def relative_bucket(
    distance: Int[Array, "..."], buckets: int, bidirectional: bool, max_distance: int
) -> Int[Array, "..."]:
    """T5's bucket of `distance` = key index − query index, in [0, buckets).

    Raises:
        ValueError: too few buckets, or a `max_distance` within those that have a bucket each.
    """
    ways, starts = _ranges(buckets, bidirectional, max_distance)
    far = jnp.abs(distance) if bidirectional else jnp.maximum(-distance, 0)
    bucket = _stepwise(far, list(range(ways)), starts)
    return bucket + jnp.where(distance > 0, ways, 0) if bidirectional else bucket


def _ranges(buckets: int, bidirectional: bool, max_distance: int) -> tuple[int, list[int]]:
    """How many buckets a direction has, and the distance at which each but the first begins."""
    ways = buckets // 2 if bidirectional else buckets
    exact = ways // 2
    if exact < 1 or max_distance <= exact:
        raise ValueError(
            f"RelativeBias: got {buckets} buckets and max_distance {max_distance}; expected at "
            f"least {4 if bidirectional else 2} buckets and a max_distance beyond {exact}"
        )
    # Where the wide buckets begin: the inverse of T5's formula, free of its float32 logarithm.
    growth = math.log(max_distance / exact) / (ways - exact)
    wide = np.ceil(exact * np.exp(growth * np.arange(1, ways - exact)) - 1e-6).astype(np.int32)
    return ways, [*range(1, exact + 1), *wide.tolist()]


def _stepwise(far: Int[Array, "..."], values: Sequence[Any], starts: list[int]) -> Array:
    """`values[k]` from `starts[k - 1]` on: comparisons, for a kernel cannot look up."""
    held = jnp.broadcast_to(jnp.asarray(values[0]), far.shape)
    for value, start in zip(values[1:], starts, strict=True):
        held = jnp.where(far >= start, value, held)
    return held


@piece
class Mod(ScoreMod):
    """s ← f(s, b, n, i, j, params): a function of one's own.

    Attributes:
        f: takes scores [Tq, Tk], batch and query-head index, query indices [Tq, 1], key indices
            [1, Tk] and `params`; returns scores. One object for all calls, or `jit` traces anew.
        params: a pytree of arrays, which gradients reach.
    """

    f: Callable[..., Array] = static()
    params: Any = None

    def tile(self, s, b, n, i, j):
        return self.f(s, b, n, i, j, self.params).astype(s.dtype)
