"""Whether a model looks where it should, on tasks whose true alignments are known."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx

from attn.models.protocol import EOS, PAD, Seq2Seq
from attn.typing import Array, Int, PyTree
from experiments.ablations.measures.lane import Lane, mean
from experiments.ablations.statistics import Sample
from experiments.data.batches import Batch
from experiments.errors import InputError

Places = Callable[[int], Sequence[int]]
"""From the length of a target without `EOS` to the source place, from 0, of each of its tokens."""


def alignment_error(lane: Lane, alignment: Places) -> dict[str, Sample]:
    """How often a target token's largest weight is at another source place than the true one.

    "alignment error" is the share of such tokens. References are given; `EOS` does not count.

    Weights are those of the last layer that looks at the source, averaged over its heads.

    Args:
        lane: a model with attention to the source.
        alignment: where the target tokens of the task come from.

    Raises:
        InputError: the model has no attention to the source, or `alignment` gives too few or too
            many places.
    """
    if not nnx.merge(lane.graphdef, lane.params).attends:
        raise InputError(
            f"model is {lane.config.model.name}; expected one with attention to its source"
        )
    examples = lane.evaluator.examples("test")
    true = jnp.array(_table(alignment, int(examples.target.lengths.max()) - 2))
    wrong, tokens = lane.evaluator.each(_missed, (lane.params, true), examples)
    return {"alignment error": mean(wrong, tokens)}


def _table(alignment: Places, longest: int) -> np.ndarray:
    """The places for each length, int32 [longest + 1, longest + 1]; -1 where there is no token."""
    table = np.full((longest + 1, longest + 1), -1, np.int32)
    for length in range(1, longest + 1):
        places = alignment(length)
        if len(places) != length:
            raise InputError(
                f"alignment gives {len(places)} places for {length} tokens; expected {length}"
            )
        table[length, :length] = places
    return table


def _missed(
    graphdef: nnx.GraphDef,
    params_and_places: tuple[PyTree, Int[Array, "lengths places"]],
    batch: Batch,
) -> tuple[Int[Array, "B"], Int[Array, "B"]]:
    """Of each row: tokens whose largest weight is elsewhere, and all tokens."""
    (params, true), target = params_and_places, batch.target
    model: Seq2Seq = nnx.merge(graphdef, params, copy=True)
    weights = model.weights(model.encode(batch.source), target[:, :-1])
    looked = weights[:, -1].mean(axis=1).argmax(axis=-1)
    labels = target[:, 1:]
    real = (labels != PAD) & (labels != EOS)
    place = jnp.minimum(jnp.arange(labels.shape[1]), true.shape[1] - 1)
    wanted = true[real.sum(axis=1)][:, place]
    return jnp.sum(real & (looked != wanted), axis=1), jnp.sum(real, axis=1)
