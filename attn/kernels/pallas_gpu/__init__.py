"""The op in Pallas for NVIDIA GPUs, through Triton: Ampere, Ada, Hopper and later."""

from attn.kernels.pallas_gpu.backend import PallasGpu

__all__ = ["BACKEND", "PallasGpu"]

BACKEND = PallasGpu()
