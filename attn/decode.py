"""Attention a token at a time: a cache of keys and values, and queries against it.

The cache is a value: `append` returns another one. Give the old one away (`donate_argnums`) and the
new one takes its memory. Every backend does it by the one op: the cache says which position each
key has, and blocks of keys not yet written are skipped like any that a mask leaves empty::

    cache = Cache.create(batch, capacity, heads, width)
    cache = cache.append(key, value)  # [B, t, K, D]: a prompt, then a token at a time
    output = attend(query, cache)  # [B, t, N, D]: the queries of the same tokens
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attn.functional import Precision, attention
from attn.kernels.merge import merge
from attn.masks import Causal, Mask, Window, by_place, joined
from attn.mods import ScoreMod, SoftCap
from attn.pieces import map_leaves, piece
from attn.scores import Dot, Score
from attn.typing import Array, ArrayLike, Float, Int, Shaped
from attn.weightings import Weighting

__all__ = ["Cache", "attend", "merge"]


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far.

    With a window the cache is a ring: position p has slot p modulo the capacity, and a token takes
    the place of one that nobody will look at again. Without, a row that grows beyond the capacity
    is an error where lengths are known, and NaN where JAX traces them.
    """

    key: Float[Array, "B L K D"]
    value: Float[Array, "B L K E"]
    length: Int[Array, "B"]
    """Tokens that each row has had."""
    window: int | None = None
    """Tokens that a query sees, its own among them; None is all."""

    @classmethod
    def create(
        cls,
        batch: int,
        capacity: int,
        heads: int,
        key_width: int,
        value_width: int | None = None,
        *,
        window: int | None = None,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> "Cache":
        """An empty cache.

        Args:
            batch: rows.
            capacity: tokens that a row has room for. With a window, at least its size and one less
                than what comes at once: `window + t - 1`.
            heads: of keys and values.
            key_width: numbers in a key.
            value_width: numbers in a value; None is as many.
            window: see `Cache.window`.
            dtype: of keys and values.

        Raises:
            ValueError: a size below 1, or a capacity below the window.
        """
        sizes = {"batch": batch, "capacity": capacity, "heads": heads, "key_width": key_width}
        value_width = key_width if value_width is None else value_width
        sizes |= {"value_width": value_width, "window": 1 if window is None else window}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}: got {size}; expected at least 1")
        if window is not None and capacity < window:
            raise ValueError(f"capacity: got {capacity}; expected at least the window, {window}")
        return cls(
            jnp.zeros((batch, capacity, heads, key_width), dtype),
            jnp.zeros((batch, capacity, heads, value_width), dtype),
            jnp.zeros(batch, jnp.int32),
            window,
        )

    @property
    def capacity(self) -> int:
        """Tokens that a row has room for."""
        return self.key.shape[1]

    def append(
        self,
        key: Shaped[Array, "B t K D"],
        value: Shaped[Array, "B t K E"],
        count: ArrayLike | None = None,
        *,
        answered: bool = False,
    ) -> "Cache":
        """The cache after `t` more tokens.

        Args:
            key: of the tokens.
            value: of the tokens.
            count: [B] integers: how many of a row's tokens are there, the rest being padding. None
                is all.
            answered: whether the queries of these tokens have had their answer, a prompt's from
                its own keys. Then a ring keeps what later tokens will see, however many come.

        Raises:
            ValueError: a shape or dtype is not the cache's, or a row's tokens do not fit.
        """
        for name, new, held in (("key", key, self.key), ("value", value, self.value)):
            wanted = (held.shape[0], *held.shape[2:])
            if new.ndim != 4 or (new.shape[0], *new.shape[2:]) != wanted or new.dtype != held.dtype:
                raise ValueError(
                    f"{name}: got {new.dtype} {new.shape}; expected {held.dtype} "
                    f"[{wanted[0]}, tokens, {wanted[1]}, {wanted[2]}] as in the cache"
                )
        if key.shape[1] != value.shape[1]:
            raise ValueError(f"value: got {value.shape[1]} tokens; expected {key.shape[1]}")
        tokens = key.shape[1]
        given = jnp.full_like(self.length, tokens) if count is None else jnp.asarray(count)
        length = self.length + given.astype(jnp.int32)
        self._check_room(length, 1 if answered else tokens)
        token = jnp.arange(tokens, dtype=jnp.int32)
        position = self.length[:, None] + token
        kept = (token < given[:, None]) & (position >= length[:, None] - self.capacity)
        # A slot beyond the end is dropped: padding, and what a ring would overwrite at once.
        slot = jnp.where(kept, position % self.capacity, self.capacity)
        row = jnp.arange(key.shape[0])[:, None]

        def put(held: Array, new: Array) -> Array:
            return held.at[row, slot].set(new, mode="drop", unique_indices=True)

        return replace(self, key=put(self.key, key), value=put(self.value, value), length=length)

    def _check_room(self, length: Array, tokens: int) -> None:
        if self.window is not None:
            if tokens > 1 and self.capacity < self.window + tokens - 1:
                raise ValueError(
                    f"key: got {tokens} tokens at once; a window of {self.window} in a capacity of "
                    f"{self.capacity} takes {self.capacity - self.window + 1}"
                )
        elif not isinstance(length, jax.core.Tracer) and np.max(length) > self.capacity:
            raise ValueError(
                f"key: {np.max(length)} tokens in a row; the cache has room for {self.capacity}"
            )

    def positions(self) -> Int[Array, "B L"]:
        """Of each slot's token; negative where nothing was written."""
        last = self.length[:, None] - 1
        slot = jnp.arange(self.capacity, dtype=jnp.int32)
        return last - (last - slot) % self.capacity


