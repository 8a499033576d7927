"""Errors that are the user's to mend: the command line prints them and exits with 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """Something given is wrong; the message names it, what came and what was expected."""


def expect_known(what: str, name: str, known: Iterable[str]) -> None:
    """Raises:
    InputError: `name` is not among the known ones; it names the nearest.
    """
    names = list(known)
    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise InputError(f"unknown {what} {name!r}; nearest: {', '.join(near)}")
