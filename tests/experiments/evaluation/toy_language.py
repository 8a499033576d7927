"""A tiny recurrent language model of one sequence, and a text task for it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.one_sequence import OneSequence
from experiments.data.batches import Examples
from experiments.data.tokenizers import UNK, Symbols
from experiments.tasks.task import Task

LETTERS = "abcdefgh "


class RecurrentModel(OneSequence):
    """h' = tanh(W h + E x), logits of h; its weights are large, so that its taste is firm."""

    def __init__(self, vocabulary: int, longest: int | None = None, seed: int = 0):
        self.vocabulary(vocabulary, vocabulary, shared=True)
        self.longest = longest
        keys = jax.random.split(jax.random.key(seed), 3)
        self.embedding = nnx.Param(1.5 * jax.random.normal(keys[0], (self.joint, 12)))
        self.recurrent = nnx.Param(0.4 * jax.random.normal(keys[1], (12, 12)))
        self.output = nnx.Param(1.5 * jax.random.normal(keys[2], (12, self.joint)))

    def run(self, tokens, prefix, noise):
        return self.advance(self.create(*tokens.shape), tokens, None, True)[1]

    def create(self, rows, capacity):
        if self.longest is not None and capacity > self.longest:
            raise ValueError(f"{capacity} tokens are more than {self.longest} positions")
        return jnp.zeros((rows, 12))

    def advance(self, carry, tokens, count, first):
        count = jnp.full(len(tokens), tokens.shape[1]) if count is None else count

        def step(state, at):
            token, time = at
            new = jnp.tanh(state @ self.recurrent[...] + self.embedding[...][token])
            state = jnp.where((time < count)[:, None], new, state)
            return state, state

        times = jnp.arange(tokens.shape[1])
        carry, states = jax.lax.scan(step, carry, (tokens.T, times))
        return carry, states.swapaxes(0, 1)

    def logits(self, states):
        return states @ self.output[...] - 30.0 * (jnp.arange(self.joint) == UNK)

    def expects(self, tokens):
        """[len(tokens), V], float64: log P of what comes after each token; in NumPy."""
        embedding, recurrent, output = (
            np.float64(x[...]) for x in (self.embedding, self.recurrent, self.output)
        )
        state, states = np.zeros(12), []
        for token in tokens:
            state = np.tanh(state @ recurrent + embedding[token])
            states.append(state)
        logits = np.stack(states) @ output - 30.0 * (np.arange(self.joint) == UNK)
        return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def text_task(kind="text") -> Task:
    """Letters; nothing is trained on it."""
    letters = Symbols(LETTERS, "character")
    split = Examples.of(["", ""], ["ab", "ha"], [[], []], map(letters.encode, ["ab", "ha"]))
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return Task("letters", letters, letters, splits, ("bits_per_character",), kind=kind)
