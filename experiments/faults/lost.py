"""Counting what is survived."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Lost(Exception):
    """A fault was not survived; the message says how."""


def expect(condition: bool, what: str) -> None:
    """Raises:
    Lost: the condition does not hold.
    """
    if not condition:
        raise Lost(what)


@dataclass
class Tally:
    """One kind of fault: how often it was put in, and what came of it."""

    fault: str
    times: int = 0
    survived: int = 0
    ended: int = 0
    """Runs that came to their end: a fault may strike one several times, or end it for good."""
    same: int = 0
    """Of these, runs that ended in the bits of an undisturbed one."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    """How it was not survived, and where it struck."""

    @contextmanager
    def trial(self) -> Iterator[None]:
        """One time: survived, unless `Lost` is raised inside."""
        self.times += 1
        try:
            yield
        except Lost as error:
            self.notes.append(str(error))
        else:
            self.survived += 1
