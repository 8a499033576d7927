"""A model whose every probability depends on the whole history, and a task for it."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.protocol import PAD, State
from attn.typing import Array, Float, Int
from experiments.data.batches import Examples
from experiments.data.tokenizers import Symbols
from experiments.tasks.task import Task

STATIC = {"static": True}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HistoryModel:
    """Logits are a pseudo-random function of the seed, the source and the tokens so far."""

    vocabulary: int = field(metadata=STATIC)
    seed: Any = 0
    spread: float = field(default=3.0, metadata=STATIC)
    attends: bool = field(default=True, metadata=STATIC)

    def encode(self, source: Int[Array, "B S"], noise: Any = None) -> Any:
        """A hash of the row, and the row for `weights`."""
        code = jnp.full(source.shape[0], self.seed).astype(jnp.uint32)
        for column in range(source.shape[1]):
            code = jnp.where(source[:, column] == PAD, code, _mix(code, source[:, column]))
        return {"code": code, "source": source}

    def decode(
        self, memory: Any, target_in: Int[Array, "B T"], noise: Any = None
    ) -> Float[Array, "B T V"]:
        code, logits = memory["code"], []
        for column in range(target_in.shape[1]):
            code = _mix(code, target_in[:, column])
            logits.append(self._logits(code))
        return jnp.stack(logits, axis=1)

    def weights(self, memory: Any, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """Two layers, two heads; the last layer's heads look at one end each."""
        source = memory["source"]
        last = jnp.sum(source != PAD, axis=1) - 1
        place = jnp.arange(source.shape[1])
        ends = jnp.stack([place == 0 * last[:, None], place == last[:, None]], axis=1)
        heads = jnp.stack([jnp.zeros_like(ends), ends], axis=1).astype(jnp.float32)
        steps = target_in.shape[1]
        return jnp.broadcast_to(heads[:, :, :, None], (*heads.shape[:3], steps, source.shape[1]))

    def start(self, memory: Any, capacity: int) -> State:
        return State(memory, {"code": memory["code"], "two": jnp.zeros((len(memory["code"]), 2))})

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        code = _mix(state.carry["code"], token)
        return State(state.memory, {"code": code, "two": state.carry["two"]}), self._logits(code)

    def _logits(self, code: Array) -> Float[Array, "B V"]:
        word = _mix(code[:, None], jnp.arange(self.vocabulary) + 1000)
        return self.spread * (word.astype(jnp.float32) / 2.0**32)


def _mix(code: Array, token: Array) -> Array:
    """One round of a multiplicative hash."""
    code = (code ^ (token.astype(jnp.uint32) + jnp.uint32(0x9E3779B9))) * jnp.uint32(0x85EBCA6B)
    code = (code ^ (code >> 13)) * jnp.uint32(0xC2B2AE35)
    return code ^ (code >> 16)


def sources(batch: int, length: int, seed: int = 0) -> np.ndarray:
    """Random tokens 4 to 30, then EOS, of random lengths; int32 [batch, length + 1]."""
    rng = np.random.default_rng(seed)
    array = np.zeros((batch, length + 1), np.int32)
    for row, tokens in zip(array, rng.integers(1, length + 1, size=batch), strict=True):
        row[:tokens] = rng.integers(4, 30, size=tokens)
        row[tokens] = 2
    return array


class HistoryModule(nnx.Module):
    """The model as Flax has it: its seed is a parameter."""

    def __init__(self, vocabulary: int, seed: int, attends: bool = True):
        self.vocabulary, self.attends = vocabulary, attends
        self.seed = nnx.Param(jnp.uint32(seed))

    @property
    def plain(self) -> HistoryModel:
        return HistoryModel(self.vocabulary, self.seed[...])

    def encode(self, source: Any, noise: Any = None) -> Any:
        return self.plain.encode(source)

    def decode(self, memory: Any, target_in: Any, noise: Any = None) -> Any:
        return self.plain.decode(memory, target_in)

    def weights(self, memory: Any, target_in: Any) -> Any:
        return self.plain.weights(memory, target_in)

    def start(self, memory: Any, capacity: int) -> State:
        return self.plain.start(memory, capacity)

    def step(self, state: State, token: Any) -> Any:
        return self.plain.step(state, token)


def task(sizes: dict[str, int] | None = None, seed: int = 0) -> Task:
    """Spellings of 2 to 9 letters and as many phonemes, made up."""
    rng = np.random.default_rng(seed)
    source, target = Symbols("abcdefgh", "character"), Symbols(["AA", "B", "K", "S"], "word")
    splits = {}
    for split, size in (sizes or {"train": 60, "validation": 21, "test": 83}).items():
        sources = ["".join(rng.choice(list("abcdefgh"), n)) for n in rng.integers(2, 10, size)]
        targets = [" ".join(rng.choice(["AA", "B", "K", "S"], len(text))) for text in sources]
        splits[split] = Examples.of(
            sources, targets, map(source.encode, sources), map(target.encode, targets)
        )
    return Task("toy", source, target, splits, ("phoneme_error_rate", "word_error_rate"))
