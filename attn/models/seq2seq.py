"""Two LSTMs and a fixed vector between them (Sutskever et al. 2014): no attention."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.errors import Unsupported
from attn.models.protocol import PAD, State
from attn.models.source import reversal
from attn.nn.cells import LSTM
from attn.nn.noise import Noise, drop
from attn.nn.recurrent import Carry
from attn.nn.stack import Stack
from attn.typing import Array, Float, Int

ENCODER, DECODER = 0, 1


@dataclass(frozen=True)
class Seq2SeqConfig:
    """An LSTM reads the source, another starts from its last state and writes the target."""

    name: ClassVar[str] = "seq2seq"

    width: int = 128
    """Units of every layer, and of the embeddings."""
    layers: int = 1
    reverse: bool = True
    """Read the source backwards (section 3.3 of the paper)."""
    context: Literal["initial", "every_step"] = "initial"
    """Where the source's vector goes: into the decoder's first state only, or also into its input
    at every step (the two baselines without attention of Britz et al. 2017, section 3.5)."""
    dropout: float = 0.0
    """On embeddings and between layers, never along time."""
    init_scale: float = 0.08
    """Parameters start uniform within plus and minus this (section 3.4)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs) -> "Seq2Seq":
        """The model, freshly initialised."""
        return Seq2Seq(self, source_vocabulary, target_vocabulary, rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Summary:
    """All that the decoder learns of the source: the last (cell, hidden) of each layer."""

    layers: tuple[Carry, ...]

    @property
    def vector(self) -> Float[Array, "B n"]:
        """The top layer's last hidden state."""
        return self.layers[-1][1]


def lstm_stack(config: Any, vocabulary: int, rngs: nnx.Rngs) -> Stack:
    """Layers of LSTM as `config` (width, layers, dropout, init_scale, dtype) says."""
    options = {"init": uniform(config.init_scale), "dtype": jnp.dtype(config.dtype), "rngs": rngs}

    def make(inputs: int) -> LSTM:
        return LSTM(inputs, config.width, **options)

    return Stack(make, config.layers, vocabulary, config.width, dropout=config.dropout, **options)


class Seq2Seq(nnx.Module):
    """The model of `Seq2SeqConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = False

    def __init__(
        self, config: Seq2SeqConfig, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ):
        init, dtype = uniform(config.init_scale), jnp.dtype(config.dtype)
        self.reverse, self.dropout = config.reverse, config.dropout
        self.encoder = lstm_stack(config, source_vocabulary, rngs)
        self.decoder = lstm_stack(config, target_vocabulary, rngs)
        self.every_step = config.context == "every_step"
        if self.every_step:
            self.context = nnx.Linear(
                config.width,
                4 * config.width,
                use_bias=False,
                kernel_init=init,
                dtype=dtype,
                rngs=rngs,
            )
        self.readout = nnx.Linear(
            config.width, target_vocabulary, kernel_init=init, dtype=dtype, rngs=rngs
        )

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Summary:
        """The last state of each layer of the encoder."""
        if self.reverse:
            source = jnp.take_along_axis(source, reversal(source), axis=1)
        start = self.encoder.start(source.shape[0])
        last, _ = self.encoder(source, start, noise and noise.at(ENCODER), source != PAD)
        return Summary(last)

    def decode(
        self, memory: Summary, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise = noise and noise.at(DECODER)
        _, hidden = self.decoder(target_in, memory.layers, noise, extra=self._extra(memory))
        hidden = drop(hidden, self.dropout, noise, len(memory.layers))
        return self.readout(hidden.swapaxes(0, 1)).astype(jnp.float32)

    def weights(self, memory: Summary, target_in: Int[Array, "B T"]) -> Float[Array, "B L N T S"]:
        """There are none.

        Raises:
            attn.Unsupported: always.
        """
        raise Unsupported("seq2seq has no attention: its decoder sees the source as one vector")

    def start(self, memory: Summary, capacity: int) -> State:
        """The encoder's last states; any `capacity` fits, as no step needs more room."""
        return State(memory, memory.layers)

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One step of every layer."""
        carry, hidden = self.decoder.step(token, state.carry, self._extra(state.memory))
        return State(state.memory, carry), self.readout(hidden).astype(jnp.float32)

    def _extra(self, memory: Summary) -> Float[Array, "B gates"] | None:
        """What the source's vector adds to the first layer's gates at every step."""
        return self.context(memory.vector) if self.every_step else None


def uniform(scale: float) -> nnx.initializers.Initializer:
    """Uniform within plus and minus `scale`."""

    def init(key: Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> Array:
        return jax.random.uniform(key, shape, dtype, -scale, scale)

    return init
