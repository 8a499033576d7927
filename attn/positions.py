"""Encodings of position that are put on inputs, or on queries and keys."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

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
    positions = (jnp.arange(length) + offset).astype(jnp.float32)
    angles = positions[:, None] * _frequencies(width, base, "sinusoidal: width")
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(length, width)


Scaling = Literal["none", "linear", "ntk", "yarn", "llama3"]

_RAMPS = {"yarn": (1.0, 32.0), "llama3": (1.0, 4.0)}
"""Turns over the trained length below which a wavelength is stretched in full, and above which it
is kept (YaRN's alpha and beta for Llama models; Llama 3.1's low and high frequency factors)."""


@dataclass(frozen=True)
class Rope:
    """How queries and keys are turned by their positions (RoFormer, Su 2021, equation 34).

    Attributes:
        base: the longest wavelength over 2π.
        fraction: of the columns that turn, the first ones; the rest stay (GPT-NeoX: 0.25).
        halves: whether column c turns with column c + D/2 (GPT-NeoX and Llama checkpoints), not
            with its neighbour (the paper). The same up to the order of a projection's columns.
        scaling: how a model is read beyond the length that it was trained at, `factor` times:
            "linear" slows every turn (Chen 2023, equation 4); "ntk" raises the base so that the
            slowest turn alone is slowed in full; "yarn" slows turns of long wavelengths alone and
            sharpens the softmax (Peng 2023, equations 18 to 22); "llama3" does with Llama 3.1's
            bounds and the softmax as it is.
        factor: at least 1.
        trained_length: tokens; "yarn" and "llama3" ask which wavelengths fit into it.

    Raises:
        ValueError: a fraction outside (0, 1], a base or length that is not positive, a factor
            below 1, an unknown scaling.
    """

    base: float = 10000.0
    fraction: float = 1.0
    halves: bool = False
    scaling: Scaling = "none"
    factor: float = 1.0
    trained_length: int = 2048

    def __post_init__(self) -> None:
        if self.scaling not in get_args(Scaling):
            known = ", ".join(get_args(Scaling))
            raise ValueError(f"Rope.scaling: got {self.scaling!r}; expected one of {known}")
        for name, fine, expected in (
            ("base", self.base > 0, "a positive number"),
            ("fraction", 0 < self.fraction <= 1, "a number in (0, 1]"),
            ("factor", self.factor >= 1, "a number of at least 1"),
            ("trained_length", self.trained_length > 0, "a positive number"),
        ):
            if not fine:
                raise ValueError(f"Rope.{name}: got {getattr(self, name)}; expected {expected}")

    def __call__(
        self, x: Float[Array, "*B T N D"], positions: Int[Array, "*#B T"] | None = None
    ) -> Float[Array, "*B T N D"]:
        """`x`, queries or keys, turned.

        Args:
            x: of a width whose turning part is even.
            positions: default 0 … T−1.

        Returns:
            In the dtype of `x`; the turning is done in float32 or better.
        """
        if positions is None:
            positions = jnp.arange(x.shape[-3])
        turning = round(self.fraction * x.shape[-1])
        angles = positions[..., None].astype(jnp.float32) * self.frequencies(turning)
        sin, cos = (self.sharpness * f(angles)[..., None, :] for f in (jnp.sin, jnp.cos))
        exact = x[..., :turning].astype(jnp.promote_types(x.dtype, jnp.float32))
        if self.halves:
            first, second = jnp.split(exact, 2, axis=-1)
        else:
            first, second = exact[..., 0::2], exact[..., 1::2]
        turned = first * cos - second * sin, first * sin + second * cos
        if self.halves:
            joined = jnp.concatenate(turned, axis=-1)
        else:
            joined = jnp.stack(turned, axis=-1).reshape(exact.shape)
        return jnp.concatenate([joined.astype(x.dtype), x[..., turning:]], axis=-1)

    def frequencies(self, width: int) -> Float[Array, "half"]:
        """Radians a position, by pair of `width` columns; float32.

        Raises:
            ValueError: an odd width.
        """
        base = self.base
        if self.scaling == "ntk" and width > 2:
            base *= self.factor ** (width / (width - 2))
        frequencies = _frequencies(width, base, "rope: the width of x")
        if self.scaling == "linear":
            return frequencies / self.factor
        if self.scaling in _RAMPS:
            slow, fast = _RAMPS[self.scaling]
            turns = self.trained_length * frequencies / (2 * math.pi)
            kept = jnp.clip((turns - slow) / (fast - slow), 0.0, 1.0)
            return frequencies * (kept + (1.0 - kept) / self.factor)
        return frequencies

    @property
    def sharpness(self) -> float:
        """What queries and keys are multiplied by: YaRN's √(1/t) (equation 22)."""
        return 0.1 * math.log(self.factor) + 1.0 if self.scaling == "yarn" else 1.0


def rope(
    x: Float[Array, "*B T N D"],
    positions: Int[Array, "*#B T"] | None = None,
    *,
    base: float = 10000.0,
) -> Float[Array, "*B T N D"]:
    """Turns each pair of columns of a query or key by its position (RoFormer, Su 2021, eq. 34).

    Columns 2c and 2c + 1 turn by t / base^(2c / D), so that the dot product of a turned query and a
    turned key depends on the distance of their positions alone. `Rope` has more to choose.

    Args:
        x: queries or keys, D even.
        positions: default 0 … T−1.
        base: the longest wavelength over 2π.

    Returns:
        In the dtype of `x`; the turning is done in float32 or better.
    """
    return Rope(base)(x, positions)


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


def _frequencies(width: int, base: float, name: str) -> Float[Array, "half"]:
    if width % 2:
        raise ValueError(f"{name}: got {width}; expected an even number")
    return base ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
