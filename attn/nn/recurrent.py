"""Recurrent layers, time-major inside, and the loop over time that they and the decoders share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from attn.typing import Array, Bool, Float

Linear = Callable[[str, Array], Array]
Cell = Callable[[Linear, Any, Any, Any], tuple[Any, Any]]
Weights = dict[str, Array]
Carry = Any


def product(weights: Weights) -> Linear:
    """linear(name, a) = a @ weights[name], in the dtype of `a`: what a cell is handed."""
    return lambda name, a: a @ weights[name].astype(a.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0, 5))
def recur(
    cell: Cell, weights: Weights, constants: Any, carry: Carry, xs: Any, reverse: bool = False
) -> tuple[Carry, Any]:
    """`lax.scan` of a cell, with the gradient of each weight computed in one product.

    Differentiating `lax.scan` adds a small product to every weight's gradient at every step. Here
    the backward loop leaves the two factors of each step behind, and they are multiplied once, as
    one large product, when it is done.

    Args:
        cell: `cell(linear, constants, carry, x) -> (carry, y)`. It multiplies by weights through
            `linear(name, a)` only, each name once a step, and closes over no array.
        weights: matrices `[inputs, outputs]` by name.
        constants: a pytree the same at every step (gradients reach it).
        carry: the state before the first step.
        xs: a pytree with time as first axis.
        reverse: whether time runs from the last step to the first.

    Returns:
        The last carry and the `y` of every step, stacked.
    """
    step = partial(cell, product(weights), constants)
    return lax.scan(step, carry, xs, reverse=reverse)


def _recur_forward(
    cell: Cell, weights: Weights, constants: Any, carry: Carry, xs: Any, reverse: bool
) -> tuple[tuple[Carry, Any], Any]:
    def tapped(constants: Any, carry: Carry, xs: Any, taps: Weights) -> tuple[Any, Weights]:
        """The loop with a zero added to each product, so that its cotangent can be asked for."""

        def step(carry: Carry, x_and_taps: tuple[Any, Weights]) -> tuple[Carry, Any]:
            x, tap = x_and_taps
            factors: Weights = {}

            def linear(name: str, a: Array) -> Array:
                if name in factors:
                    raise ValueError(f"a cell may multiply by {name!r} once a step")
                factors[name] = a
                return a @ weights[name].astype(a.dtype) + tap[name]

            carry, y = cell(linear, constants, carry, x)
            return carry, (y, factors)

        carry, (ys, factors) = lax.scan(step, carry, (xs, taps), reverse=reverse)
        return (carry, ys), factors

    taps = _zero_taps(cell, weights, constants, carry, xs)
    out, vjp, factors = jax.vjp(tapped, constants, carry, xs, taps, has_aux=True)
    return out, (vjp, factors, weights)


def _recur_backward(cell: Cell, reverse: bool, residuals: Any, cotangent: Any) -> tuple:
    vjp, factors, weights = residuals
    d_constants, d_carry, d_xs, d_taps = vjp(cotangent)

    def gradient(name: str, weight: Array) -> Array:
        if name not in factors:
            return jnp.zeros_like(weight)
        a, d_product = factors[name], d_taps[name]
        rows = (tuple(range(a.ndim - 1)),) * 2
        wide = jnp.promote_types(a.dtype, jnp.float32)
        d_weight = lax.dot_general(a, d_product, (rows, ((), ())), preferred_element_type=wide)
        return d_weight.astype(weight.dtype)

    return {k: gradient(k, w) for k, w in weights.items()}, d_constants, d_carry, d_xs


def _zero_taps(cell: Cell, weights: Weights, constants: Any, carry: Carry, xs: Any) -> Weights:
    """Zeros of the shape of each of a cell's products, for every step."""
    shapes: dict[str, Any] = {}

    def trace(carry: Carry, x: Any) -> None:
        def linear(name: str, a: Array) -> Array:
            y = a @ weights[name].astype(a.dtype)
            shapes[name] = y
            return y

        cell(linear, constants, carry, x)
        shapes.update({k: (y.shape, y.dtype) for k, y in shapes.items()})

    steps = jax.tree.leaves(xs)[0].shape[0]
    jax.eval_shape(trace, carry, jax.tree.map(lambda x: x[0], xs))
    return {k: jnp.zeros((steps, *shape), dtype) for k, (shape, dtype) in shapes.items()}


recur.defvjp(_recur_forward, _recur_backward)


def hold(real: Bool[Array, "B"] | None, new: Any, old: Any) -> Any:
    """`new` where a row has a token at this step, `old` where it has padding."""
    if real is None:
        return new
    return jax.tree.map(lambda n, o: jnp.where(real[:, None], n, o), new, old)


