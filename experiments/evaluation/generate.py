"""A prompt in, text out, piece by piece: drawn token by token, or the best that a search finds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.protocol import BOS, EOS, PAD, State
from attn.typing import Array, Int, PyTree
from experiments.data.tokenizers import UNK, Tokenizer
from experiments.errors import InputError
from experiments.evaluation.continuation import continued
from experiments.evaluation.sampling import Sampling
from experiments.evaluation.search import Hypotheses, search
from experiments.tasks.task import Task

_WIDTH = 16
"""Prompts are padded to a multiple of this, so that few lengths have to be compiled."""
_UNFINISHED = "\ufffd"
"""What the bytes of a character decode to while some of them are still to come."""


class Generator:
    """Writes with one model; what was compiled is kept between calls.

    Where the task is text a prompt is the beginning of what is written; elsewhere it is the source.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        params: PyTree,
        task: Task,
        max_tokens: int,
        sampling: Sampling | None = None,
    ):
        """Compiles nothing yet.

        Args:
            graphdef: of a model, by `nnx.split`; on a text task an `attn.models.one_sequence`.
            params: its parameters.
            task: its kind and its tokenizers are used.
            max_tokens: at most so many are written; `EOS` ends a text earlier.
            sampling: how tokens are drawn (None: from the model's own distribution).

        Raises:
            InputError: `max_tokens` is below 1.
        """
        if max_tokens < 1:
            raise InputError(f"max_tokens is {max_tokens}; expected at least 1")
        self._task, self._text = task, task.kind == "text"
        self._max_tokens = max_tokens
        self._params = jax.device_put(params)
        self._begin = jax.jit(
            partial(_begin, graphdef, self._text, max_tokens), static_argnames="rows"
        )
        self._step = jax.jit(
            partial(_step, graphdef, self._text, sampling or Sampling()), donate_argnames="state"
        )
        self._search = jax.jit(
            partial(_search, graphdef, self._text, max_tokens),
            static_argnames=("beam", "length_penalty", "n_best"),
        )

    def read(self, prompt: str) -> list[int]:
        """Token ids of a prompt, without `BOS` and `EOS`.

        Raises:
            InputError: it has no character that the vocabulary knows; of a text it may be empty.
        """
        if not self._text:
            return self._task.read(prompt)
        ids = self._task.target.encode(prompt)
        labels = zip(ids, self._task.target.tokens(ids), strict=True)
        if prompt.strip() and not any(i != UNK and label.strip(" ▁") for i, label in labels):
            raise InputError(f"the prompt {prompt!r} has no character that the vocabulary knows")
        return ids

    def echo(self, prompt: str) -> str:
        """The prompt as the model reads it, where what is written goes on from it; else nothing."""
        return self._task.target.decode(self.read(prompt)) if self._text else ""

    def stream(self, prompt: str) -> Iterator[str]:
        """Draws one text; gives it in pieces, each as soon as it is settled.

        Raises:
            InputError: see `read`; or the model has learned fewer positions than are asked for.
        """
        pieces = _Pieces(self._task.target, self.read(prompt) if self._text else [])
        for (token,) in self._draw(prompt, 1):
            if token != EOS:
                yield pieces.add(int(token))
        yield pieces.rest()

    def samples(self, prompt: str, number: int) -> list[str]:
        """Draws so many texts at once; the first is the one that `stream` gives.

        Raises:
            InputError: as `stream`, or `number` is below 1.
        """
        if number < 1:
            raise InputError(f"number is {number}; expected at least 1")
        drawn = np.stack(list(self._draw(prompt, number)), axis=1)
        return [self._written(prompt, row) for row in drawn]

    def best(
        self, prompt: str, *, beam: int, number: int = 1, length_penalty: float = 0.0
    ) -> list[str]:
        """The best texts that a search finds, best first; `number`, or fewer if there are fewer.

        Raises:
            InputError: as `stream`; `beam` is below 1, or `number` is not 1 to `beam`.
        """
        if beam < 1:
            raise InputError(f"beam is {beam}; expected at least 1")
        if not 1 <= number <= beam:
            raise InputError(f"number is {number}; expected 1 to beam = {beam}")
        source = self._padded(prompt)
        with _reachable(self._max_tokens):
            found: Hypotheses = self._search(
                self._params, source, beam=beam, length_penalty=length_penalty, n_best=number
            )
        rows = np.asarray(found.tokens)[0][np.asarray(found.lengths)[0] > 0]
        return [self._written(prompt, row) for row in rows]

    def _padded(self, prompt: str) -> np.ndarray:
        """[1, S], int32: what the model is to read first."""
        ids = self.read(prompt)
        ids = [BOS, *ids] if self._text else [*ids, EOS]
        source = np.full((1, -(-len(ids) // _WIDTH) * _WIDTH), PAD, np.int32)
        source[0, : len(ids)] = ids
        return source

    def _draw(self, prompt: str, rows: int) -> Iterator[np.ndarray]:
        """The next token of each row, until all have ended; what follows an `EOS` means nothing."""
        source = self._padded(prompt)
        token, ended = jnp.full(rows, BOS, jnp.int32), np.zeros(rows, bool)
        with _reachable(self._max_tokens):
            state = self._begin(self._params, source, rows=rows)
        for time in range(self._max_tokens):
            with _reachable(self._max_tokens):
                state, token = self._step(self._params, state=state, token=token, time=time)
            now = np.asarray(token)
            yield now
            ended |= now == EOS
            if ended.all():
                return

    def _written(self, prompt: str, row: np.ndarray) -> str:
        """The text of tokens up to their `EOS`, as it follows the prompt."""
        pieces = _Pieces(self._task.target, self.read(prompt) if self._text else [])
        ends = np.flatnonzero(row == EOS)
        written = row[: ends[0]] if len(ends) else row
        return "".join(pieces.add(int(token)) for token in written) + pieces.rest()


class _Pieces:
    """Text that grows by tokens, told apart into what is new.

    A token's text depends on those before it: SentencePiece drops the first space of a text, and a
    character may be spread over several tokens.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]):
        self._tokenizer, self._ids = tokenizer, list(before)
        self._given = len(tokenizer.decode(self._ids))

    def add(self, token: int) -> str:
        """What this token settles."""
        self._ids.append(token)
        return self._new(self._tokenizer.decode(self._ids).rstrip(_UNFINISHED))

    def rest(self) -> str:
        """What is left at the end, settled or not."""
        return self._new(self._tokenizer.decode(self._ids))

    def _new(self, text: str) -> str:
        new, self._given = text[self._given :], max(self._given, len(text))
        return new


@contextmanager
def _reachable(max_tokens: int) -> Iterator[None]:
    """Turns a model's refusal of so long a text, which it utters while it is compiled."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"prompt and max_tokens {max_tokens} are too long: {error}") from error


def _begin(
    graphdef: nnx.GraphDef,
    text: bool,
    capacity: int,
    params: PyTree,
    source: Int[Array, "1 S"],
    rows: int,
) -> State:
    """The state after one prompt, once for each row."""
    model = continued(nnx.merge(graphdef, params, copy=True), text)
    state = model.start(model.encode(source), capacity)
    return jax.tree.map(lambda x: jnp.repeat(x, rows, axis=0), state)


def _step(
    graphdef: nnx.GraphDef,
    text: bool,
    sampling: Sampling,
    params: PyTree,
    state: State,
    token: Int[Array, "B"],
    time: Int[Array, ""],
) -> tuple[State, Int[Array, "B"]]:
    model = continued(nnx.merge(graphdef, params, copy=True), text)
    state, logits = model.step(state, token)
    return state, sampling.draw(logits, time)


def _search(
    graphdef: nnx.GraphDef,
    text: bool,
    max_tokens: int,
    params: PyTree,
    source: Int[Array, "1 S"],
    beam: int,
    length_penalty: float,
    n_best: int,
) -> Hypotheses:
    return search(
        continued(nnx.merge(graphdef, params, copy=True), text),
        source,
        beam=beam,
        length_penalty=length_penalty,
        max_length=max_tokens,
        n_best=n_best,
    )
