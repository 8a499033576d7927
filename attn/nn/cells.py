"""Recurrent layers, time-major: RNN, LSTM and GRU, in either direction of time or in both.

What a layer does at one step is its `update`, a function of arrays alone: the layer's own loop,
decoders that need more at each step, and search all call the same one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attn.nn.recurrent import Carry, Linear, Weights, hold, recur
from attn.typing import Array, Bool, Float

Project = Callable[[nnx.Linear], Array]
"""From a layer's input matrix to what its gates get from the inputs, [T, B, gates]."""


class Recurrent(nnx.Module):
    """Base of layers: the product with the inputs is one for all steps, the rest is `update`.

    Args:
        inputs: width of an input.
        width: width n of the hidden state.
        gates: width of what the loop gets from the inputs.
        init: initializer of matrices (biases start at zero).
        remat: whether long sequences are computed again in the backward pass (see `recur`).
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        gates: int,
        *,
        init: Any,
        remat: bool = False,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.width = self.outputs = width
        self.dtype, self.remat = dtype, remat
        self.input = nnx.Linear(inputs, gates, kernel_init=init, dtype=dtype, rngs=rngs)

    @staticmethod
    def update(linear: Linear, constants: Any, carry: Carry, gates: Float[Array, "B gates"]) -> Any:
        """The carry after one step; `gates` is what it gets from the step's input."""
        raise NotImplementedError

    @staticmethod
    def hidden(carry: Carry) -> Float[Array, "B n"]:
        """The hidden state in a carry."""
        return carry

    def weights(self) -> Weights:
        """The matrices of the loop, by the names that `update` gives them."""
        raise NotImplementedError

    def constants(self, memory: Any = None) -> Any:
        """What `update` needs beside matrices; `memory` is what else a layer reads, if it does."""
        return None

    def start(self, rows: int, capacity: int = 0) -> Carry:
        """The carry before the first step, zero, with room for `capacity` steps."""
        return jnp.zeros((rows, self.width), self.dtype)

    def bias(self) -> Float[Array, "gates"]:
        """Of the gates."""
        assert self.input.bias is not None
        return self.input.bias[...].astype(self.dtype)

    def __call__(
        self,
        xs: Float[Array, "T B i"],
        carry: Carry,
        real: Bool[Array, "T B"] | None = None,
        reverse: bool = False,
    ) -> tuple[Carry, Float[Array, "T B n"]]:
        """Reads a sequence; steps that are not `real` leave the carry as it was.

        Returns the last carry and every hidden state.
        """
        return self.read(lambda linear: linear(xs), carry, real, reverse)

    def read(
        self,
        project: Project,
        carry: Carry,
        real: Bool[Array, "T B"] | None = None,
        reverse: bool = False,
    ) -> tuple[Carry, Float[Array, "T B n"]]:
        """`__call__`, with inputs that know how to go through a matrix (`Words.through`)."""
        return self.run(project(self.input), carry, real, reverse)

    def run(
        self,
        gates: Float[Array, "T B gates"],
        carry: Carry,
        real: Bool[Array, "T B"] | None = None,
        reverse: bool = False,
        *,
        memory: Any = None,
        emit: Callable[[Carry], Any] | None = None,
    ) -> tuple[Carry, Any]:
        """`__call__`, given what the gates get from the inputs.

        `emit` says what is shown of each step's carry (None: the hidden state).
        """
        kind = type(self)
        cell = partial(_cell, kind.update, emit or kind.hidden)
        constants, xs = self.constants(memory), (gates, real)
        return recur(cell, self.weights(), constants, carry, xs, reverse, remat=self.remat)


def _cell(
    update: Callable[..., Carry],
    emit: Callable[[Carry], Any],
    linear: Linear,
    constants: Any,
    carry: Carry,
    x: tuple[Array, Array | None],
) -> tuple[Carry, Any]:
    gates, real = x
    carry = hold(real, update(linear, constants, carry, gates), carry)
    return carry, emit(carry)


def lstm_update(
    gates: Float[Array, "B gates"],
    cell: Float[Array, "B n"],
    more: Float[Array, "B n"] | float = 0.0,
) -> tuple[Array, Array]:
    """(cell, hidden) from the summed inputs of the input, forget, candidate and output gates.

    `more` is added to the new cell, for cells that remember something else as well.
    """
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g) + more
    return cell, jax.nn.sigmoid(o) * jnp.tanh(cell)


