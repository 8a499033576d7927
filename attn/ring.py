"""Attention over a sequence that lies in parts on several devices (Liu 2023, *Ring Attention*).

Every device keeps its queries; keys and values go round, a device further at each turn, while the
part at hand is looked at. What the parts give is put together by their log-sum-exps, as exact as
attention over all keys at once. A device holds two parts of keys and values at a time, forward and
backward: with more devices a longer sequence takes no more memory on each.

To be called where the axis of devices is bound, as in `jax.shard_map`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from attn.blocks import as_varied
from attn.functional import Precision, attention
from attn.kernels.merge import merge
from attn.masks import Mask
from attn.mods import ScoreMod
from attn.pieces import Leaf, map_leaves
from attn.scores import Dot, Score
from attn.typing import Array, ArrayLike
from attn.weightings import Weighting

Arrays = tuple[Any, ...]
Part = Callable[[Arrays, Arrays], tuple[Array, Array]]


def ring_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    *,
    axis_name: str,
    score: Score = Dot(),  # noqa: B008 (immutable)
    mods: Sequence[ScoreMod] = (),
    mask: Mask | None = None,
    weighting: Weighting | None = None,
    balanced: bool = False,
    backend: str = "auto",
    return_lse: bool = False,
    precision: Precision = None,
) -> Any:
    """`attention` of this device's queries to the keys of all devices of an axis.

    Pieces see indices within the whole sequence, of which the devices hold equal parts in order.
    Their arrays that run along queries or keys are this device's part. Derivatives are of first
    order, in reverse mode; the backward pass computes each part's forward pass again.

    Args:
        query: [B, T, N, D], this device's part of it.
        key: [B, S, K, D'], likewise.
        value: [B, S, K, E], likewise.
        axis_name: of the devices' axis.
        score: a piece of `attn.scores`.
        mods: pieces of `attn.mods`.
        mask: a piece of `attn.masks`.
        weighting: a piece of `attn.weightings`.
        balanced: let each device look at its share of the early and of the late queries (an
            exchange before and after): under a causal mask all then have as much to do. T and S
            must be even.
        backend: as in `attention`.
        return_lse: as in `attention`.
        precision: as in `attention`.

    Returns:
        [B, T, N, E], with `return_lse` also [B, T, N], for this device's queries.

    Raises:
        ValueError: a piece's array runs along queries and keys, or an odd part is to be balanced.
        ValueError, TypeError, Unsupported: as `attention`.
    """
    query, key, value = jnp.asarray(query), jnp.asarray(key), jnp.asarray(value)
    if query.ndim != 4:
        raise ValueError(f"query: got shape {query.shape}; expected [batch, length, heads, width]")
    axis = _Axis(axis_name, balanced)
    pieces = (score, tuple(mods), mask, weighting)
    leaves, structure = jax.tree.flatten(pieces)
    along = _along(pieces, query.shape[1], key.shape[1])
    moving = [k for k, (name, _) in enumerate(along) if name == "key"]

    queries = _positions(query, axis_name)
    keys = _positions(key, axis_name)
    if balanced:
        query, queries, key, value, keys = (
            axis.exchanged(x, 1) for x in (query, queries, key, value, keys)
        )
        leaves = [
            x if name is None else axis.exchanged(x, place)
            for x, (name, place) in zip(leaves, along, strict=True)
        ]

    def part(fixed: Arrays, coming: Arrays) -> tuple[Array, Array]:
        query, queries, *held = fixed
        key, value, keys, *moved = coming
        for k, x in zip(moving, moved, strict=True):
            held[k] = x
        score, mods, mask, weighting = jax.tree.unflatten(structure, held)
        return attention(
            query,
            key,
            value,
            score=score,
            mods=mods,
            mask=mask,
            weighting=weighting,
            query_positions=queries,
            key_positions=keys,
            backend=backend,
            return_lse=True,
            precision=precision,
        )

    fixed = (query, queries, *leaves)
    coming = (key, value, keys, *(leaves[k] for k in moving))
    fixed, coming = as_varied((fixed, coming), [*fixed, *coming])
    output, lse = _ring(part, axis)(fixed, coming)
    if balanced:
        output, lse = axis.returned(output, 1), axis.returned(lse, 1)
    return (output, lse) if return_lse else output


class _Axis:
    """The devices in their ring."""

    def __init__(self, name: str, balanced: bool):
        self.name, self.size = name, lax.axis_size(name)
        # Half h of all 2P halves belongs to device h // 2. Its place for equal work is device
        # min(h, 2P − 1 − h): each has one of the early ones and one of the late.
        last = 2 * self.size - 1
        self.pairs = [
            [(i, min(half, last - half)) for i in range(self.size) for half in [2 * i + which]]
            for which in range(2)
        ]

    def onward(self, arrays: Arrays) -> Arrays:
        """Each device's arrays, on the next one."""
        pairs = [(i, (i + 1) % self.size) for i in range(self.size)]
        return tuple(lax.ppermute(x, self.name, pairs) for x in arrays)

    def exchanged(self, x: Array, place: int) -> Array:
        """The halves on the devices where they make equal work; `place` is the sequence's axis."""
        if x.shape[place] % 2:
            raise ValueError(
                f"balanced: got a part of {x.shape[place]} tokens; expected an even number"
            )
        halves = jnp.split(x, 2, axis=place)
        sent = [
            lax.ppermute(half, self.name, pairs)
            for half, pairs in zip(halves, self.pairs, strict=True)
        ]
        return jnp.concatenate(sent, axis=place)

    def returned(self, x: Array, place: int) -> Array:
        """What `exchanged` took away."""
        halves = jnp.split(x, 2, axis=place)
        back = [
            lax.ppermute(half, self.name, [(to, at) for at, to in pairs])
            for half, pairs in zip(halves, self.pairs, strict=True)
        ]
        return jnp.concatenate(back, axis=place)


def _ring(part: Part, axis: _Axis) -> Callable[[Arrays, Arrays], tuple[Array, Array]]:
    """Output and log-sum-exp over all parts, and their derivatives."""

    @jax.custom_vjp
    def ring(fixed: Arrays, coming: Arrays) -> tuple[Array, Array]:
        def look(coming: Arrays, seen: tuple[Array, Array]) -> tuple[Array, Array]:
            found = part(fixed, coming)
            outputs, lses = (jnp.stack(both) for both in zip(seen, found, strict=True))
            return merge(outputs, lses)

        def turn(carry: Any, _: None) -> tuple[Any, None]:
            coming, seen = carry
            # Sent before it is looked at: the next part travels meanwhile.
            return (axis.onward(coming), look(coming, seen)), None

        wide = jax.eval_shape(part, fixed, coming)
        output = jnp.zeros(wide[0].shape, wide[1].dtype)
        lse = jnp.full(wide[1].shape, -jnp.inf, wide[1].dtype)
        seen = as_varied((output, lse), [*fixed, *coming])
        (coming, seen), _ = lax.scan(turn, (coming, seen), length=axis.size - 1)
        output, lse = look(coming, seen)
        return output.astype(wide[0].dtype), lse

    def forward(fixed: Arrays, coming: Arrays) -> Any:
        output, lse = ring(fixed, coming)
        return (output, lse), (fixed, coming, output, lse)

    def backward(kept: Any, cotangents: tuple[Array, Array]) -> tuple[Arrays, Arrays]:
        fixed, coming, output, lse = kept
        pull = _puller(part, output, lse, *cotangents)

        def turn(carry: Any, _: None) -> tuple[Any, None]:
            coming, of_fixed, of_coming = carry
            onward = axis.onward(coming)
            here = pull(fixed, coming)
            of_fixed, of_coming = jax.tree.map(jnp.add, (of_fixed, of_coming), here)
            return (onward, of_fixed, axis.onward(of_coming)), None

        shapes = jax.eval_shape(pull, fixed, coming)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        nothing = as_varied(nothing, [*fixed, *coming, *cotangents])
        carry = (coming, *nothing)
        (coming, *found), _ = lax.scan(turn, carry, length=axis.size - 1)
        of_fixed, of_coming = jax.tree.map(jnp.add, tuple(found), pull(fixed, coming))
        # One turn more, and each part's gradient is where the part belongs.
        return _like(fixed, of_fixed), _like(kept[1], axis.onward(of_coming))

    ring.defvjp(forward, backward)
    return ring


def _puller(part: Part, output: Array, lse: Array, of_output: Array, of_lse: Array) -> Any:
    """The gradients of a part's floating arrays, in float32 or better.

    With w = exp(lse_part − lse) the output is Σ w · output_part, so its gradient reaches a part's
    output as w · d, and its log-sum-exp as w · (d · (output_part − output) + d_lse).
    """
    wide = lse.dtype
    seen = lse > -jnp.inf
    total = jnp.where(seen, lse, 0.0)

    def pull(fixed: Arrays, coming: Arrays) -> tuple[Arrays, Arrays]:
        def of_floats(fixed_floats: Arrays, coming_floats: Arrays) -> tuple[Array, Array]:
            return part(_filled(fixed, fixed_floats), _filled(coming, coming_floats))

        (output_part, lse_part), back = jax.vjp(of_floats, _floats(fixed), _floats(coming))
        share = jnp.where(seen, jnp.exp(lse_part - total), 0.0)
        off = output_part.astype(wide) - output.astype(wide)
        given = of_output.astype(wide)
        for_lse = share * (jnp.sum(given * off, axis=-1) + jnp.where(seen, of_lse, 0.0))
        for_output = (share[..., None] * given).astype(output_part.dtype)
        return jax.tree.map(lambda x: x.astype(wide), back((for_output, for_lse)))

    return pull


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _floats(arrays: Arrays) -> Arrays:
    return tuple(x for x in arrays if _is_float(x))


def _filled(arrays: Arrays, floats: Arrays) -> Arrays:
    """`arrays` with others in the place of those that are floating."""
    fresh = iter(floats)
    return tuple(next(fresh) if _is_float(x) else x for x in arrays)


def _like(arrays: Arrays, gradients: Arrays) -> Arrays:
    """Gradients in their arrays' dtypes; None for arrays that have none."""
    fresh = iter(gradients)
    return tuple(next(fresh).astype(x.dtype) if _is_float(x) else None for x in arrays)


def _positions(x: Array, axis_name: str) -> Array:
    """[1, length]: where in the whole sequence a device's part of it is."""
    length = x.shape[1]
    return (lax.axis_index(axis_name) * length + jnp.arange(length, dtype=jnp.int32))[None]


class _Along(tuple):
    """(name, place) of a leaf: of its own kind, to be told from arrays."""


def _along(pieces: Any, queries: int, keys: int) -> list[tuple[str | None, int]]:
    """Of each array of the pieces: whether it runs along "query", "key" or neither, and where."""
    lengths = {"query": queries, "key": keys}

    def find(name: str, array: Any, declared: Leaf) -> Any:
        rank = jnp.ndim(array)
        own = declared.axes[len(declared.axes) - rank :]
        found = [
            (axis, place)
            for place, axis in enumerate(own)
            if axis in lengths and jnp.shape(array)[place] != 1
        ]
        if len(found) > 1:
            raise ValueError(
                f"{name}: got shape {jnp.shape(array)}, which runs along queries and keys; "
                "expected one that a device can hold a part of: a mod or a mask of positions"
            )
        return _Along(found[0] if found else (None, 0))

    marked = map_leaves(find, pieces)
    leaves = jax.tree.leaves(marked, is_leaf=lambda x: isinstance(x, _Along))
    return [tuple(x) if isinstance(x, _Along) else (None, 0) for x in leaves]
