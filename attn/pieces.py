"""What scores, mods, masks and weightings are made of: frozen pytrees whose arrays name their axes.

A piece declares of each array which of the op's axes it runs along::

    @piece
    class ALiBi(ScoreMod):
        slopes: ArrayLike = leaf("head", "floating")

That one line is what the op checks shapes by, what lifts the piece from one head to all of them,
and what tells a kernel how to cut the array into blocks. A missing leading axis and an axis of
size 1 mean "the same for all".
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

from attn.typing import Array, Int

Sizes = Mapping[str, int]
"""The op's axes: batch, query, key, head, key_head, query_width, key_width."""

SHARED = ("batch", "query", "key", "head", "key_head")
"""Axes along which an array may be the same for all; any other must have its very size."""

Index = Int[Array, ""]
"""A batch or head index."""

T = TypeVar("T")
_KINDS = {"floating": jnp.floating, "integer": jnp.integer, "boolean": jnp.bool_}


@dataclasses.dataclass(frozen=True)
class Leaf:
    """What a piece says of one of its arrays."""

    axes: tuple[str, ...]
    kind: str | None


def leaf(axes: str, kind: str | None = None, **default: Any) -> Any:
    """A field that holds an array (or None, where that is its default).

    Args:
        axes: names, separated by blanks: the op's axes (`Sizes`) or the piece's own. One's own must
            have one size throughout the piece. "query" comes before "key".
        kind: "floating", "integer" or "boolean"; None leaves the dtype open.
        **default: `default=...` as in `dataclasses.field`.
    """
    return dataclasses.field(metadata={"leaf": Leaf(tuple(axes.split()), kind)}, **default)


def static(**default: Any) -> Any:
    """A field that is fixed when the op is traced: no gradient reaches it."""
    return dataclasses.field(metadata={"static": True}, **default)


class Piece:
    """Base of all pieces."""

    by_place = True
    """Whether `tile` may make use of `b` or `n`, not only of arrays that run along them."""


