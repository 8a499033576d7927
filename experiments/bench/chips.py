"""`bench chips`: what the chips' own compilers say of our kernels, where no chip is at hand."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import attn
from experiments.bench.schedules import Kernel
from experiments.bench.static import Registers, gpu_kernels, tpu_kernels
from experiments.chips import CHIPS, missing
from experiments.errors import InputError
from experiments.machine import hardware, versions
from experiments.training import folder as files

HERE = "experiments.bench.chips"
PEER = "experiments.bench.peers:flash_attention"
PEER_BLOCKS = (512, 1024)
"""Of JAX's kernel; its default, 128, takes several times as long."""
BATCH, LENGTH, HEADS, WIDTH = 1, 2048, 8, 128


@dataclass(frozen=True)
class BenchChips:
    """Compile the kernels for TPU v5e, TPU v6e and H100 on this machine, and read the schedules.

    TPU: cycles of the op at batch 1, 2,048 tokens, 8 heads of 128, bfloat16, forward and backward,
    beside jax.experimental.pallas.ops.tpu.flash_attention. H100: registers and what is spilled.
    """

    output: Path = Path("runs/bench-chips.json")
    """File for the figures and versions."""


@dataclass(frozen=True)
class Cycles:
    """One mask on one TPU."""

    chip: str
    mask: str
    ours: dict[str, float]
    """Of each kernel, by its name."""
    peer: dict[str, dict[str, float]]
    """Of each kernel of JAX's, by its block size."""

    @property
    def ratio(self) -> float:
        """Our cycles over the fewest of the peer's."""
        return sum(self.ours.values()) / min(sum(each.values()) for each in self.peer.values())


def bench_chips(asked: BenchChips, console: Console) -> None:
    """Compiles, prints two tables and writes `asked.output`.

    Raises:
        InputError: a compiler is not installed.
    """
    for chip in ("v5e", "v6e", "h100"):
        if reason := missing(CHIPS[chip]):
            raise InputError(reason)
    cycles = []
    for chip in ("v5e", "v6e"):
        for causal in (False, True):
            with console.status(f"{chip}, {'causal' if causal else 'no mask'}"):
                cycles.append(_cycles(chip, causal))
    with console.status("h100"):
        registers = {
            name: gpu_kernels("h100", f"{HERE}:op", {"backend": "pallas_gpu", **work})
            for name, work in GPU_WORKS.items()
        }
    figures = {
        "bench": "chips",
        "command": "python -m experiments bench chips",
        "date": time.strftime("%Y-%m-%d"),
        "compiled on": hardware(),
        "versions": versions(),
        "shape": {"batch": BATCH, "length": LENGTH, "heads": HEADS, "width": WIDTH},
        "cycles": [{**asdict(each), "ratio": each.ratio} for each in cycles],
        "h100": {name: [asdict(kernel) for kernel in found] for name, found in registers.items()},
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)
    console.print(_cycles_table(cycles))
    console.print(_registers_table(registers))
    console.print(f"figures: {asked.output}", soft_wrap=True)


def op(
    backend: str,
    causal: bool = False,
    score: str = "dot",
    batch: int = BATCH,
    length: int = LENGTH,
    heads: int = HEADS,
    width: int = WIDTH,
    value_width: int | None = None,
) -> tuple[Any, Any]:
    """The op with its gradients, for `experiments.bench.static`."""
    x = jax.ShapeDtypeStruct((batch, length, heads, width), jnp.bfloat16)
    value = jax.ShapeDtypeStruct((batch, length, heads, value_width or width), jnp.bfloat16)
    v = jax.ShapeDtypeStruct((heads, width), jnp.float32)

    def attend(query: Any, key: Any, value: Any, v: Any) -> Any:
        return attn.attention(
            query,
            key,
            value,
            score=attn.Additive(v) if score == "additive" else attn.Dot(),
            mask=attn.Causal() if causal else None,
            backend=backend,
        )

    def with_gradients(*arrays: Any) -> Any:
        output, pull = jax.vjp(attend, *arrays)
        return output, pull(jnp.ones_like(output))

    return with_gradients, (x, x, value, v)


