"""Which calls the Triton kernels can do, and how they are launched."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from attn.kernels import fused, reference
from attn.kernels.call import Call
from attn.kernels.fused import Plan
from attn.kernels.merge import merged
from attn.kernels.pallas_gpu.gradients import keys_kernel, pairs_kernel, queries_kernel
from attn.kernels.pallas_gpu.memory import power
from attn.kernels.pallas_gpu.output import output_kernel
from attn.kernels.pallas_gpu.tiling import Tiling
from attn.kernels.visits import visits
from attn.scores import Dot, Featurewise
from attn.typing import Array, Float

WIDEST = 256
"""Columns of a query, key or value that fit a program's registers; a score that is added up along
the width has small blocks, and twice as much room for the value."""


@dataclass(frozen=True)
class PallasGpu:
    """The backend; interpreted, it runs on a CPU, to be tested."""

    interpret: bool = False
    largest: int = 128
    """Queries or keys in a block at most, a power of two ≥ 16."""

    def supports(self, call: Call) -> str | None:
        """The reason why not, if there is one."""
        if call.sums != jnp.float32:
            return "has no float64"
        width = call.query.shape[-1]
        by_feature = isinstance(call.score, Featurewise)
        if not by_feature and max(width, call.key.shape[-1]) > WIDEST:
            return f"query and key have {width} columns; it can do {WIDEST}"
        room = 2 * WIDEST if by_feature else WIDEST
        if call.value is not None and call.value.shape[-1] > room:
            return f"value has {call.value.shape[-1]} columns; it can do {room}"
        if not by_feature and not isinstance(call.score, Dot) and width != power(width, 16):
            return f"{type(call.score).__name__} of a width, {width}, that is no power of two ≥ 16"
        try:
            fused.planned(call)
        except fused.Unsupported as reason:
            return str(reason)
        return None

    def forward(self, call: Call) -> tuple[Float[Array, "B T N E"], Float[Array, "B T N"]]:
        """The output, in the query's dtype, and the log-sum-exp of each query's scores."""
        return reference.forward(call) if call.empty else fused.attend(self, call)

    def attended(self, plan: Plan, arrays: Sequence[Array]) -> fused.Attended:
        sizes = plan.sizes
        tiling = self._tiling(plan, False)
        by_query, _, _ = visits(plan.fill(arrays), tiling.query, tiling.key)
        batch, rows, heads = (sizes[axis] for axis in ("batch", "query", "head"))
        split = tiling.splits > 1
        front = (tiling.splits, batch) if split else (batch,)
        kept = jnp.float32 if split else plan.slots[0].dtype
        output, lse, *low = self._call(
            partial(output_kernel, plan, tiling, by_query.in_order),
            plan,
            tiling,
            (tiling.blocks_of_queries(rows) * tiling.splits, heads, batch),
            [
                ((*front, rows, heads, plan.value_width), kept),
                *[((*front, rows, heads), jnp.float32)] * (2 if plan.precise else 1),
            ],
            [*arrays, *by_query],
        )
        if split:
            output, lse, *low = merged(output, lse, low[0] if low else jnp.zeros_like(lse))
        return output.astype(plan.slots[0].dtype), lse, low[0] if plan.precise else None

    def gradients(
        self, plan: Plan, arrays: Sequence[Array], known: fused.Known
    ) -> list[Array | None]:
        tiling, sizes = self._tiling(plan, True), plan.sizes
        batch, heads = sizes["batch"], sizes["head"]
        nq, nk = tiling.blocks_of_queries(sizes["query"]), tiling.blocks_of_keys(sizes["key"])
        by_query, by_key, kinds = visits(plan.fill(arrays), tiling.query, tiling.key)
        of_queries, of_keys, of_pairs = fused.sought(plan, known.wanted)
        found: list[Array | None] = [None] * len(plan.slots)

        def launch(kernel: Any, grid: tuple[int, ...], wanted: fused.Sought, turns: Any) -> None:
            operands = [*arrays, *turns, known.of_output, known.lse, known.delta]
            shapes = [_gradient_shape(plan, k, nq) for k in wanted.slots]
            made = self._call(kernel, plan, tiling, grid, shapes, operands)
            for k, gradient in zip(wanted.slots, made, strict=True):
                found[k] = gradient

        if of_queries.slots:
            kernel = partial(queries_kernel, plan, tiling, by_query.in_order, of_queries)
            launch(kernel, (nq, heads, batch), of_queries, by_query)
        if of_keys.slots:
            kernel = partial(keys_kernel, plan, tiling, by_key.in_order, of_keys)
            launch(kernel, (nk, sizes["key_head"], batch), of_keys, by_key)
        for each in of_pairs:
            kernel = partial(pairs_kernel, plan, tiling, each)
            (slot,) = (plan.slots[k] for k in each.slots)
            shared = slot.size("batch") * slot.size("head")
            launch(kernel, (nk, nq, shared), each, [kinds])
        return found

    def _tiling(self, plan: Plan, backward: bool) -> Tiling:
        return Tiling.of(plan, backward, self.largest, barrier=not self.interpret)

    def _call(
        self,
        kernel: partial[None],
        plan: Plan,
        tiling: Tiling,
        grid: tuple[int, ...],
        shapes: list[tuple[tuple[int, ...], Any]],
        operands: Sequence[Array],
    ) -> Sequence[Array]:
        call = plan.fill([None] * len(plan.slots))
        with call.products():
            return pl.pallas_call(
                kernel,
                grid=grid,
                out_shape=[fused.shaped(shape, dtype, operands) for shape, dtype in shapes],
                compiler_params=plgpu.CompilerParams(
                    num_warps=tiling.warps, num_stages=tiling.stages
                ),
                interpret=self.interpret,
                name="attn_" + kernel.func.__name__,
            )(*operands)


def _gradient_shape(plan: Plan, k: int, blocks: int) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype in which a kernel leaves a gradient, with so many blocks of queries."""
    slot, sizes = plan.slots[k], plan.sizes
    if k < 3:
        by_feature = isinstance(plan.fill([None] * len(plan.slots)).score, Featurewise)
        dtype = jnp.float32 if by_feature and k < 2 else slot.dtype  # added up there
        return (sizes["batch"], *slot.shape[1:]), dtype
    along = slot.along("query"), slot.along("key")
    if all(along):
        own = slot.size("batch"), slot.size("head"), sizes["query"], sizes["key"]
        return own, slot.dtype
    heads = sizes["batch"], sizes["head"]
    if along[1]:
        return (*heads, 1, sizes["key"]), jnp.float32
    shape = *heads, sizes["query"] if along[0] else blocks, 1
    return (*shape, slot.size("query_width")) if slot.along("query_width") else shape, jnp.float32
