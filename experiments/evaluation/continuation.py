"""A language model that goes on from a text, as a model that a search understands."""

import jax.numpy as jnp

from attn.models.one_sequence import OneSequence
from attn.models.protocol import BOS, EOS, State
from attn.models.source import source_lengths
from attn.typing import Array, Float, Int
from experiments.evaluation.search import Stepwise


class Continuation:
    """Answers `experiments.evaluation.search.Stepwise`: its source is a prompt.

    A prompt is `BOS` and the first tokens of a target whose own source is empty.
    """

    def __init__(self, model: OneSequence):
        """Of a model that was trained on targets with empty sources."""
        self._model = model

    def encode(self, source: Int[Array, "B S"]) -> Int[Array, "B S"]:
        """The prompt itself: nothing is read yet."""
        return source

    def start(self, memory: Int[Array, "B S"], capacity: int) -> State:
        """All of the prompt but its last token is read, at once, with room for `capacity` more."""
        rows, longest = memory.shape
        empty = self._model.encode(jnp.full((rows, 1), EOS, jnp.int32))
        state = self._model.start(empty, longest + capacity)
        count = source_lengths(memory) - 1
        state, _ = self._model.extend(state, memory, count)
        last = jnp.take_along_axis(memory, count[:, None], axis=1)[:, 0]
        return State((state.memory, last), state.carry)

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """Reads one token of each row; in the place of the first, `BOS`, the prompt's last one."""
        memory, last = state.memory
        after, logits = self._model.step(
            State(memory, state.carry), jnp.where(token == BOS, last, token)
        )
        return State(state.memory, after.carry), logits


def continued(model: Stepwise, text: bool) -> Stepwise:
    """The model, or its continuation where the task is text and prompts begin targets."""
    if not text:
        return model
    assert isinstance(model, OneSequence)
    return Continuation(model)
