"""`bench decode`: what a token costs where keys and values are cached, by how many heads share."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from attn.decode import Cache
from attn.nn import MultiHeadAttention
from attn.typing import Array
from experiments.bench.command import command
from experiments.errors import InputError
from experiments.machine import hardware, versions
from experiments.training import folder as files

STEPS = 4
"""Tokens in a round."""


@dataclass(frozen=True)
class BenchDecode:
    """Measure a decoding step of one attention layer with 16, 4 and 1 heads of keys and values.

    A step projects a token of each row, appends its keys and values to the cache and attends to all
    of it (Shazeer 2019; Ainslie 2023). The three take turns, so that whatever else the machine does
    slows all.
    """

    batch: int = 16
    lengths: tuple[int, ...] = (2048, 8192)
    """Tokens in the cache."""
    heads: int = 16
    kv_heads: tuple[int, ...] = (16, 4, 1)
    head_width: int = 64
    rounds: int = 7
    output: Path = Path("runs/bench-decode.json")
    """File for the figures, hardware and versions."""


@dataclass(frozen=True)
class Cost:
    """One layer with so many heads of keys and values, and a full cache."""

    length: int
    kv_heads: int
    cache_bytes: int
    """Of keys and values, exact."""
    microseconds: float
    """A token: the median over rounds of a step's time, over the rows."""
    ratio: float
    """To the layer with the most heads: the median of the ratios of neighbouring times."""


def bench_decode(asked: BenchDecode, console: Console) -> list[Cost]:
    """Measures, prints a table and writes `asked.output`.

    Raises:
        InputError: a number below 1, or heads that cannot share.
    """
    _check(asked)
    costs = []
    for length in asked.lengths:
        with console.status(f"{length:,} tokens"):
            costs += measure(asked, length)
    figures = {
        "bench": "decode",
        "command": command("decode", asked),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": {k: v for k, v in asdict(asked).items() if k != "output"},
        "costs": [asdict(cost) for cost in costs],
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)
    console.print(_table(asked, costs))
    console.print(f"figures: {asked.output}", soft_wrap=True)
    return costs


def _check(asked: BenchDecode) -> None:
    for name in ("batch", "heads", "head_width", "rounds"):
        if getattr(asked, name) < 1:
            raise InputError(f"{name} is {getattr(asked, name)}; expected at least 1")
    for name in ("lengths", "kv_heads"):
        given = getattr(asked, name)
        if not given or min(given) < 1:
            raise InputError(f"{name} is {given}; expected numbers of at least 1")
    for kv_heads in asked.kv_heads:
        if asked.heads % kv_heads:
            raise InputError(f"kv_heads: got {kv_heads}; expected a divisor of {asked.heads}")


def measure(asked: BenchDecode, length: int) -> list[Cost]:
    """The layers in turns, at one length."""
    steps = [_Steps(asked, kv_heads, length) for kv_heads in asked.kv_heads]
    for each in steps:
        each()  # compiles
    seconds: list[list[float]] = [[] for _ in steps]
    for round_ in range(asked.rounds):
        for at in range(len(steps)):
            at = (at + round_) % len(steps)
            began = time.perf_counter()
            steps[at]()
            seconds[at].append((time.perf_counter() - began) / STEPS)
    first = seconds[0]
    return [
        Cost(
            length,
            kv_heads,
            each.cache_bytes,
            1e6 * statistics.median(took) / asked.batch,
            statistics.median(mine / theirs for mine, theirs in zip(took, first, strict=True)),
        )
        for kv_heads, each, took in zip(asked.kv_heads, steps, seconds, strict=True)
    ]


class _Steps:
    """Decodes `STEPS` tokens with a cache that is nearly full, always at the same place."""

    def __init__(self, asked: BenchDecode, kv_heads: int, length: int):
        width = asked.heads * asked.head_width
        layer = MultiHeadAttention(asked.heads, width, num_kv_heads=kv_heads, rngs=nnx.Rngs(0))
        graphdef, self.params = nnx.split(layer)
        self.cache = layer.create_cache(asked.batch, length)
        self.cache_bytes = self.cache.key.nbytes + self.cache.value.nbytes
        self.length = jnp.full(asked.batch, length - STEPS, jnp.int32)
        self.token = jax.random.normal(jax.random.key(0), (asked.batch, 1, width))
        self.step: Callable[..., Any] = jax.jit(
            lambda params, token, cache: nnx.merge(graphdef, params).extend(token, cache),
            donate_argnums=2,
        )

    def __call__(self) -> Array:
        cache, output = Cache(self.cache.key, self.cache.value, self.length + 0), self.token
        for _ in range(STEPS):
            output, cache = self.step(self.params, output, cache)
        self.cache = cache
        return output.block_until_ready()


def _table(asked: BenchDecode, costs: list[Cost]) -> Table:
    title = f"A cached token, {asked.batch} rows, {asked.heads} heads of {asked.head_width}"
    table = Table("cache", title=title, box=SIMPLE_HEAD)
    for heading in ("key heads", "cache", "µs a token", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(
            f"{cost.length:,}",
            str(cost.kv_heads),
            f"{cost.cache_bytes / 2**20:,.0f} MiB",
            f"{cost.microseconds:,.0f}",
            f"{cost.ratio:.2f}",
        )
    return table
