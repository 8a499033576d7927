"""`python -m tpu_setup.check_devices`: what accelerators are there, and whether they are well.

Sums over all devices, multiplies matrices, reads memory and sends to neighbours, each for a moment,
and holds what comes out against the chip's sheet. Exit code 1 where something is amiss.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments.aot.sheets import SHEETS, Sheet
from experiments.chips import CHIPS
from experiments.hosts import Hosts, join

ENOUGH = 0.5
"""Of what the sheet says, below which a chip is called slow: well-made programs reach more."""
TURNS = 8


@dataclass(frozen=True)
class Check:
    """See what accelerators there are, and whether they do what they are sold as."""

    local: bool = False
    """This host's devices alone, without waiting for others."""
    seconds: float = 1.0
    """For each measurement."""
    hosts: Hosts = field(default_factory=Hosts)


def main(asked: Check, console: Console) -> int:
    """Measures and prints; returns the exit code."""
    if not asked.local:
        join(asked.hosts)
    devices = jax.local_devices() if asked.local else jax.devices()
    kind = devices[0].device_kind
    name = next((chip.name for chip in CHIPS.values() if chip.kind == kind), None)
    if name is None and "H200" in kind:
        name = "h200"
    sheet = None if name is None else SHEETS[name]
    console.print(f"{len(devices)} devices: {kind}, {jax.process_count()} host(s)")

    wrong = []
    total = summed(devices)
    if total != len(devices):
        wrong.append(f"a sum over {len(devices)} devices is {total}")
    table = Table("", box=SIMPLE_HEAD)
    for heading in ("measured", "sheet", "of it"):
        table.add_column(heading, justify="right")
    for what, value, unit, stated in _measured(devices, asked.seconds, sheet):
        share = "" if stated is None else f"{value / stated:.0%}"
        table.add_row(
            what, f"{value:.4g} {unit}", "no sheet" if stated is None else f"{stated:.4g}", share
        )
        if stated is not None and value < ENOUGH * stated:
            wrong.append(f"{what}: {value:.4g} {unit} of {stated:.4g}")
    if jax.process_index() == 0 or asked.local:
        console.print(table)
        for each in wrong:
            console.print(f"[bold red]SLOW or wrong:[/] {each}", highlight=False)
        if not wrong:
            verdict = "all is as the sheet says" if sheet else f"they work; no sheet for {kind}"
            console.print(f"[bold]{verdict}[/]")
    return 1 if wrong else 0


def summed(devices: list[jax.Device]) -> int:
    """A one from every device, added up by all of them."""
    mesh = Mesh(np.array(devices), ("all",))
    ones = jax.make_array_from_callback(
        (len(devices),), NamedSharding(mesh, PartitionSpec("all")), lambda _: np.ones(1, np.int32)
    )
    spread = jax.shard_map(
        lambda x: jax.lax.psum(x[0], "all"),
        mesh=mesh,
        in_specs=PartitionSpec("all"),
        out_specs=PartitionSpec(),
    )
    return int(jax.jit(spread)(ones))


def _measured(devices: list[jax.Device], seconds: float, sheet: Sheet | None) -> list[tuple]:
    """What, value, unit and the sheet's figure, of one device each."""
    here, share = jax.local_devices()[0], 1 if sheet is None else sheet.devices
    cpu = here.platform == "cpu"
    memory = (here.memory_stats() or {}).get("bytes_limit")
    rows: list[tuple] = []
    if memory is not None:
        stated = None if sheet is None else sheet.memory / share / 2**30
        rows.append(("memory", memory / 2**30, "GiB", stated))
    side = 256 if cpu else 8192
    rate = _products(here, side, seconds) / 1e12
    stated = None if sheet is None else sheet.flops / share / 1e12
    rows.append(("bfloat16 products", rate, "TFLOP/s", stated))
    size = 2**22 if cpu else 2**30
    stated = None if sheet is None else sheet.bandwidth / share / 1e9
    rows.append(("main memory", _reading(here, size, seconds) / 1e9, "GB/s", stated))
    if len(devices) > 1:
        sent = _sending(devices, size // 16, seconds) / 1e9
        rows.append(("to a neighbour, one link", sent, "GB/s", None))
    return rows


def _products(device: jax.Device, side: int, seconds: float) -> float:
    """Floating operations a second."""
    x = jax.device_put(jnp.full((side, side), 1 / side, jnp.bfloat16), device)

    def some(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, TURNS, lambda _, y: jnp.dot(x, y), x)

    return 2 * side**3 * TURNS / _time(jax.jit(some), x, seconds)


def _reading(device: jax.Device, size: int, seconds: float) -> float:
    """Bytes a second, read and written."""
    x = jax.device_put(jnp.ones(size // 4, jnp.float32), device)
    some = jax.jit(lambda x: jax.lax.fori_loop(0, TURNS, lambda _, y: y * 1.0001 + 1.0, x))
    return 2 * size * TURNS / _time(some, x, seconds)


def _sending(devices: list[jax.Device], size: int, seconds: float) -> float:
    """Bytes a second that a device sends to the next one, all at once."""
    mesh, count = Mesh(np.array(devices), ("all",)), len(devices)
    onward = [(i, (i + 1) % count) for i in range(count)]
    sharding = NamedSharding(mesh, PartitionSpec("all"))
    part = np.ones((1, size // 4), np.float32)
    x = jax.make_array_from_callback((count, size // 4), sharding, lambda _: part)

    def turns(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, TURNS, lambda _, y: jax.lax.ppermute(y, "all", onward), x)

    spread = jax.shard_map(
        turns, mesh=mesh, in_specs=PartitionSpec("all"), out_specs=PartitionSpec("all")
    )
    return size * TURNS / _time(jax.jit(spread), x, seconds)


def _time(function: Callable[[jax.Array], Any], x: jax.Array, seconds: float) -> float:
    """The least seconds of a call, of as many as there is time for and three at least."""
    jax.block_until_ready(function(x))
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        jax.block_until_ready(function(x))
        times.append(time.perf_counter() - began)
        # Hosts must make as many calls as each other.
        if jax.process_count() > 1 and len(times) == 3:
            break
    return min(times)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Check, config=(tyro.conf.FlagCreatePairsOff,)), Console()))
