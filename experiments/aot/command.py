"""`aot`: what a run will take of a pod, before it is paid for."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments.aot.figures import draw
from experiments.aot.growing import grown, sizes, usual
from experiments.aot.plan import Plan, plan, resized
from experiments.chips import CHIPS, missing
from experiments.configs.scale import SCALES
from experiments.errors import InputError, expect_known
from experiments.machine import hardware, versions
from experiments.training import folder as files


@dataclass(frozen=True)
class Aot:
    """Compile a whole training step for accelerators that are not here.

    Prints what it takes of each chip's memory, what chips send each other, and the least time of a
    step by the chips' sheets.
    """

    config: str
    """transformer-base, transformer-big, decoder-1b, decoder-8b or ring-128k."""
    chip: str = "v5e"
    """v4, v5e, v5p, v6e, tpu7x or h100."""
    topology: str | None = None
    """4x4 (v5e, v6e), 2x2x4 (v4, v5p, tpu7x), or a number of GPUs, eight to a host (None: the
    smallest of 16 devices or more that the run can be divided over)."""
    scale: bool = False
    """From the fewest chips to 512: each has as many rows as in the topology or, where texts are
    divided, as many tokens."""
    batch_size: int | None = None
    """Rows in a step (None: the config's, as of the rest)."""
    fsdp: int | None = None
    tensor: int | None = None
    sequence: int | None = None
    accumulate: int | None = None
    utilisation: float = 0.4
    """Model FLOPs as a share of the peak that hours are also told for: a well-tuned run's."""
    output: Path = Path("runs/aot")
    """Folder for the figures (and with --scale the picture), CONFIG-CHIP-TOPOLOGY."""


def aot(asked: Aot, console: Console) -> list[Plan]:
    """Compiles, prints and writes.

    Raises:
        InputError: an unknown config, chip or topology, a run that cannot be divided over it, or a
            compiler that is not installed.
    """
    expect_known("config", asked.config, SCALES)
    expect_known("chip", asked.chip, CHIPS)
    if not 0 < asked.utilisation <= 1:
        raise InputError(f"utilisation is {asked.utilisation}; expected more than 0, at most 1")
    if reason := missing(CHIPS[asked.chip]):
        raise InputError(reason)
    changes = ("batch_size", "fsdp", "tensor", "sequence", "accumulate")
    given = {name: getattr(asked, name) for name in changes if getattr(asked, name) is not None}
    scale = resized(SCALES[asked.config](), **given)
    reference = asked.topology or usual(scale, asked.chip)
    asked_for = [(scale, reference)]
    if asked.scale:
        asked_for = [
            (larger, topology)
            for topology in sizes(asked.chip)
            if (larger := grown(scale, asked.chip, reference, topology)) is not None
        ]
    plans = []
    for at, topology in asked_for:
        with console.status(f"{asked.config} for {asked.chip} {topology}"):
            plans.append(plan(at, asked.chip, topology))
        if asked.scale:
            console.print(_line(plans[-1]), soft_wrap=True, highlight=False)
    _write(replace(asked, topology=reference), plans, console)
    if not asked.scale:
        console.print(_sheet(asked, plans[0]))
    return plans


def _write(asked: Aot, plans: list[Plan], console: Console) -> None:
    asked.output.mkdir(parents=True, exist_ok=True)
    name = f"{asked.config}-{asked.chip}-{asked.topology}{'-scale' if asked.scale else ''}"
    figures = {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": {key: value for key, value in asdict(asked).items() if key != "output"},
        "plans": [each.as_json() for each in plans],
    }
    files.write_json(asked.output / f"{name}.json", figures)
    written = [f"{name}.json"]
    if asked.scale:
        draw(asked.config, plans).savefig(asked.output / f"{name}.svg")
        written.append(f"{name}.svg")
    console.print(f"figures: {asked.output}/{', '.join(written)}", soft_wrap=True)


def _line(found: Plan) -> str:
    memory = "—" if not found.temporaries else f"{found.needed / 2**30:.2f} GiB a device"
    sent = "does not fit" if found.sent is None else f"{found.sent / 2**20:,.0f} MiB sent"
    return (
        f"  {found.chips:>4} chips: {memory}, {sent}, {found.seconds * 1e3:.1f} ms ({found.bound})"
    )


def _sheet(asked: Aot, found: Plan) -> Table:
    mesh = " · ".join(f"{name} {size}" for name, size in found.mesh.items() if size > 1)
    where = f"{found.chips} {found.chip} ({found.topology})"
    title = f"{asked.config} on {where}: {mesh or 'one device'}"
    table = Table("", "", title=title, box=SIMPLE_HEAD, show_header=False)
    fits = "fits" if found.fits else "[bold red]does not fit[/]"
    rows = [
        ("parameters", f"{found.parameters:,}"),
        (
            "memory of a device",
            f"{found.arguments / 2**30:.2f} GiB state and batch, {found.temporaries / 2**30:.2f} "
            f"GiB on the way; of {found.memory / 2**30:.0f} GiB: {fits}",
        ),
    ]
    rows += [
        (
            f"{one.kind} among {one.group}",
            f"{one.count}, {one.bytes / 2**20:,.1f} MiB sent by a device",
        )
        for one in found.exchanges or []
    ]
    network = "network unknown: there is no program"
    if found.network_seconds is not None:
        network = f"{found.network_seconds * 1e3:.2f} ms network"
    hours = found.steps * found.peak_seconds / asked.utilisation / 3600
    rows += [
        ("model FLOPs in a step", f"{found.model_flops:.3g}"),
        (
            "least time of a step",
            f"{found.compute_seconds * 1e3:.2f} ms compute, {found.memory_seconds * 1e3:.2f} ms "
            f"memory, {network}",
        ),
        ("utilisation at most", f"{found.utilisation:.0%}, bound by {found.bound}"),
        ("tokens a day at most", f"{found.tokens_per_day:.3g}"),
        (
            f"{found.steps:,} steps",
            f"{found.hours:.1f} hours at the least; {hours:.1f} at {asked.utilisation:.0%}",
        ),
    ]
    for row in rows:
        table.add_row(*row)
    return table
