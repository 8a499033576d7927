"""Models that read a text and answer about it: its class, a label for each token, or a span."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.errors import Unsupported
from attn.models.protocol import EOS, PAD, State
from attn.models.source import source_lengths
from attn.nn.noise import Noise
from attn.typing import Array, ArrayLike, Bool, Float, Int

Head = Literal["class", "tokens", "span"]

SPECIAL = 3
"""Ids that stand before the first position in a vocabulary of positions."""
NEVER = -30.0
"""A logit beside 0: e^-30 is nothing in float32, and a finite loss under label smoothing."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Answer:
    """What a reader says, in the order of the target's tokens."""

    logits: ArrayLike
    """[B, A, V], float32."""


class Reader(nnx.Module):
    """Answers `attn.models.protocol.Seq2Seq` by reading the source alone, whatever the target.

    A model of this kind turns a source into a state for each token (`read`); the head makes of them
    the target's tokens, all at once:

    - "class": one label, from `pooled` states;
    - "tokens": a label for each source token (that of the source's `EOS` is the target's);
    - "span": two places in the source, its first and its last, as tokens `SPECIAL` + place.

    What follows the answer is `EOS` with certainty.
    """

    attends: ClassVar[bool | None] = None
    kind: Head
    words: int
    """Size of the target's vocabulary."""

    def read(self, source: Int[Array, "B S"], noise: Noise | None) -> Float[Array, "B S H"]:
        """The state of each source token."""
        raise NotImplementedError

    def pooled(
        self, states: Float[Array, "B S H"], real: Bool[Array, "B S"]
    ) -> Float[Array, "B H"]:
        """One vector for a text."""
        raise NotImplementedError

    def label(self, states: Float[Array, "*B H"]) -> Float[Array, "*B out"]:
        """Logits: of labels ("class", "tokens"), or of beginning and end ("span")."""
        raise NotImplementedError

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Answer:
        """Reads the source and answers."""
        states, real = self.read(source, noise), source != PAD
        if self.kind == "class":
            return Answer(self.label(self.pooled(states, real))[:, None].astype(jnp.float32))
        logits = self.label(states).astype(jnp.float32)
        return Answer(self._places(logits, source) if self.kind == "span" else logits)

    def decode(
        self, memory: Answer, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of each target token."""
        wanted, (_, given, words) = target_in.shape[1], memory.logits.shape
        end = jnp.broadcast_to(_ended(words), (len(target_in), max(wanted - given, 0), words))
        return jnp.concatenate([memory.logits[:, :wanted], end], axis=1)

    def weights(self, memory: Answer, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """There are none.

        Raises:
            attn.Unsupported: always.
        """
        raise Unsupported("a reader has no attention from a target to its source")

    def start(self, memory: Answer, capacity: int) -> State:
        """Before the first label."""
        return State(memory, jnp.zeros(len(memory.logits), jnp.int32))

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """The logits of the next label; those before are not looked at."""
        logits, place = state.memory.logits, state.carry
        _, given, words = logits.shape
        at = jnp.minimum(place, given - 1)[:, None, None]
        here = jnp.take_along_axis(logits, at, axis=1)[:, 0]
        here = jnp.where((place < given)[:, None], here, _ended(words))
        return State(state.memory, place + 1), here

    def _places(
        self, logits: Float[Array, "B S 2"], source: Int[Array, "B S"]
    ) -> Float[Array, "B 2 V"]:
        """Beginning and end as tokens: real places of the source, never its `EOS`."""
        places = jnp.arange(source.shape[1])
        inside = places < source_lengths(source)[:, None] - 1
        found = jnp.where(inside[:, None], logits.swapaxes(1, 2), NEVER)
        found = found[..., : self.words - SPECIAL]
        missing = self.words - SPECIAL - found.shape[-1]
        return jnp.pad(found, [(0, 0), (0, 0), (SPECIAL, missing)], constant_values=NEVER)


def _ended(words: int) -> Float[Array, "V"]:
    """Logits that are sure of `EOS`."""
    return jnp.where(jnp.arange(words) == EOS, 0.0, NEVER)
