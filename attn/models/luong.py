"""Stacked LSTMs with global attention and input feeding (Luong et al. 2015)."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.models.protocol import State
from attn.models.seq2seq import DECODER, ENCODER, LSTMStack, uniform
from attn.models.source import reversal, source_lengths
from attn.nn.attention import Annotations, LuongAttention
from attn.nn.noise import Noise, drop
from attn.nn.recurrent import Carry, Linear, Weights, lstm_update, product, recur
from attn.scores import Additive, Score
from attn.typing import Array, ArrayLike, Float, Int


@dataclass(frozen=True)
class LuongConfig:
    """Global attention (section 3.1) after the top layer, its output fed back (section 3.3)."""

    name: ClassVar[str] = "luong"

    score: Literal["dot", "general", "concat", "location"] = "general"
    width: int = 128
    """Units of every layer, and of the embeddings."""
    layers: int = 1
    reverse: bool = True
    """Read the source backwards, as all but the weakest system of the paper's table 1."""
    input_feeding: bool = True
    """Whether each step reads the attentional state of the step before."""
    max_source: int = 64
    """Most source tokens that the location score can weigh."""
    dropout: float = 0.0
    """On embeddings, between layers and on the attentional state that is read out."""
    init_scale: float = 0.1
    """Parameters start uniform within plus and minus this (section 4.1)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs) -> "Luong":
        """The model, freshly initialised."""
        return Luong(self, source_vocabulary, target_vocabulary, rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """The encoder's top states, in the order they were read, and its last states by layer."""

    annotations: Annotations
    layers: tuple[Carry, ...]
    order: ArrayLike
    """[B, S], int32: the source position read at each place."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Attended:
    """What is the same at every step of the decoder's loop."""

    annotations: Annotations
    score: Score
    biases: tuple[ArrayLike, ...]
    """[4n] each: of the gates of the layers above the first."""
    noise: Noise | None
    dropout: float = field(metadata={"static": True})


def _layers_step(
    linear: Linear, attended: Attended, layers: tuple[Carry, ...], gates: Array, step: Array
) -> tuple[Carry, ...]:
    """One step of every LSTM layer; `gates` are the first layer's, without its own state."""
    noise = attended.noise and attended.noise.at(step)
    moved: list[Carry] = []
    for depth, (cell, hidden) in enumerate(layers):
        if depth > 0:
            below = moved[-1][1]
            below = below if noise is None else noise.at(depth).drop(below, attended.dropout)
            gates = linear(f"input{depth}", below) + attended.biases[depth - 1]
        moved.append(lstm_update(gates + linear(f"recurrent{depth}", hidden), cell))
    return tuple(moved)


def _decoder_cell(
    linear: Linear, attended: Attended, carry: Carry, x: Any
) -> tuple[Carry, tuple[Array, Array]]:
    """Sections 3 and 3.3: the layers, the context of the top one, the attentional state.

    Emits the top layer's hidden state and the attentional state.
    """
    (gates, step), (layers, fed) = x, carry
    layers = _layers_step(linear, attended, layers, gates + linear("feed", fed), step)
    top = layers[-1][1]
    state = _attentional(linear, attended, top[:, None])[:, 0]
    return (layers, state), (top, state)


def _attentional(
    linear: Linear, attended: Attended, top: Float[Array, "B T n"]
) -> Float[Array, "B T n"]:
    """Equation 5: tanh(W_c [c; h])."""
    context = attended.annotations.attend(_query(linear, attended, top), attended.score)
    return jnp.tanh(linear("combine", jnp.concatenate([context, top], axis=-1)))


def _query(linear: Linear, attended: Attended, top: Float[Array, "B T n"]) -> Array:
    """A concat score projects the target state; the others take it as it is."""
    return linear("query", top) if isinstance(attended.score, Additive) else top


