"""What chips are sold as: the figures of their makers' sheets, for rooflines.

Peaks are of dense bfloat16 products. `network` is what one chip can send to its neighbours at once,
over all its links together and in one direction: the sheets give both directions added up.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """One chip."""

    flops: float
    """A second, bfloat16, dense."""
    memory: int
    """Bytes of main memory."""
    bandwidth: float
    """Bytes a second, of main memory."""
    network: float
    """Bytes a second that it sends, all links together."""
    devices: int = 1
    """Of JAX in one chip, to its compiler; the figures above are the chip's."""
    source: str = ""


_CLOUD = "cloud.google.com/tpu/docs, system architecture, read from memory in 2026"

_NVIDIA = "NVIDIA's data sheet of the SXM board; NVLink, which ends at the host"

SHEETS = {
    "v4": Sheet(275e12, 32 * 2**30, 1228e9, 300e9 / 2, 2, _CLOUD),
    "v5e": Sheet(197e12, 16 * 2**30, 819e9, 200e9 / 2, 1, _CLOUD),
    "v5p": Sheet(459e12, 95 * 2**30, 2765e9, 600e9 / 2, 1, _CLOUD),
    "v6e": Sheet(918e12, 32 * 2**30, 1640e9, 400e9 / 2, 1, _CLOUD),
    "tpu7x": Sheet(2307e12, 192 * 2**30, 7380e9, 1200e9 / 2, 2, _CLOUD),
    "h100": Sheet(989e12, 84942979072, 3352e9, 900e9 / 2, 1, _NVIDIA),
    "h200": Sheet(989e12, 141 * 10**9, 4800e9, 900e9 / 2, 1, _NVIDIA),
}
"""By name, those of `experiments.chips.CHIPS` among them."""
