"""Drawing the next token: what is done to the logits [B, V], and the draw.

Each function returns the logits with -inf where a token is ruled out; of every row at least the
likeliest token stays.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attn.models.protocol import BOS, EOS, PAD
from attn.typing import Array, Float, Int, Key
from experiments.errors import InputError


def top_k(logits: Float[Array, "B V"], k: int) -> Float[Array, "B V"]:
    """Keeps the k likeliest tokens; of equal ones those of lower id."""
    return jnp.where(_ranks(logits) < k, logits, -jnp.inf)


def top_p(logits: Float[Array, "B V"], p: float) -> Float[Array, "B V"]:
    """Keeps the nucleus: the fewest tokens whose probabilities sum to p or more.

    Holtzman et al. 2020, equation 2.
    """
    ranks = _ranks(logits)
    order = jnp.argsort(ranks, axis=-1)
    probability = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), order, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    kept = jnp.sum(before < p, axis=-1, keepdims=True)
    return jnp.where(ranks < jnp.maximum(kept, 1), logits, -jnp.inf)


def min_p(logits: Float[Array, "B V"], p: float) -> Float[Array, "B V"]:
    """Keeps tokens at least p times as likely as the likeliest (Nguyen et al. 2024, section 3)."""
    best = jnp.max(logits, axis=-1, keepdims=True)
    return jnp.where(logits >= best + math.log(p), logits, -jnp.inf)


def never(logits: Float[Array, "B V"], *tokens: int) -> Float[Array, "B V"]:
    """Rules tokens out."""
    return logits.at[:, jnp.array(tokens)].set(-jnp.inf)


def _ranks(logits: Float[Array, "B V"]) -> Int[Array, "B V"]:
    """The place of each token when the likeliest come first."""
    order = jnp.argsort(logits, axis=-1, stable=True, descending=True)
    return jnp.argsort(order, axis=-1)


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    In this order: `PAD` and `BOS` (and `EOS`, where texts have no end) are ruled out, logits are
    divided by the temperature, then top-k, top-p and min-p, each on the distribution that the one
    before has left.

    Raises:
        InputError: a value out of its range.
    """

    temperature: float = 1.0
    """0 is greedy: the likeliest token, which no other setting rules out."""
    top_k: int | None = None
    """None: all."""
    top_p: float | None = None
    """In (0, 1]; None: 1."""
    min_p: float | None = None
    """In (0, 1]; None: all."""
    seed: int = 0
    ends: bool = True
    """Whether `EOS` may be drawn."""

    def __post_init__(self):
        if not 0 <= self.temperature < math.inf:
            raise InputError(
                f"temperature is {self.temperature}; expected a finite number of at least 0"
            )
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k is {self.top_k}; expected at least 1")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            if share is not None and not 0 < share <= 1:
                raise InputError(f"{name} is {share}; expected more than 0 and at most 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; expected 0 to {2**32 - 1}")

    def keep(self, logits: Float[Array, "B V"]) -> Float[Array, "B V"]:
        """Logits, float32, of the distribution that is drawn from (temperature 0 is read as 1)."""
        barred = (PAD, BOS) if self.ends else (PAD, BOS, EOS)
        logits = never(logits.astype(jnp.float32), *barred)
        # The best is 0 before the division, so that no temperature is too low for float32.
        logits = (logits - jnp.max(logits, axis=-1, keepdims=True)) / (self.temperature or 1.0)
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = min_p(logits, self.min_p)
        return logits

    def draw(self, logits: Float[Array, "B V"], time: Int[Array, ""]) -> Int[Array, "B"]:
        """A token for each row: a function of the logits, the seed, the row and the time alone.

        A row draws the same whatever the number of rows.
        """
        logits = self.keep(logits)
        if self.temperature == 0:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        now = jax.random.fold_in(jax.random.key(self.seed), time)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(now, jnp.arange(len(logits)))
        return jax.vmap(_draw)(keys, logits)


def _draw(key: Key[Array, ""], logits: Float[Array, "V"]) -> Int[Array, ""]:
    return jax.random.categorical(key, logits).astype(jnp.int32)
