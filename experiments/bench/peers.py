"""Others' kernels, to measure ours against: factories for `experiments.bench.static`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import flash_attention as jax_flash

Shapes = tuple[jax.ShapeDtypeStruct, ...]


def flash_attention(
    causal: bool = False,
    backward: bool = False,
    block: int | None = None,
    batch: int = 1,
    heads: int = 8,
    length: int = 2048,
    width: int = 128,
    dtype: str = "bfloat16",
) -> tuple[Callable[..., Any], Shapes]:
    """JAX's own flash attention for TPUs; arrays are [B, N, T, D].

    Args:
        causal: whether queries see no later keys.
        backward: compile the gradients along.
        block: rows and columns of each tile; None for the defaults of JAX, 128.
        batch: B.
        heads: N.
        length: T, of queries and keys.
        width: D.
        dtype: of the arrays.
    """
    x = jax.ShapeDtypeStruct((batch, heads, length, width), dtype)
    sizes = None if block is None else _blocks(block)

    def attend(query: Any, key: Any, value: Any) -> Any:
        return jax_flash.flash_attention(
            query, key, value, causal=causal, sm_scale=width**-0.5, block_sizes=sizes
        )

    def with_gradients(query: Any, key: Any, value: Any) -> Any:
        output, pull = jax.vjp(attend, query, key, value)
        return output, pull(jnp.ones_like(output))

    return with_gradients if backward else attend, (x, x, x)


def _blocks(size: int) -> jax_flash.BlockSizes:
    return jax_flash.BlockSizes(
        block_b=1,
        block_q=size,
        block_k_major=size,
        block_k=size,
        block_q_major_dkv=size,
        block_k_major_dkv=size,
        block_q_dkv=size,
        block_k_dkv=size,
        block_q_dq=size,
        block_k_major_dq=size,
        block_k_dq=size,
    )
