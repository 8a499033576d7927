"""The Transformer's layers (Vaswani et al. 2017, section 3)."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.functional import attention, attention_weights
from attn.masks import Causal, Lengths, Mask
from attn.nn.noise import Noise
from attn.typing import Array, ArrayLike, Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """Keys and values of the positions seen, in the first `length` places of each row."""

    key: ArrayLike
    """[B, S, N, D]."""
    value: ArrayLike
    """[B, S, N, D]."""
    length: ArrayLike
    """[B], int32."""

    def append(self, key: Float[Array, "B 1 N D"], value: Float[Array, "B 1 N D"]) -> "Cache":
        """Puts one position after the last of each row."""
        place = jax.vmap(lambda old, new, at: jax.lax.dynamic_update_slice(old, new, (at, 0, 0)))
        return Cache(
            place(self.key, key, self.length),
            place(self.value, value, self.length),
            self.length + 1,
        )


class MultiHeadAttention(nnx.Module):
    """Section 3.2.2: heads of width D = width / heads, side by side, of a scaled dot product.

    Args:
        width: width of inputs and output.
        heads: number of heads N.
        dtype: of the computation; parameters are float32.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        if width % heads:
            raise ValueError(f"width: expected a multiple of heads={heads}, got {width}")
        self.heads = heads

        def linear(outputs: int) -> nnx.Linear:
            init = nnx.initializers.xavier_uniform()
            return nnx.Linear(width, outputs, kernel_init=init, dtype=dtype, rngs=rngs)

        self.query, self.key, self.value, self.out = (linear(width) for _ in range(4))

    def __call__(
        self,
        xs: Float[Array, "B T H"],
        key: Float[Array, "B S N D"],
        value: Float[Array, "B S N D"],
        mask: Mask | None,
    ) -> Float[Array, "B T H"]:
        """What each of `xs` sees of keys and values that `project` made."""
        out = attention(self._split(self.query(xs)), key, value, mask=mask)
        return self.out(out.reshape(*out.shape[:2], -1))

    def project(self, memory: Float[Array, "B S H"]) -> tuple[Array, Array]:
        """Keys and values `[B, S, N, D]` of what is looked at."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def weights(
        self, xs: Float[Array, "B T H"], key: Float[Array, "B S N D"], mask: Mask | None
    ) -> Float[Array, "B N T S"]:
        """The weights behind `__call__`'s output."""
        return attention_weights(self._split(self.query(xs)), key, mask=mask)

    def _split(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T N D"]:
        return xs.reshape(*xs.shape[:2], self.heads, -1)


class FeedForward(nnx.Module):
    """Section 3.3: two linear maps with a ReLU between."""

    def __init__(self, width: int, hidden: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        init = nnx.initializers.xavier_uniform()
        self.inner = nnx.Linear(width, hidden, kernel_init=init, dtype=dtype, rngs=rngs)
        self.outer = nnx.Linear(hidden, width, kernel_init=init, dtype=dtype, rngs=rngs)

    def __call__(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
        """The same map at every position."""
        return self.outer(jax.nn.relu(self.inner(xs)))


class Residual(nnx.Module):
    """norm "pre": x + dropout(f(norm(x))); "post", the paper's: norm(x + dropout(f(x)))."""

    def __init__(
        self,
        width: int,
        norm: Literal["pre", "post"],
        dropout: float,
        *,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.place, self.dropout = norm, dropout
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)

    def before(self, xs: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
        """What the sub-layer reads."""
        return self.norm(xs) if self.place == "pre" else xs

    def after(
        self, xs: Float[Array, "B T H"], out: Float[Array, "B T H"], noise: Noise | None
    ) -> Float[Array, "B T H"]:
        """The sum of the input and the sub-layer's output."""
        total = xs + (out if noise is None else noise.drop(out, self.dropout))
        return total if self.place == "pre" else self.norm(total)


class EncoderLayer(nnx.Module):
    """Self-attention, then feed-forward, each a residual."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        norm: Literal["pre", "post"],
        dropout: float,
        *,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.attention = MultiHeadAttention(width, heads, dtype=dtype, rngs=rngs)
        self.feed_forward = FeedForward(width, hidden, dtype=dtype, rngs=rngs)
        self.residuals = nnx.List(
            [Residual(width, norm, dropout, dtype=dtype, rngs=rngs) for _ in range(2)]
        )

    def __call__(
        self, xs: Float[Array, "B S H"], mask: Mask, noise: Noise | None
    ) -> Float[Array, "B S H"]:
        """One layer over the source."""
        attend, feed = self.residuals
        inner = attend.before(xs)
        out = self.attention(inner, *self.attention.project(inner), mask)
        xs = attend.after(xs, out, noise and noise.at(0))
        return feed.after(xs, self.feed_forward(feed.before(xs)), noise and noise.at(1))


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the source, feed-forward, each a residual."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        norm: Literal["pre", "post"],
        dropout: float,
        *,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.self_attention = MultiHeadAttention(width, heads, dtype=dtype, rngs=rngs)
        self.cross_attention = MultiHeadAttention(width, heads, dtype=dtype, rngs=rngs)
        self.feed_forward = FeedForward(width, hidden, dtype=dtype, rngs=rngs)
        self.residuals = nnx.List(
            [Residual(width, norm, dropout, dtype=dtype, rngs=rngs) for _ in range(3)]
        )

    def __call__(
        self, xs: Float[Array, "B T H"], source: Cache, noise: Noise | None
    ) -> Float[Array, "B T H"]:
        """One layer over all target positions, each seeing itself and those before."""
        return self._rest(self._looked_back(xs, noise), source, noise)

    def step(
        self, xs: Float[Array, "B 1 H"], source: Cache, seen: Cache
    ) -> tuple[Float[Array, "B 1 H"], Cache]:
        """One layer over the next target position; `seen` gains it."""
        attend = self.residuals[0]
        inner = attend.before(xs)
        seen = seen.append(*self.self_attention.project(inner))
        out = self.self_attention(inner, seen.key, seen.value, Lengths(key=seen.length))
        return self._rest(attend.after(xs, out, None), source, None), seen

    def weights(self, xs: Float[Array, "B T H"], source: Cache) -> Float[Array, "B N T S"]:
        """How the layer's heads look at the source."""
        inner = self.residuals[1].before(self._looked_back(xs, None))
        return self.cross_attention.weights(inner, source.key, Lengths(key=source.length))

    def _looked_back(self, xs: Float[Array, "B T H"], noise: Noise | None) -> Float[Array, "B T H"]:
        attend = self.residuals[0]
        inner = attend.before(xs)
        out = self.self_attention(inner, *self.self_attention.project(inner), Causal())
        return attend.after(xs, out, noise and noise.at(0))

    def _rest(
        self, xs: Float[Array, "B T H"], source: Cache, noise: Noise | None
    ) -> Float[Array, "B T H"]:
        _, cross, feed = self.residuals
        mask = Lengths(key=source.length)
        out = self.cross_attention(cross.before(xs), source.key, source.value, mask)
        xs = cross.after(xs, out, noise and noise.at(1))
        return feed.after(xs, self.feed_forward(feed.before(xs)), noise and noise.at(2))
