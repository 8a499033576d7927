"""Attention layers: projections around `attn.attention`, which does the arithmetic."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn import masks, scores
from attn.functional import attention, attention_weights
from attn.typing import Array, ArrayLike, Float, Int

LuongScore = Literal["dot", "general", "concat", "location"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Annotations:
    """A source ready to be attended to: projected once, read at every target step."""

    key: ArrayLike
    """[B, S, 1, A]."""
    value: ArrayLike
    """[B, S, 1, H]."""
    lengths: ArrayLike
    """[B], int32."""

    def attend(self, query: Float[Array, "B T A2"], score: scores.Score) -> Float[Array, "B T H"]:
        """The context of each query: one head over the real source positions."""
        mask = masks.Lengths(key=self.lengths)
        context = attention(query[:, :, None], self.key, self.value, score=score, mask=mask)
        return context[:, :, 0]

    def weights(
        self, query: Float[Array, "B T A2"], score: scores.Score
    ) -> Float[Array, "B 1 1 T S"]:
        """How the context of each query is mixed, as a stack of one layer with one head."""
        mask = masks.Lengths(key=self.lengths)
        return attention_weights(query[:, :, None], self.key, score=score, mask=mask)[:, None]


class AdditiveAttention(nnx.Module):
    """Bahdanau et al. 2014, appendix A.1.2: e_ij = v . tanh(W_a s + U_a h_j).

    W_a and U_a start as N(0, 0.001^2) and v at zero (appendix B.1), so that attention starts
    exactly uniform.

    Args:
        queries: width of a decoder state s.
        keys: width of an annotation h.
        width: width n' of the hidden layer.
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self, queries: int, keys: int, width: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs
    ):
        init = nnx.initializers.normal(0.001)
        self.query = nnx.Linear(
            queries, width, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
        )
        self.key = nnx.Linear(keys, width, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs)
        self.v = nnx.Param(jnp.zeros((1, width)))
        self.dtype = dtype

    def annotate(self, states: Float[Array, "B S H"], lengths: Int[Array, "B"]) -> Annotations:
        """Projects the source's states to keys, once for all target steps."""
        return Annotations(self.key(states)[:, :, None], states[:, :, None], lengths)

    def score(self) -> scores.Score:
        """The score between projected queries and the annotations' keys."""
        return scores.Additive(self.v[...].astype(self.dtype))


class LuongAttention(nnx.Module):
    """Luong et al. 2015, section 3.1: global attention by dot, general, concat or location.

    All four come down to what stands as a source position's key, projected once for all target
    steps: the state itself (dot), W_a h_s (general), the position's row of W_a (location, blind to
    the source's content), each against the plain target state by an unscaled dot product; and
    U h_s against W h_t by an additive score (concat).

    Args:
        width: width n of the states on both sides.
        score: which of the four.
        max_source: most source positions that a location score can weigh.
        init: initializer of the matrices.
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self,
        width: int,
        score: LuongScore,
        *,
        max_source: int,
        init: Any,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.kind, self.dtype = score, dtype
        if score in ("general", "concat"):
            self.key = nnx.Linear(
                width, width, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
            )
        if score == "concat":
            self.query = nnx.Param(init(rngs.params(), (width, width), jnp.float32))
            self.v = nnx.Param(init(rngs.params(), (1, width), jnp.float32))
        if score == "location":
            self.position = nnx.Param(init(rngs.params(), (max_source, width), jnp.float32))

    def annotate(self, states: Float[Array, "B S n"], lengths: Int[Array, "B"]) -> Annotations:
        """The source's keys and values.

        Raises:
            ValueError: the source is longer than a location score's `max_source`.
        """
        if self.kind == "location":
            longest = self.position.shape[0]
            if states.shape[1] > longest:
                raise ValueError(
                    f"source: a location score of max_source={longest} cannot weigh "
                    f"{states.shape[1]} positions"
                )
            row = self.position[: states.shape[1]].astype(self.dtype)
            key = jnp.broadcast_to(row, (*states.shape[:2], row.shape[-1]))
        elif self.kind == "dot":
            key = states
        else:
            key = self.key(states)
        return Annotations(key[:, :, None], states[:, :, None], lengths)

    def score(self) -> scores.Score:
        """The score between target states (projected, for concat) and the annotations' keys."""
        if self.kind == "concat":
            return scores.Additive(self.v[...].astype(self.dtype))
        return scores.Dot(scale=1.0)