GPU_WORKS: dict[str, dict[str, Any]] = {
    "dot, 64": {"width": 64},
    "dot, 64, causal": {"width": 64, "causal": True},
    "dot, 128": {},
    "dot, 128, causal": {"causal": True},
    "additive, 512": {
        "score": "additive",
        "batch": 64,
        "length": 512,
        "heads": 1,
        "width": 512,
        "value_width": 256,
    },
}


def _cycles(chip: str, causal: bool) -> Cycles:
    ours = tpu_kernels(chip, f"{HERE}:op", {"backend": "pallas_tpu", "causal": causal})
    peer = {}
    for block in PEER_BLOCKS:
        asked = {"causal": causal, "backward": True, "block": block}
        peer[str(block)] = {
            kernel.name: _cost(kernel, LENGTH // block, causal)
            for kernel in tpu_kernels(chip, PEER, asked)
        }
    return Cycles(
        chip,
        "causal" if causal else "none",
        {kernel.name: _cost(kernel, _blocks(kernel), causal) for kernel in ours},
        peer,
    )


def _blocks(kernel: Kernel) -> int:
    """Blocks along a sequence, of a grid of square blocks for every head."""
    return round((kernel.steps / (BATCH * HEADS)) ** 0.5)


def _cost(kernel: Kernel, blocks: int, causal: bool) -> float:
    """Cycles of a kernel whose grid has `blocks` squared steps to a head.

    Of two branches that do the work, one is for the blocks at the mask's edge: the dearer.
    """
    if not causal:
        return kernel.cycles(heavy=1.0, rare=1 / blocks)
    branches = list(kernel.grid.branches())
    most = max(branch.cycles() for branch in branches)
    heavy = [branch for branch in branches if branch.cycles() > most / 2]
    heavy.sort(key=lambda branch: branch.cycles())
    below, edge = (blocks - 1) / (2 * blocks), 1 / blocks
    shares = {branch.label: edge for branch in branches}
    shares |= {heavy[0].label: below + edge} if len(heavy) == 1 else {heavy[0].label: below}
    outside = kernel.root.bundles if kernel.grid is not kernel.root else 0
    return outside + kernel.grid.cycles(shares)


def _cycles_table(found: list[Cycles]) -> Table:
    title = "Thousands of cycles, forward and backward; JAX's is flash_attention at its best block"
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True)
    for heading in ("chip", "mask"):
        table.add_column(heading, no_wrap=True)
    for heading in ("output", "queries", "keys", "attn", "JAX's", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        kernels = [
            next(cost for name, cost in each.ours.items() if part in name)
            for part in ("output", "queries", "keys")
        ]
        best = min(sum(costs.values()) for costs in each.peer.values())
        costs = [*kernels, sum(each.ours.values()), best]
        table.add_row(
            each.chip, each.mask, *(f"{cost / 1e3:,.0f}" for cost in costs), f"{each.ratio:.2f}"
        )
    return table


def _registers_table(found: dict[str, list[Registers]]) -> Table:
    title = "H100: of our kernels, registers of a thread, bytes spilled, KB shared by a block"
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("work", no_wrap=True)
    table.add_column("kernel", no_wrap=True)
    for heading in ("registers", "spilled", "shared"):
        table.add_column(heading, justify="right", no_wrap=True)
    for work, kernels in found.items():
        for kernel in kernels:
            if kernel.name.startswith("attn_"):
                table.add_row(
                    work,
                    kernel.name.removeprefix("attn_").removesuffix("_kernel"),
                    f"{kernel.registers}",
                    f"{kernel.spill_bytes}",
                    f"{kernel.shared_bytes / 1024:,.0f}",
                )
    return table