@dataclass_transform(frozen_default=True, field_specifiers=(leaf, static))
def piece(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass and a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def map_leaves(function: Callable[[str, Any, Leaf], Any], tree: Any) -> Any:
    """`tree` with `function(name, array, leaf)` in place of each array that its pieces declare."""
    if isinstance(tree, tuple):
        return tuple(map_leaves(function, branch) for branch in tree)
    if not isinstance(tree, Piece):
        return tree
    changed = {}
    for field in dataclasses.fields(tree):  # type: ignore[arg-type]
        held, declared = getattr(tree, field.name), field.metadata.get("leaf")
        if declared is not None and held is not None:
            changed[field.name] = function(f"{type(tree).__name__}.{field.name}", held, declared)
        elif not field.metadata.get("static"):
            changed[field.name] = map_leaves(function, held)
    return dataclasses.replace(tree, **changed)  # type: ignore[type-var]


def checked(argument: str, tree: T, sizes: Sizes) -> T:
    """`tree` with its declared arrays made JAX arrays of their full rank.

    Raises:
        TypeError: an array is of another kind than declared.
        ValueError: an array does not broadcast to its axes.
    """
    own: dict[tuple[str, str], int] = {}

    def check(name: str, held: Any, declared: Leaf) -> Any:
        if declared.kind == "floating" and not declared.axes and isinstance(held, int | float):
            return float(held)
        array = jnp.asarray(held)
        if declared.kind and not jnp.issubdtype(array.dtype, _KINDS[declared.kind]):
            raise TypeError(f"{argument}: {name} has dtype {array.dtype}; expected {declared.kind}")
        shape = (1,) * (len(declared.axes) - array.ndim) + array.shape
        piece_name = name.split(".")[0]
        wanted = [
            sizes[axis] if axis in sizes else own.setdefault((piece_name, axis), size)
            for axis, size in zip(declared.axes, shape, strict=False)
        ]
        fits = len(shape) == len(declared.axes) and all(
            size == want or (size == 1 and axis in SHARED)
            for axis, size, want in zip(declared.axes, shape, wanted, strict=True)
        )
        if not fits:
            axes = ", ".join(f"{a} {w}" for a, w in zip(declared.axes, wanted, strict=False))
            raise ValueError(
                f"{argument}: {name} has shape {array.shape}; expected one that broadcasts to "
                f"[{axes}]"
            )
        return array if array.ndim == len(shape) else array.reshape(shape)

    return map_leaves(check, tree)


@piece
class _Indices(Piece):
    b: Any = leaf("batch")
    n: Any = leaf("head")


@dataclasses.dataclass(frozen=True)
class _Placed:
    """An array and, for each of its axes, the name of the axis that lifting takes away."""

    array: Any
    axes: tuple[str, ...]


def lift(head: Callable[..., Any], operands: tuple[Any, ...], sizes: Sizes, out_axis: int) -> Any:
    """Runs a function of one head over the batch and the heads by `vmap`.

    `head` is called with the batch index, the query head's index and `operands` in which each
    declared array has lost its batch and head axes; one that runs along queries or keys comes as
    [Tq or 1, Tk or 1]. Query heads that share a key head share its arrays: nothing is repeated.

    Args:
        head: function of the two indices and the operands; returns a pytree of arrays.
        operands: pytrees of pieces; arrays that no piece declares go to every head whole.
        sizes: the op's axes.
        out_axis: where the heads go in the results, not counting the batch.

    Returns:
        What `head` returns, with a batch axis in front and a head axis at `out_axis`.
    """
    split = {
        "batch": sizes["batch"],
        "key_head": sizes["key_head"],
        "group": sizes["head"] // sizes["key_head"],
    }
    place = _Indices(jnp.arange(sizes["batch"]), jnp.arange(sizes["head"]))
    placed = map_leaves(
        lambda name, array, declared: _place(array, declared, split), (place, *operands)
    )
    leaves, structure = jax.tree.flatten(placed, is_leaf=lambda x: isinstance(x, _Placed))
    arrays = [x.array if isinstance(x, _Placed) else x for x in leaves]
    axes = [x.axes if isinstance(x, _Placed) else () for x in leaves]

    def lifted(*arrays: Any) -> Any:
        indices, *operands = jax.tree.unflatten(structure, arrays)
        return head(indices.b, indices.n, *operands)

    # An axis of size 1 is left out rather than mapped: the products keep their plainest form.
    mapped = [axis for axis, size in split.items() if size != 1]
    for depth in reversed(range(len(mapped))):
        outer, axis = mapped[:depth], mapped[depth]
        inside = [[name for name in names if name not in outer] for names in axes]
        in_axes = tuple(names.index(axis) if axis in names else None for names in inside)
        lifted = jax.vmap(lifted, in_axes, 0 if axis == "batch" else out_axis)

    def shaped(out: Array) -> Array:
        shape = out.shape[1:] if "batch" in mapped else out.shape
        heads = len(mapped) - ("batch" in mapped)
        return out.reshape(
            sizes["batch"], *shape[:out_axis], sizes["head"], *shape[out_axis + heads :]
        )

    return jax.tree.map(shaped, lifted(*arrays))


def _place(array: Any, declared: Leaf, split: Sizes) -> _Placed:
    sized: list[tuple[str, int]] = []
    for axis, size in zip(declared.axes, jnp.shape(array), strict=True):
        if axis == "head" and size != 1:
            sized += [("key_head", split["key_head"]), ("group", split["group"])]
        elif axis == "query" and "key" not in declared.axes:
            sized += [("query", size), ("key", 1)]
        elif axis == "key" and "query" not in declared.axes:
            sized += [("query", 1), ("key", size)]
        else:
            sized.append((axis, size))
    kept = [(a, size) for a, size in sized if size != 1 or a not in ("batch", "head", *split)]
    shape = tuple(size for _, size in kept)
    names = tuple(axis for axis, _ in kept)
    return _Placed(array if jnp.shape(array) == shape else array.reshape(shape), names)
