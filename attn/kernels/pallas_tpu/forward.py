"""The kernel of the forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from attn.kernels.pallas_tpu.families import scoring
from attn.kernels.pallas_tpu.layout import Layout, Place, over_lanes
from attn.kernels.pallas_tpu.reading import Reader
from attn.kernels.pallas_tpu.scoring import Aim, clear, sums
from attn.kernels.pallas_tpu.turns import Turns
from attn.kernels.tiles import finite, log_sum, modified, times, weighted
from attn.typing import Array, Float


@dataclass(frozen=True)
class Running:
    """The running softmax of a block of queries, in the chip's memory.

    The same as `tiles.Running`, but of the vector unit's form: a number of a query is in all lanes,
    and its weights are added up lane by lane, which are folded at the end alone.
    """

    top: Any
    total: Any
    summed: Any

    @staticmethod
    def scratch(layout: Layout) -> list[Any]:
        """The memory that it needs."""
        widths = layout.lanes, layout.lanes, layout.plan.value_width
        return [sums((layout.query, width)) for width in widths]

    def start(self) -> None:
        """Before the first block of keys."""
        self.top[...] = jnp.full(self.top.shape, -jnp.inf, jnp.float32)
        clear(self.total)
        clear(self.summed)

    def add(self, reader: Reader, block: Any, raw: Float[Array, "Tq Tk"], value: Array) -> None:
        """One more block, given its scores before the mods."""
        head = reader.head()
        s = modified(block, head, raw)
        before = self.top[...]
        top = jnp.maximum(before, jnp.max(s, axis=1, keepdims=True))
        level = finite(top)
        e = jnp.exp(s - _wide(level, s.shape[1]))
        scale = jnp.exp(before - level)
        more = times(weighted(block, head, e), value)
        self.top[...] = top
        self.total[...] = self.total[...] * scale + over_lanes(e, before.shape[1])
        self.summed[...] = self.summed[...] * _wide(scale, more.shape[1]) + more

    def finish(self) -> tuple[Float[Array, "Tq E"], Float[Array, "1 Tq"], Float[Array, "1 Tq"]]:
        """As `tiles.Running.finish`."""
        total = jnp.sum(self.total[...], axis=1, keepdims=True)
        total = jnp.broadcast_to(total, self.total.shape)
        seen = total > 0
        total = jnp.where(seen, total, 1.0)
        lse, low = log_sum(self.top[...], total)
        lse = jnp.where(seen, lse, -jnp.inf)
        summed = self.summed[...]
        return summed / _wide(total, summed.shape[1]), as_row(lse), as_row(low)


def as_row(x: Float[Array, "rows lanes"]) -> Float[Array, "1 rows"]:
    """Numbers that are in all lanes, one to a lane."""
    size, lanes = x.shape
    own = lax.broadcasted_iota(jnp.int32, (lanes, lanes), 0)
    own = own == lax.broadcasted_iota(jnp.int32, (lanes, lanes), 1)
    parts = [x[at : at + lanes] for at in range(0, size, lanes)]
    rows = [
        jnp.max(jnp.where(own[: part.shape[0]], part, -jnp.inf), axis=0, keepdims=True)
        for part in parts
    ]
    return jnp.concatenate(rows, axis=1)[:, :size]


def _wide(x: Float[Array, "rows lanes"], width: int) -> Float[Array, "rows width"]:
    """Numbers that are in all lanes, in more or fewer of them."""
    copies = -(-width // x.shape[1])
    return x if width == x.shape[1] else jnp.concatenate([x] * copies, axis=1)[:, :width]


def output_kernel(layout: Layout, turns: Turns, *refs: Any) -> None:
    """Output and log-sum-exp of a block of queries, a block of keys to a step."""
    tables: Sequence[Any] = refs[:3]
    arrays, rest = refs[3 : 3 + len(layout.plan.slots)], refs[3 + len(layout.plan.slots) :]
    count = 3 if layout.plan.precise else 2
    outputs, memory = rest[:count], rest[count:]
    running = Running(*memory[:3])
    family = scoring(layout, Aim(), memory[3:])
    b, n, at, turn = (pl.program_id(axis) for axis in range(4))

    def reader() -> Reader:
        return Reader(layout, arrays, Place(b, n, at, turns.other(tables, b, n, at, turn)))

    @pl.when(turn == 0)
    def _() -> None:
        running.start()
        family.enter(reader())

    def step(partial: bool) -> None:
        here = reader()
        block = here.block(partial)
        raw = family.raw(here, block)
        running.add(here, block, raw, here.value(block))

    turns.run(tables, (b, n, at), turn, step)

    @pl.when(turn == turns.shape[3] - 1)
    def _() -> None:
        found, *stats = running.finish()
        outputs[0][...] = found.astype(outputs[0].dtype)
        for ref, stat in zip(outputs[1:], stats, strict=False):  # the remainder where it is sought
            ref[...] = stat
