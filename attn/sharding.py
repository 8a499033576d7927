"""Meshes with Explicit axes, which are part of arrays' types, and how the op does without."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from attn.typing import Array


def unsharded(function: Callable[..., Any], tree: Any, query: Array, axes: Sequence[int]) -> Any:
    """`function(*tree)`, to which no mesh axis is Explicit.

    Else every operation on the way would have to say how its result is sharded, which kernels
    cannot say at all.

    Args:
        function: from arrays to arrays.
        tree: operands and pieces.
        query: an array after which the results are sharded.
        axes: of the query, for each of the results' first axes.
    """
    leaves, structure = jax.tree.flatten(tree)
    arrays = [x for x in leaves if isinstance(x, jax.Array)]
    mesh = _mesh(arrays)
    explicit = _explicit(mesh)
    if not explicit:
        return function(*tree)

    def run(*arrays: Array) -> Any:
        fresh = iter(arrays)
        here = [next(fresh) if isinstance(x, jax.Array) else x for x in leaves]
        return function(*jax.tree.unflatten(structure, here))

    spec = jax.typeof(query).sharding.spec
    results = NamedSharding(mesh, PartitionSpec(*(spec[axis] for axis in axes)))
    return jax.sharding.auto_axes(run, axes=explicit, out_sharding=results)(*arrays)


def _mesh(arrays: Sequence[Array]) -> AbstractMesh:
    """That of the program under trace or, where it has none, of the arrays."""
    here = jax.sharding.get_abstract_mesh()
    if here.axis_names:
        return here
    return next((mesh for x in arrays if _explicit(mesh := jax.typeof(x).sharding.mesh)), here)


def _explicit(mesh: AbstractMesh) -> tuple[Any, ...]:
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return tuple(name for name, kind in kinds if kind == AxisType.Explicit)
