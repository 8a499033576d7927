"""Texts in, the best outputs and their alignment out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.protocol import BOS, EOS, PAD, Seq2Seq
from attn.typing import Array, Float, Int, PyTree
from experiments.checks import check_search
from experiments.config import SearchConfig
from experiments.evaluation.alignments import END, Alignment
from experiments.evaluation.search import Hypotheses, searched
from experiments.tasks.task import Task

_WIDTH = 16
"""Sources are padded to a multiple of this, so that few lengths have to be compiled."""


@dataclass(frozen=True)
class Translation:
    """What a model makes of one text."""

    text: str
    outputs: tuple[tuple[str, float], ...]
    """Texts and their length-normalised scores, best first."""
    alignment: Alignment | None
    """Of the best output (None: the model has no attention, or there is no output)."""


class Translator:
    """Translates texts with one model; what was compiled is kept between calls."""

    def __init__(self, graphdef: nnx.GraphDef, params: PyTree, task: Task, config: SearchConfig):
        """Compiles nothing yet.

        Args:
            graphdef: of a model of the protocol, by `nnx.split`.
            params: its parameters.
            task: its tokenizers are used.
            config: `beam`, `length_penalty` and `max_length` are used.

        Raises:
            InputError: a number in `config` that no search can have.
        """
        check_search(config)
        self._params = params
        self._task = task
        self._attends = nnx.merge(graphdef, params, copy=True).attends
        self._search = jax.jit(partial(searched, graphdef, config=config))
        self._weights = jax.jit(partial(_weights, graphdef))

    def __call__(self, texts: Sequence[str]) -> list[Translation]:
        """Each text's `beam` best outputs, and the alignment of the best.

        Raises:
            InputError: a text has no character that the vocabulary knows.
        """
        if not texts:
            return []
        ids = [[*self._task.read(text), EOS] for text in texts]
        width = -(-max(map(len, ids)) // _WIDTH) * _WIDTH
        source = np.full((len(ids), width), PAD, np.int32)
        for row, tokens in zip(source, ids, strict=True):
            row[: len(tokens)] = tokens
        found = self._search(self._params, source)
        weights: Any = [None] * len(ids)
        if self._attends:
            weights = np.asarray(self._weights(self._params, source, found.tokens[:, 0]))
        found = jax.device_get(found)
        return [
            Translation(
                text, self._outputs(found, row), self._align(ids[row], found, row, weights[row])
            )
            for row, text in enumerate(texts)
        ]

    def _outputs(self, found: Hypotheses, row: int) -> tuple[tuple[str, float], ...]:
        return tuple(
            (self._task.target.decode(tokens[:length].tolist()), float(score))
            for tokens, length, score in zip(
                found.tokens[row], found.lengths[row], found.scores[row], strict=True
            )
            if length > 0
        )

    def _align(
        self, source: list[int], found: Hypotheses, row: int, weights: np.ndarray | None
    ) -> Alignment | None:
        """The mean over the heads of the last layer, where it is about tokens."""
        length = int(found.lengths[row, 0])
        if weights is None or length == 0:
            return None
        target = found.tokens[row, 0, : length - 1].tolist()
        layers, heads = weights.shape[:2]
        return Alignment(
            source=(*self._task.source.tokens(source[:-1]), END),
            target=(*self._task.target.tokens(target), END),
            weights=weights[-1].mean(axis=0)[:length, : len(source)],
            layers=layers,
            heads=heads,
        )


def _weights(
    graphdef: nnx.GraphDef, params: PyTree, source: Int[Array, "B S"], output: Int[Array, "B L"]
) -> Float[Array, "B layers heads L S"]:
    """Attention while the model reads its own output (from the source at its `BOS` on)."""
    model: Seq2Seq = nnx.merge(graphdef, params, copy=True)
    target_in = jnp.pad(output[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
    return model.weights(model.encode(source), target_in)
