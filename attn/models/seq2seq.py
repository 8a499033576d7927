"""Two LSTMs and a fixed vector between them (Sutskever et al. 2014): no attention."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.errors import Unsupported
from attn.models.protocol import PAD, State
from attn.models.source import reversal
from attn.nn.noise import Noise, drop
from attn.nn.recurrent import LSTM, Carry, lstm_update, product
from attn.nn.words import Words
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


class LSTMStack(nnx.Module):
    """Layers of LSTM over embedded tokens, dropout on the way in and between."""

    def __init__(self, config: Any, vocabulary: int, *, rngs: nnx.Rngs):
        init = uniform(config.init_scale)
        dtype = jnp.dtype(config.dtype)
        self.dropout = config.dropout
        self.embed = nnx.Embed(
            vocabulary, config.width, embedding_init=init, dtype=dtype, rngs=rngs
        )
        self.layers = nnx.List(
            [
                LSTM(config.width, config.width, init=init, dtype=dtype, rngs=rngs)
                for _ in range(config.layers)
            ]
        )

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        carries: tuple[Carry, ...],
        noise: Noise | None,
        extra: Float[Array, "B gates"] | None = None,
        padded: bool = False,
    ) -> tuple[tuple[Carry, ...], Float[Array, "T B n"]]:
        """Reads tokens layer by layer; `extra` joins the first layer's gates.

        Returns the last (cell, hidden) of each layer and the top layer's hidden states. `padded`
        stops the state of each row at its last real token.
        """
        real = (tokens != PAD).T if padded else None
        gates = self.first_gates(tokens.T, noise)
        carry, xs = self.layers[0].run(gates if extra is None else gates + extra, carries[0], real)
        last = [carry]
        for depth in range(1, len(self.layers)):
            xs = drop(xs, self.dropout, noise, depth)
            carry, xs = self.layers[depth](xs, carries[depth], real)
            last.append(carry)
        return tuple(last), xs

    def first_gates(
        self, tokens: Int[Array, "T B"], noise: Noise | None
    ) -> Float[Array, "T B gates"]:
        """What the first layer's gates get from the words."""
        return Words(self.embed, tokens, noise, self.dropout).through(self.layers[0].input)

    def start(self, rows: int) -> tuple[Carry, ...]:
        """Zero states."""
        return tuple(layer.start(rows) for layer in self.layers)


class Seq2Seq(nnx.Module):
    """The model of `Seq2SeqConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = False

    def __init__(
        self, config: Seq2SeqConfig, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ):
        init, dtype = uniform(config.init_scale), jnp.dtype(config.dtype)
        self.reverse, self.dropout = config.reverse, config.dropout
        self.encoder = LSTMStack(config, source_vocabulary, rngs=rngs)
        self.decoder = LSTMStack(config, target_vocabulary, rngs=rngs)
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
        last, _ = self.encoder(source, start, noise and noise.at(ENCODER), padded=True)
        return Summary(last)

    def decode(
        self, memory: Summary, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise = noise and noise.at(DECODER)
        _, hidden = self.decoder(target_in, memory.layers, noise, self._extra(memory))
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
        xs, carries = self.decoder.embed(token), []
        extra = self._extra(state.memory)
        for layer, (cell, hidden) in zip(self.decoder.layers, state.carry, strict=True):
            gates = layer.input(xs) + product(layer.weights())("recurrent", hidden)
            carry = lstm_update(gates if extra is None else gates + extra, cell)
            carries.append(carry)
            xs, extra = carry[1], None
        logits = self.readout(xs).astype(jnp.float32)
        return State(state.memory, tuple(carries)), logits

    def _extra(self, memory: Summary) -> Float[Array, "B gates"] | None:
        """What the source's vector adds to the first layer's gates at every step."""
        return self.context(memory.vector) if self.every_step else None


def uniform(scale: float) -> nnx.initializers.Initializer:
    """Uniform within plus and minus `scale`."""

    def init(key: Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> Array:
        return jax.random.uniform(key, shape, dtype, -scale, scale)

    return init
