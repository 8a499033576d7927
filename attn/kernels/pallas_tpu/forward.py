"""The kernel of the forward pass."""

from typing import Any

from jax.experimental import pallas as pl

from attn.kernels.pallas_tpu.families import scoring
from attn.kernels.pallas_tpu.layout import Layout, Place
from attn.kernels.pallas_tpu.reading import Reader
from attn.kernels.pallas_tpu.scoring import Aim
from attn.kernels.pallas_tpu.turns import Turns
from attn.kernels.tiles import Running, cleared_columns


def output_kernel(layout: Layout, turns: Turns, *refs: Any) -> None:
    """Output and log-sum-exp of a block of queries, a block of keys to a step."""
    count = len(layout.plan.slots)
    tables, arrays, (output, lse), (top, total, summed, *memory) = (
        refs[:3],
        refs[3 : 3 + count],
        refs[3 + count : 5 + count],
        refs[5 + count :],
    )
    b, n, at, turn = (pl.program_id(axis) for axis in range(4))
    family = scoring(layout, Aim(), memory)

    def reader() -> Reader:
        return Reader(layout, arrays, Place(b, n, at, turns.other(tables, b, n, at, turn)))

    @pl.when(turn == 0)
    def _() -> None:
        fresh = Running.start(*summed.shape)
        top[...], total[...], summed[...] = fresh.top, fresh.total, fresh.summed
        family.enter(reader())

    def step(partial: bool) -> None:
        here = reader()
        block = here.block(partial)
        raw = family.raw(here, block)
        value = cleared_columns(block, here.refs[2][...])
        running = Running(top[...], total[...], summed[...])
        running = running.add(block, here.head(), raw, value)
        top[...], total[...], summed[...] = running.top, running.total, running.summed

    turns.run(tables, (b, n, at), turn, step)

    @pl.when(turn == turns.shape[3] - 1)
    def _() -> None:
        found, found_lse = Running(top[...], total[...], summed[...]).finish()
        output[...] = found.astype(output.dtype)
        lse[...] = found_lse.reshape(1, -1)
