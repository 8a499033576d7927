"""Models that read source and target as one sequence, left to right."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from attn.errors import Unsupported
from attn.mesh import along_sequence
from attn.models.protocol import State
from attn.models.source import source_lengths
from attn.nn.noise import Noise
from attn.typing import Array, ArrayLike, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prompt:
    """A source that is still to be read: token ids of the one vocabulary."""

    tokens: ArrayLike
    """[B, S], int32, padded with `PAD`."""
    lengths: ArrayLike
    """[B], int32."""


class OneSequence(nnx.Module):
    """Answers `attn.models.protocol.Seq2Seq` for a language model.

    A row is its source, `EOS` included, then its target; the source's padding moves to the end. A
    model of this kind says how it reads a whole sequence (`run`), how it goes on from a state
    (`create`, `advance`) and what it expects next (`logits`). Where source and target have
    vocabularies of their own, source tokens come after the target's in the one table.

    Attributes:
        joint: tokens in the table.
        offset: what is added to a source's token ids: 0 where the vocabulary is shared.
    """

    attends: ClassVar[bool | None] = False

    def vocabulary(self, source: int, target: int, shared: bool | None) -> None:
        """Settles `joint` and `offset`; `shared` None is: where both have the same size.

        Raises:
            ValueError: one vocabulary is asked for, but the sizes differ.
        """
        if shared and source != target:
            raise ValueError(
                f"shared: one vocabulary for source and target, got sizes {source} and {target}"
            )
        self.offset = target if shared is False or source != target else 0
        self.joint = self.offset + source

    def run(
        self, tokens: Int[Array, "B L"], prefix: Int[Array, "B"] | None, noise: Noise | None
    ) -> Float[Array, "B L H"]:
        """The state after each token; the first `prefix` of a row are its source."""
        raise NotImplementedError

    def create(self, rows: int, capacity: int) -> Any:
        """What is carried before the first token, with room for `capacity` of them."""
        raise NotImplementedError

    def advance(
        self, carry: Any, tokens: Int[Array, "B t"], count: Int[Array, "B"] | None, first: bool
    ) -> tuple[Any, Float[Array, "B t H"]]:
        """Reads more tokens.

        Args:
            carry: of the tokens before.
            tokens: the next ones, padded.
            count: how many of a row's tokens are there; None is all.
            first: whether these are the rows' sources, at the very beginning.
        """
        raise NotImplementedError

    def logits(self, states: Float[Array, "*B H"]) -> Float[Array, "*B V"]:
        """Of the token after, float32, over the target's vocabulary."""
        raise NotImplementedError

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Prompt:
        """Nothing is read yet: a language model has no encoder."""
        return Prompt(jnp.where(source > 0, source + self.offset, 0), source_lengths(source))

    def decode(
        self, memory: Prompt, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        states = self.run(self.packed(memory, target_in), memory.lengths, noise)
        return self.logits(along_sequence(self._behind(memory, states)))

    def weights(self, memory: Prompt, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """Attention from each target position to the source, by layer and head.

        Raises:
            attn.Unsupported: the model has no attention to a source (`attends` is not true).
        """
        raise Unsupported("the model has no attention to a source")

    def start(self, memory: Prompt, capacity: int) -> State:
        """After the source, with room for `capacity` tokens more."""
        rows, longest = memory.tokens.shape
        carry = self.create(rows, longest + capacity)
        return State((), self.advance(carry, memory.tokens, memory.lengths, True)[0])

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """Reads one token of each row; returns the next state and the logits of the token after."""
        state, logits = self.extend(state, token[:, None])
        return state, logits[:, 0]

    def extend(
        self, state: State, tokens: Int[Array, "B t"], count: Int[Array, "B"] | None = None
    ) -> tuple[State, Float[Array, "B t V"]]:
        """Reads several target tokens at once: the first `count` of each row (None: all)."""
        carry, states = self.advance(state.carry, tokens, count, False)
        return State(state.memory, carry), self.logits(states)

    def _behind(self, memory: Prompt, states: Float[Array, "B L H"]) -> Float[Array, "B T H"]:
        """The states of the target's tokens, which start where each row's source ends."""
        longest = memory.tokens.shape[1]
        if longest == 1:  # of texts without a source: a slice stays cut along the sequence
            read = (memory.lengths == 1)[:, None, None]
            return jnp.where(read, states[:, 1:], states[:, :-1])
        target = jnp.arange(states.shape[1] - longest, dtype=jnp.int32)
        place = memory.lengths[:, None] + target
        return jnp.take_along_axis(states, place[..., None], axis=1)

    def packed(self, memory: Prompt, target_in: Int[Array, "B T"]) -> Int[Array, "B L"]:
        """Each row's source, its target right behind it, then all padding."""
        both = jnp.concatenate([memory.tokens, target_in], axis=1)
        source, longest = memory.lengths[:, None], memory.tokens.shape[1]
        place = jnp.arange(both.shape[1], dtype=jnp.int32)
        taken = jnp.where(place < source, place, place - source + longest)
        return jnp.take_along_axis(both, taken, axis=1, mode="fill", fill_value=0)
