"""Pieces as a kernel can run them: what depends on the batch and the head alone is done before.

A kernel holds blocks of arrays that run along the op's axes. It cannot look up an entry of a table
by the head's number, nor unpack a random key. So a piece that holds other arrays is taken apart:
its `tile` is traced, every number in it that is the same for all pairs of a batch and a head is
computed outside, in plain JAX that gradients go through, and the kernel runs the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from attn.errors import Unsupported
from attn.masks import And, Mask, Or
from attn.mods import ScoreMod
from attn.pieces import SHARED, Index, Piece, Sizes, leaf, lift, map_leaves, piece, static
from attn.typing import Array, ArrayLike
from attn.weightings import Weighting


def hoisted(tree: Any, sizes: Sizes, dtype: Any) -> Any:
    """A mod, mask or weighting, or a tuple of such, all of whose arrays run along the op's axes.

    Args:
        tree: pieces with arrays of their full rank.
        sizes: the op's axes.
        dtype: of scores and weights.

    Raises:
        Unsupported: a piece looks up an array by the index of a query or a key.
    """
    if isinstance(tree, tuple):
        return tuple(hoisted(each, sizes, dtype) for each in tree)
    if isinstance(tree, And | Or):
        left, right = (hoisted(half, sizes, dtype) for half in (tree.left, tree.right))
        return type(tree)(left, right)
    return tree if tree is None or aligned(tree) else _taken_apart(tree, sizes, dtype)


def aligned(tree: Piece) -> bool:
    """Whether all arrays of a piece run along the op's axes, and are arrays of numbers."""
    fit = []

    def look(name: str, array: Any, declared: Any) -> None:
        number = not jnp.issubdtype(jnp.result_type(array), jax.dtypes.extended)
        fit.append(number and all(axis in SHARED for axis in declared.axes))

    map_leaves(look, tree)
    return all(fit) and len(fit) == len(jax.tree.leaves(tree))


@dataclass(frozen=True)
class _Origin:
    """A piece as one head sees it, without its arrays."""

    name: str
    structure: Any
    shapes: tuple[Any, ...]


@piece
class _Number(Piece):
    array: ArrayLike = leaf("batch head")


@piece
class _Mod(ScoreMod):
    origin: _Origin = static()
    numbers: tuple[_Number, ...]

    def tile(self, s, b, n, i, j):
        return _run_rest(self, s, b, n, i, j)


@piece
class _Mask(Mask):
    origin: _Origin = static()
    numbers: tuple[_Number, ...]

    def tile(self, b, n, i, j):
        return _run_rest(self, b, n, i, j)


@piece
class _Weighting(Weighting):
    origin: _Origin = static()
    numbers: tuple[_Number, ...]

    def tile(self, p, b, n, i, j):
        return _run_rest(self, p, b, n, i, j)


def _taken_apart(tree: Piece, sizes: Sizes, dtype: Any) -> Piece:
    if any(axis in ("query", "key") for axis in _axes(tree)):
        raise Unsupported(f"{type(tree).__name__} holds arrays along queries or keys and others")
    origins = []

    def head(b: Index, n: Index, tree: Any) -> list[Array]:
        leaves, structure = jax.tree.flatten(tree)
        origin = _Origin(type(tree).__name__, structure, tuple(map(jax.typeof, leaves)))
        origins.append(origin)
        takes_scores = isinstance(tree, ScoreMod | Weighting)
        scores = (jax.ShapeDtypeStruct((2, 3), dtype),) if takes_scores else ()
        known, _ = _split(origin, scores, (2, 3))
        return known(leaves, b.astype(jnp.int32), n.astype(jnp.int32))

    numbers = lift(head, (tree,), sizes, out_axis=0)
    rest: Any = next(
        rest
        for base, rest in ((ScoreMod, _Mod), (Mask, _Mask), (Weighting, _Weighting))
        if isinstance(tree, base)
    )
    return rest(origins[0], tuple(map(_Number, numbers)))


