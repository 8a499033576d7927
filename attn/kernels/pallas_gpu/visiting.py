"""The loop of a program over the blocks that it has to visit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax

from attn.kernels.pallas_gpu.memory import load


@dataclass(frozen=True)
class Turns:
    """The blocks along one axis that a program has to visit, in references to `Visits`."""

    order: Any
    full: Any
    some: Any
    in_order: bool
    """Block t comes t-th, whichever the program."""

    def run(
        self, where: tuple[Any, Any, Any], step: Callable[..., Any], carry: Any, share: Any = None
    ) -> Any:
        """Folds `step(block, carry, partial)` over the full blocks, then over the partial ones.

        Args:
            where: batch, head and block.
            step: takes the number of a block.
            carry: before the first.
            share: this program's number and how many programs share the blocks.
        """
        b, n, block = where
        shape = self.full.shape
        where = b if shape[0] > 1 else 0, n if shape[1] > 1 else 0, block
        full, some = (load(ref, where) for ref in (self.full, self.some))
        first, last = jnp.int32(0), some
        if share is not None:
            part = (some + share[1] - 1) // share[1]
            first = share[0] * part
            last = jnp.minimum(first + part, some)

        def turn(partial: bool) -> Callable[[Any, Any], Any]:
            def run(t: Any, carry: Any) -> Any:
                block = t if self.in_order else load(self.order, (*where, t))
                return step(block, carry, partial)

            return run

        middle = jnp.clip(full, first, last)
        carry = lax.fori_loop(first, middle, turn(False), carry)
        return lax.fori_loop(middle, last, turn(True), carry)
