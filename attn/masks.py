"""Which queries may look at which keys: `tile` is true where query i may look at key j.

Masks compose with `&` and `|`. A query that may look at nothing gets zeros.
"""

import functools
import operator
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from attn.blocks import each_block
from attn.pieces import Index, Piece, Sizes, leaf, lift, piece, static
from attn.typing import Array, ArrayLike, Bool, Int, Shaped

Range = tuple[Int[Array, "..."], Int[Array, "..."]]
"""Smallest and largest index of a block, or of each of many."""

Kinds = tuple[Bool[Array, "..."], Bool[Array, "..."]]


class Mask(Piece):
    """Base of masks."""

    def tile(
        self, b: Index, n: Index, i: Int[Array, "Tq 1"], j: Int[Array, "1 Tk"]
    ) -> Bool[Array, "..."]:
        """Whether each of queries `i` may look at each of keys `j`; broadcasts to [Tq, Tk]."""
        raise NotImplementedError

    def blocks(self, i: Range, j: Range) -> Kinds | None:
        """Whether some, and whether all, pairs of a block of queries and blocks of keys take part.

        Answered from the blocks' ranges: scalars of the one block of queries, [n] of the keys'. The
        mask's arrays are cut to the queries. Where that is cheaper, the first may be true and the
        second false without need. None asks the caller to look at the pairs.
        """
        return None

    def __and__(self, other: "Mask") -> "Mask":
        return And(self, other) if isinstance(other, Mask) else NotImplemented

    def __or__(self, other: "Mask") -> "Mask":
        return Or(self, other) if isinstance(other, Mask) else NotImplemented


@piece
class And(Mask):
    """Allowed by both masks."""

    join = staticmethod(operator.and_)

    left: Mask
    right: Mask

    def tile(self, b, n, i, j):
        return self.left.tile(b, n, i, j) & self.right.tile(b, n, i, j)


@piece
class Or(Mask):
    """Allowed by either mask."""

    join = staticmethod(operator.or_)

    left: Mask
    right: Mask

    def tile(self, b, n, i, j):
        return self.left.tile(b, n, i, j) | self.right.tile(b, n, i, j)


def by_place(mask: Mask | None) -> bool:
    """Whether a mask may differ between batches or heads by more than its arrays."""
    if isinstance(mask, And | Or):
        return by_place(mask.left) or by_place(mask.right)
    return mask is not None and mask.by_place


def joined(masks: Iterable[Mask | None]) -> Mask | None:
    """All of the masks that are not None, by `&`; None if all are."""
    found = [mask for mask in masks if mask is not None]
    return functools.reduce(operator.and_, found) if found else None


@piece
class Causal(Mask):
    """j ≤ i + offset.

    Attributes:
        offset: 0 aligns the first query to the first key; S − T the last query to the last key.
    """

    by_place = False

    offset: int = static(default=0)

    def tile(self, b, n, i, j):
        return j <= i + self.offset

    def blocks(self, i, j):
        return j[0] <= i[1] + self.offset, j[1] <= i[0] + self.offset


@piece
class Window(Mask):
    """i − left ≤ j ≤ i + right.

    Attributes:
        left: keys before the query's index that it sees; None is all.
        right: keys after it.
    """

    by_place = False

    left: int | None = static(default=None)
    right: int | None = static(default=None)

    def __post_init__(self):
        for name, size in (("left", self.left), ("right", self.right)):
            if size is not None and size < 0:
                raise ValueError(f"Window.{name}: got {size}; expected None or a number ≥ 0")

    def tile(self, b, n, i, j):
        allowed = jnp.ones(jnp.broadcast_shapes(i.shape, j.shape), bool)
        if self.left is not None:
            allowed &= j >= i - self.left
        if self.right is not None:
            allowed &= j <= i + self.right
        return allowed

    def blocks(self, i, j):
        some = every = jnp.ones(jnp.broadcast_shapes(i[0].shape, j[0].shape), bool)
        if self.left is not None:
            some, every = some & (j[1] >= i[0] - self.left), every & (j[0] >= i[1] - self.left)
        if self.right is not None:
            some, every = some & (j[0] <= i[1] + self.right), every & (j[1] <= i[0] + self.right)
        return some, every


@piece
class Prefix(Mask):
    """j < length or j ≤ i: a prefix that all see, then causal (the prefix-LM of Raffel 2019).

    Attributes:
        lengths: [B] integers, the prefixes' lengths.
    """

    by_place = False

    lengths: ArrayLike = leaf("batch", "integer")

    def tile(self, b, n, i, j):
        return (j < self.lengths) | (j <= i)

    def blocks(self, i, j):
        some = (j[0] < self.lengths) | (j[0] <= i[1])
        return some, (j[1] < self.lengths) | (j[1] <= i[0])


