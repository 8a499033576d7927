"""The order in which a grid's innermost axis goes through the blocks that have anything to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import pallas as pl

from attn.kernels.visits import Visits
from attn.typing import Array


@dataclass(frozen=True)
class Turns:
    """`Visits` without its tables, which lie flat in scalar memory."""

    shape: tuple[int, ...]
    """[batch, heads, blocks, others]; batch or heads 1 where all have the same."""
    kinds: frozenset[int]
    """Which there may be: 0 for nothing to do, 1 for partial, 2 for full."""

    @classmethod
    def of(cls, visits: Visits) -> "Turns":
        """Those of a call."""
        return cls(visits.order.shape, _kinds(visits))

    def other(self, tables: Sequence[Any], b: Any, n: Any, block: Any, turn: Any) -> Any:
        """The block that comes in this turn."""
        return tables[0][self._row(b, n, block) * self.shape[3] + turn]

    def run(
        self,
        tables: Sequence[Any],
        where: tuple[Any, Any, Any],
        turn: Any,
        step: Callable[[bool], None],
    ) -> None:
        """Does `step(partial)` if this turn has anything to do."""
        if len(self.kinds) == 1 and 0 not in self.kinds:
            step(1 in self.kinds)
            return
        row = self._row(*where)
        full, some = tables[1][row], tables[2][row]
        if 2 in self.kinds:
            pl.when(turn < full)(lambda: step(False))
        if 1 in self.kinds:
            pl.when((turn >= full) & (turn < some))(lambda: step(True))

    def _row(self, b: Any, n: Any, block: Any) -> Any:
        b = b if self.shape[0] > 1 else 0
        n = n if self.shape[1] > 1 else 0
        return (b * self.shape[1] + n) * self.shape[2] + block


def flat(visits: Visits) -> list[Array]:
    """The tables: order, full, some. Scalar memory would pad all axes but one."""
    return [table.reshape(-1) for table in visits]


def _kinds(visits: Visits) -> frozenset[int]:
    if isinstance(visits.order, jax.core.Tracer):
        return frozenset((0, 1, 2))
    full, some = np.asarray(visits.full), np.asarray(visits.some)
    there = (some < visits.order.shape[3]).any(), (some > full).any(), (full > 0).any()
    return frozenset(kind for kind, any_ in enumerate(there) if any_)
