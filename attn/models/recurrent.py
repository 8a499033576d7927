"""Recurrent networks alone: a language model and a reader, of any cell."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import nnx

from attn.functional import attention
from attn.masks import Lengths
from attn.models.one_sequence import OneSequence
from attn.models.protocol import PAD
from attn.models.reader import Head, Reader
from attn.models.seq2seq import uniform
from attn.nn.cells import GRU, LSTM, RNN, Bidirectional, Recurrent
from attn.nn.intra import LSTMN
from attn.nn.noise import Noise, drop
from attn.nn.recalls import recalls
from attn.nn.stack import Carries, Stack
from attn.typing import Array, Bool, Float, Int

Cell = Literal["rnn", "lstm", "gru", "lstmn"]
Pool = Literal["mean", "last", "attention"]
CELLS: dict[Cell, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU, "lstmn": LSTMN}


@dataclass(frozen=True)
class RecurrentLMConfig:
    """A recurrent language model that reads source and target as one sequence."""

    name: ClassVar[str] = "recurrent-lm"

    cell: Cell = "lstm"
    width: int = 128
    """Units of every layer, and of the embeddings."""
    layers: int = 1
    tape: int | None = None
    """Steps that an LSTMN keeps; None is all."""
    shared: bool | None = None
    """One vocabulary for source and target (None: where both have the same size)."""
    tied: bool = False
    """Whether embedding and output share one matrix."""
    remat: bool = False
    """Compute layers again in the backward pass, in chunks of the root of the length."""
    dropout: float = 0.0
    """On embeddings, between layers and on what is read out, never along time."""
    init_scale: float = 0.1
    """Parameters start uniform within plus and minus this."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(
        self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ) -> "RecurrentLM":
        """The model, freshly initialised.

        Raises:
            ValueError: one vocabulary is asked for, but the sizes differ.
        """
        kind = LSTMNLM if self.cell == "lstmn" else RecurrentLM
        return kind(self, source_vocabulary, target_vocabulary, rngs)


@dataclass(frozen=True)
class RecurrentReaderConfig:
    """A recurrent network that reads a text, from one end or both, and a linear layer on top."""

    name: ClassVar[str] = "recurrent-reader"

    cell: Cell = "lstm"
    bidirectional: bool = False
    head: Head = "class"
    pool: Pool = "mean"
    """What a class is told from: the mean of all states (Cheng et al. 2016, section 5.2), the last
    one, or the last one beside what it sees of all of them by attention, a scaled dot product."""
    width: int = 128
    """Units of every layer in each direction, and of the embeddings."""
    layers: int = 1
    tape: int | None = None
    """Steps that an LSTMN keeps; None is all."""
    remat: bool = False
    """Compute layers again in the backward pass, in chunks of the root of the length."""
    dropout: float = 0.0
    """On embeddings, between layers and on what is read out, never along time."""
    init_scale: float = 0.1
    """Parameters start uniform within plus and minus this."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(
        self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ) -> "RecurrentReader":
        """The model, freshly initialised.

        Raises:
            ValueError: a `pool` is asked for, but nothing is pooled: `head` is not "class".
        """
        kind = LSTMNReader if self.cell == "lstmn" else RecurrentReader
        return kind(self, source_vocabulary, target_vocabulary, rngs)


def recurrent_stack(
    config: RecurrentLMConfig | RecurrentReaderConfig, vocabulary: int, rngs: nnx.Rngs
) -> Stack:
    """Layers of `config.cell`, in both directions where the configuration says so."""
    both = getattr(config, "bidirectional", False)
    options: dict[str, Any] = {
        "init": uniform(config.init_scale),
        "dtype": jnp.dtype(config.dtype),
        "rngs": rngs,
    }
    own: dict[str, Any] = {"remat": config.remat}
    if config.cell == "lstmn":
        own["tape"] = config.tape

    def one(inputs: int) -> Recurrent:
        return CELLS[config.cell](inputs, config.width, **options, **own)

    def make(inputs: int) -> Recurrent | Bidirectional:
        return Bidirectional(one(inputs), one(inputs)) if both else one(inputs)

    return Stack(make, config.layers, vocabulary, config.width, dropout=config.dropout, **options)


class RecurrentLM(OneSequence):
    """The model of `RecurrentLMConfig`; answers `attn.models.protocol.Seq2Seq`."""

    def __init__(
        self,
        config: RecurrentLMConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        rngs: nnx.Rngs,
    ):
        self.vocabulary(source_vocabulary, target_vocabulary, config.shared)
        self.tied, self.words, self.dropout = config.tied, target_vocabulary, config.dropout
        self.stack = recurrent_stack(config, self.joint, rngs)
        if not config.tied:
            self.readout = nnx.Linear(
                config.width,
                target_vocabulary,
                kernel_init=uniform(config.init_scale),
                dtype=jnp.dtype(config.dtype),
                rngs=rngs,
            )

    def run(
        self, tokens: Int[Array, "B L"], prefix: Int[Array, "B"] | None, noise: Noise | None
    ) -> Float[Array, "B L H"]:
        """The top layer's hidden state after each token; no state sees a token after it."""
        _, xs = self.stack(tokens, self.stack.start(*tokens.shape), noise)
        return drop(xs, self.dropout, noise, len(self.stack.layers)).swapaxes(0, 1)

    def create(self, rows: int, capacity: int) -> Carries:
        """Zero states, tapes with room for `capacity` tokens."""
        return self.stack.start(rows, capacity)

    def advance(
        self, carry: Carries, tokens: Int[Array, "B t"], count: Int[Array, "B"] | None, first: bool
    ) -> tuple[Carries, Float[Array, "B t H"]]:
        """Reads more tokens."""
        if tokens.shape[1] == 1 and count is None:
            carry, hidden = self.stack.step(tokens[:, 0], carry)
            return carry, hidden[:, None]
        real = None if count is None else jnp.arange(tokens.shape[1]) < count[:, None]
        carry, xs = self.stack(tokens, carry, None, real)
        return carry, xs.swapaxes(0, 1)

    def logits(self, states: Float[Array, "*B H"]) -> Float[Array, "*B V"]:
        """Of the token after, float32, over the target's vocabulary."""
        if not self.tied:
            return self.readout(states).astype(jnp.float32)
        table = self.stack.embed.embedding[: self.words].astype(states.dtype)
        return (states @ table.T).astype(jnp.float32)


