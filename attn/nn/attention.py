"""Attention layers: projections around `attn.attention`, which does the arithmetic."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn import masks, scores
from attn.functional import attention, attention_weights
from attn.nn.local import Focus, Local
from attn.nn.recurrent import Linear, Weights, Windows, product
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

    Args:
        queries: width of a decoder state s.
        keys: width of an annotation h.
        width: width n' of the hidden layer.
        init: initializer of W_a, U_a and v. None is that of appendix B.1: W_a and U_a start as
            N(0, 0.001^2) and v at zero, so that attention starts exactly uniform.
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self,
        queries: int,
        keys: int,
        width: int,
        *,
        init: Any = None,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        matrix = init or nnx.initializers.normal(0.001)
        vector = init or nnx.initializers.zeros_init()
        options: dict[str, Any] = {"kernel_init": matrix, "dtype": dtype, "rngs": rngs}
        self.query = nnx.Linear(queries, width, use_bias=False, **options)
        self.key = nnx.Linear(keys, width, use_bias=False, **options)
        self.v = nnx.Param(vector(rngs.params(), (1, width), jnp.float32))
        self.dtype = dtype

    def annotate(self, states: Float[Array, "B S H"], lengths: Int[Array, "B"]) -> Annotations:
        """Projects the source's states to keys, once for all target steps."""
        return Annotations(self.key(states)[:, :, None], states[:, :, None], lengths)

    def score(self) -> scores.Score:
        """The score between projected queries and the annotations' keys."""
        return scores.Additive(self.v[...].astype(self.dtype))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Alignment:
    """How target states find their contexts by `LuongAttention`, in a decoder's loop or outside."""

    score: scores.Score
    annotations: Annotations | None
    """None where attention is local: a loop reads windows of them, by its `linear`."""
    focus: Focus | None

    def context(
        self, linear: Linear, states: Float[Array, "B T n"], time: Int[Array, "B T"]
    ) -> Float[Array, "B T H"]:
        """Of the target states of steps `time`; `linear` knows the layer's `weights`."""
        query = self.query(linear, states)
        if self.focus is None:
            assert self.annotations is not None
            return self.annotations.attend(query, self.score)
        center = self.focus.center(linear, states, time)
        return self.focus.attend(linear, query, center, self.score)

    def query(self, linear: Linear, states: Float[Array, "B T n"]) -> Float[Array, "B T A"]:
        """A concat score projects the target state; the others take it as it is."""
        return linear("query", states) if isinstance(self.score, scores.Additive) else states


class LuongAttention(nnx.Module):
    """Luong et al. 2015, section 3: attention by dot, general, concat or location.

    All four come down to what stands as a source position's key, projected once for all target
    steps: the state itself (dot), W_a h_s (general), the position's row of W_a (location, blind to
    the source's content), each against the plain target state by an unscaled dot product; and
    U h_s against W h_t by an additive score (concat).

    Attention is global (section 3.1) or local (3.2, see `Focus`). Local attention aligns by the
    source's content (equation 7): the location score, equation 8, is of global attention only.

    Args:
        width: width n of the states on both sides.
        score: which of the four.
        max_source: most source positions that a location score can weigh.
        local: None is global.
        window: places D on each side of p_t that local attention sees.
        sigma: of local-p's Gaussian; None is D / 2, infinity leaves the weights as they are.
        init: initializer of the matrices.
        dtype: of the computation; parameters are float32.

    Raises:
        ValueError: local attention by location, or a window or sigma that is none.
    """

    def __init__(
        self,
        width: int,
        score: LuongScore,
        *,
        max_source: int,
        local: Local | None = None,
        window: int = 10,
        sigma: float | None = None,
        init: Any,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _check_local(score, local, window, sigma)
        self.kind, self.dtype, self.local, self.window = score, dtype, local, window
        self.sigma = None
        if local == "predictive":
            self.sigma = window / 2 if sigma is None else sigma

        def matrix(*shape: int) -> nnx.Param:
            return nnx.Param(init(rngs.params(), shape, jnp.float32))

        if score in ("general", "concat"):
            self.key = nnx.Linear(
                width, width, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
            )
        if score == "concat":
            self.query, self.v = matrix(width, width), matrix(1, width)
        if score == "location":
            self.position = matrix(max_source, width)
        if local == "predictive":
            self.focus, self.v_focus = matrix(width, width), matrix(width)

    def annotate(self, states: Float[Array, "B S n"], lengths: Int[Array, "B"]) -> Annotations:
        """The keys and values of a source, whose states stand in the order of its words.

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

    def align(self, annotations: Annotations) -> Alignment:
        """What is the same for all target steps."""
        score: scores.Score = scores.Dot(scale=1.0)
        if self.kind == "concat":
            score = scores.Additive(self.v[...].astype(self.dtype))
        if self.local is None:
            return Alignment(score, annotations, None)
        v = self.v_focus[...] if self.local == "predictive" else None
        longest = annotations.key.shape[1]
        focus = Focus(annotations.lengths, v, self.sigma, self.window, longest)
        return Alignment(score, None, focus)

    def weights(self, annotations: Annotations) -> Weights:
        """What the `linear` of `Alignment.context` multiplies by."""
        found: Weights = {}
        if self.kind == "concat":
            found["query"] = self.query[...]
        if self.local == "predictive":
            found["focus"] = self.focus[...]
        focus = self.align(annotations).focus
        if focus is not None:
            found["keys"] = Windows(annotations.key[:, :, 0], focus.size)
            found["values"] = Windows(annotations.value[:, :, 0], focus.size)
        return found

    def shown(
        self, annotations: Annotations, states: Float[Array, "B T n"]
    ) -> Float[Array, "B 1 1 T S"]:
        """The weights of the target states of steps 0 to T - 1, as one layer with one head."""
        linear, alignment = product(self.weights(annotations)), self.align(annotations)
        query, focus = alignment.query(linear, states), alignment.focus
        if focus is None:
            return annotations.weights(query, alignment.score)
        time = jnp.broadcast_to(jnp.arange(states.shape[1], dtype=jnp.int32), states.shape[:2])
        center = focus.center(linear, states, time)
        return focus.weights(query, center, annotations.key, alignment.score)[:, None]


def _check_local(score: LuongScore, local: Local | None, window: int, sigma: float | None) -> None:
    if local is None:
        return
    if score == "location":
        raise ValueError(
            'score: local attention aligns by content; expected "dot", "general" or "concat", '
            'got "location"'
        )
    if window < 1:
        raise ValueError(f"window: got {window}; expected at least 1")
    if sigma is not None and not sigma > 0:
        raise ValueError(f"sigma: got {sigma}; expected None or a number > 0")
