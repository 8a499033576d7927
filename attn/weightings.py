"""What is done to the weights after the softmax; they are not normalised again."""

import jax.numpy as jnp

from attn.hashing import counter_uniform
from attn.pieces import Index, Piece, leaf, piece, static
from attn.typing import Array, ArrayLike, Float, Int


class Weighting(Piece):
    """Base of weightings."""

    def tile(
        self,
        p: Float[Array, "Tq Tk"],
        b: Index,
        n: Index,
        i: Int[Array, "Tq 1"],
        j: Int[Array, "1 Tk"],
    ) -> Float[Array, "Tq Tk"]:
        """Weights of queries `i` and keys `j` of batch `b` and query head `n`; linear in `p`."""
        raise NotImplementedError


@piece
class Dropout(Weighting):
    """Zeroes weights with probability `rate` and scales the rest by 1 / (1 − rate).

    Whether a weight is dropped is a hash of the key and of its place, so every backend and every
    block size drops the same.

    Attributes:
        rate: in [0, 1).
        key: a typed JAX key (`jax.random.key`).
        index: [B] integers that stand for the batch index in the hash: the example's number, say,
            so that an example keeps its noise whichever device and row it comes to. None is the
            row.
    """

    rate: float | int = static()
    key: ArrayLike = leaf("")
    index: ArrayLike | None = leaf("batch", "integer", default=None)

    def __post_init__(self):
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"Dropout.rate: got {self.rate}; expected a number in [0, 1)")

    def tile(self, p, b, n, i, j):
        if self.rate == 0.0:
            return p
        example = b if self.index is None else self.index
        keep = counter_uniform(self.key, example, n, i, j) >= self.rate
        return jnp.where(keep, p / (1.0 - self.rate), 0.0)


@piece
class Gaussian(Weighting):
    """p ← p · exp(−(j − center)² / 2σ²) (Luong 2015, eq. 10: *local-p*, with σ = D/2).

    Attributes:
        center: [B, N, T] floating, in places of the key.
        sigma: a number or a scalar array.
    """

    by_place = False

    center: ArrayLike = leaf("batch head query", "floating")
    sigma: ArrayLike = leaf("", "floating")

    def tile(self, p, b, n, i, j):
        distance = (j - self.center.astype(p.dtype)) / jnp.asarray(self.sigma, p.dtype)
        return p * jnp.exp(-0.5 * distance**2)
