"""The op on a mesh of devices: rows and heads side by side, long sequences by ring attention.

A compiler that divides a program over devices cannot look into a kernel. So where a program is
traced in the context of a mesh (`jax.set_mesh`), this cuts the op along the mesh's axes itself:
rows over "data" and "fsdp", heads over "tensor", queries and keys over "sequence". Without such a
mesh, or inside `shard_map`, it is `attn.attention`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from attn.functional import Precision, attention
from attn.masks import And, Causal, Lengths, Mask, Or, Prefix, by_place, joined
from attn.mods import ScoreMod
from attn.pieces import Leaf, map_leaves
from attn.ring import ring_attention
from attn.scores import Dot, Score
from attn.typing import Array, Float
from attn.weightings import Weighting

ROWS, HEADS, SEQUENCE = ("data", "fsdp"), "tensor", "sequence"
"""What the mesh's axes are called."""


def mesh_attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    score: Score = Dot(),  # noqa: B008 (immutable)
    mods: Sequence[ScoreMod] = (),
    mask: Mask | None = None,
    weighting: Weighting | None = None,
    backend: str = "auto",
    precision: Precision = None,
) -> tuple[Array, Array]:
    """`attention` with its log-sum-exp, cut over the mesh in whose context it is traced.

    Where an axis of the mesh divides neither rows nor heads, all devices along it do the same work,
    and so they do along all of these where a piece may go by the numbers of rows and heads
    (dropout, functions of one's own), which would count from each device's first. A sequence that
    its axis does not divide is padded.

    Args:
        query: [B, T, N, D], as the other arguments those of `attention`.

    Raises:
        ValueError: a sequence is to be cut or padded along which a piece's array cannot be.
    """
    pieces = score, tuple(mods), mask, weighting
    layout = _Layout.here(query.shape, key.shape[2], pieces)
    said: dict[str, Any] = {"backend": backend, "precision": precision, "return_lse": True}
    if layout is None:
        return attention(query, key, value, **_named(pieces), **said)
    length, balanced = query.shape[1], layout.ring and _is_causal(mask)
    if layout.ring:
        parts = layout.parts * (2 if balanced else 1)
        query, key, value, pieces = _padded(query, key, value, pieces, parts)

    def here(query: Array, key: Array, value: Array, pieces: Any) -> tuple[Array, Array]:
        named = _named(pieces)
        if not layout.ring:
            return attention(query, key, value, **named, **said)
        around: dict[str, Any] = {"axis_name": SEQUENCE, "balanced": balanced}
        return ring_attention(query, key, value, **around, **named, **said)

    operands = layout.spec("batch query head width"), layout.spec("batch key key_head width")
    cut = jax.shard_map(
        here,
        in_specs=(operands[0], operands[1], operands[1], layout.of_pieces(pieces)),
        out_specs=(operands[0], layout.spec("batch query head")),
        axis_names=set(layout.names),  # all of them, or a TPU's compiler refuses the kernel
    )
    output, lse = cut(query, key, value, pieces)
    return output[:, :length], lse[:, :length]


