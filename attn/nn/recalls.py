"""What LSTMNs look at while they read: the weights of their tapes' slots, to be shown."""

from typing import Any

import jax.numpy as jnp

from attn.functional import attention_weights
from attn.masks import Dense
from attn.nn.cells import Bidirectional
from attn.nn.intra import LSTMN, Tape
from attn.nn.stack import Carries, Stack
from attn.typing import Array, Bool, Float, Int


def recalls(
    stack: Stack,
    tokens: Int[Array, "B T"],
    starts: Carries,
    real: Bool[Array, "B T"],
    memories: tuple[Any, ...] | None = None,
) -> Float[Array, "B L N T T"]:
    """How every layer of a stack mixes what it recalls at each step (Cheng et al. 2016, figure 1).

    Takes memory for all weights.

    Args:
        stack: its layers are `LSTMN`s, or `Bidirectional`s of two, whose directions are two heads.
        tokens: what is read.
        starts: each layer's carry before the first step: an empty tape, or one of a single slot.
            What that slot gets is left out, so that a row sums to less than one.
        real: which tokens are no padding; without padding between.
        memories: what else each layer reads.

    Returns:
        Weights of the steps (last axis) that each step (the one before) recalls; none of the first.
    """
    found, xs, given = [], tokens, memories or (None,) * len(starts)
    for depth, (layer, start, memory) in enumerate(zip(stack.layers, starts, given, strict=True)):
        project = stack.project(depth, xs, None)
        both = isinstance(layer, Bidirectional)
        ways = (layer.forward, layer.backward) if both else (layer,)
        told = [
            _recalls(way, project(way.input), tape, real.T, reverse=n > 0, memory=memory)
            for n, (way, tape) in enumerate(zip(ways, start if both else (start,), strict=True))
        ]
        xs = jnp.concatenate([hidden for hidden, _ in told], axis=-1)
        found.append(jnp.concatenate([weights for _, weights in told], axis=1))
    return jnp.stack(found, axis=1)


def _recalls(
    layer: LSTMN,
    gates: Float[Array, "T B gates"],
    start: Tape,
    real: Bool[Array, "T B"],
    *,
    reverse: bool,
    memory: Any,
) -> tuple[Float[Array, "T B n"], Float[Array, "B 1 T T"]]:
    """The hidden states of a layer, and how each step mixes them."""
    _, shown = layer.run(gates, start, real, reverse, memory=memory, emit=_latest_and_recalled)
    hidden, recalled = shown[0][..., : layer.width], shown[1]
    steps = gates, hidden, recalled, real
    if not reverse:
        return hidden, _mixed(layer, start, *steps)
    weights = _mixed(layer, start, *(jnp.flip(x, axis=0) for x in steps))
    return hidden, jnp.flip(weights, (-2, -1))


def _latest_and_recalled(tape: Tape) -> Any:
    return tape.latest, tape.recalled


def _mixed(
    layer: LSTMN,
    start: Tape,
    gates: Float[Array, "T B gates"],
    hidden: Float[Array, "T B n"],
    recalled: Float[Array, "T B n"],
    real: Bool[Array, "T B"],
) -> Float[Array, "B 1 T T"]:
    """Equation 4 for all steps at once, in the order in which they were taken."""
    steps, matrices = len(gates), layer.weights()
    query = gates[..., 4 * layer.width :][..., : layer.units]
    before = jnp.concatenate([start.recalled[None], recalled[:-1]])
    query = query + before @ matrices["recall"].astype(before.dtype)
    key = hidden @ matrices["key"].astype(hidden.dtype)
    key = jnp.concatenate([start.key[:, 0][None], key])
    written = jnp.concatenate([start.count[None] > 0, real]).T
    i, j = jnp.arange(steps)[:, None], jnp.arange(-1, steps)
    kept = (j < i) & (j >= i - (layer.tape or steps + 1)) & written[:, None, None]
    weights = attention_weights(
        query.swapaxes(0, 1)[:, :, None],
        key.swapaxes(0, 1)[:, :, None],
        score=layer.constants().score,
        mask=Dense(kept),
    )
    return weights[..., 1:]