class Luong(nnx.Module):
    """The model of `LuongConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = True

    def __init__(
        self, config: LuongConfig, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ):
        n, dtype, init = config.width, jnp.dtype(config.dtype), uniform(config.init_scale)
        self.config = config
        self.encoder = LSTMStack(config, source_vocabulary, rngs=rngs)
        self.decoder = LSTMStack(config, target_vocabulary, rngs=rngs)
        self.attention = LuongAttention(
            n, config.score, max_source=config.max_source, init=init, dtype=dtype, rngs=rngs
        )
        if config.input_feeding:
            self.feed = nnx.Param(init(rngs.params(), (n, 4 * n), jnp.float32))
        self.combine = nnx.Linear(
            2 * n, n, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
        )
        self.readout = nnx.Linear(n, target_vocabulary, kernel_init=init, dtype=dtype, rngs=rngs)

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        """The top layer's states and every layer's last."""
        order = jnp.broadcast_to(jnp.arange(source.shape[1], dtype=jnp.int32), source.shape)
        if self.config.reverse:
            order = reversal(source)
        read = jnp.take_along_axis(source, order, axis=1)
        start = self.encoder.start(source.shape[0])
        last, states = self.encoder(read, start, noise and noise.at(ENCODER), padded=True)
        annotations = self.attention.annotate(states.swapaxes(0, 1), source_lengths(source))
        return Memory(annotations, last, order)

    def decode(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise = noise and noise.at(DECODER)
        _, states = self._run(memory, target_in, noise)
        return self._read(
            drop(states, self.config.dropout, noise, self.config.layers).swapaxes(0, 1)
        )

    def weights(self, memory: Memory, target_in: Int[Array, "B T"]) -> Float[Array, "B 1 1 T S"]:
        """Attention from each target position to the source, in the source's own order."""
        top, _ = self._run(memory, target_in, None)
        attended = self._attended(memory, None)
        query = _query(product(self._loop_weights()), attended, top.swapaxes(0, 1))
        weights = memory.annotations.weights(query, attended.score)
        return jnp.take_along_axis(weights, memory.order[:, None, None, None], axis=-1)

    def start(self, memory: Memory, capacity: int) -> State:
        """The encoder's last states; any `capacity` fits, as no step needs more room."""
        return State(memory, (memory.layers, jnp.zeros_like(memory.layers[-1][1])))

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One step of the decoder."""
        linear = product(self._loop_weights())
        attended = self._attended(state.memory, None)
        gates = self.decoder.layers[0].input(self.decoder.embed(token))
        step = jnp.zeros((), jnp.int32)
        if self.config.input_feeding:
            carry, (_, read) = _decoder_cell(linear, attended, state.carry, (gates, step))
        else:
            layers = _layers_step(linear, attended, state.carry[0], gates, step)
            read = _attentional(linear, attended, layers[-1][1][:, None])[:, 0]
            carry = (layers, read)
        return State(state.memory, carry), self._read(read)

    def _run(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None
    ) -> tuple[Float[Array, "T B n"], Float[Array, "T B n"]]:
        """The top layer's hidden state and the attentional state of every step."""
        attended = self._attended(memory, noise)
        weights = self._loop_weights()
        if not self.config.input_feeding:
            _, top = self.decoder(target_in, memory.layers, noise)
            states = _attentional(product(weights), attended, top.swapaxes(0, 1))
            return top, states.swapaxes(0, 1)
        steps = jnp.arange(target_in.shape[1], dtype=jnp.int32)
        xs = (self.decoder.first_gates(target_in.T, noise), steps)
        carry = (memory.layers, jnp.zeros_like(memory.layers[-1][1]))
        return recur(_decoder_cell, weights, attended, carry, xs, False)[1]

    def _read(self, states: Float[Array, "... n"]) -> Float[Array, "... V"]:
        return self.readout(states).astype(jnp.float32)

    def _attended(self, memory: Memory, noise: Noise | None) -> Attended:
        biases = tuple(layer.bias() for layer in self.decoder.layers[1:])
        score, dropout = self.attention.score(), self.config.dropout
        return Attended(memory.annotations, score, biases, noise, dropout)

    def _loop_weights(self) -> Weights:
        weights = {"combine": self.combine.kernel[...]}
        for depth, layer in enumerate(self.decoder.layers):
            weights[f"recurrent{depth}"] = layer.recurrent[...]
            if depth > 0:
                weights[f"input{depth}"] = layer.input.kernel[...]
        if self.config.input_feeding:
            weights["feed"] = self.feed[...]
        if self.config.score == "concat":
            weights["query"] = self.attention.query[...]
        return weights
