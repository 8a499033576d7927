"""Luong's local attention: a window of the source around where a target state looks."""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp

from attn import masks, scores, weightings
from attn.functional import attention, attention_weights
from attn.nn.recurrent import Linear
from attn.typing import Array, ArrayLike, Float, Int

Local = Literal["monotonic", "predictive"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Focus:
    """Where a target state looks (Luong et al. 2015, section 3.2): p_t, and D places around it.

    Places count from 0 in the source as written. p_t is t, but no further than the source's last
    token (local-m), or S · sigmoid(v_p . tanh(W_p h_t)) with S the row's own length (local-p,
    equation 9). A window that hangs over an end of the source is cut there.
    """

    lengths: ArrayLike
    """[B], int32."""
    v: ArrayLike | None
    """[n], v_p; None where p_t is t."""
    sigma: float | None = field(metadata={"static": True})
    """Of the Gaussian that weighs the window's places (equation 10); None is none."""
    radius: int = field(metadata={"static": True})
    """D."""
    longest: int = field(metadata={"static": True})
    """Places of the padded source."""

    @property
    def size(self) -> int:
        """Places that are read for a target state: a window's, or all if they are fewer."""
        return min(2 * self.radius + 1, self.longest)

    def center(
        self, linear: Linear, states: Float[Array, "B T n"], time: Int[Array, "B T"]
    ) -> Float[Array, "B T"]:
        """p_t in float32; `linear` multiplies by W_p ("focus") in local-p."""
        length = self.lengths[:, None]
        if self.v is None:
            return jnp.minimum(time, jnp.maximum(length - 1, 0)).astype(jnp.float32)
        hidden = jnp.tanh(linear("focus", states)).astype(jnp.float32)
        return length * jax.nn.sigmoid(hidden @ self.v)

    def attend(
        self,
        linear: Linear,
        query: Float[Array, "B T A"],
        center: Float[Array, "B T"],
        score: scores.Score,
    ) -> Float[Array, "B T H"]:
        """The context of each query, from the rows of its window alone.

        `linear` reads windows of "keys" and "values": the cost is that of the window, whatever the
        source's length.
        """
        first = jnp.ceil(jax.lax.stop_gradient(center) - self.radius).astype(jnp.int32)
        first = jnp.clip(first, 0, self.longest - self.size)
        place = first[..., None] + jnp.arange(self.size, dtype=jnp.int32)

        def alone(x: Array) -> Array:
            return x.reshape(-1, *x.shape[2:])  # each query with a source of its own

        lengths = alone(jnp.broadcast_to(self.lengths[:, None], center.shape))
        context = attention(
            alone(query)[:, None, None],
            alone(linear("keys", first))[:, :, None],
            alone(linear("values", first))[:, :, None],
            score=score,
            key_positions=alone(place),
            **self._pieces(alone(center)[:, None, None], lengths),
        )
        return context.reshape(*query.shape[:2], -1)

    def weights(
        self,
        query: Float[Array, "B T A"],
        center: Float[Array, "B T"],
        key: Float[Array, "B S 1 A"],
        score: scores.Score,
    ) -> Float[Array, "B 1 T S"]:
        """How each context is mixed, shown for all places of the source."""
        pieces = self._pieces(center[:, None], self.lengths)
        return attention_weights(query[:, :, None], key, score=score, **pieces)

    def _pieces(self, center: Float[Array, "B 1 T"], lengths: Int[Array, "B"]) -> dict[str, Any]:
        mask = masks.Lengths(key=lengths) & masks.Local(center, self.radius)
        if self.sigma is None:
            return {"mask": mask}
        return {"mask": mask, "weighting": weightings.Gaussian(center, self.sigma)}