def along_sequence(xs: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
    """States, cut as `mesh_attention` will want them; without a mesh, as they are."""
    layout = _Layout.here((*xs.shape[:2], 1, 1), 1, (None, (), None, None))
    if layout is None:
        return xs
    return jax.lax.with_sharding_constraint(xs, layout.spec("batch query width"))


@dataclass(frozen=True)
class _Layout:
    """Which of the op's axes lie along which axes of the mesh."""

    names: tuple[str, ...]
    """The mesh's axes that are free."""
    rows: tuple[str, ...]
    heads: str | None
    parts: int
    """Of a sequence."""

    @classmethod
    def here(cls, query: tuple[int, ...], key_heads: int, pieces: Any) -> "_Layout | None":
        """That of the mesh in whose context the program is traced; None where it says nothing."""
        mesh = jax.sharding.get_abstract_mesh()
        kinds = zip(mesh.axis_names, mesh.axis_types, mesh.axis_sizes, strict=True)
        sizes = {name: size for name, kind, size in kinds if kind == AxisType.Auto}
        free = not _by_place(pieces)
        rows: tuple[str, ...] = ()
        left = query[0]
        for name in ROWS:
            if free and sizes.get(name, 1) > 1 and left % sizes[name] == 0:
                rows, left = (*rows, name), left // sizes[name]
        tensor = sizes.get(HEADS, 1)
        split = free and tensor > 1 and query[2] % tensor == 0 and key_heads % tensor == 0
        if max((sizes.get(name, 1) for name in (*ROWS, HEADS, SEQUENCE)), default=1) == 1:
            return None
        return cls(tuple(sizes), rows, HEADS if split else None, sizes.get(SEQUENCE, 1))

    @property
    def ring(self) -> bool:
        """Whether sequences are cut."""
        return self.parts > 1

    def spec(self, axes: str, shape: tuple[int, ...] | None = None) -> PartitionSpec:
        """How an array with these of the op's axes is cut; one of size 1 is the same for all."""
        sequence = SEQUENCE if self.ring else None
        along = {
            "batch": self.rows or None,
            "query": sequence,
            "key": sequence,
            "head": self.heads,
            "key_head": self.heads,
        }
        names = axes.split()
        sizes = shape or (0,) * len(names)
        own = names[len(names) - len(sizes) :]
        return PartitionSpec(
            *(None if n == 1 else along.get(axis) for axis, n in zip(own, sizes, strict=True))
        )

    def of_pieces(self, pieces: Any) -> Any:
        """How the pieces' arrays are cut; those that no piece declares go everywhere."""

        def cut(name: str, array: Any, declared: Leaf) -> Any:
            return self.spec(" ".join(declared.axes), jnp.shape(array))

        marked = map_leaves(cut, pieces)
        return jax.tree.map(
            lambda x: x if isinstance(x, PartitionSpec) else PartitionSpec(),
            marked,
            is_leaf=lambda x: isinstance(x, PartitionSpec),
        )


def _named(pieces: Any) -> dict[str, Any]:
    return dict(zip(("score", "mods", "mask", "weighting"), pieces, strict=True))


def _by_place(pieces: Any) -> bool:
    """Whether any piece may go by the number of a row or a head."""
    score, mods, mask, weighting = pieces
    others = (score, *mods, weighting)
    return by_place(mask) or any(piece is not None and piece.by_place for piece in others)


def _is_causal(mask: Mask | None) -> bool:
    """Whether later queries see more."""
    if isinstance(mask, And):
        return _is_causal(mask.left) or _is_causal(mask.right)
    if isinstance(mask, Or):
        return _is_causal(mask.left) and _is_causal(mask.right)
    return isinstance(mask, Causal | Prefix)


def _padded(
    query: Array, key: Array, value: Array, pieces: Any, parts: int
) -> tuple[Array, Array, Array, Any]:
    """Sequences that so many parts divide; what is added is not looked at."""
    lengths = {"query": query.shape[1], "key": key.shape[1]}
    more = {axis: -length % parts for axis, length in lengths.items()}
    if not any(more.values()):
        return query, key, value, pieces

    def refuse(name: str, array: Any, declared: Leaf) -> Any:
        own = declared.axes[len(declared.axes) - jnp.ndim(array) :]
        for axis, size in zip(own, jnp.shape(array), strict=True):
            if size > 1 and more.get(axis):
                raise ValueError(
                    f"{name}: got {size} places along the {axis} axis; expected a multiple of "
                    f"{parts}, the parts that sequences are cut into"
                )
        return array

    def longer(x: Array, axis: str) -> Array:
        return jnp.pad(x, ((0, 0), (0, more[axis]), (0, 0), (0, 0)))

    score, mods, mask, weighting = map_leaves(refuse, pieces)
    mask = joined([mask, Lengths(key=jnp.full(1, lengths["key"], jnp.int32))])
    pieces = score, mods, mask, weighting
    return longer(query, "query"), longer(key, "key"), longer(value, "key"), pieces
