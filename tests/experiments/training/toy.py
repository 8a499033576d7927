"""A model that answers the protocol, learns something and compiles in no time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.protocol import BOS, EOS, PAD, State
from experiments.data.batches import Batch

VOCABULARY = 11


@dataclass(frozen=True)
class ToyConfig:
    name: ClassVar[str] = "toy"

    width: int = 8
    dropout: float = 0.0
    dtype: str = "float32"

    def build(self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs) -> "Toy":
        return Toy(self, source_vocabulary, target_vocabulary, rngs)


class Toy(nnx.Module):
    """The mean of the source's embeddings and the token before predict the next."""

    attends: ClassVar[bool] = False

    def __init__(self, config: ToyConfig, source: int, target: int, rngs: nnx.Rngs):
        self.dropout = config.dropout
        self.source = nnx.Embed(source, config.width, rngs=rngs)
        self.target = nnx.Embed(target, config.width, rngs=rngs)
        self.readout = nnx.Linear(config.width, target, rngs=rngs)

    def encode(self, source, noise=None) -> Any:
        real = (source != PAD)[..., None]
        embedded = jnp.where(real, self.source(source), 0.0)
        if noise is not None:
            embedded = noise.drop(embedded, self.dropout)
        return embedded.sum(1) / jnp.maximum(real.sum(1), 1)

    def decode(self, memory, target_in, noise=None):
        hidden = jnp.tanh(memory[:, None] + self.target(target_in))
        if noise is not None:
            hidden = noise.drop(hidden, self.dropout)
        return self.readout(hidden)

    def weights(self, memory, target_in):
        raise NotImplementedError("a toy does not attend")

    def start(self, memory, capacity):
        return State(memory, ())

    def step(self, state, token):
        return state, self.decode(state.memory, token[:, None])[:, 0]


def rows(batch_size: int, step: int, width: int = 7) -> Batch:
    """A batch whose first rows are short and whose last are long, the very first a filler."""
    random = np.random.default_rng(step)
    source = np.full((batch_size, width), PAD, np.int32)
    target = np.full((batch_size, width), PAD, np.int32)
    for row in range(1, batch_size):
        length = 1 + row * (width - 2) // batch_size
        source[row, :length] = random.integers(4, VOCABULARY, length)
        source[row, length] = EOS
        target[row, : length + 1] = [BOS, *source[row, :length][::-1]]
        target[row, length + 1] = EOS
    index = np.arange(batch_size, dtype=np.int32) + step * batch_size
    index[0] = -1
    return Batch(source, target, index)
