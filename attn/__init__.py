"""Attention mechanisms in JAX: one op for any score, mask, modification and weighting."""

from importlib.metadata import version

from attn import decode, hashing, masks, mods, positions, scores, weightings
from attn.errors import Unsupported
from attn.functional import attention, attention_weights, dot_product_attention
from attn.masks import Causal, Dense, Lengths, Local, Prefix, Segments, Window
from attn.mods import ALiBi, Bias, Mod, RelativeBias, SoftCap
from attn.ring import ring_attention
from attn.scores import Additive, Concat, Dot, General, Location
from attn.weightings import Dropout, Gaussian

__version__ = version("attn")

__all__ = [
    "ALiBi",
    "Additive",
    "Bias",
    "Causal",
    "Concat",
    "Dense",
    "Dot",
    "Dropout",
    "Gaussian",
    "General",
    "Lengths",
    "Local",
    "Location",
    "Mod",
    "Prefix",
    "RelativeBias",
    "Segments",
    "SoftCap",
    "Unsupported",
    "Window",
    "__version__",
    "attention",
    "attention_weights",
    "decode",
    "dot_product_attention",
    "hashing",
    "masks",
    "mods",
    "positions",
    "ring_attention",
    "scores",
    "weightings",
]
