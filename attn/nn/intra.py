"""Long short-term memory-networks (Cheng, Dong, Lapata 2016): attention inside the recurrence."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attn import masks, scores
from attn.functional import attention
from attn.nn.attention import Annotations
from attn.nn.cells import Recurrent, lstm_update
from attn.nn.recurrent import Linear
from attn.typing import Array, ArrayLike, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tape:
    """What an LSTMN carries: a slot for each of its last steps."""

    key: ArrayLike
    """[B, L, A], W_h h_i."""
    value: ArrayLike
    """[B, L, 2n], h_i and c_i side by side."""
    count: ArrayLike
    """[B], int32: slots written so far; the next one goes to `count` modulo L."""
    latest: ArrayLike
    """[B, 2n], h and c of the last step."""
    recalled: ArrayLike
    """[B, n], what the last step recalled of hidden states."""
    source: ArrayLike = None
    """[B, n], what the last step read of a source's hidden states (deep fusion)."""

    def recall(self, query: Float[Array, "B A"], score: scores.Score) -> Float[Array, "B pair"]:
        """Equations 5 and 6: hidden and cell states, mixed over the slots that are written."""
        filled = jnp.minimum(self.count, self.key.shape[1])
        key, value = self.key[:, :, None], self.value[:, :, None]
        mask = masks.Lengths(key=filled)
        return attention(query[:, None, None], key, value, score=score, mask=mask)[:, 0, 0]

    def written(self, key: Float[Array, "B A"], latest: Float[Array, "B pair"]) -> "Tape":
        """With one slot more, in the place of the oldest where none is free."""
        slots = self.key.shape[1]
        here = (jnp.arange(slots) == (self.count % slots)[:, None])[..., None]
        return replace(
            self,
            key=jnp.where(here, key[:, None], self.key),
            value=jnp.where(here, latest[:, None], self.value),
            count=self.count + 1,
            latest=latest,
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Reads:
    """What every step of an LSTMN reads with: scores, and with deep fusion a source."""

    score: scores.Score
    source_score: Any = None
    source: Any = None
    """`Annotations`: keys W_gamma gamma_j; values gamma_j and alpha_j side by side."""


class LSTMN(Recurrent):
    """Section 3.1: an LSTM that recalls by attention what it has remembered at each step.

    With x the input, h and c the tapes of hidden and cell states, and h~, c~ what is recalled,

        a_i = v . tanh(W_h h_i + W_x x_t + W_h~ h~_{t-1})      (4)
        [h~_t; c~_t] = sum_i softmax(a)_i [h_i; c_i]            (5, 6)
        c_t = f * c~_t + i * c^_t,  h_t = o * tanh(c_t)         (8, 9)

    where i, f, o and c^ see [h~_t, x_t] (7). An empty tape recalls zeros; with one slot this is an
    LSTM. The authors' code (cheng6076/SNLI-attention) agrees, but that its tapes begin with a slot
    of zeros and its encoder leaves out W_h~.

    Args:
        inputs: width of an input.
        width: width n of hidden and cell states.
        tape: slots that are kept, the newest; None keeps all.
        attention: width of the hidden layer that scores slots; None is `width`.
        init: initializer of all matrices and of v.
        more: width of what else the loop gets from an input (of a subclass).
        options: as of `Recurrent`.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        tape: int | None = None,
        attention: int | None = None,
        init: Any,
        more: int = 0,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        if tape is not None and tape < 1:
            raise ValueError(f"tape: got {tape}; expected None or at least one slot")
        self.tape, self.units = tape, attention or width
        gates = 4 * width + self.units + more
        super().__init__(inputs, width, gates, init=init, rngs=rngs, **options)

        def matrix(*shape: int) -> nnx.Param:
            return nnx.Param(init(rngs.params(), shape, jnp.float32))

        self.recurrent = matrix(width, 4 * width)
        self.key, self.recall = matrix(width, self.units), matrix(width, self.units)
        self.v = matrix(1, self.units)

    @staticmethod
    def update(linear: Linear, constants: Reads, carry: Tape, gates: Float[Array, "B gates"]):
        n, units = carry.recalled.shape[-1], carry.key.shape[-1]
        query = gates[:, 4 * n : 4 * n + units] + linear("recall", carry.recalled)
        hidden, cell = jnp.split(carry.recall(query, constants.score), 2, axis=-1)
        transferred: Any = 0.0
        source = None
        if constants.source is not None:
            transferred, source = _transfer(linear, constants, carry, gates[:, 4 * n + units :])
        gates = gates[:, : 4 * n] + linear("recurrent", hidden)
        cell, new = lstm_update(gates, cell, transferred)
        written = carry.written(linear("key", new), jnp.concatenate([new, cell], axis=-1))
        return replace(written, recalled=hidden, source=source)

    @staticmethod
    def hidden(carry):
        return jnp.split(carry.latest, 2, axis=-1)[0]

    def weights(self):
        names = ("recurrent", "key", "recall")
        return {name: getattr(self, name)[...] for name in names}

    def constants(self, memory: Any = None) -> Reads:
        """The score of the tape's slots."""
        return Reads(scores.Additive(self.v[...].astype(self.dtype)))

    def start(self, rows: int, capacity: int = 0) -> Tape:
        """An empty tape.

        Args:
            rows: of the batch.
            capacity: slots where the layer keeps all.

        Raises:
            ValueError: the layer keeps all, and there is room for none.
        """
        slots = self.tape or capacity
        if slots < 1:
            raise ValueError(f"capacity: a tape that keeps all slots needs some, got {capacity}")

        def zeros(*shape: int) -> Array:
            return jnp.zeros((rows, *shape), self.dtype)

        pair, none = 2 * self.width, jnp.zeros(rows, jnp.int32)
        tape = zeros(slots, self.units), zeros(slots, pair)
        return Tape(*tape, none, zeros(pair), zeros(self.width))

    def begin(self, latest: Float[Array, "B pair"], capacity: int) -> Tape:
        """A tape with one slot: the last hidden and cell states of another."""
        key = latest[:, : self.width] @ self.key[...].astype(self.dtype)
        return self.start(len(latest), capacity + 1).written(key, latest)


class DeepLSTMN(LSTMN):
    """Section 4, deep fusion: what is read of a source enters the cell through a gate r.

        b_j = u . tanh(W_gamma gamma_j + W_x x_t + W_gamma~ gamma~_{t-1})      (11)
        [gamma~_t; alpha~_t] = sum_j softmax(b)_j [gamma_j; alpha_j]            (12, 13)
        r_t = sigmoid(W_r [gamma~_t, x_t])                                      (14)
        c_t = r * alpha~_t + f * c~_t + i * c^_t                                (15)

    gamma and alpha are the source's tapes of hidden and cell states, both of the layer's own width.
    Args are `LSTMN`'s.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        attention: int | None = None,
        init: Any,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        units = attention or width
        options |= {"attention": attention, "init": init, "dtype": dtype, "rngs": rngs}
        super().__init__(inputs, width, more=units + width, **options)

        def matrix(*shape: int) -> nnx.Param:
            return nnx.Param(init(rngs.params(), shape, jnp.float32))

        self.source_key = nnx.Linear(
            width, units, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
        )
        self.source_query, self.transfer = matrix(width, units), matrix(width, width)
        self.u = matrix(1, units)

    def annotate(self, tapes: Float[Array, "B S pair"], lengths: Int[Array, "B"]) -> Annotations:
        """A source's hidden and cell states side by side, as every step reads them."""
        key = self.source_key(tapes[..., : self.width])
        return Annotations(key[:, :, None], tapes[:, :, None], lengths)

    def weights(self):
        names = ("source_query", "transfer")
        return super().weights() | {name: getattr(self, name)[...] for name in names}

    def constants(self, memory: Annotations | None = None) -> Reads:
        """With the source to read."""
        score = scores.Additive(self.u[...].astype(self.dtype))
        return replace(super().constants(), source_score=score, source=memory)

    def start(self, rows, capacity=0):
        nothing = jnp.zeros((rows, self.width), self.dtype)
        return replace(super().start(rows, capacity), source=nothing)

    def look(
        self, gates: Float[Array, "T B gates"], read: Float[Array, "T B n"], source: Annotations
    ) -> Float[Array, "B 1 1 T S"]:
        """How each step mixes the source, given what each has read of its hidden states."""
        before = jnp.concatenate([jnp.zeros_like(read[:1]), read[:-1]])
        query = gates[..., 4 * self.width + self.units :][..., : self.units]
        query = query + before @ self.source_query[...].astype(before.dtype)
        score = self.constants(source).source_score
        return source.weights(query.swapaxes(0, 1), score)


def _transfer(
    linear: Linear, reads: Reads, carry: Tape, gates: Float[Array, "B gates"]
) -> tuple[Float[Array, "B n"], Float[Array, "B n"]]:
    """r * alpha~ and gamma~ of deep fusion; `gates` is what r and the query get from the input."""
    units = gates.shape[-1] - carry.source.shape[-1]
    query = gates[:, :units] + linear("source_query", carry.source)
    found = reads.source.attend(query[:, None], reads.source_score)[:, 0]
    hidden, cell = jnp.split(found, 2, axis=-1)
    return jax.nn.sigmoid(gates[:, units:] + linear("transfer", hidden)) * cell, hidden
