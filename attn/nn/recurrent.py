"""The loop over time that recurrent layers and decoders share."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from attn.typing import Array, ArrayLike, Bool, Float, Int

Linear = Callable[[str, Array], Array]
Cell = Callable[[Linear, Any, Any, Any], tuple[Any, Any]]
Weights = dict[str, Any]
"""Matrices `[inputs, outputs]` and `Windows`, by name."""
Carry = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Windows:
    """A table of rows of which a step reads a window: a product with rows of the identity.

    Among a loop's weights it costs each step its window, backward too, however long the table is.
    """

    table: ArrayLike
    """[B, S, F]."""
    size: int = field(metadata={"static": True})
    """Rows of a window, at most S."""

    def at(self, first: Int[Array, "B T"]) -> Float[Array, "B T size F"]:
        """The windows that begin at row `first`, from 0 to S - size."""

        def window(table: Array, first: Array) -> Array:
            return lax.dynamic_slice_in_dim(table, first, self.size)

        return jax.vmap(jax.vmap(window, (None, 0)))(self.table, first)


def times(operand: Any, a: Array) -> Array:
    """a @ matrix in the dtype of `a`; or the windows that begin at `a`."""
    return operand.at(a) if isinstance(operand, Windows) else a @ operand.astype(a.dtype)


def product(weights: Weights) -> Linear:
    """linear(name, a) = times(weights[name], a): what a cell is handed."""
    return lambda name, a: times(weights[name], a)


def recur(
    cell: Cell,
    weights: Weights,
    constants: Any,
    carry: Carry,
    xs: Any,
    reverse: bool = False,
    *,
    unroll: int = 1,
    remat: bool = False,
) -> tuple[Carry, Any]:
    """`lax.scan` of a cell, with the gradient of each weight computed in one product.

    Differentiating `lax.scan` adds a small product to every weight's gradient at every step. Here
    the backward loop leaves the two factors of each step behind, and they are multiplied once, as
    one large product, when it is done.

    Args:
        cell: `cell(linear, constants, carry, x) -> (carry, y)`. It multiplies by weights through
            `linear(name, a)` only, each name once a step, and closes over no array.
        weights: matrices `[inputs, outputs]`, and tables read by `Windows`, by name.
        constants: a pytree the same at every step (gradients reach it).
        carry: the state before the first step.
        xs: a pytree with time as first axis.
        reverse: whether time runs from the last step to the first.
        unroll: steps in one turn of the compiled loop.
        remat: keep the carry of every √T-th step only and compute the steps between again in the
            backward pass: memory for about 2√T steps instead of T, one product for each √T steps.

    Returns:
        The last carry and the `y` of every step, stacked.
    """
    loop = partial(_recur, cell, reverse, unroll, weights, constants)
    if not remat:
        return loop(carry, xs)
    steps = jax.tree.leaves(xs)[0].shape[0]
    chunk = math.isqrt(max(steps - 1, 0)) + 1
    whole = steps // chunk * chunk
    many = jax.tree.map(lambda x: x[:whole].reshape(-1, chunk, *x.shape[1:]), xs)
    rest = jax.tree.map(lambda x: x[whole:], xs)
    if reverse:
        carry, after = loop(carry, rest)
    carry, ys = lax.scan(jax.checkpoint(loop, prevent_cse=False), carry, many, reverse=reverse)
    if not reverse:
        carry, after = loop(carry, rest)
    ys = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), ys)
    return carry, jax.tree.map(lambda y, z: jnp.concatenate([y, z]), ys, after)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _recur(
    cell: Cell,
    reverse: bool,
    unroll: int,
    weights: Weights,
    constants: Any,
    carry: Carry,
    xs: Any,
) -> tuple[Carry, Any]:
    step = partial(cell, product(weights), constants)
    return lax.scan(step, carry, xs, reverse=reverse, unroll=unroll)


def _recur_forward(
    cell: Cell,
    reverse: bool,
    unroll: int,
    weights: Weights,
    constants: Any,
    carry: Carry,
    xs: Any,
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
                return times(weights[name], a) + tap[name]

            carry, y = cell(linear, constants, carry, x)
            return carry, (y, factors)

        carry, (ys, factors) = lax.scan(step, carry, (xs, taps), reverse=reverse, unroll=unroll)
        return (carry, ys), factors

    taps = _zero_taps(cell, weights, constants, carry, xs)
    out, vjp, factors = jax.vjp(tapped, constants, carry, xs, taps, has_aux=True)
    return out, (vjp, factors, weights)


def _recur_backward(
    cell: Cell, reverse: bool, unroll: int, residuals: Any, cotangent: Any
) -> tuple:
    vjp, factors, weights = residuals
    d_constants, d_carry, d_xs, d_taps = vjp(cotangent)

    def gradient(name: str, operand: Any) -> Any:
        if name not in factors:
            return jax.tree.map(jnp.zeros_like, operand)
        return _gradient(operand, factors[name], d_taps[name])

    return {k: gradient(k, w) for k, w in weights.items()}, d_constants, d_carry, d_xs


def _gradient(operand: Any, a: Array, d_product: Array) -> Any:
    """Of a matrix or a table, from the factors and cotangents of every step."""
    wide = jnp.promote_types(d_product.dtype, jnp.float32)
    if isinstance(operand, Windows):
        table = Windows(operand.table.astype(wide), operand.size)
        transpose = jax.vjp(lambda table: jax.vmap(table.at)(a), table)[1]
        (d_table,) = transpose(d_product.astype(wide))
        return Windows(d_table.table.astype(operand.table.dtype), operand.size)
    rows = (tuple(range(a.ndim - 1)),) * 2
    d_weight = lax.dot_general(a, d_product, (rows, ((), ())), preferred_element_type=wide)
    return d_weight.astype(operand.dtype)


def _zero_taps(cell: Cell, weights: Weights, constants: Any, carry: Carry, xs: Any) -> Weights:
    """Zeros of the shape of each of a cell's products, for every step."""
    shapes: dict[str, Any] = {}

    def trace(carry: Carry, x: Any) -> None:
        def linear(name: str, a: Array) -> Array:
            y = times(weights[name], a)
            shapes[name] = y
            return y

        cell(linear, constants, carry, x)
        shapes.update({k: (y.shape, y.dtype) for k, y in shapes.items()})

    steps = jax.tree.leaves(xs)[0].shape[0]
    x = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    jax.eval_shape(trace, carry, x)
    return {k: jnp.zeros((steps, *shape), dtype) for k, (shape, dtype) in shapes.items()}


_recur.defvjp(_recur_forward, _recur_backward)


def hold(real: Bool[Array, "B"] | None, new: Any, old: Any) -> Any:
    """`new` where a row has a token at this step, `old` where it has padding."""
    if real is None:
        return new

    def held(n: Array, o: Array) -> Array:
        return jnp.where(real.reshape(-1, *[1] * (n.ndim - 1)), n, o)

    return jax.tree.map(held, new, old)
