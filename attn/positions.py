"""Encodings of position that are put on inputs, or on queries and keys."""

import jax.numpy as jnp

from attn.typing import Array, Float, Int


def sinusoidal(
    length: int, width: int, *, offset: int | Int[Array, ""] = 0, base: float = 10000.0
) -> Float[Array, "{length} {width}"]:
    """Sines and cosines of wavelengths from 2π to 2π · base (Vaswani 2017, section 3.5).

    Even columns hold sin(t / base^(c / width)), each odd one the cosine of the column before it.

    Args:
        length: number of positions.
        width: number of columns, even.
        offset: the first position; may be traced.
        base: the longest wavelength over 2π.

    Returns:
        float32.
    """
    angles = _angles(jnp.arange(length) + offset, width, base, "sinusoidal: width")
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(length, width)


def rope(
    x: Float[Array, "*B T N D"],
    positions: Int[Array, "*#B T"] | None = None,
    *,
    base: float = 10000.0,
) -> Float[Array, "*B T N D"]:
    """Turns each pair of columns of a query or key by its position (RoFormer, Su 2021, eq. 34).

    Columns 2c and 2c + 1 turn by t / base^(2c / D), so that the dot product of a turned query and a
    turned key depends on the distance of their positions alone.

    Args:
        x: queries or keys, D even.
        positions: default 0 … T−1.
        base: the longest wavelength over 2π.

    Returns:
        In the dtype of `x`; the turning is done in float32 or better.
    """
    if positions is None:
        positions = jnp.arange(x.shape[-3])
    angles = _angles(positions, x.shape[-1], base, "rope: the width of x")[..., None, :]
    exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    even, odd, sin, cos = exact[..., 0::2], exact[..., 1::2], jnp.sin(angles), jnp.cos(angles)
    turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)


def learned(
    table: Float[Array, "L D"], length: int, *, offset: int | Int[Array, ""] = 0
) -> Float[Array, "{length} D"]:
    """Rows offset … offset + length − 1 of a table of learned positions (Gehring 2017).

    Raises:
        ValueError: the table has too few rows. A traced `offset` cannot raise: rows that are not
            there come as NaN.
    """
    last = length + (offset if isinstance(offset, int) else 0)
    if last > table.shape[0]:
        raise ValueError(f"learned: got {last} positions; the table has {table.shape[0]}")
    return jnp.take(table, jnp.arange(length) + offset, axis=0, mode="fill")


def _angles(
    positions: Int[Array, "..."], width: int, base: float, name: str
) -> Float[Array, "... half"]:
    if width % 2:
        raise ValueError(f"{name}: got {width}; expected an even number")
    frequency = base ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    return positions[..., None].astype(jnp.float32) * frequency