jax.tree_util.register_dataclass(Cache, ["key", "value", "length"], ["window"])


@piece
class _Written(Mask):
    """Positions of slots that hold a token."""

    by_place = False

    def tile(self, b, n, i, j):
        return j >= 0

    def blocks(self, i, j):
        return j[1] >= 0, j[0] >= 0


def attend(
    query: Float[Array, "B t N D"],
    cache: Cache,
    *,
    positions: ArrayLike | None = None,
    score: Score = Dot(),  # noqa: B008 (immutable)
    mods: Sequence[ScoreMod] = (),
    mask: Mask | None = None,
    weighting: Weighting | None = None,
    backend: str = "auto",
    return_lse: bool = False,
    precision: Precision = None,
) -> Any:
    """Attention of queries to a cache: each to the tokens up to its own.

    Pieces see positions in the whole sequence. What runs along the keys (a dense bias) is by slot.

    Args:
        query: of tokens that have been appended.
        cache: with their keys and values.
        positions: [B, t] integers, the queries'; None is those of the last `t` tokens.
        score: as in `attn.attention`, as are the rest.
        mods: pieces of `attn.mods`.
        mask: beside causality and the cache's window.
        weighting: a piece of `attn.weightings`.
        backend: a name of `attn.kernels.BACKENDS`, or "auto".
        return_lse: also return the log-sum-exp.
        precision: of the matrix products.

    Returns:
        [B, t, N, E], with `return_lse` also [B, t, N]: as `attn.attention`.
    """
    tokens = query.shape[1]
    if positions is None:
        positions = cache.length[:, None] - tokens + jnp.arange(tokens, dtype=jnp.int32)
    window = None if cache.window is None else Window(cache.window - 1)
    alike = _alike(score, mods, mask, weighting)
    heads = max(1, query.shape[2] // cache.key.shape[2]) if alike else 1
    output, lse = attention(
        _folded(query, heads),
        cache.key,
        cache.value,
        score=score,
        mods=mods,
        mask=joined([Causal(), _Written(), window, mask]),
        weighting=weighting,
        query_positions=jnp.repeat(jnp.asarray(positions), heads, axis=1),
        key_positions=cache.positions(),
        backend=backend,
        return_lse=True,
        precision=precision,
    )
    output, lse = _unfolded(output, heads), _unfolded(lse, heads)
    if cache.window is None:
        fits = (cache.length <= cache.capacity)[:, None, None]
        output = jnp.where(fits[..., None], output, jnp.nan)
        lse = jnp.where(fits, lse, jnp.nan)
    return (output, lse) if return_lse else output


def _alike(score: Score, mods: Sequence[ScoreMod], mask: Any, weighting: Any) -> bool:
    """Whether it is plain that all query heads are treated alike, by their positions alone.

    Then the heads that share a key head can stand as queries, and the key is read once for all.
    """
    if not isinstance(score, Dot) or weighting is not None:
        return False
    if not all(isinstance(mod, SoftCap) for mod in mods):
        return False
    axes: set[str] = set()
    map_leaves(lambda name, array, declared: axes.update(declared.axes), mask)
    return axes.isdisjoint(("head", "query")) and not by_place(mask)


def _folded(x: Shaped[Array, "B t N D"], heads: int) -> Shaped[Array, "B _ _ D"]:
    """Heads that share a key head beside the tokens."""
    batch, tokens, all_heads, width = x.shape
    x = x.reshape(batch, tokens, all_heads // heads, heads, width)
    return x.swapaxes(2, 3).reshape(batch, tokens * heads, all_heads // heads, width)


def _unfolded(x: Shaped[Array, "B th K *E"], heads: int) -> Shaped[Array, "B t N *E"]:
    """The way back."""
    batch, rows, key_heads, *rest = x.shape
    x = x.reshape(batch, rows // heads, heads, key_heads, *rest)
    return x.swapaxes(2, 3).reshape(batch, rows // heads, key_heads * heads, *rest)
