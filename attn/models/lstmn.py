"""An encoder and a decoder of LSTMNs, fused shallowly or deeply (Cheng et al. 2016, section 4)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from attn.models.protocol import PAD, State
from attn.models.seq2seq import DECODER, ENCODER, uniform
from attn.models.source import source_lengths
from attn.nn.attention import AdditiveAttention, Annotations
from attn.nn.intra import LSTMN, DeepLSTMN, Tape
from attn.nn.noise import Noise, drop
from attn.nn.recalls import recalls
from attn.nn.stack import Carries, Stack
from attn.typing import Array, ArrayLike, Float, Int


@dataclass(frozen=True)
class LSTMNConfig:
    """LSTMNs on both sides; the decoder looks at the source as `fusion` says."""

    name: ClassVar[str] = "lstmn"

    fusion: Literal["shallow", "deep"] = "shallow"
    """Shallow: the decoder starts from the encoder's last states, and additive attention from its
    states to the encoder's joins them on the way to the output. Deep: each layer reads the tapes of
    the encoder's layer at its height, and a gate lets them into its cell."""
    width: int = 128
    """Units of every layer, of the embeddings and of the layers that score."""
    layers: int = 1
    tape: int | None = None
    """Steps that each layer keeps; None is all."""
    dropout: float = 0.0
    """On embeddings, between layers and on what is read out, never along time."""
    init_scale: float = 0.1
    """Parameters start uniform within plus and minus this."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""

    def build(
        self, source_vocabulary: int, target_vocabulary: int, rngs: nnx.Rngs
    ) -> "LSTMNSeq2Seq":
        """The model, freshly initialised."""
        return LSTMNSeq2Seq(self, source_vocabulary, target_vocabulary, rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """A source as the decoder looks at it, and where the decoder starts from."""

    sources: tuple[Annotations, ...]
    """One (shallow), or one for each layer (deep)."""
    last: tuple[ArrayLike, ...]
    """[B, 2n] each: hidden and cell states that each layer starts from; none in deep fusion."""


class LSTMNSeq2Seq(nnx.Module):
    """The model of `LSTMNConfig`; answers `attn.models.protocol.Seq2Seq`."""

    attends: ClassVar[bool] = True

    def __init__(
        self,
        config: LSTMNConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        rngs: nnx.Rngs,
    ):
        n, self.dropout, self.deep = config.width, config.dropout, config.fusion == "deep"
        dtype, init = jnp.dtype(config.dtype), uniform(config.init_scale)
        options: dict[str, Any] = {"init": init, "dtype": dtype, "rngs": rngs}

        def stack(kind: type[LSTMN], vocabulary: int) -> Stack:
            def make(inputs: int) -> LSTMN:
                return kind(inputs, n, tape=config.tape, **options)

            return Stack(make, config.layers, vocabulary, n, dropout=config.dropout, **options)

        self.encoder = stack(LSTMN, source_vocabulary)
        self.decoder = stack(DeepLSTMN if self.deep else LSTMN, target_vocabulary)
        if not self.deep:
            self.attention = AdditiveAttention(n, n, n, init=init, dtype=dtype, rngs=rngs)
            self.combine = nnx.Linear(
                2 * n, n, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
            )
        self.readout = nnx.Linear(n, target_vocabulary, kernel_init=init, dtype=dtype, rngs=rngs)

    def encode(self, source: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        """The tapes of the encoder's layers, or the states of the top one, to be looked at."""
        noise, lengths, real = noise and noise.at(ENCODER), source_lengths(source), source != PAD
        start, tapes, last, xs = self.encoder.start(*source.shape), [], [], source
        for depth, layer in enumerate(self.encoder.layers):
            gates = self.encoder.project(depth, xs, noise)(layer.input)
            carry, pairs = layer.run(gates, start[depth], real.T, emit=_latest)
            xs = pairs[..., : layer.width]
            tapes.append(pairs.swapaxes(0, 1))
            last.append(carry.latest)
        if not self.deep:
            return Memory((self.attention.annotate(xs.swapaxes(0, 1), lengths),), tuple(last))
        pairs = zip(self.decoder.layers, tapes, strict=True)
        return Memory(tuple(layer.annotate(tape, lengths) for layer, tape in pairs), ())

    def decode(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None = None
    ) -> Float[Array, "B T V"]:
        """Logits of the token after each of `target_in`."""
        noise = noise and noise.at(DECODER)
        states = self._read(memory, self._run(memory, target_in, noise)[0].swapaxes(0, 1))
        states = drop(states.swapaxes(0, 1), self.dropout, noise, len(self.decoder.layers))
        return self.readout(states.swapaxes(0, 1)).astype(jnp.float32)

    def weights(self, memory: Memory, target_in: Int[Array, "B T"]) -> Float[Array, "B L 1 T S"]:
        """Attention from each target position to the source: of each layer in deep fusion."""
        top, looks = self._run(memory, target_in, None)
        if self.deep:
            return jnp.concatenate(looks, axis=1)
        query = self.attention.query(top.swapaxes(0, 1))
        return memory.sources[0].weights(query, self.attention.score())

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L 1 _ _"]]:
        """How every layer recalls: "encoder" (source to source), "decoder" (target to target; what
        is left goes to the state that shallow fusion starts from); and "cross", `weights`."""
        memory, start = self.encode(source), self.encoder.start(*source.shape)
        return {
            "encoder": recalls(self.encoder, source, start, source != PAD),
            "decoder": recalls(
                self.decoder,
                target_in,
                self._first(memory, target_in.shape[1]),
                target_in != PAD,
                memory.sources if self.deep else None,
            ),
            "cross": self.weights(memory, target_in),
        }

    def start(self, memory: Memory, capacity: int) -> State:
        """Tapes with room for `capacity` steps."""
        return State(memory, self._first(memory, capacity))

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]:
        """One step of every layer."""
        sources = state.memory.sources if self.deep else None
        carry, hidden = self.decoder.step(token, state.carry, memories=sources)
        states = self._read(state.memory, hidden[:, None])[:, 0]
        return State(state.memory, carry), self.readout(states).astype(jnp.float32)

    def _first(self, memory: Memory, capacity: int) -> Carries:
        if self.deep:
            return self.decoder.start(len(memory.sources[0].lengths), capacity)
        pairs = zip(self.decoder.layers, memory.last, strict=True)
        return tuple(layer.begin(latest, capacity) for layer, latest in pairs)

    def _run(
        self, memory: Memory, target_in: Int[Array, "B T"], noise: Noise | None
    ) -> tuple[Float[Array, "T B n"], list[Array]]:
        """The top layer's hidden states, and how each layer looked at the source in deep fusion."""
        start, looks, xs = self._first(memory, target_in.shape[1]), [], target_in
        for depth, layer in enumerate(self.decoder.layers):
            gates = self.decoder.project(depth, xs, noise)(layer.input)
            if not self.deep:
                _, xs = layer.run(gates, start[depth])
                continue
            source = memory.sources[depth]
            _, (pairs, read) = layer.run(gates, start[depth], memory=source, emit=_latest_and_read)
            xs = pairs[..., : layer.width]
            looks.append(layer.look(gates, read, source))
        return xs, looks

    def _read(self, memory: Memory, states: Float[Array, "B T n"]) -> Float[Array, "B T n"]:
        """What is read out: in shallow fusion tanh(W_c [c; h]), c being the source's context."""
        if self.deep:
            return states
        score = self.attention.score()
        context = memory.sources[0].attend(self.attention.query(states), score)
        return jnp.tanh(self.combine(jnp.concatenate([context, states], axis=-1)))


def _latest(tape: Tape) -> Any:
    return tape.latest


def _latest_and_read(tape: Tape) -> Any:
    return tape.latest, tape.source
