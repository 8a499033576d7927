"""`bench layers`: what choices in layers cost, each against its alternatives."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from attn.nn.attention import Annotations, LuongAttention
from attn.nn.cells import GRU, LSTM, Recurrent
from attn.nn.recurrent import recur
from experiments.bench.command import command
from experiments.errors import InputError
from experiments.machine import hardware, versions
from experiments.training import folder as files

Loss = Callable[..., Any]


@dataclass(frozen=True)
class BenchLayers:
    """Measure recurrent layers, local attention and attention's projections on this machine.

    Luong's local-p against global attention in a decoder's loop, by the source's length: forward,
    and with the gradient, of which one pass over the source's keys and values is a part. Loops over
    time by the steps in one turn, and the product with the inputs outside the loop and in it, both
    forward and backward. Queries, keys and values by three products and by one. All of a group take
    turns, so that whatever else the machine does slows all.
    """

    sources: tuple[int, ...] = (64, 256, 1024, 4096)
    """Lengths of the source."""
    window: int = 10
    """D of local-p."""
    unrolls: tuple[int, ...] = (1, 2, 4, 8)
    """Steps in one turn of the loop."""
    batch_size: int = 16
    width: int = 128
    steps: int = 32
    """Of a loop."""
    rounds: int = 9
    """How often each runs."""
    output: Path = Path("runs/bench-layers.json")
    """File for the figures, hardware and versions."""


@dataclass(frozen=True)
class Group:
    """Programs that are compared; the first is what the others are held against."""

    name: str
    losses: Mapping[str, Loss]
    arguments: tuple[Any, ...]
    """Of each loss."""
    backward: bool = True
    """Whether the loss is differentiated, in all of the arguments."""


@dataclass(frozen=True)
class Measured:
    """One group, in milliseconds a step of the loop."""

    group: str
    milliseconds: Mapping[str, float]
    """Median of each."""
    ratios: Mapping[str, float]
    """Time over the first's: medians over the rounds."""
    compile_seconds: Mapping[str, float]


def bench_layers(asked: BenchLayers, console: Console) -> list[Measured]:
    """Measures, prints a table and writes `asked.output`.

    Raises:
        InputError: a number is below 1.
    """
    for field in ("window", "batch_size", "width", "steps", "rounds"):
        if getattr(asked, field) < 1:
            raise InputError(f"{field} is {getattr(asked, field)}; expected at least 1")
    for field in ("sources", "unrolls"):
        if any(number < 1 for number in getattr(asked, field)):
            shown = " ".join(map(str, getattr(asked, field)))
            raise InputError(f"{field}: got {shown}; expected numbers of at least 1")
    found = []
    for group in groups(asked):
        with console.status(group.name):
            found.append(measure(group, asked.steps, asked.rounds))
    settings = {k: v for k, v in asdict(asked).items() if k != "output"}
    figures = {
        "bench": "layers",
        "command": command("layers", asked),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": settings,
        "groups": [asdict(each) for each in found],
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)
    console.print(_table(found))
    console.print(f"figures: {asked.output}", soft_wrap=True)
    return found


def groups(asked: BenchLayers) -> Iterator[Group]:
    """All that is compared; made one at a time."""
    for backward in (False, True):
        for length in asked.sources:
            yield _attentions(asked, length, backward)
    for kind in (LSTM, GRU):
        yield _unrolled(asked, kind)
    yield _projected(asked)
    for rows in (asked.batch_size * asked.steps, asked.batch_size):
        yield _query_key_value(asked, rows)


def measure(group: Group, steps: int, rounds: int) -> Measured:
    """Compiles every loss of a group, or its gradient, and runs them in turns."""
    programs, compiling = {}, {}
    for name, loss in group.losses.items():
        began = time.perf_counter()
        every = tuple(range(len(group.arguments)))
        program = jax.jit(jax.grad(loss, every) if group.backward else loss)
        programs[name] = program.lower(*group.arguments).compile()
        compiling[name] = time.perf_counter() - began
        jax.block_until_ready(programs[name](*group.arguments))
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for round_ in range(rounds):
        order = list(programs) if round_ % 2 == 0 else list(programs)[::-1]
        for name in order:
            began = time.perf_counter()
            jax.block_until_ready(programs[name](*group.arguments))
            seconds[name].append(time.perf_counter() - began)
    base = next(iter(seconds.values()))
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in zip(took, base, strict=True))
        for name, took in seconds.items()
    }
    milliseconds = {k: 1000 * statistics.median(took) / steps for k, took in seconds.items()}
    return Measured(group.name, milliseconds, ratios, compiling)


