"""Dropout that does not depend on how a batch lies on devices."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attn.hashing import counter_uniform
from attn.typing import Array, ArrayLike, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noise:
    """Randomness of one training step.

    A draw is a hash of the key, the example's `index` and the element's place in the example, so
    one device, eight under `pmap` and eight under `jit` drop the same elements.
    """

    key: ArrayLike
    """A typed JAX key."""
    index: ArrayLike
    """[B], int32: which example each row is."""

    def at(self, site: int | Int[Array, ""]) -> "Noise":
        """Independent noise for one place in a model (or one time step)."""
        return Noise(jax.random.fold_in(self.key, site), self.index)

    def drop(self, x: Float[Array, "B ..."], rate: float) -> Float[Array, "B ..."]:
        """Zeroes elements with probability `rate`, scaling the rest by 1 / (1 - rate)."""
        if rate == 0.0:
            return x
        place = jnp.arange(x[0].size, dtype=jnp.uint32).reshape(1, *x.shape[1:])
        example = self.index.reshape(-1, *[1] * (x.ndim - 1))
        keep = counter_uniform(self.key, example, place) >= rate
        return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype)).astype(x.dtype)


def drop(
    xs: Float[Array, "..."], rate: float, noise: Noise | None, site: int
) -> Float[Array, "..."]:
    """Dropout on time-major activations [T, B, n], where there is noise."""
    if noise is None or rate == 0:
        return xs
    return noise.at(site).drop(xs.swapaxes(0, 1), rate).swapaxes(0, 1)
