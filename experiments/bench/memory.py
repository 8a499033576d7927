"""`bench memory`: what a training step on long texts takes of a chip's memory, chip or no chip."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from attn.models import DecoderConfig
from attn.typing import Array, Int, PyTree
from experiments.bench.command import command
from experiments.chips import CHIPS, compile_for, exceeding, missing, temporary_bytes
from experiments.errors import InputError, expect_known
from experiments.machine import hardware, versions
from experiments.training import folder as files
from experiments.training.step import cross_entropy

WAYS = {"attn": "auto", "plain attention": "reference"}
"""By the backend that computes them: the second one has all weights in memory."""


@dataclass(frozen=True)
class BenchMemory:
    """Compile a decoder's training step for a chip, with and without the weights in memory.

    One step of Adam on one text, in bfloat16 with float32 parameters: what it takes of the chip's
    main memory with attn's op, and with attention that makes all scores.
    """

    chip: str = "v5e"
    """v4, v5e, v5p, v6e, tpu7x or h100."""
    tokens: int = 8192
    layers: int = 8
    heads: int = 8
    head_width: int = 64
    vocabulary: int = 8192
    output: Path = Path("runs/bench-memory.json")
    """File for the figures and versions."""


@dataclass(frozen=True)
class Need:
    """Memory of one step."""

    way: str
    arguments: int
    """Bytes of parameters, moments and the batch."""
    temporaries: int
    """Bytes that the step sets aside on its way."""
    memory: int
    """Bytes that the chip has."""

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries

    @property
    def fits(self) -> bool:
        return self.total <= self.memory


def bench_memory(asked: BenchMemory, console: Console) -> list[Need]:
    """Compiles, prints a table and writes `asked.output`.

    Raises:
        InputError: a number below 1, an unknown chip, or one whose compiler is not installed.
    """
    expect_known("chip", asked.chip, CHIPS)
    for name in ("tokens", "layers", "heads", "head_width", "vocabulary"):
        if getattr(asked, name) < 1:
            raise InputError(f"{name} is {getattr(asked, name)}; expected at least 1")
    if reason := missing(CHIPS[asked.chip]):
        raise InputError(reason)
    needs = []
    for way in WAYS:
        with console.status(f"{asked.chip}: {way}"):
            needs.append(measure(asked, way))
    figures = {
        "bench": "memory",
        "command": command("memory", asked),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": {k: v for k, v in asdict(asked).items() if k != "output"},
        "needs": [{**asdict(need), "fits": need.fits} for need in needs],
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)
    console.print(_table(asked, needs))
    console.print(f"figures: {asked.output}", soft_wrap=True)
    return needs


def measure(asked: BenchMemory, way: str) -> Need:
    """Compiles the step with one of `WAYS`."""
    config = DecoderConfig(
        width=asked.heads * asked.head_width,
        layers=asked.layers,
        heads=asked.heads,
        positions="rope",
        dropout=0.0,
        dtype="bfloat16",
        backend=WAYS[way],
    )
    build = lambda: config.build(asked.vocabulary, asked.vocabulary, nnx.Rngs(0))  # noqa: E731
    graphdef, params = nnx.split(nnx.eval_shape(build))
    optimizer = optax.adam(1e-3)

    def loss(params: PyTree, tokens: Int[Array, "B L"]) -> Array:
        model = nnx.merge(graphdef, params, copy=True)
        return cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])

    def step(state: Any, tokens: Int[Array, "B L"]) -> Any:
        params, moments = state
        gradients = jax.grad(loss)(params, tokens)
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments

    state = params, jax.eval_shape(optimizer.init, params)
    tokens = jax.ShapeDtypeStruct((1, asked.tokens + 1), jnp.int32)
    chip = CHIPS[asked.chip]
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((state, tokens)))
    try:
        compiled = compile_for(chip, jax.jit(step, donate_argnums=0), state, tokens)
    except jax.errors.JaxRuntimeError as error:
        return Need(way, held, exceeding(str(error)), chip.memory)
    return Need(way, held, temporary_bytes(compiled), chip.memory)


def _table(asked: BenchMemory, needs: list[Need]) -> Table:
    title = (
        f"A training step on {asked.tokens:,} tokens, {asked.layers} layers of {asked.heads} "
        f"heads of {asked.head_width}, on one {asked.chip}"
    )
    table = Table("", title=title, box=SIMPLE_HEAD)
    for heading in ("state", "temporaries", "in all", "of", "fits"):
        table.add_column(heading, justify="right", no_wrap=True)
    for need in needs:
        sizes = (need.arguments, need.temporaries, need.total, need.memory)
        fits = "yes" if need.fits else "no"
        table.add_row(need.way, *(f"{size / 2**30:.2f} GiB" for size in sizes), fits)
    return table
