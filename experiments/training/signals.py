"""Being asked to stop: SIGTERM and SIGINT wait for a step to end and a checkpoint to be written."""

import signal
import threading
from types import FrameType

import jax


class Interrupted(Exception):
    """Training stopped because it was asked to; the same command goes on from the checkpoint."""

    def __init__(self, signal_number: int, step: int):
        """Words the message.

        Args:
            signal_number: the signal that asked.
            step: steps taken and saved.
        """
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name} after step {step}, which is saved; "
            "the same command goes on from there"
        )
        self.signal = signal_number
        self.step = step


class StopRequest:
    """Notes the first signal; a second SIGINT interrupts at once. A context manager.

    Signals reach a program's main thread: elsewhere this notes none. With several hosts JAX itself
    listens, so that all of them learn of it and stop after the same step.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.signal: int | None = None
        """The one that came."""
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