def _axes(tree: Piece) -> set[str]:
    found: set[str] = set()
    map_leaves(lambda name, array, declared: found.update(declared.axes), tree)
    return found


def _run_rest(rest: Any, *given: Array) -> Any:
    *scores, _, _, i, j = given
    _, run = _split(rest.origin, tuple(scores), (i.shape[0], j.shape[1]))
    return run(given, [number.array for number in rest.numbers])


def _split(
    origin: _Origin, scores: tuple[Any, ...], block: tuple[int, int]
) -> tuple[Callable[..., list[Array]], Callable[..., Array]]:
    """The two parts of a piece's `tile` on a block.

    Which numbers pass from the first to the second does not depend on the block's size.

    Returns:
        A function of the piece's arrays and of the batch and head indices, to these numbers; and
        one of what `tile` takes and of the numbers, to what `tile` returns.
    """
    rows, columns = block
    number = jax.ShapeDtypeStruct((), jnp.int32)
    i, j = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((rows, 1), (1, columns)))
    args = *scores, number, number, i, j

    def tile(leaves: tuple[Any, ...], *args: Any) -> Any:
        return jax.tree.unflatten(origin.structure, leaves).tile(*args)

    with jax.disable_jit():  # so that no call hides which number comes from where
        closed = jax.make_jaxpr(tile)(origin.shapes, *args)
    jaxpr = closed.jaxpr
    held, given = jaxpr.invars[: len(origin.shapes)], jaxpr.invars[len(origin.shapes) :]
    place = given[len(scores) : len(scores) + 2]
    same = {*held, *jaxpr.constvars, *place}
    for equation in jaxpr.eqns:
        if all(isinstance(v, jex.Literal) or v in same for v in equation.invars):
            same.update(equation.outvars)
    inside, passed = _needed_inside(jaxpr, same, given, origin)

    def known(leaves: Any, b: Array, n: Array) -> list[Array]:
        first = [e for e in jaxpr.eqns if same.issuperset(e.outvars)]
        program = _program(jaxpr, first, [*jaxpr.constvars, *held, *place], passed)
        return program(*closed.consts, *leaves, b, n)

    def run(args: Any, numbers: Any) -> Array:
        rest = [e for e in jaxpr.eqns if not inside.isdisjoint(e.outvars)]
        (out,) = _program(jaxpr, rest, [*given, *passed], jaxpr.outvars)(*args, *numbers)
        return out

    return known, run


def _needed_inside(
    jaxpr: Any, same: set[Any], given: list[Any], origin: _Origin
) -> tuple[set[Any], list[Any]]:
    """What a kernel computes itself, and the numbers it is handed.

    Args:
        jaxpr: of a piece's `tile`.
        same: variables that are the same for all pairs of a batch and a head.
        given: the arguments that the kernel has.
        origin: for the error.
    """
    makers = {v: equation for equation in jaxpr.eqns for v in equation.outvars}
    inside: set[Any] = set()
    passed: list[Any] = []
    wanted = list(jaxpr.outvars)
    while wanted:
        v = wanted.pop()
        if isinstance(v, jex.Literal) or v in inside or v in given or v in passed:
            continue
        number = v.aval.shape == () and not jnp.issubdtype(v.aval.dtype, jax.dtypes.extended)
        if v in same and number:
            passed.append(v)
        elif v in makers:
            inside.update(makers[v].outvars)
            wanted.extend(makers[v].invars)
        else:
            raise Unsupported(
                f"{origin.name} looks up an array of shape {v.aval.shape} by the index of a query "
                "or a key; the backends that can are xla and reference"
            )
    return inside, passed


def _program(jaxpr: Any, equations: list[Any], takes: list[Any], gives: list[Any]) -> Callable:
    """Some of a program's equations as a function."""
    names = jaxpr.debug_info.with_unknown_names()
    part = jaxpr.replace(
        constvars=[], invars=takes, outvars=gives, eqns=equations, debug_info=names
    )
    return jex.jaxpr_as_fun(jex.ClosedJaxpr(part, ()))
