"""How well key j answers query i.

A score is a piece with two methods. `prepare` runs once, outside the kernel, on whole arrays: it
does the dense projections and returns the score that is left with the query and the key it is of.
`tile` is that score on a block of one head. A score of one's own needs `tile` alone; where it adds
up what each number of the query and its counterpart of the key come to, it says that as `feature`,
and kernels need never hold all the numbers of a pair::

    @piece
    class Distance(Featurewise):
        width: ArrayLike = leaf("head", "floating")

        def feature(self, q, k):
            return -((q - k) ** 2) / self.width
"""

import math

import jax.numpy as jnp
from jax import lax

from attn.pieces import Index, Piece, leaf, piece
from attn.typing import Array, ArrayLike, Float, Int, Shaped

Query = Float[Array, "B T N D"]
Keys = Float[Array, "#B S K _"]


class Score(Piece):
    """Base of scores."""

    projects = False
    """Whether `prepare` multiplies query or key by weights of its own."""
    sums_wide = False
    """Whether `tile` adds up in float32 what it makes of float16 and bfloat16; where it does not, a
    kernel gives it float32."""

    def prepare(self, query: Query, key: Keys) -> tuple["Score", Array, Array]:
        """The score that is left after the dense projections, and what it takes."""
        return self, query, key

    def tile(
        self,
        query: Float[Array, "Tq D"],
        key: Float[Array, "Tk _"],
        b: Index,
        n: Index,
        i: Int[Array, "Tq 1"],
        j: Int[Array, "1 Tk"],
    ) -> Float[Array, "Tq Tk"]:
        """Scores of queries `i` against keys `j` of batch `b` and query head `n`."""
        raise NotImplementedError

    def units(self, width: int) -> int:
        """Numbers that `tile` makes of a pair before it sums them, by the query's width.

        Kernels size their blocks by it.
        """
        return width


class Featurewise(Score):
    """Base of scores that are sums over the width: s = Σ_d feature(q_d, k_d)."""

    by_place = False

    def feature(self, q: Float[Array, "..."], k: Float[Array, "..."]) -> Float[Array, "..."]:
        """What numbers of queries and of keys come to, element by element.

        They broadcast against each other and against the score's arrays that run along the width.
        """
        raise NotImplementedError

    def tile(self, query, key, b, n, i, j):
        return jnp.sum(self.feature(query[:, None, :], key[None, :, :]), axis=-1)


@piece
class Dot(Score):
    """s = scale · q·k (Luong 2015, *dot*, with scale 1; Vaswani 2017, eq. 1, with 1/√D).

    Attributes:
        scale: a number or a scalar array, which gradients reach; None is 1/√D.
    """

    by_place = False

    sums_wide = True

    scale: ArrayLike | None = leaf("", "floating", default=None)

    def prepare(self, query: Query, key: Keys) -> tuple[Score, Array, Array]:
        _same_width("Dot", query, key)
        scale = 1.0 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale
        return Dot(scale), query, key

    def tile(self, query, key, b, n, i, j):
        wide = jnp.promote_types(query.dtype, jnp.float32)
        along_width = (((1,), (1,)), ((), ()))
        product = lax.dot_general(query, key, along_width, preferred_element_type=wide)
        return product * jnp.asarray(self.scale, wide)

    def units(self, width: int) -> int:
        return 1


@piece
class Additive(Featurewise):
    """s = v · tanh(q + k), query and key being projected already (Bahdanau 2014, A.1.2).

    Attributes:
        v: [N, A], where A is the width of query and key.
    """

    v: ArrayLike = leaf("head query_width", "floating")

    def prepare(self, query: Query, key: Keys) -> tuple[Score, Array, Array]:
        _same_width("Additive", query, key)
        return self, query, key

    def feature(self, q, k):
        return self.v.astype(q.dtype) * jnp.tanh(q + k)

    def tile(self, query, key, b, n, i, j):
        # The same sum, as a product: twice as fast where all the numbers of a block are at hand.
        return jnp.tanh(query[:, None, :] + key[None, :, :]) @ self.v.astype(query.dtype)


@piece
class General(Score):
    """s = qᵀ W k (Luong 2015, *general*). Not scaled.

    Attributes:
        w: [N, D, D'], from the query's width to the key's.
    """

    by_place = False

    projects = True

    w: ArrayLike = leaf("head query_width key_width", "floating")

    def prepare(self, query: Query, key: Keys) -> tuple[Score, Array, Array]:
        return Dot(1.0), _project(query, self.w), key


@piece
class Concat(Score):
    """s = v · tanh(W_q q + W_k k) (Luong 2015, *concat*: W split into its halves).

    Where a query comes at a time, project the keys once and use `Additive`.

    Attributes:
        w_query: [N, D, A].
        w_key: [K, D', A].
        v: [N, A].
    """

    by_place = False

    projects = True

    w_query: ArrayLike = leaf("head query_width width", "floating")
    w_key: ArrayLike = leaf("key_head key_width width", "floating")
    v: ArrayLike = leaf("head width", "floating")

    def prepare(self, query: Query, key: Keys) -> tuple[Score, Array, Array]:
        return Additive(self.v), _project(query, self.w_query), _project(key, self.w_key)


@piece
class Location(Score):
    """s_ij = (W q_i)_j: the query alone says where to look (Luong 2015, eq. 8).

    That is an unscaled dot product with learned vectors of places for keys. The key gives only the
    number S of places.

    Attributes:
        w: [N, D, S_max] with S_max ≥ S.
    """

    by_place = False

    w: ArrayLike = leaf("head query_width places", "floating")

    def prepare(self, query: Query, key: Keys) -> tuple[Score, Array, Array]:
        places, length = self.w.shape[-1], key.shape[1]
        if length > places:
            raise ValueError(f"score: Location.w has {places} places; the key has {length}")
        heads = key.shape[2] if self.w.shape[0] == 1 else query.shape[2]
        w = jnp.broadcast_to(self.w[:, :, :length], (heads, *self.w.shape[1:2], length))
        return Dot(1.0), query, w.transpose(2, 0, 1)[None].astype(query.dtype)


def _same_width(score: str, query: Array, key: Array) -> None:
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"key: got width {key.shape[-1]}; {score} expects the query's, {query.shape[-1]} "
            "(General and Concat take any)"
        )


def _project(x: Shaped[Array, "B L H D"], w: Shaped[Array, "#H D A"]) -> Shaped[Array, "B L H A"]:
    """Each head's own matrix, in the dtype of `x`."""
    w = jnp.broadcast_to(w, (x.shape[2], *w.shape[1:]))
    return jnp.einsum("blhd,hda->blha", x, w.astype(x.dtype))
