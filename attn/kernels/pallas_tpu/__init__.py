"""The op in Pallas for TPUs, through Mosaic."""

from attn.kernels.pallas_tpu.backend import PallasTpu

__all__ = ["BACKEND", "PallasTpu"]

BACKEND = PallasTpu()
