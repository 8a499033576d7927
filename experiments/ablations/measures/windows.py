"""How well a language model reads texts longer than those of training (Press et al. 2021)."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.protocol import BOS, EOS
from attn.nn.transformer import LayerConfig
from attn.typing import Array, Float, Int, PyTree
from experiments.ablations.measures.lane import Lane
from experiments.ablations.statistics import Sample
from experiments.errors import InputError

_TOKENS_AT_ONCE = 16_384


def extrapolation(
    lane: Lane, lengths: Sequence[int] = (64, 128, 256), *, tokens: int = 60_000
) -> dict[str, Sample]:
    """NLL a token of the test text, read in windows of each length.

    - "nll @ L": windows stand side by side, each read from its beginning;
    - "sliding nll @ L": windows move by L / 2, and only their second halves count, so that every
      token has at least L / 2 before it.

    An item is a stretch of `max(lengths)` tokens, the same for all lengths and protocols. The first
    `max(lengths)` / 2 tokens of the text are read, but not scored. No `EOS` is.

    Args:
        lane: a language model of a task of running text.
        lengths: even, and divisors of the largest.
        tokens: of the text at most.

    Raises:
        InputError: the task has no running text, too little of it, or a length that cannot be.
    """
    lead, text = max(lengths) // 2, _text(lane)[:tokens]
    _check(lane, lengths, len(text))
    stretches = (len(text) - lead) // max(lengths)
    scored = lead + np.arange(stretches * max(lengths))
    found = {}
    for length in lengths:
        windows = text[scored].reshape(-1, length)
        found[f"nll @ {length}"] = _sample(_read(lane, windows), stretches)
        new = scored.reshape(-1, length // 2)
        windows = text[np.concatenate([new - length // 2, new], axis=1)]
        halves = _read(lane, windows)[:, length // 2 :]
        found[f"sliding nll @ {length}"] = _sample(halves, stretches)
    return found


def _text(lane: Lane) -> np.ndarray:
    """The token ids of the test split, chunk after chunk."""
    if lane.task.kind != "text":
        raise InputError(f"task is {lane.task.name}; expected one of running text")
    ids = lane.task.splits["test"].target.tokens
    return ids[(ids != BOS) & (ids != EOS)]


def _check(lane: Lane, lengths: Sequence[int], tokens: int) -> None:
    longest = max(lengths)
    for length in lengths:
        if length < 2 or length % 2 or longest % length:
            raise InputError(f"lengths holds {length}; expected even divisors of {longest}")
    if tokens < longest + longest // 2:
        raise InputError(
            f"the test text has {tokens} tokens; expected at least {longest + longest // 2}"
        )
    model = lane.config.model
    # A window is read behind `BOS` and the `EOS` of the empty source.
    if not isinstance(model, LayerConfig) or model.positions != "learned":
        return
    if longest + 1 > model.max_length:
        raise InputError(
            f"lengths holds {longest}; expected at most {model.max_length - 1}, for the model has "
            f"learned {model.max_length} positions (max_length)"
        )


def _read(lane: Lane, windows: np.ndarray) -> np.ndarray:
    """-log P of each token, float64 [windows, L]; parts of one size, the last filled up."""
    rows = max(1, min(len(windows), _TOKENS_AT_ONCE // windows.shape[1]))
    filled = np.resize(windows, (-(-len(windows) // rows) * rows, windows.shape[1]))
    parts = [
        _nll(lane.graphdef, lane.params, part)
        for part in filled.reshape(-1, rows, windows.shape[1])
    ]
    return np.concatenate(jax.device_get(parts)).astype(np.float64)[: len(windows)]


def _sample(nll: np.ndarray, stretches: int) -> Sample:
    nll = nll.reshape(stretches, -1)
    return Sample(np.stack([nll.sum(axis=1), np.full(stretches, nll.shape[1])], axis=1), "nll")


@partial(jax.jit, static_argnums=0)
def _nll(graphdef: nnx.GraphDef, params: PyTree, windows: Int[Array, "B L"]) -> Float[Array, "B L"]:
    """-log P of each token, all before it in its window given."""
    model = nnx.merge(graphdef, params, copy=True)
    first = jnp.full((len(windows), 1), BOS, jnp.int32)
    target_in = jnp.concatenate([first, windows[:, :-1]], axis=1)
    logits = model.decode(model.encode(jnp.full_like(first, EOS)), target_in)
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(log_p, windows[..., None], axis=-1)[..., 0]
