"""What a cached decoding step costs: its time beside another model's, and the cache's bytes."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.decode import Cache
from attn.models import ModelConfig
from attn.models.protocol import BOS, EOS, Seq2Seq, State
from attn.typing import Array, Float, Int, PyTree
from experiments.ablations.measures.lane import Lane, mean
from experiments.ablations.statistics import Sample
from experiments.errors import InputError

STEPS = 4
"""Tokens in a turn."""
TURNS = 3
"""Of a round: the fastest counts, so that what else the machine does slows none."""


def decode_speed(
    lane: Lane, against: ModelConfig, *, batch: int, length: int, rounds: int
) -> dict[str, Sample]:
    """A decoding step of the lane's model and of another, whose caches hold `length` tokens.

    - "decode time ratio": the lane's time over the other's. An item is a round, in which both take
      turns; its statistics are both times in seconds a step;
    - "cache bytes": of keys and values (of a recurrent network, its states), one item, exact;
    - "cache bytes ratio": to the other's.

    The source is a lone `EOS`: what attention to a source costs is no part of it.

    Args:
        lane: any model.
        against: another model, freshly initialised.
        batch: rows.
        length: tokens in the caches.
        rounds: items.

    Raises:
        InputError: a number that is too small.
    """
    for name, value, least in (
        ("batch", batch, 1),
        ("length", length, STEPS),
        ("rounds", rounds, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; expected at least {least}")
    sizes = lane.task.source.size, lane.task.target.size
    other, params = nnx.split(against.build(*sizes, nnx.Rngs(0)))
    both = (
        _Decoding(lane.graphdef, lane.params, batch, length),
        _Decoding(other, params, batch, length),
    )
    seconds = np.array([_round(both) for _ in range(rounds)])
    mine, theirs = (np.array([each.cache_bytes]) for each in both)
    return {
        "decode time ratio": mean(seconds[:, 0], seconds[:, 1]),
        "cache bytes": mean(mine),
        "cache bytes ratio": mean(mine, theirs),
    }


class _Decoding:
    """Decodes `STEPS` tokens into caches that are full then, always at the same place."""

    def __init__(self, graphdef: nnx.GraphDef, params: PyTree, batch: int, length: int):
        self.graphdef, self.params, self.length = graphdef, jax.device_put(params), length
        self.state: State = _start(graphdef, length, batch, self.params)
        self.cache_bytes = _bytes(self.state)
        self.token = jnp.full(batch, BOS, jnp.int32)
        self.seconds()  # compiles

    def seconds(self) -> float:
        """A step took so long."""
        state = jax.block_until_ready(_at(self.state, self.length - STEPS))
        began = time.perf_counter()
        for _ in range(STEPS):
            state, logits = _step(self.graphdef, self.params, state, self.token)
        logits.block_until_ready()
        self.state = state
        return (time.perf_counter() - began) / STEPS


def _round(models: tuple[_Decoding, ...]) -> list[float]:
    turns = [[model.seconds() for model in models] for _ in range(TURNS)]
    return [min(times) for times in zip(*turns, strict=True)]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _start(graphdef: nnx.GraphDef, length: int, batch: int, params: PyTree) -> State:
    """Behind an empty source, with room for `length` tokens."""
    model: Seq2Seq = nnx.merge(graphdef, params, copy=True)
    return model.start(model.encode(jnp.full((batch, 1), EOS, jnp.int32)), length)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def _step(
    graphdef: nnx.GraphDef, params: PyTree, state: State, token: Int[Array, "B"]
) -> tuple[State, Float[Array, "B V"]]:
    model: Seq2Seq = nnx.merge(graphdef, params, copy=True)
    return model.step(state, token)


def _at(state: State, tokens: int) -> State:
    """The state with caches that have had `tokens` tokens: zeros are as dear as others."""

    def filled(part: PyTree) -> PyTree:
        if not isinstance(part, Cache):
            return part
        return Cache(part.key, part.value, jnp.full_like(part.length, tokens), part.window)

    return jax.tree.map(filled, state, is_leaf=lambda part: isinstance(part, Cache))


def _bytes(state: State) -> int:
    """Of the numbers that a state carries, lengths left out."""
    leaves = jax.tree.leaves(state.carry)
    return sum(x.nbytes for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))
