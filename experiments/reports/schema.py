"""Reading JSON that someone else wrote: each error names the file, the field, what came."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.errors import InputError

_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number",
          list: "a list", dict: "an object"}  # fmt: skip


def check(value: Any, kind: type, where: str) -> Any:
    """`value` if it is of the JSON `kind`: str, bool, int, float (any finite number), list, dict.

    Raises:
        InputError: it is not; `where` is how the message names it.
    """
    if kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        good = good and math.isfinite(value)
    elif kind is int:
        good = isinstance(value, int) and not isinstance(value, bool)
    else:
        good = isinstance(value, kind)
    if not good:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        raise InputError(f"{where} is {shown}; expected {_WORDS[kind]}")
    return float(value) if kind is float else value


def field(mapping: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """`mapping[name]`, there and of the JSON `kind`.

    Raises:
        InputError: it is missing or of another kind; the message starts with `where.name`.
    """
    if name not in mapping:
        raise InputError(f"{where}.{name} is missing; expected {_WORDS[kind]}")
    return check(mapping[name], kind, f"{where}.{name}")


def optional(mapping: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """`mapping[name]`, there and null or of the JSON `kind`.

    Raises:
        InputError: it is missing or of another kind; the message starts with `where.name`.
    """
    if name in mapping and mapping[name] is None:
        return None
    return field(mapping, name, kind, where)


def described(mapping: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    """A field that is text or an object of simple values, as an object of texts.

    Raises:
        InputError: it is missing or neither; the message starts with `where.name`.
    """
    if isinstance(mapping.get(name), str):
        return {name: mapping[name]}
    return {key: str(value) for key, value in field(mapping, name, dict, where).items()}


def interval(value: Any, where: str) -> tuple[float, float]:
    """`value` as (low, high).

    Raises:
        InputError: it is not two numbers in order.
    """
    check(value, list, where)
    if len(value) != 2:
        raise InputError(f"{where} has {len(value)} elements; expected [low, high]")
    low, high = (check(bound, float, f"{where}[{n}]") for n, bound in enumerate(value))
    if low > high:
        raise InputError(f"{where} is {value}; expected [low, high] with low <= high")
    return low, high


def read_json(path: Path, kind: type) -> Any:
    """The JSON of a file whose top level is of `kind` (dict or list).

    Raises:
        InputError: the file cannot be read, is not JSON, or is of another kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    return check(value, kind, str(path))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file that holds one JSON object a line.

    Raises:
        InputError: the file cannot be read or a line is no object; the line's number is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    objects = []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: not JSON ({error.msg})") from error
        objects.append(check(value, dict, f"{path}:{number}"))
    return objects
