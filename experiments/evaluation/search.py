"""Greedy and beam search: one implementation for every model that answers the protocol.

The beam is the papers' (Sutskever et al. 2014, section 3.2; Bahdanau et al. 2015): of all one-token
extensions of the hypotheses still open, the likeliest survive; one that ends in `EOS` is complete,
keeps its place for good, and the beam that goes on is narrower by one. With one place this is
greedy search. Complete hypotheses are ranked by the length-normalised score of Wu et al. 2016
(GNMT), equation 14: log P(Y | X) / ((5 + |Y|) / 6) ** alpha, where |Y| counts `EOS`.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from attn.models.protocol import BOS, EOS, PAD, State
from attn.typing import Array, ArrayLike, Bool, Float, Int, PyTree
from experiments.config import SearchConfig


@runtime_checkable
class Stepwise(Protocol):
    """What a search asks of a model: a part of `attn.models.protocol.Seq2Seq`, with its meaning."""

    def encode(self, source: Int[Array, "B S"]) -> Any: ...

    def start(self, memory: Any, capacity: int) -> State: ...

    def step(self, state: State, token: Int[Array, "B"]) -> tuple[State, Float[Array, "B V"]]: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hypotheses:
    """The best outputs found for each row, best first; on the device, or NumPy's.

    A place that no output could fill holds `PAD` alone, length 0 and score -inf: where there are
    fewer outputs than places, and in the rows of a source without tokens.
    """

    tokens: ArrayLike
    """[B, K, L], int32: no `BOS`; `EOS` at the end, `PAD` after it."""
    lengths: ArrayLike
    """[B, K], int32: tokens, `EOS` among them."""
    scores: ArrayLike
    """[B, K], float32: length-normalised log-probabilities."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Beam:
    """What one step of the search hands to the next; `log_p` is -inf where a place is empty."""

    time: Int[Array, ""]
    state: State
    tokens: Int[Array, "B K L"]
    lengths: Int[Array, "B K"]
    log_p: Float[Array, "B K"]
    complete: Bool[Array, "B K"]


def search(
    model: Stepwise,
    source: Int[Array, "B S"],
    *,
    beam: int,
    length_penalty: float,
    max_length: int,
    n_best: int | None = None,
) -> Hypotheses:
    """Finds likely outputs for each source. Pure, and meant to run under `jax.jit`.

    The loop ends as soon as no open hypothesis of any row could still enter the `n_best`. What is
    returned is what a search to the very end would return.

    Args:
        model: any model of the protocol.
        source: token ids; a row of `PAD` alone is a filler and costs no step.
        beam: hypotheses kept; 1 is greedy. May exceed the vocabulary.
        length_penalty: alpha; 0 ranks by log-probability.
        max_length: tokens at most in an output, `EOS` not counted: an output that long must end.
        n_best: outputs wanted of each row, at most `beam` (None: `beam`). Fewer stop earlier.

    Returns:
        `n_best` hypotheses a row, of at most L = max_length + 1 tokens.

    Raises:
        ValueError: a count below 1, or `n_best` above `beam`.
    """
    if n_best is None:
        n_best = beam
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}, expected at least 1")
    if not 1 <= n_best <= beam:
        raise ValueError(f"n_best is {n_best}, expected 1 to beam = {beam}")
    capacity = max_length + 1

    def unsettled(now: _Beam) -> Bool[Array, ""]:
        found = lax.top_k(_scores(now, length_penalty), n_best)[0][:, -1]
        hope = _attainable(now, length_penalty, capacity)
        return (now.time < capacity) & jnp.any(hope > found)

    start = _start(model, source, beam, capacity)
    end = lax.while_loop(unsettled, lambda now: _extend(model, now), start)
    return _ranked(end, length_penalty, n_best)


def searched(
    graphdef: nnx.GraphDef,
    params: PyTree,
    source: Int[Array, "B S"],
    config: SearchConfig,
    n_best: int | None = None,
) -> Hypotheses:
    """`search` by a model in two parts, as a run's configuration says."""
    return search(
        nnx.merge(graphdef, params, copy=True),
        source,
        beam=config.beam,
        length_penalty=config.length_penalty,
        max_length=config.max_length,
        n_best=n_best,
    )


def _start(model: Stepwise, source: Int[Array, "B S"], beam: int, capacity: int) -> _Beam:
    """One empty hypothesis a row, none for fillers; everything repeated once per place."""
    state = model.start(model.encode(source), capacity)
    if beam > 1:
        state = jax.tree.map(lambda x: jnp.repeat(x, beam, axis=0), state)
    shape = (source.shape[0], beam)
    first = jnp.arange(beam) == 0
    real = jnp.any(source != PAD, axis=1)
    return _Beam(
        time=jnp.int32(0),
        state=state,
        tokens=jnp.full((*shape, capacity), PAD, jnp.int32),
        lengths=jnp.zeros(shape, jnp.int32),
        log_p=jnp.where(first & real[:, None], 0.0, -jnp.inf).astype(jnp.float32),
        complete=jnp.zeros(shape, bool),
    )


