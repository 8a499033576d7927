"""How a bench's figures are made again."""

import shlex
from typing import Any


def command(bench: str, asked: Any, leave_out: tuple[str, ...] = ("output",)) -> str:
    """The command line of a bench's settings, those that are as by default left out."""
    words = ["python", "-m", "experiments", "bench", bench]
    for name, value in vars(asked).items():
        if name not in leave_out and value != getattr(type(asked), name):
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)
