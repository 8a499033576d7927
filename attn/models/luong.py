"""Stacked LSTMs with global or local attention and input feeding (Luong et al. 2015)."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.models.protocol import PAD, State
from attn.models.seq2seq import DECODER, ENCODER, lstm_stack, uniform
from attn.models.source import reversal, source_lengths
from attn.nn.attention import Alignment, Annotations, LuongAttention
from attn.nn.noise import Noise, drop
from attn.nn.recurrent import Carry, Linear, Weights, product, recur
from attn.nn.stack import Carries, Layers
from attn.typing import Array, Float, Int


@dataclass(frozen=True)
class LuongConfig:
    """Attention (sections 3.1, 3.2) after the top layer, its output fed back (section 3.3)."""

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
    local: Literal["monotonic", "predictive"] | None = None
    """Attend to all of the source (None), or to a window around place t (local-m) or around a
    predicted place (local-p): of the source as written, however it is read."""
    window: int = 10
    """Places D on each side of it."""
    sigma: float | None = None
    """Of the Gaussian by which local-p weighs the window (None: D / 2)."""
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
    """The encoder's top states, in the order of the source's words, and its last, by layer."""

    annotations: Annotations
    layers: Carries


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Attended:
    """What is the same at every step of the decoder's loop."""

    alignment: Alignment
    layers: Layers
    feeding: bool = field(metadata={"static": True})


def _decoder_cell(
    linear: Linear, attended: Attended, carry: Carry, x: Any
) -> tuple[Carry, tuple[Array, Array]]:
    """Section 3: the layers, the context of the top one, the attentional state, fed back (3.3).

    Emits the top layer's hidden state and the attentional state.
    """
    (gates, time), (layers, fed) = x, carry
    if attended.feeding:
        gates = gates + linear("feed", fed)
    layers = attended.layers.update(linear, layers, gates, time)
    top = attended.layers.hidden(layers)
    places = jnp.broadcast_to(time, len(top))[:, None]
    state = _attentional(linear, attended.alignment, top[:, None], places)[:, 0]
    return (layers, state), (top, state)


def _attentional(
    linear: Linear, alignment: Alignment, top: Float[Array, "B T n"], time: Int[Array, "B T"]
) -> Float[Array, "B T n"]:
    """Equation 5: tanh(W_c [c; h])."""
    context = alignment.context(linear, top, time)
    return jnp.tanh(linear("combine", jnp.concatenate([context, top], axis=-1)))


class Luong(nnx.Module):
    """The model of `LuongConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = True

    def __init__(
        self, config: LuongConfig, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ):
        n, dtype, init = config.width, jnp.dtype(config.dtype), uniform(config.init_scale)
        self.config = config
        self.encoder = lstm_stack(config, source_vocabulary, rngs)
        self.decoder = lstm_stack(config, target_vocabulary, rngs)
        self.attention = LuongAttention(
            n,
            config.score,
            max_source=config.max_source,
            local=config.local,
            window=config.window,
            sigma=config.sigma,
            init=init,
            dtype=dtype,
            rngs=rngs,
        )
        if config.input_feeding:
            self.feed = nnx.Param(init(rngs.params(), (n, 4 * n), jnp.float32))
        self.combine = nnx.Linear(
            2 * n, n, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
        )
        self.readout = nnx.Linear(n, target_vocabulary, kernel_init=init, dtype=dtype, rngs=rngs)

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        """The top layer's states and every layer's last."""
        start, read = self.encoder.start(source.shape[0]), source
        if self.config.reverse:
            order = reversal(source)
            read = jnp.take_along_axis(source, order, axis=1)
        last, states = self.encoder(read, start, noise and noise.at(ENCODER), read != PAD)
        states = states.swapaxes(0, 1)
        if self.config.reverse:
            states = jnp.take_along_axis(states, order[..., None], axis=1)
        return Memory(self.attention.annotate(states, source_lengths(source)), last)

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
        return self.attention.shown(memory.annotations, top.swapaxes(0, 1))

    def start(self, memory: Memory, capacity: int) -> State:
        """The encoder's last states; any `capacity` fits, as no step needs more room."""
        rows = len(memory.annotations.lengths)
        return State(memory, (*self._first(memory), jnp.zeros(rows, jnp.int32)))

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One step of the decoder."""
        memory, (layers, fed, time) = state.memory, state.carry
        linear, attended = product(self._loop_weights(memory)), self._attended(memory, None)
        x = self.decoder.gates(token), time
        (layers, fed), (_, read) = _decoder_cell(linear, attended, (layers, fed), x)
        return State(memory, (layers, fed, time + 1)), self._read(read)

    def _run(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None
    ) -> tuple[Float[Array, "T B n"], Float[Array, "T B n"]]:
        """The top layer's hidden state and the attentional state of every step."""
        attended, weights = self._attended(memory, noise), self._loop_weights(memory)
        time = jnp.arange(target_in.shape[1], dtype=jnp.int32)
        if not self.config.input_feeding:
            _, top = self.decoder(target_in, memory.layers, noise)
            places = jnp.broadcast_to(time, target_in.shape)
            linear, states = product(weights), top.swapaxes(0, 1)
            return top, _attentional(linear, attended.alignment, states, places).swapaxes(0, 1)
        gates = self.decoder.project(0, target_in, noise)(self.decoder.layers[0].input)
        return recur(_decoder_cell, weights, attended, self._first(memory), (gates, time))[1]

    def _first(self, memory: Memory) -> tuple[Carries, Array]:
        """The layers' states and the attentional state before the first step."""
        return memory.layers, jnp.zeros_like(memory.layers[-1][1])

    def _read(self, states: Float[Array, "... n"]) -> Float[Array, "... V"]:
        return self.readout(states).astype(jnp.float32)

    def _attended(self, memory: Memory, noise: Noise | None) -> Attended:
        alignment = self.attention.align(memory.annotations)
        return Attended(alignment, self.decoder.loop(noise), self.config.input_feeding)

    def _loop_weights(self, memory: Memory) -> Weights:
        weights = self.decoder.weights() | self.attention.weights(memory.annotations)
        weights["combine"] = self.combine.kernel[...]
        if self.config.input_feeding:
            weights["feed"] = self.feed[...]
        return weights
