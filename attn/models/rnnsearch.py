"""A bidirectional encoder, and a decoder that searches through it (Bahdanau et al. 2014)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.models.protocol import PAD, State
from attn.models.seq2seq import DECODER, ENCODER
from attn.models.source import source_lengths
from attn.nn.attention import AdditiveAttention, Annotations
from attn.nn.cells import GRU, Bidirectional, gru_update, orthogonal_blocks
from attn.nn.noise import Noise, drop
from attn.nn.recurrent import Linear, Weights, product, recur
from attn.nn.words import Words
from attn.scores import Score
from attn.typing import Array, ArrayLike, Float, Int


@dataclass(frozen=True)
class RNNSearchConfig:
    """RNNsearch as in appendix A of the paper, its initialisation (B.1) included."""

    name: ClassVar[str] = "rnnsearch"

    width: int = 128
    """Units n of each direction of the encoder and of the decoder."""
    embedding: int | None = None
    """Width m of the embeddings (None: `width`)."""
    alignment: int | None = None
    """Units n' of the alignment model (None: `width`)."""
    maxout: int | None = None
    """Units l of the readout after maxout (None: half of `width`)."""
    readout_state: Literal["previous", "current"] = "previous"
    """The state that scores the next word: s_{i-1}, as in the appendix, or s_i, as in equation 4.
    Attention always asks with s_{i-1}, for s_i depends on its answer."""
    dropout: float = 0.0
    """On embeddings and on the readout (the paper has none)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs) -> "RNNSearch":
        """The model, freshly initialised."""
        return RNNSearch(self, source_vocabulary, target_vocabulary, rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """The annotations h_j = [forward; backward] and the decoder's first state."""

    annotations: Annotations
    first: ArrayLike
    """[B, n]."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Attended:
    """What is the same at every step of the decoder's loop."""

    annotations: Annotations
    score: Score


def _decoder_cell(
    linear: Linear, attended: Attended, state: Array, gates: Array
) -> tuple[Array, tuple[Array, Array]]:
    """Appendix A.1.2: the context of s_{i-1}, then the next state; emits the context and s_i."""
    query = linear("query", state)[:, None]
    context = attended.annotations.attend(query, attended.score)[:, 0]
    new = gru_update(linear, gates + linear("context", context), state)
    return new, (context, new)


class RNNSearch(nnx.Module):
    """The model of `RNNSearchConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = True

    def __init__(
        self,
        config: RNNSearchConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        rngs: nnx.Rngs,
    ):
        n, dtype = config.width, jnp.dtype(config.dtype)
        m = config.embedding or n
        maxout = config.maxout or max(n // 2, 1)
        init = nnx.initializers.normal(0.01)
        self.dropout, self.current = config.dropout, config.readout_state == "current"

        def linear(inputs: int, outputs: int, bias: bool = False) -> nnx.Linear:
            return nnx.Linear(
                inputs, outputs, use_bias=bias, kernel_init=init, dtype=dtype, rngs=rngs
            )

        def embed(vocabulary: int) -> nnx.Embed:
            return nnx.Embed(vocabulary, m, embedding_init=init, dtype=dtype, rngs=rngs)

        self.source_embed, self.target_embed = embed(source_vocabulary), embed(target_vocabulary)
        forward, backward = (GRU(m, n, init=init, dtype=dtype, rngs=rngs) for _ in range(2))
        self.encoder = Bidirectional(forward, backward)
        self.first = linear(n, n, bias=True)
        self.attention = AdditiveAttention(n, 2 * n, config.alignment or n, dtype=dtype, rngs=rngs)
        self.input = linear(m, 3 * n, bias=True)
        self.gates = nnx.Param(orthogonal_blocks(rngs, n, 2))
        self.candidate = nnx.Param(orthogonal_blocks(rngs, n, 1))
        self.context = nnx.Param(init(rngs.params(), (2 * n, 3 * n), jnp.float32))
        self.readout_state = linear(n, 2 * maxout, bias=True)
        self.readout_word = linear(m, 2 * maxout)
        self.readout_context = linear(2 * n, 2 * maxout)
        self.output = linear(maxout, target_vocabulary, bias=True)

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        """Annotations of every source position, and s_0 = tanh(W_s of the backward h_1)."""
        words = Words(self.source_embed, source.T, noise and noise.at(ENCODER), self.dropout)
        start, real = self.encoder.start(source.shape[0]), (source != PAD).T
        (_, first), states = self.encoder.read(words.through, start, real)
        annotations = self.attention.annotate(states.swapaxes(0, 1), source_lengths(source))
        return Memory(annotations, jnp.tanh(self.first(first)))

    def decode(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise = noise and noise.at(DECODER)
        words = Words(self.target_embed, target_in.T, noise, self.dropout)
        before, contexts, after = self._run(memory, words)
        readout = self._readout(after if self.current else before, words, contexts)
        readout = drop(readout, self.dropout, noise, 1)
        return self.output(readout.swapaxes(0, 1)).astype(jnp.float32)

    def weights(self, memory: Memory, target_in: Int[Array, "B T"]) -> Float[Array, "B 1 1 T S"]:
        """Attention from each target position to the source."""
        before, _, _ = self._run(memory, Words(self.target_embed, target_in.T))
        query = self.attention.query(before.swapaxes(0, 1))
        return memory.annotations.weights(query, self.attention.score())

    def start(self, memory: Memory, capacity: int) -> State:
        """s_0; any `capacity` fits, as no step needs more room."""
        return State(memory, memory.first)

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One step of the decoder."""
        word = Words(self.target_embed, token)
        attended = Attended(state.memory.annotations, self.attention.score())
        linear = product(self._loop_weights())
        new, (context, _) = _decoder_cell(linear, attended, state.carry, word.through(self.input))
        readout = self._readout(new if self.current else state.carry, word, context)
        return State(state.memory, new), self.output(readout).astype(jnp.float32)

    def _run(self, memory: Memory, words: Words) -> tuple[Array, Array, Array]:
        """s_{i-1}, c_i and s_i of every step, time-major."""
        attended = Attended(memory.annotations, self.attention.score())
        gates = words.through(self.input)
        _, (contexts, after) = recur(
            _decoder_cell, self._loop_weights(), attended, memory.first, gates, False
        )
        before = jnp.concatenate([memory.first[None], after[:-1]])
        return before, contexts, after

    def _readout(self, state: Array, words: Words, context: Array) -> Any:
        """The maxout layer: t_i, the greater of each pair of units of the deep output."""
        units = self.readout_state(state) + self.readout_context(context)
        units += words.through(self.readout_word)
        return units.reshape(*units.shape[:-1], -1, 2).max(-1)

    def _loop_weights(self) -> Weights:
        return {
            "query": self.attention.query.kernel[...],
            "context": self.context[...],
            "gates": self.gates[...],
            "candidate": self.candidate[...],
        }
