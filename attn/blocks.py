"""Calls in blocks: their arrays cut along an axis of the op, whatever pieces hold them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from attn.pieces import Leaf, map_leaves
from attn.typing import Array, ArrayLike, Int

_NAMES = {"batch": ("batch",), "query": ("query", "rows"), "key": ("key", "columns")}
"""What each axis is called by the arrays that run along it."""


class _Place(int):
    """An axis' position: a leaf of its own kind, to be told from arrays."""


def each_block(
    axis: str,
    length: int,
    block: int,
    tree: Any,
    body: Callable[[Array, Any, Any], tuple[Any, Any]],
    carry: Any = None,
) -> tuple[Any, Any]:
    """A loop over blocks of an axis: `lax.scan` of `body(start, block, carry) -> (carry, out)`.

    Args:
        axis: "batch", "query" or "key".
        length: of the axis.
        block: of each block; where it does not divide `length`, the last is filled up with zeros.
        tree: pieces, in tuples. Arrays that are the same along the axis go to every block whole.
        body: takes the first index of the block, `tree` cut to it, and the carry.
        carry: before the first block.

    Returns:
        The last carry and every `out`, stacked.
    """
    leaves, moving, whole = _taken_apart(axis, length, block, tree)

    def step(carry: Any, x: tuple[Array, Sequence[Array]]) -> tuple[Any, Any]:
        start, cut = x
        return body(start, whole(cut), carry)

    carry = as_varied(carry, leaves)
    starts = _starts(length, block)
    if starts.size > 1:
        return lax.scan(step, carry, (starts, moving))
    carry, out = step(carry, (jnp.int32(0), [x[0] for x in moving]))
    return carry, jax.tree.map(lambda x: x[None], out)


def every_block(
    axis: str, length: int, block: int, tree: Any, body: Callable[[Array, Any], Any]
) -> Any:
    """`each_block` without a carry, all blocks at once: `jax.vmap` of `body(start, block)`."""
    _, moving, whole = _taken_apart(axis, length, block, tree)
    return jax.vmap(lambda start, cut: body(start, whole(cut)))(_starts(length, block), moving)


def _starts(length: int, block: int) -> Int[Array, "blocks"]:
    return jnp.arange(-(-length // block), dtype=jnp.int32) * block


def _taken_apart(
    axis: str, length: int, block: int, tree: Any
) -> tuple[list[Any], list[Array], Callable[[Sequence[Array]], Any]]:
    """A tree's leaves, those along the axis in blocks, and how to make it whole of one block."""
    leaves, structure = jax.tree.flatten(tree)
    places = _places(tree, axis, length)
    blocks = -(-length // block)
    moving = [
        _cut(x, place, blocks, block)
        for x, place in zip(leaves, places, strict=True)
        if place is not None
    ]

    def whole(cut: Sequence[Array]) -> Any:
        fresh = iter(cut)
        here = [
            x if place is None else next(fresh) for x, place in zip(leaves, places, strict=True)
        ]
        return jax.tree.unflatten(structure, here)

    return leaves, moving, whole


def as_varied(tree: Any, leaves: Sequence[Any]) -> Any:
    """`tree`, in the eyes of `shard_map` differing between devices as far as any of `leaves` does.

    For the carry of a loop, whose type may not change on the way, and for what a loop reads: where
    devices share an array, they must add up its gradient after the loop and not inside, for they
    need not take the same turns.
    """
    axes = varying(leaves)

    def varied(x: Any) -> Any:
        missing = axes - varying([x])
        return lax.pcast(x, tuple(missing), to="varying") if missing else x

    return jax.tree.map(varied, tree)


def varying(leaves: Sequence[Any]) -> frozenset[Any]:
    """The axes of `shard_map`'s mesh along which any of the leaves differs."""
    arrays = [x for x in leaves if isinstance(x, jax.Array)]
    return frozenset().union(*(jax.typeof(x).manual_axis_type.varying for x in arrays))


def _places(tree: Any, axis: str, length: int) -> list[int | None]:
    """Of each array of a tree, which of its axes runs along `axis`; None where none does."""

    def find(name: str, array: Any, declared: Leaf) -> Any:
        for place, called in enumerate(declared.axes):
            if called in _NAMES[axis] and array.shape[place] == length > 1:
                return _Place(place)
        return array

    found = jax.tree.leaves(map_leaves(find, tree))
    return [int(x) if isinstance(x, _Place) else None for x in found]


def _cut(x: ArrayLike, place: int, blocks: int, block: int) -> Array:
    """[blocks, ..., block, ...]: an array's axis in parts, the parts in front."""
    missing = blocks * block - x.shape[place]
    if missing:
        x = jnp.pad(x, [(0, missing if k == place else 0) for k in range(x.ndim)])
    x = x.reshape(*x.shape[:place], blocks, block, *x.shape[place + 1 :])
    return jnp.moveaxis(x, place, 0)
