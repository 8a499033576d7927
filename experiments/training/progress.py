"""How far a run is: one live line in a terminal, plain lines elsewhere."""

import time
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display:
    """Step, loss, tokens per second and time left of one run; a context manager."""

    def __init__(self, console: Console, name: str, start: int, steps: int):
        """Shows nothing yet.

        Args:
            console: where to; a terminal gets the live line.
            name: of the run.
            start: steps taken before.
            steps: of the whole run.
        """
        self._console, self._name, self._steps = console, name, steps
        self._first: tuple[int, float] | None = None
        self._live = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._live.add_task(escape(name), total=steps, completed=start, told="")

    def __enter__(self) -> "Display":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"{self._name}: {text}", highlight=False, markup=False)

    def advance(self, step: int) -> None:
        """Moves on to a step."""
        if self._first is None:
            self._first = step, time.perf_counter()
        self._live.update(self._task, completed=step)

    def report(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Tells of a step's numbers."""
        told = f"loss {loss:.3f}  {tokens_per_second:,.0f} tokens/s"
        self._live.update(self._task, told=told)
        if not self._console.is_terminal:
            self.say(f"step {step}/{self._steps}  {told}{self._left(step)}")

    def _left(self, step: int) -> str:
        """The time that the rest takes at the pace so far; nothing before there is a pace."""
        first, began = self._first or (step, 0.0)
        if step <= first:
            return ""
        seconds = (time.perf_counter() - began) / (step - first) * (self._steps - step)
        return f"  {timedelta(seconds=round(seconds))} left"