def _attentions(asked: BenchLayers, length: int, backward: bool) -> Group:
    """Global and local-p attention as a decoder's loop asks them, one target state at a time."""
    rows, width = asked.batch_size, asked.width
    lengths = jnp.full(rows, length, jnp.int32)

    def loss(attention: LuongAttention, key: Any, value: Any, carry: Any) -> Any:
        annotations = Annotations(key, value, lengths)
        weights, alignment = attention.weights(annotations), attention.align(annotations)
        time = jnp.zeros((asked.steps, rows, 1), jnp.int32)
        return (recur(_attend, weights, alignment, carry, time)[0] ** 2).sum()

    def attention(local: Any) -> LuongAttention:
        options = {"max_source": 1, "local": local, "window": asked.window}
        init = nnx.initializers.normal(width**-0.5)
        return LuongAttention(width, "general", **options, init=init, rngs=nnx.Rngs(0))

    losses = {
        "global": partial(loss, attention(None)),
        "local-p": partial(loss, attention("predictive")),
    }
    keys = (jax.random.normal(jax.random.key(k), (rows, length, 1, width)) for k in range(2))
    carry = jax.random.normal(jax.random.key(2), (rows, width))
    what = " and gradient" if backward else ""
    return Group(f"attention, S = {length}{what}", losses, (*keys, carry), backward)


def _attend(linear: Any, alignment: Any, carry: Any, time: Any) -> tuple[Any, None]:
    return jnp.tanh(carry + alignment.context(linear, carry[:, None], time)[:, 0]), None


def _unrolled(asked: BenchLayers, kind: type[Recurrent]) -> Group:
    """A layer's loop, by the steps in one turn."""
    layer, xs = _layer(asked, kind)

    def loss(unroll: int, weights: Any, gates: Any) -> Any:
        def cell(linear: Any, constants: Any, carry: Any, gates: Any) -> tuple[Any, Any]:
            carry = kind.update(linear, constants, carry, gates)
            return carry, kind.hidden(carry)

        start = layer.start(asked.batch_size)
        return (recur(cell, weights, None, start, gates, unroll=unroll)[1] ** 2).sum()

    losses = {f"unroll {unroll}": partial(loss, unroll) for unroll in asked.unrolls}
    return Group(f"{kind.__name__} loop", losses, (layer.weights(), layer.input(xs)))


def _projected(asked: BenchLayers) -> Group:
    """An LSTM's product with its inputs: one for all steps and gates, one a gate, one a step."""
    layer, xs = _layer(asked, LSTM)

    def cell(inside: bool, linear: Any, constants: Any, carry: Any, x: Any) -> tuple[Any, Any]:
        gates = linear("input", x) if inside else x
        carry = LSTM.update(linear, constants, carry, gates)
        return carry, LSTM.hidden(carry)

    def loss(how: str, weights: Any, xs: Any) -> Any:
        inside = how == "in the loop"
        if how == "once":
            xs = xs @ weights["input"]
        elif how == "by gate":
            each = jnp.split(weights["input"], 4, axis=1)
            xs = jnp.concatenate([xs @ matrix for matrix in each], axis=-1)
        start = layer.start(asked.batch_size)
        return (recur(partial(cell, inside), weights, None, start, xs)[1] ** 2).sum()

    losses = {how: partial(loss, how) for how in ("once", "by gate", "in the loop")}
    weights = layer.weights() | {"input": layer.input.kernel[...]}
    return Group("LSTM, product with inputs", losses, (weights, xs))


def _query_key_value(asked: BenchLayers, rows: int) -> Group:
    """Projections of many tokens (a batch) or few (a decoding step): three matrices, three that are
    put side by side at the call, and one."""

    def loss(how: str, matrices: Any, joint: Any, xs: Any) -> Any:
        if how == "three products":
            parts = [xs @ matrix for matrix in matrices]
        else:
            one = joint if how == "one matrix" else jnp.concatenate(matrices, axis=1)
            parts = jnp.split(xs @ one, 3, axis=1)
        query, key, value = parts
        return (query * key * value).sum()

    ways = ("three products", "one product", "one matrix")
    keys = jax.random.split(jax.random.key(0), 4)
    *matrices, xs = (
        jax.random.normal(key, (size, asked.width))
        for key, size in zip(keys, (asked.width,) * 3 + (rows,), strict=True)
    )
    arguments = (matrices, jnp.concatenate(matrices, axis=1), xs)
    losses = {how: partial(loss, how) for how in ways}
    return Group(f"query, key, value of {rows} tokens", losses, arguments)


def _layer(asked: BenchLayers, kind: type[Recurrent]) -> tuple[Any, Any]:
    width = asked.width
    make: Any = kind
    layer = make(width, width, init=nnx.initializers.normal(width**-0.5), rngs=nnx.Rngs(0))
    shape = (asked.steps, asked.batch_size, width)
    return layer, jax.random.normal(jax.random.key(0), shape)


def _table(found: list[Measured]) -> Table:
    title = "Layers: medians over rounds"
    table = Table("group", "what", title=title, box=SIMPLE_HEAD, collapse_padding=True)
    for heading in ("ms/step", "ratio", "compile s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        for place, (name, took) in enumerate(each.milliseconds.items()):
            ratio, compiling = each.ratios[name], each.compile_seconds[name]
            group = each.group if place == 0 else ""
            table.add_row(group, name, f"{took:.3f}", f"{ratio:.2f}", f"{compiling:.1f}")
    return table