def _extend(model: Stepwise, now: _Beam) -> _Beam:
    """Every open hypothesis grows by one token; the likeliest extensions take the open places."""
    last = now.tokens[:, :, jnp.maximum(now.time - 1, 0)]
    last = jnp.where(now.time == 0, BOS, last)
    state, logits = model.step(now.state, last.reshape(-1))
    value, parent, token = _select(now, _log_probabilities(logits, now))

    complete = value == jnp.inf
    log_p = jnp.where(complete, _inherit(now.log_p, parent), value)
    grown = ~complete & (log_p > -jnp.inf)
    token = jnp.where(grown, token, PAD)
    return _Beam(
        time=now.time + 1,
        state=State(now.state.memory, jax.tree.map(lambda x: _inherit(x, parent), state.carry)),
        tokens=_inherit(now.tokens, parent).at[:, :, now.time].set(token),
        lengths=_inherit(now.lengths, parent) + grown,
        log_p=log_p,
        complete=complete | (token == EOS),
    )


def _log_probabilities(logits: Float[Array, "R V"], now: _Beam) -> Float[Array, "B K V"]:
    """Of the next token, -inf where it may not come: `PAD`, `BOS`, and all but `EOS` at the end."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    token = jnp.arange(logits.shape[-1])
    at_end = now.time == now.tokens.shape[2] - 1
    allowed = (token != PAD) & (token != BOS) & ((token == EOS) | ~at_end)
    return jnp.where(allowed, log_p, -jnp.inf).reshape(*now.log_p.shape, -1)


def _select(
    now: _Beam, log_p: Float[Array, "B K V"]
) -> tuple[Float[Array, "B K"], Int[Array, "B K"], Int[Array, "B K"]]:
    """The extensions to keep: their log-probability, the hypothesis each extends, its new token.

    A complete hypothesis extends to itself alone, before all others: its value is +inf.
    """
    batch, beam, vocabulary = log_p.shape
    # An empty place has no extension, whatever the model says of it: -inf + NaN would be NaN.
    value = jnp.where((now.log_p > -jnp.inf)[..., None], now.log_p[..., None] + log_p, -jnp.inf)
    itself = jnp.where(jnp.arange(vocabulary) == PAD, jnp.inf, -jnp.inf)
    value = jnp.where(now.complete[..., None], itself, value).reshape(batch, -1)
    kept, best = lax.top_k(value, beam)
    return kept, best // vocabulary, best % vocabulary


def _inherit(x: Any, parent: Int[Array, "B K"]) -> Any:
    """Gives each place what belonged to the hypothesis that it extends.

    Of x, [B, K, ...] or [B * K, ...].
    """
    if parent.shape[1] == 1:  # the one place extends itself
        return x
    places = x.reshape(*parent.shape, -1)
    return jnp.take_along_axis(places, parent[..., None], axis=1).reshape(x.shape)


def _normaliser(length: Any, alpha: float) -> Float[Array, "..."]:
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


def _scores(now: _Beam, alpha: float) -> Float[Array, "B K"]:
    """Of the complete hypotheses; -inf for the others."""
    return jnp.where(now.complete, now.log_p / _normaliser(now.lengths, alpha), -jnp.inf)


def _attainable(now: _Beam, alpha: float, capacity: int) -> Float[Array, "B"]:
    """No open hypothesis of a row can end with a score above this.

    Its log-probability can only fall from here, and the normaliser is largest at the longest end
    (at the nearest, where alpha is negative).
    """
    largest = jnp.maximum(_normaliser(now.time + 1, alpha), _normaliser(capacity, alpha))
    return jnp.max(jnp.where(now.complete, -jnp.inf, now.log_p), axis=1) / largest


def _ranked(end: _Beam, alpha: float, n_best: int) -> Hypotheses:
    """The best `n_best` complete hypotheses, empty where there are fewer."""
    scores, order = lax.top_k(_scores(end, alpha), n_best)
    found = jnp.take_along_axis(end.complete, order, axis=1)
    tokens = jnp.take_along_axis(end.tokens, order[..., None], axis=1)
    lengths = jnp.take_along_axis(end.lengths, order, axis=1)
    return Hypotheses(
        tokens=jnp.where(found[..., None], tokens, PAD),
        lengths=jnp.where(found, lengths, 0),
        scores=scores,
    )