@piece
class Lengths(Mask):
    """i < query length and j < key length: the rest is padding.

    Attributes:
        query: [B] integers; None is all T.
        key: [B] integers; None is all S.
    """

    by_place = False

    query: ArrayLike | None = leaf("batch", "integer", default=None)
    key: ArrayLike | None = leaf("batch", "integer", default=None)

    def tile(self, b, n, i, j):
        # [Tq, 1] or [1, Tk] where one side is bounded: the kernel does the rest by broadcasting.
        if self.query is None:
            return jnp.ones_like(j, bool) if self.key is None else j < self.key
        return i < self.query if self.key is None else (i < self.query) & (j < self.key)

    def blocks(self, i, j):
        some = every = jnp.ones(jnp.broadcast_shapes(i[0].shape, j[0].shape), bool)
        for index, length in ((i, self.query), (j, self.key)):
            if length is not None:
                some, every = some & (index[0] < length), every & (index[1] < length)
        return some, every


@piece
class Segments(Mask):
    """Query and key are of the same segment: several examples packed in one row.

    Attributes:
        query: [B, T] integers.
        key: [B, S] integers.
    """

    by_place = False

    query: ArrayLike = leaf("batch query", "integer")
    key: ArrayLike = leaf("batch key", "integer")

    def tile(self, b, n, i, j):
        return self.query == self.key


@piece
class Local(Mask):
    """|j − center| ≤ radius (Luong 2015, section 3.2: the window [p_t − D, p_t + D]).

    Attributes:
        center: [B, N, T] floating, in places of the key. No gradient: a mask is a step.
        radius: a number ≥ 0.
    """

    by_place = False

    center: ArrayLike = leaf("batch head query", "floating")
    radius: int = static()

    def __post_init__(self):
        if self.radius < 0:
            raise ValueError(f"Local.radius: got {self.radius}; expected a number ≥ 0")

    def tile(self, b, n, i, j):
        exact = jnp.promote_types(self.center.dtype, jnp.float32)
        return jnp.abs(j - self.center.astype(exact)) <= self.radius

    def blocks(self, i, j):
        exact = jnp.promote_types(self.center.dtype, jnp.float32)
        left, right = (f(self.center.astype(exact)) for f in (jnp.min, jnp.max))
        some = (j[1] >= left - self.radius) & (j[0] <= right + self.radius)
        return some, (j[0] >= right - self.radius) & (j[1] <= left + self.radius)


@piece
class Dense(Mask):
    """True where the array is.

    Attributes:
        array: boolean, broadcasts to [B, N, T, S].
    """

    by_place = False

    array: ArrayLike = leaf("batch head query key", "boolean")

    def tile(self, b, n, i, j):
        return self.array


@piece
class Places(Piece):
    """Positions of queries and keys where these are not their indices."""

    query: ArrayLike | None = leaf("batch query", "integer", default=None)
    key: ArrayLike | None = leaf("batch key", "integer", default=None)

    def of(self, row: Array, column: Array) -> tuple[Array, Array]:
        """What pieces take for the indices of a block of one head's queries and keys."""
        i = row if self.query is None else self.query
        return i, column if self.key is None else self.key


_PAIRS = 1 << 20
"""Pairs of a query and a key that `seen` looks at at once."""


def seen(
    mask: Mask,
    sizes: Sizes,
    places: Places = Places(),  # noqa: B008 (immutable)
) -> tuple[Bool[Array, "B _ N"], Bool[Array, "B _ K"]]:
    """Which queries may look at a key, and which keys some query may look at.

    The rest of the keys (padding) may hold NaN: it must be cleared, for 0 · NaN is NaN wherever a
    product meets it, forward or backward. An axis of size 1 says the same of all.

    Args:
        mask: with arrays of their full rank.
        sizes: the op's axes.
        places: of queries and keys.
    """
    rows, columns = sizes["query"], sizes["key"]
    block = max(1, min(rows, _PAIRS // max(columns, 1)))

    def some_queries(start: Index, operands: Any, keys: Array) -> tuple[Array, Array]:
        row, column = start + jnp.arange(block)[:, None], jnp.arange(columns)[None, :]

        def head(b: Index, n: Index, mask: Mask, places: Places) -> tuple[Array, Array]:
            i, j = places.of(row, column)
            allowed = (row < rows) & mask.tile(b, n, i, j)
            return allowed.any(axis=1), allowed.any(axis=0)

        queries, of_these = lift(head, operands, {**sizes, "query": block}, out_axis=1)
        return keys | of_these, queries

    none = jnp.zeros((sizes["batch"], columns, sizes["head"]), bool)
    keys, queries = each_block("query", rows, block, (mask, places), some_queries, none)
    queries = jnp.moveaxis(queries, 0, 1).reshape(sizes["batch"], -1, sizes["head"])[:, :rows]
    return queries, keys.reshape(*keys.shape[:2], sizes["key_head"], -1).any(axis=-1)


def cleared(x: Shaped[Array, "#B L H D"], seen: Bool[Array, "B _ H"]) -> Shaped[Array, "#B L H D"]:
    """`x` with zeros where nothing is seen. Its batch may be 1, for the same in the whole batch."""
    if x.shape[0] == 1:
        seen = seen.any(axis=0, keepdims=True)
    return jnp.where(seen[..., None], x, jnp.zeros((), x.dtype))
