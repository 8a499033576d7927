"""Which queries may look at which keys: `tile` is true where query i may look at key j.

Masks compose with `&` and `|`. A query that may look at nothing gets zeros.
"""

import functools
import operator
from collections.abc import Iterable

import jax.numpy as jnp

from attn.blocks import each_block
from attn.pieces import Index, Piece, Sizes, leaf, lift, piece, static
from attn.typing import Array, ArrayLike, Bool, Int, Shaped


class Mask(Piece):
    """Base of masks."""

    def tile(
        self, b: Index, n: Index, i: Int[Array, "Tq 1"], j: Int[Array, "1 Tk"]
    ) -> Bool[Array, "..."]:
        """Whether each of queries `i` may look at each of keys `j`; broadcasts to [Tq, Tk]."""
        raise NotImplementedError

    def __and__(self, other: "Mask") -> "Mask":
        return And(self, other) if isinstance(other, Mask) else NotImplemented

    def __or__(self, other: "Mask") -> "Mask":
        return Or(self, other) if isinstance(other, Mask) else NotImplemented


@piece
class And(Mask):
    """Allowed by both masks."""

    left: Mask
    right: Mask

    def tile(self, b, n, i, j):
        return self.left.tile(b, n, i, j) & self.right.tile(b, n, i, j)


@piece
class Or(Mask):
    """Allowed by either mask."""

    left: Mask
    right: Mask

    def tile(self, b, n, i, j):
        return self.left.tile(b, n, i, j) | self.right.tile(b, n, i, j)


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

    offset: int = static(default=0)

    def tile(self, b, n, i, j):
        return j <= i + self.offset


@piece
class Window(Mask):
    """i − left ≤ j ≤ i + right.

    Attributes:
        left: keys before the query's index that it sees; None is all.
        right: keys after it.
    """

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


@piece
class Prefix(Mask):
    """j < length or j ≤ i: a prefix that all see, then causal (the prefix-LM of Raffel 2019).

    Attributes:
        lengths: [B] integers, the prefixes' lengths.
    """

    lengths: ArrayLike = leaf("batch", "integer")

    def tile(self, b, n, i, j):
        return (j < self.lengths) | (j <= i)


@piece
class Lengths(Mask):
    """i < query length and j < key length: the rest is padding.

    Attributes:
        query: [B] integers; None is all T.
        key: [B] integers; None is all S.
    """

    query: ArrayLike | None = leaf("batch", "integer", default=None)
    key: ArrayLike | None = leaf("batch", "integer", default=None)

    def tile(self, b, n, i, j):
        # [Tq, 1] or [1, Tk] where one side is bounded: the kernel does the rest by broadcasting.
        if self.query is None:
            return jnp.ones_like(j, bool) if self.key is None else j < self.key
        return i < self.query if self.key is None else (i < self.query) & (j < self.key)


@piece
class Segments(Mask):
    """Query and key are of the same segment: several examples packed in one row.

    Attributes:
        query: [B, T] integers.
        key: [B, S] integers.
    """

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

    center: ArrayLike = leaf("batch head query", "floating")
    radius: int = static()

    def __post_init__(self):
        if self.radius < 0:
            raise ValueError(f"Local.radius: got {self.radius}; expected a number ≥ 0")

    def tile(self, b, n, i, j):
        exact = jnp.promote_types(self.center.dtype, jnp.float32)
        return jnp.abs(j - self.center.astype(exact)) <= self.radius


@piece
class Dense(Mask):
    """True where the array is.

    Attributes:
        array: boolean, broadcasts to [B, N, T, S].
    """

    array: ArrayLike = leaf("batch head query key", "boolean")

    def tile(self, b, n, i, j):
        return self.array


_PAIRS = 1 << 20
"""Pairs of a query and a key that `seen` looks at at once."""


def seen(mask: Mask, sizes: Sizes) -> tuple[Bool[Array, "B _ N"], Bool[Array, "B _ K"]]:
    """Which queries may look at a key, and which keys some query may look at.

    The rest of the keys (padding) may hold NaN: it must be cleared, for 0 · NaN is NaN wherever a
    product meets it, forward or backward. An axis of size 1 says the same of all.
    """
    rows, columns = sizes["query"], sizes["key"]
    block = max(1, min(rows, _PAIRS // max(columns, 1)))

    def some_queries(start: Index, mask: Mask, keys: Array) -> tuple[Array, Array]:
        i, j = start + jnp.arange(block)[:, None], jnp.arange(columns)[None, :]

        def head(b: Index, n: Index, mask: Mask) -> tuple[Array, Array]:
            allowed = (i < rows) & mask.tile(b, n, i, j)
            return allowed.any(axis=1), allowed.any(axis=0)

        queries, of_these = lift(head, (mask,), {**sizes, "query": block}, out_axis=1)
        return keys | of_these, queries

    none = jnp.zeros((sizes["batch"], columns, sizes["head"]), bool)
    keys, queries = each_block("query", rows, block, mask, some_queries, none)
    queries = jnp.moveaxis(queries, 0, 1).reshape(sizes["batch"], -1, sizes["head"])[:, :rows]
    return queries, keys.reshape(*keys.shape[:2], sizes["key_head"], -1).any(axis=-1)


def cleared(x: Shaped[Array, "#B L H D"], seen: Bool[Array, "B _ H"]) -> Shaped[Array, "#B L H D"]:
    """`x` with zeros where nothing is seen. Its batch may be 1, for the same in the whole batch."""
    if x.shape[0] == 1:
        seen = seen.any(axis=0, keepdims=True)
    return jnp.where(seen[..., None], x, jnp.zeros((), x.dtype))
