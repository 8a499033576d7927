"""Shapes in annotations: jaxtyping where it is installed, plain arrays where it is not.

The library needs jax and flax alone. Under test jaxtyping is there and every annotated function
checks the shapes and dtypes it is handed (`tests/conftest.py` installs the import hook).
"""

from typing import Any

from jax import Array

__all__ = ["Array", "ArrayLike", "Bool", "Float", "Int", "Key", "PyTree", "Shaped", "UInt32"]

ArrayLike = Any
"""What is or becomes an array. Fields of pytrees have it too: while JAX transforms a function it
rebuilds them around tracers and placeholders that have no shape or dtype of their own."""

try:
    from jaxtyping import Bool, Float, Int, Key, PyTree, Shaped, UInt32
except ModuleNotFoundError:

    class _Unchecked:
        """`Float[Array, "B T"]` and its kin, meaning `Array`."""

        def __class_getitem__(cls, item: Any) -> Any:
            return item[0] if isinstance(item, tuple) else item

    Bool = Float = Int = Key = PyTree = Shaped = UInt32 = _Unchecked  # type: ignore[assignment]