def gru_update(
    linear: Linear, gates: Float[Array, "B gates"], state: Float[Array, "B n"]
) -> Float[Array, "B n"]:
    """Bahdanau et al. 2014, appendix A.1.1: the next state of a gated recurrent unit.

    `gates` holds what update z, reset r and candidate get from the inputs; `linear` multiplies by
    "gates" (z and r) and "candidate". The state is reset *before* the recurrent product,
    s~ = tanh(... + U (r * s)), and z weighs the candidate, s = (1 - z) s + z s~: Flax's cell does
    both the other way round.
    """
    n = state.shape[-1]
    z, r = jnp.split(jax.nn.sigmoid(gates[:, : 2 * n] + linear("gates", state)), 2, axis=-1)
    candidate = jnp.tanh(gates[:, 2 * n :] + linear("candidate", r * state))
    return (1 - z) * state + z * candidate


class RNN(Recurrent):
    """Elman's network: h_t = tanh(W x_t + U h_{t-1} + b). Args are `Recurrent`'s."""

    def __init__(self, inputs: int, width: int, *, init: Any, rngs: nnx.Rngs, **options: Any):
        super().__init__(inputs, width, width, init=init, rngs=rngs, **options)
        self.recurrent = nnx.Param(init(rngs.params(), (width, width), jnp.float32))

    @staticmethod
    def update(linear, constants, carry, gates):
        return jnp.tanh(gates + linear("recurrent", carry))

    def weights(self):
        return {"recurrent": self.recurrent[...]}


class LSTM(Recurrent):
    """Long short-term memory without peepholes; the carry is (cell, hidden).

    Args are `Recurrent`'s.
    """

    def __init__(self, inputs: int, width: int, *, init: Any, rngs: nnx.Rngs, **options: Any):
        super().__init__(inputs, width, 4 * width, init=init, rngs=rngs, **options)
        self.recurrent = nnx.Param(init(rngs.params(), (width, 4 * width), jnp.float32))

    @staticmethod
    def update(linear, constants, carry, gates):
        cell, hidden = carry
        return lstm_update(gates + linear("recurrent", hidden), cell)

    @staticmethod
    def hidden(carry):
        return carry[1]

    def weights(self):
        return {"recurrent": self.recurrent[...]}

    def start(self, rows, capacity=0):
        return (jnp.zeros((rows, self.width), self.dtype),) * 2


class GRU(Recurrent):
    """Bahdanau's gated unit (`gru_update`); recurrent matrices start orthogonal.

    Args are `Recurrent`'s.
    """

    def __init__(self, inputs: int, width: int, *, init: Any, rngs: nnx.Rngs, **options: Any):
        super().__init__(inputs, width, 3 * width, init=init, rngs=rngs, **options)
        self.gates = nnx.Param(orthogonal_blocks(rngs, width, 2))
        self.candidate = nnx.Param(orthogonal_blocks(rngs, width, 1))

    @staticmethod
    def update(linear, constants, carry, gates):
        return gru_update(linear, gates, carry)

    def weights(self):
        return {"gates": self.gates[...], "candidate": self.candidate[...]}


class Bidirectional(nnx.Module):
    """Two layers that read the same inputs, one from each end; their states side by side."""

    def __init__(self, forward: Recurrent, backward: Recurrent):
        self.forward, self.backward = forward, backward
        self.outputs = forward.outputs + backward.outputs

    def start(self, rows: int, capacity: int = 0) -> tuple[Carry, Carry]:
        """The carries before either's first step."""
        return self.forward.start(rows, capacity), self.backward.start(rows, capacity)

    def read(
        self, project: Project, carry: tuple[Carry, Carry], real: Bool[Array, "T B"] | None = None
    ) -> tuple[tuple[Carry, Carry], Float[Array, "T B n"]]:
        """The last carry of each direction, and every hidden state."""
        last, forward = self.forward.read(project, carry[0], real)
        first, backward = self.backward.read(project, carry[1], real, reverse=True)
        return (last, first), jnp.concatenate([forward, backward], axis=-1)


def orthogonal_blocks(rngs: nnx.Rngs, width: int, blocks: int) -> Float[Array, "n columns"]:
    """Side by side, one orthogonal matrix for each gate."""
    init = nnx.initializers.orthogonal()
    return jnp.concatenate(
        [init(rngs.params(), (width, width), jnp.float32) for _ in range(blocks)], axis=1
    )
