"""How many operations a model's products take, from the program itself."""

import math
from typing import Any

import jax

from attn.typing import PyTree


def product_flops(function: Any, *shapes: PyTree) -> int:
    """Multiplications and additions of all matrix products in one run of a function.

    The function is traced, never run. Kernels are not looked into: have them replaced by the
    "reference" backend, whose products are those of all pairs of queries and keys.

    Args:
        function: of JAX arrays.
        *shapes: its arguments, arrays or their shapes.
    """
    return _count(jax.make_jaxpr(function)(*shapes).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _product(equation)
            continue
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += turns * sum(_count(inner) for inner in _inside(equation.params.values()))
    return total


def _product(equation: Any) -> int:
    (contracting, _), _ = equation.params["dimension_numbers"]
    left, made = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2 * math.prod(made) * math.prod(left[axis] for axis in contracting)


def _inside(values: Any) -> Any:
    """The programs among an instruction's parameters."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _inside(value)
        elif hasattr(value, "eqns"):
            yield value
        elif hasattr(value, "jaxpr"):
            yield value.jaxpr
