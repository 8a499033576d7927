"""One call of the op, as every backend gets it."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp

from attn.masks import Mask, Places
from attn.mods import ScoreMod
from attn.pieces import Piece, Sizes, leaf, piece, static
from attn.scores import Score
from attn.weightings import Weighting


@piece
class Call(Piece):
    """Checked arguments: operands of one dtype and rank 4, pieces with arrays of their full rank.

    Dense projections are done: `score` is one whose `tile` says it all. The batch of `key` may be
    1, for keys that are the same in the whole batch. `value` is None where only the weights are
    asked for.
    """

    query: Any = leaf("batch rows head width")
    key: Any = leaf("batch columns key_head width")
    value: Any = leaf("batch columns key_head width")
    score: Score
    mods: tuple[ScoreMod, ...]
    mask: Mask | None
    weighting: Weighting | None
    places: Places = Places()
    """What pieces take for the indices of queries and keys."""
    precision: str | None = static(default=None)
    """Of the matrix products, a name that JAX knows; None leaves its default."""

    @property
    def sizes(self) -> Sizes:
        """The op's axes."""
        batch, rows, heads, width = self.query.shape
        _, columns, key_heads, key_width = self.key.shape
        return {
            "batch": batch,
            "query": rows,
            "key": columns,
            "head": heads,
            "key_head": key_heads,
            "query_width": width,
            "key_width": key_width,
        }

    @property
    def empty(self) -> bool:
        """Whether there is nothing to compute."""
        return 0 in self.sizes.values()

    @property
    def sums(self) -> jax.typing.DTypeLike:
        """The dtype of scores, softmax and sums: float32, or float64 for float64 operands."""
        return jnp.promote_types(self.query.dtype, jnp.float32)

    def products(self) -> contextlib.AbstractContextManager[Any]:
        """A block in which `precision` is that of all matrix products, whoever writes them."""
        if self.precision is None:
            return contextlib.nullcontext()
        return jax.default_matmul_precision(self.precision)
