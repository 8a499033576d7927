"""Arguments to dataclasses: every field is a flag."""

from dataclasses import replace
from typing import Any

import tyro

USAGE = 2
"""Exit code: the input is wrong."""

SETTINGS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
SWITCHES = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
"""Fields that are true or false are flags without a value."""


def parse(
    kind: Any,
    command: str,
    arguments: list[str],
    default: Any = None,
    settings: tuple[Any, ...] = SETTINGS,
) -> Any:
    """The arguments of a command as a dataclass of a kind; exits with `USAGE` where they are none.

    Args:
        kind: the dataclass.
        command: its name, for people.
        arguments: what follows it.
        default: an instance whose fields count where a flag is left out (None: the kind's own).
        settings: how fields become flags.
    """
    given = {} if default is None else {"default": default}
    return tyro.cli(
        kind, prog=f"python -m experiments {command}", args=arguments, config=settings, **given
    )


def given(settings: Any, **changes: Any) -> Any:
    """The settings with those changes that are not None."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})
