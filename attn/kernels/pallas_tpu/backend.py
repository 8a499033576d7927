"""Which calls the Mosaic kernels can do, and how they are launched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from attn.kernels import fused, reference
from attn.kernels.call import Call
from attn.kernels.fused import Plan, Sought
from attn.kernels.pallas_tpu import gradients
from attn.kernels.pallas_tpu.backward import aim, keys_kernel, pairs_kernel, queries_kernel
from attn.kernels.pallas_tpu.families import scratch
from attn.kernels.pallas_tpu.forward import Running, output_kernel
from attn.kernels.pallas_tpu.layout import Layout, Place, Where
from attn.kernels.pallas_tpu.scoring import Aim, sum_shape, sums
from attn.kernels.pallas_tpu.tiling import fitting, lacking
from attn.kernels.pallas_tpu.turns import Turns, flat
from attn.kernels.visits import visits
from attn.scores import Dot, Featurewise
from attn.typing import Array, Float

PRECISIONS = (None, "default", "fastest", "bfloat16", "highest", "float32")
"""Of products of float32, by the names that JAX has for them."""
VMEM = 100 << 20
"""Bytes that a kernel may ask for: its blocks are sized for far fewer."""


@dataclass(frozen=True)
class PallasTpu:
    """The backend; interpreted, it runs on a CPU, to be tested."""

    interpret: bool | pltpu.InterpretParams = False
    largest: int = 1024
    """Queries or keys in a block at most, a multiple of 16; for a machine, of 128."""

    def supports(self, call: Call) -> str | None:
        """The reason why not, if there is one."""
        if call.sums != jnp.float32:
            return "has no float64"
        if call.empty:
            return None
        precision = call.precision or jax.config.jax_default_matmul_precision  # type: ignore
        if call.query.dtype == jnp.float32 and precision not in PRECISIONS:
            return f'has no products of precision "{precision}"; "default" and "highest" it has'
        try:
            plan, arrays = fused.planned(_widened(call))
        except fused.Unsupported as reason:
            return str(reason)
        return lacking(plan, arrays, self.largest)

    def forward(self, call: Call) -> tuple[Float[Array, "B T N E"], Float[Array, "B T N"]]:
        """The output, in the query's dtype, and the log-sum-exp of each query's scores."""
        if call.empty:
            return reference.forward(call)
        output, lse = fused.attend(self, _widened(call))
        return output.astype(call.query.dtype), lse

    def attended(self, plan: Plan, arrays: Sequence[Array]) -> fused.Attended:
        sizes, layout = plan.sizes, fitting(plan, False, self.largest)
        batch, heads, rows = (sizes[axis] for axis in ("batch", "head", "query"))
        by_query, _, _ = visits(plan.fill(arrays), layout.query, layout.key)
        turns = Turns.of(by_query)
        where = _of_queries(turns)
        blocks, width = layout.blocks[0], plan.value_width
        stats = 2 if plan.precise else 1
        shapes = [
            ((batch, heads, blocks * layout.query, width), plan.slots[0].dtype),
            *[((batch, heads, blocks, 1, layout.query), jnp.float32)] * stats,
        ]
        launch = Launch(layout, where, (batch, heads, blocks, turns.shape[3]), ("parallel",) * 3)
        output, *found = launch.run(
            self.interpret,
            partial(output_kernel, layout, turns),
            flat(by_query),
            [layout.array(k, x) for k, x in enumerate(arrays)],
            [layout.spec(k, where) for k in range(len(arrays))],
            shapes,
            [gradients.rows(layout, where, width), *[gradients.strip(layout, where)] * stats],
            Running.scratch(layout) + scratch(layout, Aim()),
        )
        output = output[:, :, :rows].swapaxes(1, 2)
        lse, *low = (x.reshape(batch, heads, -1)[:, :, :rows].swapaxes(1, 2) for x in found)
        return output, lse, low[0] if low else None

    def gradients(
        self, plan: Plan, arrays: Sequence[Array], known: fused.Known
    ) -> list[Array | None]:
        layout = fitting(plan, True, self.largest)
        found: list[Array | None] = [None] * len(plan.slots)
        by_query, by_key, kinds = visits(plan.fill(arrays), layout.query, layout.key)
        of_queries, of_keys, of_pairs = fused.sought(plan, known.wanted)
        operands = [layout.array(k, x) for k, x in enumerate(arrays)]
        operands += gradients.known_arrays(layout, known)

        def run(launch: "Launch", kernel: Any, tables: list[Array], wanted: Sought) -> None:
            where = launch.where
            specs = [layout.spec(k, where) for k in range(len(arrays))]
            memory = [sums(sum_shape(layout, k)) for k in wanted.pieces]
            if 2 in wanted.operands:
                memory.append(sums((layout.key, plan.value_width)))
            made = launch.run(
                self.interpret,
                kernel,
                tables,
                operands,
                specs + gradients.known_specs(layout, where),
                [gradients.shape(layout, k) for k in wanted.slots],
                [gradients.spec(layout, k, where) for k in wanted.slots],
                memory + scratch(layout, aim(wanted)),
            )
            for k, gradient in zip(wanted.slots, made, strict=True):
                found[k] = gradients.fitted(layout, k, gradient)

        if of_queries.slots:
            turns = Turns.of(by_query)
            kernel = partial(queries_kernel, layout, turns, of_queries)
            run(_by_query(layout, turns), kernel, flat(by_query), of_queries)
        if of_keys.slots:
            turns = Turns.of(by_key)
            kernel = partial(keys_kernel, layout, turns, of_keys)
            run(_by_key(layout, turns), kernel, flat(by_key), of_keys)
        for each in of_pairs:
            launch = _by_pair(layout, each)
            kernel = partial(pairs_kernel, layout, kinds.shape, launch.where, each)
            run(launch, kernel, [kinds.reshape(-1)], each)
        return found


@dataclass(frozen=True)
class Launch:
    """A grid over the blocks of a call."""

    layout: Layout
    where: Where
    grid: tuple[int, ...]
    parallel: tuple[str, ...]
    """Of the first axes; over the others something is summed."""

    def run(
        self,
        interpret: Any,
        kernel: Callable[..., None],
        tables: Sequence[Array],
        operands: Sequence[Array],
        specs: Sequence[Any],
        shapes: Sequence[tuple[tuple[int, ...], Any]],
        out_specs: Sequence[Any],
        memory: Sequence[Any],
    ) -> Sequence[Array]:
        """What the kernel makes of the operands."""
        meaning: Any = (*self.parallel, *["arbitrary"] * (len(self.grid) - len(self.parallel)))
        call = self.layout.plan.fill([None] * len(self.layout.plan.slots))
        varied = [*tables, *operands]
        with call.products() if self.layout.plan.slots[0].dtype == jnp.float32 else _plain():
            return pl.pallas_call(
                kernel,
                grid_spec=pltpu.PrefetchScalarGridSpec(
                    num_scalar_prefetch=len(tables),
                    grid=self.grid,
                    in_specs=list(specs),
                    out_specs=list(out_specs),
                    scratch_shapes=list(memory),
                ),
                out_shape=[fused.shaped(shape, dtype, varied) for shape, dtype in shapes],
                compiler_params=pltpu.CompilerParams(
                    dimension_semantics=meaning, vmem_limit_bytes=VMEM
                ),
                interpret=interpret,
                name="attn_" + kernel.func.__name__,  # type: ignore[attr-defined]
            )(*varied)


def _plain() -> Any:
    """Products of bfloat16 are exact: the machine has no other precision for them."""
    return jax.default_matmul_precision("default")


def _of_queries(turns: Turns) -> Where:
    return lambda b, n, at, turn, *tables: Place(b, n, at, turns.other(tables, b, n, at, turn))


def _by_query(layout: Layout, turns: Turns) -> Launch:
    sizes = layout.plan.sizes
    grid = sizes["batch"], sizes["head"], layout.blocks[0], turns.shape[3]
    return Launch(layout, _of_queries(turns), grid, ("parallel",) * 3)


def _by_key(layout: Layout, turns: Turns) -> Launch:
    sizes, group = layout.plan.sizes, layout.plan.group

    def where(b: Any, h: Any, at: Any, member: Any, turn: Any, *tables: Any) -> Place:
        n = h * group + member
        return Place(b, n, turns.other(tables, b, n, at, turn), at)

    grid = sizes["batch"], sizes["key_head"], layout.blocks[1], group, turns.shape[3]
    return Launch(layout, where, grid, ("parallel",) * 3)


def _by_pair(layout: Layout, wanted: Sought) -> Launch:
    (k,) = wanted.slots
    sizes = layout.plan.sizes
    own = gradients.owners(layout.plan, k)
    batch, heads = (
        sizes[axis] if size == 1 else 1 for axis, size in zip(("batch", "head"), own, strict=True)
    )

    def where(b: Any, n: Any, query: Any, key: Any, turn: Any, *tables: Any) -> Place:
        return Place(b + turn // heads, n + turn % heads, query, key)

    return Launch(layout, where, (*own, *layout.blocks, batch * heads), ("parallel",) * 4)


def _widened(call: Call) -> Call:
    """A call in float32 where the machine lacks its dtype, or products of it that are as asked."""
    exact = call.precision in ("highest", "float32") and not isinstance(
        call.score, Dot | Featurewise
    )
    lacks = (jnp.float16, jnp.bfloat16) if exact else (jnp.float16,)

    def wide(x: Any) -> Any:
        return x.astype(jnp.float32) if getattr(x, "dtype", None) in lacks else x

    return jax.tree.map(wide, call)
