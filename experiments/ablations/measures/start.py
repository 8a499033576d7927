"""What attention looks like before any training: how even it is, and what gradients reach it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from attn.models.protocol import PAD
from attn.typing import Array, Float, Int, PyTree
from experiments.ablations.measures.lane import ITEMS, Lane, leaf_name, map_named, mean
from experiments.ablations.statistics import Sample
from experiments.data.batches import Batch
from experiments.errors import InputError
from experiments.evaluation.heads import Mapped, tallies
from experiments.training.step import cross_entropy


def attention_at_start(lane: Lane, *, items: int = ITEMS) -> dict[str, Sample]:
    """How sharp attention starts, and how large a gradient moves it, at `lane.start`.

    - "entropy at start": of the weights in nats, the mean over the real queries of all heads and
      layers of all kinds of attention;
    - "relative entropy at start": their sum over that of looking evenly at all a query may see;
    - "gradient norm at start": of an item's loss (nats a token) by the projections to queries and
      keys, all of them together.

    Args:
        lane: a model with `maps` whose projections are named query and key.
        items: test items at most.

    Raises:
        InputError: the model is not such a one.
    """
    if not isinstance(nnx.merge(lane.graphdef, lane.start), Mapped):
        raise InputError(f"model is {lane.config.model.name}; expected one with attention maps")
    if not _projections(lane.start):
        raise InputError(
            f"model is {lane.config.model.name}; expected projections to queries and keys"
        )
    examples = lane.evaluator.examples("test", items)
    entropy, even, looks, norms = (
        np.asarray(each, np.float64) for each in lane.evaluator.each(_started, lane.start, examples)
    )
    return {
        "entropy at start": mean(entropy, looks),
        "relative entropy at start": mean(entropy, even),
        "gradient norm at start": mean(norms),
    }


def _started(
    graphdef: nnx.GraphDef, params: PyTree, batch: Batch
) -> tuple[Float[Array, "B"], Float[Array, "B"], Int[Array, "B"], Float[Array, "B"]]:
    """Of each row: summed entropies, those of looking evenly, looks, and the gradient's norm."""
    model: Mapped = nnx.merge(graphdef, params, copy=True)
    # Where queries and keys are 0, every key that may be seen has weight: underflow hides none.
    blank = map_named(lambda name, x: jnp.zeros_like(x) if _projects(name) else x, params)
    source, target = batch.source, batch.target
    found = tallies(model, source, target)
    evenly = tallies(nnx.merge(graphdef, blank, copy=True), source, target)
    entropy = sum(tally.entropy.sum(axis=(1, 2)) for tally in found.values())
    heads = {kind: tally.entropy[0].size for kind, tally in found.items()}
    even = sum(heads[kind] * tally.uniform for kind, tally in evenly.items())
    looks = sum(heads[kind] * tally.positions for kind, tally in found.items())
    norm = partial(_norm, graphdef, params)
    norms = jax.lax.map(lambda row: norm(*row), (source, target))
    return entropy, even, looks, norms


def _norm(
    graphdef: nnx.GraphDef, params: PyTree, source: Int[Array, "S"], target: Int[Array, "T"]
) -> Float[Array, ""]:
    """Of the gradient of one item's mean loss by the projections to queries and keys."""

    def loss(projections: dict[str, Array]) -> Array:
        placed = map_named(lambda name, x: projections.get(name, x), params)
        model = nnx.merge(graphdef, placed, copy=True)
        labels = target[None, 1:]
        logits = model.decode(model.encode(source[None]), target[None, :-1])
        return cross_entropy(logits, labels) / jnp.maximum(jnp.sum(labels != PAD), 1)

    return optax.tree.norm(jax.grad(loss)(_projections(params)))


def _projections(params: PyTree) -> dict[str, Array]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {name: x for path, x in leaves if _projects(name := leaf_name(path))}


def _projects(name: str) -> bool:
    return not {"query", "key"}.isdisjoint(name.split("."))
