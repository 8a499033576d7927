"""The op on each machine. A backend is a module with these two functions.

`supports(call)` answers None, or the reason why not, from shapes, dtypes and types of pieces alone;
`forward(call)` answers the output [B, T, N, E], in the query's dtype, and the log-sum-exp
[B, T, N], in float32 or better.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from attn.errors import Unsupported
from attn.kernels import reference, xla
from attn.kernels.call import Call
from attn.kernels.machine import lacking
from attn.typing import Array

__all__ = ["BACKENDS", "Backend", "Call", "choose"]


@runtime_checkable
class Backend(Protocol):
    """What `choose` chooses from."""

    def supports(self, call: Call) -> str | None: ...

    def forward(self, call: Call) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class _OnMachine:
    """A backend of one machine: its modules are loaded where the machine is."""

    module: str
    machine: str

    def supports(self, call: Call) -> str | None:
        return lacking(self.machine) or self._backend().supports(call)

    def forward(self, call: Call) -> tuple[Array, Array]:
        return self._backend().forward(call)

    def _backend(self) -> Backend:
        return importlib.import_module(self.module).BACKEND


BACKENDS: dict[str, Backend] = {
    "pallas_tpu": _OnMachine("attn.kernels.pallas_tpu", "tpu"),
    "pallas_gpu": _OnMachine("attn.kernels.pallas_gpu", "gpu"),
    "xla": xla,
    "reference": reference,
}
"""By name, in the order in which "auto" asks; the last one can do every call."""


def choose(call: Call, backend: str) -> Backend:
    """The backend of that name, or with "auto" the first that can do the call.

    Raises:
        Unsupported: there is none of that name, or it cannot do the call.
    """
    if backend != "auto" and backend not in BACKENDS:
        known = ", ".join(f'"{name}"' for name in ("auto", *BACKENDS))
        raise Unsupported(
            f'backend: got "{backend}", which does not exist; expected one of {known}'
        )
    reasons = []
    for name, candidate in BACKENDS.items():
        if backend in ("auto", name):
            reason = candidate.supports(call)
            if reason is None:
                return candidate
            reasons.append(f"{name}: {reason}")
    raise Unsupported("backend: " + "; ".join(reasons))
