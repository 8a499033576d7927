"""What a Transformer loses without a head, or with one alone in a layer (Michel et al. 2019)."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from attn.models import TransformerConfig
from attn.typing import PyTree
from experiments.ablations.measures.lane import Lane, map_named
from experiments.ablations.statistics import Sample
from experiments.errors import InputError
from experiments.evaluation.outcome import count

ATTENTIONS = {
    "encoder": "encoder.{}.attention",
    "decoder": "decoder.{}.attention",
    "cross": "decoder.{}.cross",
}
"""Names of a Transformer's three kinds of attention, by layer."""


def head_importance(lane: Lane) -> dict[str, Sample]:
    """Teacher-forced NLL of the whole model, and with heads silenced.

    "nll"; "without cross 0.1" is without head 1 of layer 0's attention to the source, "only cross
    0.1" without all others of that layer (sections 3.2 and 3.3 of the paper). A head is silenced by
    zeros in its rows of the output projection: what is left is exact, biases and all.

    Args:
        lane: an encoder–decoder Transformer.

    Raises:
        InputError: the model is none.
    """
    config = lane.config.model
    if not isinstance(config, TransformerConfig):
        raise InputError(f"model is {config.name}; expected {TransformerConfig.name}")
    found = {"nll": _nll(lane, lane.params)}
    for kind, name in ATTENTIONS.items():
        for layer in range(config.layers):
            for head in range(config.heads):
                others = np.arange(config.heads) != head
                for what, kept in (("without", others), ("only", ~others)):
                    pruned = silence(lane.params, name.format(layer), kept)
                    found[f"{what} {kind} {layer}.{head}"] = _nll(lane, pruned)
    return found


def silence(params: PyTree, attention: str, kept: np.ndarray) -> PyTree:
    """The parameters with zeros where the heads of `attention` that are not `kept` [N] go out."""

    def cleared(name: str, x: Any) -> Any:
        if name != f"{attention}.out.kernel":
            return x
        return jnp.where(kept[:, None, None], x, 0)

    return map_named(cleared, params)


def _nll(lane: Lane, params: PyTree) -> Sample:
    return Sample(count(lane.evaluator.items(params, search=False), "nll"), "nll")