def lstm_update(gates: Float[Array, "B gates"], cell: Float[Array, "B n"]) -> tuple[Array, Array]:
    """(cell, hidden) from the summed inputs of the input, forget, candidate and output gates."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
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


def _lstm_cell(linear: Linear, constants: None, carry: Carry, x: Any) -> tuple[Carry, Array]:
    gates, real = x
    cell, hidden = carry
    new = lstm_update(gates + linear("recurrent", hidden), cell)
    carry = hold(real, new, carry)
    return carry, carry[1]


def _gru_cell(linear: Linear, constants: None, state: Array, x: Any) -> tuple[Array, Array]:
    gates, real = x
    state = hold(real, gru_update(linear, gates, state), state)
    return state, state


class LSTM(nnx.Module):
    """One layer of long short-term memory; the product with the inputs is one for all steps.

    Args:
        inputs: width of an input.
        width: width n of the cell and the hidden state.
        init: initializer of both matrices (the bias starts at zero).
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self, inputs: int, width: int, *, init: Any, dtype: Any = jnp.float32, rngs: nnx.Rngs
    ):
        self.width, self.dtype = width, dtype
        self.input = nnx.Linear(inputs, 4 * width, kernel_init=init, dtype=dtype, rngs=rngs)
        self.recurrent = nnx.Param(init(rngs.params(), (width, 4 * width), jnp.float32))

    def __call__(
        self, xs: Float[Array, "T B i"], carry: Carry, real: Bool[Array, "T B"] | None = None
    ) -> tuple[Carry, Float[Array, "T B n"]]:
        """Reads a sequence; steps that are not `real` leave the state as it was.

        Returns the last (cell, hidden) and every hidden state.
        """
        return self.run(self.input(xs), carry, real)

    def run(
        self, gates: Float[Array, "T B gates"], carry: Carry, real: Bool[Array, "T B"] | None = None
    ) -> tuple[Carry, Float[Array, "T B n"]]:
        """`__call__`, given what the gates get from the inputs."""
        return recur(_lstm_cell, self.weights(), None, carry, (gates, real))

    def weights(self) -> Weights:
        """The matrices of the loop, by the names that the cell gives them."""
        return {"recurrent": self.recurrent[...]}

    def bias(self) -> Float[Array, "gates"]:
        """Of the gates."""
        assert self.input.bias is not None
        return self.input.bias[...].astype(self.dtype)

    def start(self, rows: int) -> Carry:
        """(cell, hidden), zero."""
        return (jnp.zeros((rows, self.width), self.dtype),) * 2


class GRU(nnx.Module):
    """One layer of Bahdanau's gated unit (`gru_update`), in either direction of time.

    Args:
        inputs: width of an input.
        width: width n of the state.
        init: initializer of the input matrix; recurrent matrices start orthogonal, biases at zero.
        dtype: of the computation; parameters are float32.
    """

    def __init__(
        self, inputs: int, width: int, *, init: Any, dtype: Any = jnp.float32, rngs: nnx.Rngs
    ):
        self.width, self.dtype = width, dtype
        self.input = nnx.Linear(inputs, 3 * width, kernel_init=init, dtype=dtype, rngs=rngs)
        self.gates = nnx.Param(orthogonal_blocks(rngs, width, 2))
        self.candidate = nnx.Param(orthogonal_blocks(rngs, width, 1))

    def __call__(
        self,
        xs: Float[Array, "T B i"],
        state: Float[Array, "B n"],
        real: Bool[Array, "T B"] | None = None,
        reverse: bool = False,
    ) -> tuple[Float[Array, "B n"], Float[Array, "T B n"]]:
        """Reads a sequence; steps that are not `real` leave the state as it was.

        Returns the last state and every state.
        """
        return self.run(self.input(xs), state, real, reverse)

    def run(
        self,
        gates: Float[Array, "T B gates"],
        state: Float[Array, "B n"],
        real: Bool[Array, "T B"] | None = None,
        reverse: bool = False,
    ) -> tuple[Float[Array, "B n"], Float[Array, "T B n"]]:
        """`__call__`, given what the gates get from the inputs."""
        return recur(_gru_cell, self.weights(), None, state, (gates, real), reverse)

    def weights(self) -> Weights:
        """The matrices of the loop, by the names that the cell gives them."""
        return {"gates": self.gates[...], "candidate": self.candidate[...]}

    def start(self, rows: int) -> Float[Array, "B n"]:
        """The zero state."""
        return jnp.zeros((rows, self.width), self.dtype)


def orthogonal_blocks(rngs: nnx.Rngs, width: int, blocks: int) -> Float[Array, "n columns"]:
    """Side by side, one orthogonal matrix for each gate."""
    init = nnx.initializers.orthogonal()
    return jnp.concatenate(
        [init(rngs.params(), (width, width), jnp.float32) for _ in range(blocks)], axis=1
    )
