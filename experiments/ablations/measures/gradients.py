"""How far back a reader's loss still reaches (Bengio et al. 1994; Hochreiter 1998)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from attn.models.protocol import PAD
from attn.models.source import source_lengths
from attn.typing import Array, Float, PyTree
from experiments.ablations.measures.lane import ITEMS, Lane, leaf_name, map_named, mean
from experiments.ablations.statistics import Sample
from experiments.data.batches import Batch
from experiments.errors import InputError
from experiments.training.step import cross_entropy

_TABLES = ("embed.embedding", "embed.table")
"""How the names of readers' embedding tables end."""


def gradient_by_lag(lane: Lane, lags: Sequence[int], *, items: int = ITEMS) -> dict[str, Sample]:
    """Norms of the loss's gradient by the embedding of the token some places before the end.

    "gradient @ k" at the start and "trained gradient @ k" after training: of an item's loss in nats
    by what is read `k` steps before the last one, which is `EOS` (k = 0). Items that are too short
    for a lag count nothing in it.

    Args:
        lane: a reader of texts that have a class.
        lags: places before the end, from 0.
        items: test items at most.

    Raises:
        InputError: the task has no classes, the model no embedding table, or no item is so long.
    """
    if lane.task.kind != "class":
        raise InputError(f"task is {lane.task.name}; expected one whose texts have a class")
    examples = lane.evaluator.examples("test", items)
    lengths = examples.source.lengths
    for lag in lags:
        if not 0 <= lag < lengths.max():
            raise InputError(f"lags holds {lag}; expected 0 to {lengths.max() - 1}")
    table, found = _table_name(lane), {}
    for prefix, params in (("", lane.start), ("trained ", lane.params)):
        norms = lane.evaluator.each(_norms, params, examples, table, tuple(lags))
        for column, lag in enumerate(lags):
            found[f"{prefix}gradient @ {lag}"] = mean(norms[:, column], lengths > lag)
    return found


def _table_name(lane: Lane) -> str:
    names = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(lane.params)]
    tables = [name for name in names if name.endswith(_TABLES)]
    if len(tables) != 1:
        raise InputError(
            f"model is {lane.config.model.name}, with {len(tables)} embedding tables; expected one"
        )
    return tables[0]


def _norms(
    graphdef: nnx.GraphDef, table: str, lags: tuple[int, ...], params: PyTree, batch: Batch
) -> Float[Array, "B K"]:
    """At each lag; 0 where the text is shorter.

    Every place of every row gets a row of its own in the table, so that the gradient by the table
    is that by each embedding. Rows of a batch have nothing to do with one another.
    """
    source, target = batch.source, batch.target
    place = 1 + jnp.arange(source.size, dtype=jnp.int32).reshape(source.shape)
    tokens = jnp.where(source != PAD, place, PAD)

    def loss(embedded: Float[Array, "rows H"]) -> Float[Array, ""]:
        placed = map_named(lambda name, x: embedded if name == table else x, params)
        model = nnx.merge(graphdef, placed, copy=True)
        logits = model.decode(model.encode(tokens), target[:, :1])
        return cross_entropy(logits, target[:, 1:2])

    old = next(
        x for path, x in jax.tree_util.tree_leaves_with_path(params) if leaf_name(path) == table
    )
    read = jnp.concatenate([jnp.array([PAD]), source.reshape(-1)])
    norms = jnp.linalg.norm(jax.grad(loss)(old[read]), axis=-1)[1:].reshape(source.shape)
    at = source_lengths(source)[:, None] - 1 - jnp.array(lags, jnp.int32)
    return jnp.where(at >= 0, jnp.take_along_axis(norms, jnp.maximum(at, 0), axis=1), 0.0)
