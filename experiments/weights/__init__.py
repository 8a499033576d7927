"""Weights of models made elsewhere, in and out, as safetensors; nothing is ever unpickled."""

from experiments.weights.checkpoint import Imported, export, load

__all__ = ["Imported", "export", "load"]