class LSTMNLM(RecurrentLM):
    """A recurrent language model whose layers attend to what they have read, and show how."""

    attends: ClassVar[bool | None] = None

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L 1 _ _"]]:
        """How every layer recalls: "sequence", the source's tokens and the target's behind them."""
        tokens = self.packed(self.encode(source), target_in)
        start = self.stack.start(*tokens.shape)
        return {"sequence": recalls(self.stack, tokens, start, tokens != PAD)}


class RecurrentReader(Reader):
    """The model of `RecurrentReaderConfig`; answers `attn.models.protocol.Seq2Seq`."""

    def __init__(
        self,
        config: RecurrentReaderConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        rngs: nnx.Rngs,
    ):
        if config.head != "class" and config.pool != "mean":
            raise ValueError(f"pool: got {config.pool!r}; expected 'mean' for head {config.head!r}")
        self.kind, self.words, self.dropout = config.head, target_vocabulary, config.dropout
        self.pool = config.pool
        self.stack = recurrent_stack(config, source_vocabulary, rngs)
        width = self.stack.layers[-1].outputs
        self.readout = nnx.Linear(
            2 * width if config.pool == "attention" else width,
            2 if config.head == "span" else target_vocabulary,
            kernel_init=uniform(config.init_scale),
            dtype=jnp.dtype(config.dtype),
            rngs=rngs,
        )

    def read(self, source: Int[Array, "B S"], noise: Noise | None) -> Float[Array, "B S H"]:
        """The top layer's hidden state at each token."""
        _, xs = self.stack(source, self.stack.start(*source.shape), noise, source != PAD)
        return drop(xs, self.dropout, noise, len(self.stack.layers)).swapaxes(0, 1)

    def pooled(
        self, states: Float[Array, "B S H"], real: Bool[Array, "B S"]
    ) -> Float[Array, "B pooled"]:
        """One vector for a text: see `RecurrentReaderConfig.pool`."""
        if self.pool == "mean":
            return self._mean(states, real)
        lengths = real.sum(1, dtype=jnp.int32)
        end = jnp.maximum(lengths - 1, 0)
        last = jnp.take_along_axis(states, end[:, None, None], axis=1)
        if self.pool == "last":
            return last[:, 0]
        query, memory = last[:, :, None], states[:, :, None]
        seen = attention(query, memory, memory, mask=Lengths(key=lengths))[:, :, 0]
        return jnp.concatenate([seen, last], axis=-1)[:, 0]

    def label(self, states: Float[Array, "*B H"]) -> Float[Array, "*B out"]:
        """Logits: of labels, or of beginning and end."""
        return self.readout(states)

    def _mean(self, states: Float[Array, "B S H"], real: Bool[Array, "B S"]) -> Float[Array, "B H"]:
        total = jnp.where(real[..., None], states, 0).sum(1)
        return total / jnp.maximum(real.sum(1, keepdims=True), 1).astype(total.dtype)


class LSTMNReader(RecurrentReader):
    """A recurrent reader whose layers attend to what they have read, and show how."""

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L N S S"]]:
        """How every layer recalls: "encoder", a head for each direction."""
        start = self.stack.start(*source.shape)
        return {"encoder": recalls(self.stack, source, start, source != PAD)}
