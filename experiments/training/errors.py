"""How training fails of itself."""

from pathlib import Path

from experiments.training.step import Metrics


class DivergedError(Exception):
    """A step gave numbers that are not finite."""

    def __init__(self, metrics: Metrics, step: int, examples: list[int], checkpoint: Path | None):
        """Words the message.

        Args:
            metrics: of the step, on the host.
            step: its number, counted from 1.
            examples: numbers of this host's examples in its batch.
            checkpoint: the last one, which is finite (None: there is none).
        """
        loss = float(metrics.loss) / max(int(metrics.tokens), 1)
        super().__init__(
            f"step {step} gave numbers that are not finite (loss {loss:.6g}, norm of the "
            f"gradients {float(metrics.gradient_norm):.6g}) on the training examples {examples}; "
            f"the last good checkpoint: {checkpoint or 'none'}"
        )
        self.step = step
        self.examples = examples
        self.checkpoint = checkpoint
