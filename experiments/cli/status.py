"""`status`: how the runs under a folder stand."""

import dataclasses
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.cli.parsing import SWITCHES, parse

_COLOURS = {"finished": "green", "running": "cyan", "failed": "red", "unreadable": "red"}


@dataclass(frozen=True)
class Status:
    """Tabulate the runs under a folder: how far they are, which failed and why."""

    folder: tyro.conf.Positional[Path]
    """Searched at any depth."""
    json: bool = False
    """Print a JSON list instead of a table."""


def run_status(arguments: list[str]) -> None:
    """tabulate the runs under a folder: how far they are, which failed and why"""
    asked = parse(Status, "status", arguments, settings=SWITCHES)
    from experiments.status import read_status

    found = read_status(asked.folder)
    if asked.json:
        print(json.dumps([dataclasses.asdict(each) for each in found], indent=2))
        return
    console = Console()
    if not found:
        console.print(f"no run under {escape(str(asked.folder))}", soft_wrap=True, highlight=False)
        return
    console.print(_table(found))
    for each in found:
        if each.error is not None:
            told = f"[red]{escape(each.run)}:[/] {escape(each.error)}"
            console.print(told, soft_wrap=True, highlight=False)


def _table(found: list[Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("run", "state"):
        table.add_column(name, overflow="fold")
    for name in ("step", "loss", "tokens/s", "checkpoint", "age", "host errors"):
        table.add_column(name, justify="right")
    for each in found:
        colour = _COLOURS.get(each.state, "default")
        errors = ", ".join(f"{host}: {count}" for host, count in each.host_errors.items())
        table.add_row(
            escape(each.run),
            f"[{colour}]{each.state}[/]",
            "" if each.steps is None else f"{each.step or 0:,}/{each.steps:,}",
            _number(each.loss, ".3f"),
            _number(each.tokens_per_second, ",.0f"),
            _number(each.checkpoint, ","),
            "" if each.checkpoint_age is None else str(timedelta(seconds=int(each.checkpoint_age))),
            escape(errors),
        )
    return table


def _number(value: float | int | None, form: str) -> str:
    return "" if value is None else format(value, form)
