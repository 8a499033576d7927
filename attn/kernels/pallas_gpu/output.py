"""The kernel of the output."""

from typing import Any

from jax.experimental import pallas as pl

from attn.kernels.fused import Plan
from attn.kernels.pallas_gpu.memory import Reader, Span, at, power, store
from attn.kernels.pallas_gpu.scoring import scoring
from attn.kernels.pallas_gpu.tiling import Tiling
from attn.kernels.pallas_gpu.visiting import Turns
from attn.kernels.tiles import Running, seen_columns


def output_kernel(plan: Plan, tiling: Tiling, in_order: bool, *refs: Any) -> None:
    """Output and log-sum-exp of a block of queries, over all keys or this program's share."""
    count = len(plan.slots)
    arrays, (order, full, some), outputs = refs[:count], refs[count : count + 3], refs[count + 3 :]
    family = scoring(plan, tiling.width)
    place, n, b = (pl.program_id(axis) for axis in range(3))
    place, split = place // tiling.splits, place % tiling.splits
    rows = Span(place * tiling.query, tiling.query)
    base = Reader.at(plan, arrays, b, n).over(rows=rows)
    query = family.query(base)

    def step(block: Any, running: Running, partial: bool) -> Running:
        reader = base.over(columns=Span(block * tiling.key, tiling.key))
        here = reader.block(partial)
        seen = seen_columns(here)
        raw = family.raw(reader, here, (query, family.key(reader, seen)))
        return running.add(here, reader.head(), raw, reader.read(2, seen=seen))

    width = Span(0, power(plan.value_width, 16))
    split_up = tiling.splits > 1
    turns = Turns(order, full, some, in_order)
    share = (split, tiling.splits) if split_up else None
    start = Running.start(rows.size, width.size)
    found, *stats = turns.run((b, n, place), step, start, share).finish()
    front = (split, b) if split_up else (b,)
    along = rows, plan.sizes["query"]
    bounds = [along, (width, plan.value_width)]
    store(outputs[0], (*front, at(rows), n, at(width)), bounds, found)
    for ref, stat in zip(outputs[1:], stats, strict=False):  # where it is sought, the remainder too
        store(ref, (*front, at(rows), n), [along], stat.reshape(-1))
