"""Kernels of other machines, run step by step on this one."""

import contextlib
import importlib
from collections.abc import Iterator

import jax

from attn.kernels import BACKENDS, Backend
from attn.kernels.machine import lacking

_MACHINES = {
    "pallas_gpu": ("gpu", "PallasGpu", {"largest": 16}),
    "pallas_tpu": ("tpu", "PallasTpu", {"largest": 32}),
}
"""The machine, the class, and what keeps blocks small: several to a small call."""


@contextlib.contextmanager
def interpreted(name: str, interpret: object = True) -> Iterator[None]:
    """Has the backend of that name interpret its kernels, unless its machine is here."""
    machine, kind, small = _MACHINES.get(name, (None, None, None))
    if machine is None or lacking(machine) is None:
        yield
        return
    usual = BACKENDS[name]
    module = importlib.import_module(f"attn.kernels.{name}")
    BACKENDS[name] = getattr(module, kind)(interpret=interpret, **small)
    assert isinstance(BACKENDS[name], Backend)
    try:
        yield
    finally:
        BACKENDS[name] = usual
        jax.clear_caches()
