"""What every sequence-to-sequence model answers: training, search and reports know none by name.

Token ids 0, 1 and 2 mean the same in every vocabulary. A source is its tokens then `EOS`, padded
with `PAD`; a target is `BOS`, its tokens, `EOS`, padded with `PAD`.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax

from attn.nn.noise import Noise
from attn.typing import Array, Float, Int

PAD, BOS, EOS = 0, 1, 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Where a decoder stands: every leaf of both parts has the batch as its first axis.

    A search that reorders hypotheses of one sentence reorders `carry` alone: `memory` is the same
    for all of them.
    """

    memory: Any
    carry: Any


@runtime_checkable
class Seq2Seq(Protocol):
    """An encoder and a decoder.

    `encode` reads a source once. `decode` answers all positions of known targets (training);
    `start` and `step` answer one position at a time (search), at the cost of that position alone.
    Dropout happens where `noise` is given, and nowhere else.
    """

    attends: bool | None
    """Whether the decoder looks at the source by attention, so that there are weights to show. None
    where no decoder is apart from what reads the source, and that may attend within it."""

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Any:
        """The memory of a source: a pytree whose leaves have the batch as their first axis."""
        ...

    def decode(
        self, memory: Any, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits, float32, of the token after each of `target_in`."""
        ...

    def weights(self, memory: Any, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """Attention from each target position to the source, by layer and head.

        Raises:
            attn.Unsupported: the model has no attention to a source (`attends` is not true).
        """
        ...

    def start(self, memory: Any, capacity: int) -> State:
        """The state before the first token, with room for `capacity` steps."""
        ...

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """Reads one token of each row; returns the next state and the logits of the token after."""
        ...
