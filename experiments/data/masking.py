"""Examples that are corrupted anew in every batch: which tokens a masked language model guesses."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from attn.models.protocol import BOS, PAD

Draw = tuple[int, int]
"""What random numbers depend on beside the example: in training the seed and the step."""

EVALUATION: Draw = (2**64 - 1, 0)
"""The same in every evaluation, and of no training run."""


@runtime_checkable
class Corruption(Protocol):
    """What is done to an example as it is put into a batch: a function of its arguments alone."""

    def __call__(
        self, source: np.ndarray, target: np.ndarray, draw: Draw, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The row to show and the row to predict, both as long as the ones given.

        Args:
            source: [n] tokens and `EOS`.
            target: [m] `BOS`, tokens and `EOS`.
            draw: two numbers below 2 ** 64.
            index: the example's number in its split.
        """
        ...


@dataclass(frozen=True)
class Masking:
    """Chooses tokens at random: most become `mask`, some a random token, some stay (Devlin et al.
    2019, section 3.1).

    The chosen ones alone are to be predicted, the rest of the target is `PAD`. The random numbers
    are raw Philox output at a counter of the example's own, so they depend neither on the batch
    that the example is in nor on the host that makes it.
    """

    mask: int
    """Id of the token that hides another."""
    size: int
    """Of the vocabulary."""
    first: int
    """Random tokens are `first` to `size` - 1: the ids before are special."""
    rate: float = 0.15
    """Tokens chosen."""
    masked: float = 0.8
    """Of the chosen, those that become `mask`."""
    swapped: float = 0.1
    """Of the chosen, those that become a random token."""

    def __call__(
        self, source: np.ndarray, target: np.ndarray, draw: Draw, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The corrupted source, and [`BOS`, a token or `PAD` for each of the source].

        `EOS` is never chosen.
        """
        tokens = source[:-1]
        random = np.random.Philox(
            key=np.array(draw, np.uint64), counter=np.array([0, 0, 1, index], np.uint64)
        )
        raw = random.random_raw(3 * len(tokens)).reshape(3, -1)
        choice, fate = raw[:2] * 2.0**-64
        chosen = choice < self.rate
        other = self.first + raw[2] % np.uint64(self.size - self.first)
        changed = np.where(fate < self.masked + self.swapped, other, tokens)
        changed = np.where(fate < self.masked, self.mask, changed)
        shown, wanted = source.copy(), np.full_like(target, PAD)
        shown[:-1] = np.where(chosen, changed, tokens)
        wanted[0] = BOS
        wanted[1:-1] = np.where(chosen, tokens, PAD)
        return shown, wanted
