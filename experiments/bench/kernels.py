"""`bench kernels`: the op against its peers, in time and in temporary memory."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import attn
from attn.kernels import BACKENDS
from experiments.errors import InputError, expect_known
from experiments.machine import hardware, versions
from experiments.training import folder as files

Op = Callable[[Any, Any, Any], Any]
"""(query, key, value) [B, L, N, D] to the output."""


@dataclass(frozen=True)
class BenchKernels:
    """Measure the op against its peers on this machine.

    Dot-product attention runs beside jax.nn's and, where PyTorch is installed, PyTorch's; additive
    attention beside plain jnp. All take turns, so that whatever else the machine does slows all.
    """

    backend: str = "auto"
    """Of attn.attention."""
    rounds: int = 9
    """How often each runs."""
    output: Path = Path("runs/bench-kernels.json")
    """File for the figures, hardware and versions."""


@dataclass(frozen=True)
class Work:
    """One shape of the op, and who does it."""

    name: str
    query: tuple[int, int, int, int]
    """[B, T, N, D]; keys and values are the same."""
    ours: Op
    peer: Op
    peer_name: str
    torch_causal: bool | None = None
    """Whether PyTorch's counterpart is causal; None where it has none."""
    memory_only: bool = False


@dataclass(frozen=True)
class Measured:
    """One work, forward or with its gradients."""

    work: str
    what: str
    shape: tuple[int, ...]
    peer: str
    seconds: Mapping[str, float]
    """Median of each contender."""
    ratio: float | None
    """Our time over the peer's: the median over the rounds. None where only memory was asked."""
    temporary_bytes: Mapping[str, int]
    """What XLA sets aside beside arguments and results."""


def bench_kernels(asked: BenchKernels, console: Console) -> list[Measured]:
    """Measures, prints a table and writes `asked.output`.

    Raises:
        InputError: an unknown backend, or fewer than one round.
    """
    expect_known("backend", asked.backend, ("auto", *BACKENDS))
    if asked.rounds < 1:
        raise InputError(f"rounds is {asked.rounds}; expected at least 1")
    found = []
    for work in _works(asked.backend):
        for what in ("forward", "forward and backward"):
            with console.status(f"{work.name}: {what}"):
                found.append(measure(work, what, asked.rounds))
    figures = {
        "bench": "kernels",
        "command": f"python -m experiments bench kernels --backend {asked.backend} "
        f"--rounds {asked.rounds}",
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "works": [asdict(each) for each in found],
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)
    console.print(_table(found))
    console.print(f"figures: {asked.output}", soft_wrap=True)
    return found


def _works(backend: str) -> list[Work]:
    def dot(causal: bool) -> Op:
        mask = attn.Causal() if causal else None
        return partial(attn.attention, mask=mask, backend=backend)

    def peer(causal: bool) -> Op:
        return partial(jax.nn.dot_product_attention, is_causal=causal)

    v = jax.random.normal(jax.random.key(3), (1, 256))
    return [
        Work("dot, causal", (1, 2048, 8, 64), dot(True), peer(True), "jax.nn", True),
        Work("dot, no mask", (1, 2048, 8, 64), dot(False), peer(False), "jax.nn", False),
        Work(
            "dot, causal, long",
            (1, 8192, 8, 64),
            dot(True),
            peer(True),
            "jax.nn",
            memory_only=True,
        ),
        Work(
            "additive",
            (8, 256, 1, 256),
            partial(attn.attention, score=attn.Additive(v), backend=backend),
            partial(plain_additive, v),
            "plain jnp",
        ),
    ]


def plain_additive(v: Any, query: Any, key: Any, value: Any) -> Any:
    """What one writes without a kernel: every unit of every pair at once."""
    energies = jnp.einsum("btsnd,nd->btsn", jnp.tanh(query[:, :, None] + key[:, None, :]), v)
    weights = jax.nn.softmax(energies, axis=2)
    return jnp.einsum("btsn,bsne->btne", weights, value)


def measure(work: Work, what: str, rounds: int) -> Measured:
    """Times all who can do a work, in turns."""
    backward = what != "forward"
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=work.query).astype(np.float32) for _ in range(3)]
    compiled = {
        name: jax.jit(_with_gradients(op) if backward else op).lower(*arrays).compile()
        for name, op in (("attn", work.ours), (work.peer_name, work.peer))
    }
    temporary = {name: _temporary_bytes(program) for name, program in compiled.items()}
    if work.memory_only:
        return Measured(work.name, what, work.query, work.peer_name, {}, None, temporary)
    placed = [jax.device_put(array) for array in arrays]
    contenders: dict[str, Callable[[], Any]] = {
        name: partial(_wait, program, placed) for name, program in compiled.items()
    }
    if work.torch_causal is not None and find_spec("torch") is not None:
        contenders["PyTorch"] = _torch(arrays, work.torch_causal, backward)
    seconds = _in_turns(contenders, rounds)
    ratios = [
        ours / theirs for ours, theirs in zip(seconds["attn"], seconds[work.peer_name], strict=True)
    ]
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    ratio = statistics.median(ratios)
    return Measured(work.name, what, work.query, work.peer_name, medians, ratio, temporary)


def _with_gradients(op: Op) -> Op:
    def run(query: Any, key: Any, value: Any) -> Any:
        output, pull = jax.vjp(op, query, key, value)
        return output, pull(output)

    return run


def _temporary_bytes(program: Any) -> int:
    return program.memory_analysis().temp_size_in_bytes


def _wait(program: Callable[..., Any], arrays: list[Any]) -> None:
    jax.block_until_ready(program(*arrays))


def _torch(arrays: list[np.ndarray], causal: bool, backward: bool) -> Callable[[], None]:
    import torch

    heads_first = [torch.from_numpy(array).transpose(1, 2).contiguous() for array in arrays]
    query, key, value = (each.requires_grad_(backward) for each in heads_first)

    def run() -> None:
        with torch.set_grad_enabled(backward):
            output = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=causal
            )
            if backward:
                torch.autograd.grad(output, (query, key, value), output.detach())

    return run


def _in_turns(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if round_ > 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _table(found: list[Measured]) -> Table:
    title = "The op against its peers: ms, medians of interleaved rounds; temporaries in MB"
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("work", no_wrap=True)
    for heading in ("attn", "peer", "ratio", "PyTorch", "MB", "peer's"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        time_of = {name: f"{1e3 * seconds:,.0f}" for name, seconds in each.seconds.items()}
        table.add_row(
            each.work + ("" if each.what == "forward" else ", + backward"),
            time_of.get("attn", ""),
            time_of.get(each.peer, ""),
            "" if each.ratio is None else f"{each.ratio:.2f}",
            time_of.get("PyTorch", ""),
            *(f"{each.temporary_bytes[name] / 2**20:,.0f}" for name in ("attn", each.peer)),
        )
    return table
