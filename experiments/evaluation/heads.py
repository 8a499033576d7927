"""What every head of every layer looks at: weights for a few items, statistics over many."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import xlogy

from attn.models.protocol import BOS, EOS, PAD
from attn.models.source import source_lengths
from attn.typing import Array, ArrayLike, Float, Int, PyTree
from experiments.config import SearchConfig
from experiments.data.batches import Examples
from experiments.data.buckets import choose_shapes, smallest_fit
from experiments.data.masking import EVALUATION
from experiments.evaluation.alignments import choose
from experiments.evaluation.search import searched
from experiments.tasks.task import Task
from experiments.training.folder import write_json, writing

HEADS, WEIGHTS = "heads.json", "heads.npz"
OFFSETS = (-1, 0, 1)
"""Column minus row: the position before, the position itself, the one after."""
SHOWN, LONGEST, MEASURED = 3, 40, 256
"""Items whose weights are kept, their tokens at most a side, and items that are measured."""
_ROWS, _SHAPES = 32, 2


@runtime_checkable
class Mapped(Protocol):
    """A model that shows the weights of every head."""

    def maps(
        self, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
    ) -> dict[str, Float[Array, "B L N rows columns"]]:
        """By kind: "encoder" (source × source), "decoder" (target × target), "cross" (target ×
        source) or "sequence" (each row's source then its target, without padding, × itself)."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tally:
    """Sums over the positions (rows of a map) of some items."""

    positions: ArrayLike
    """[]: how many there are."""
    entropy: ArrayLike
    """[L, N]: in nats."""
    uniform: ArrayLike
    """[]: entropies in nats of looking evenly at what a position may look at: at all that any head
    of any layer gives weight."""
    placed: ArrayLike
    """[3]: positions that have a token at each of `OFFSETS`."""
    weight: ArrayLike
    """[L, N, 3]: weight at each of `OFFSETS`."""
    maximum: ArrayLike
    """[L, N, 3]: positions whose largest weight is at each of `OFFSETS`."""

    def to_json(self, related: bool) -> dict[str, Any]:
        """An entry of `heads.json`: means in place of sums.

        Args:
            related: whether rows and columns are positions of the same tokens, so that an offset
                between them means something.
        """
        each = max(int(self.positions), 1)
        found = {
            "positions": int(self.positions),
            "entropy": _rounded(self.entropy / each),
            "uniform_entropy": _rounded(self.uniform / each),
        }
        if related:
            placed = np.maximum(self.placed, 1)
            found |= {
                "weight": _rounded(self.weight / placed),
                "maximum": _rounded(self.maximum / placed),
            }
        return found


def keep_heads(
    folder: Path, graphdef: nnx.GraphDef, params: PyTree, task: Task, config: SearchConfig
) -> None:
    """Leaves `heads.json` and `heads.npz` of a model in a run's folder, if it has `maps`.

    Weights are those of a few test items, `LONGEST` tokens a side at most: of the model reading its
    own output on a task of kind "sequence", else the reference. They are kept as whole numbers from
    0 to 255, off by at most 1 / 510. Statistics are of the first `MEASURED` test items, read
    beside their references.

    `heads.json` is {"offsets", "items": [{"source", "target": labels}], "measured": items,
    "kinds": {kind: see `Tally.to_json`}}; `heads.npz` has uint8 [L, N, rows, columns] by
    "item-kind".
    """
    if not isinstance(nnx.merge(graphdef, params), Mapped):
        return
    params, examples = jax.device_put(params), task.splits["test"]
    items, weights = _shown(graphdef, params, task, config)
    tallies = measure(graphdef, params, examples)
    with writing(folder / WEIGHTS):
        np.savez_compressed(folder / WEIGHTS, allow_pickle=False, **weights)
    found = {
        "offsets": list(OFFSETS),
        "items": items,
        "measured": min(len(examples), MEASURED),
        "kinds": {kind: tally.to_json(kind != "cross") for kind, tally in tallies.items()},
    }
    write_json(folder / HEADS, found)


def measure(graphdef: nnx.GraphDef, params: PyTree, examples: Examples) -> dict[str, Tally]:
    """Sums over the first `MEASURED` examples, references given; by kind, as NumPy arrays."""
    lengths = examples.lengths[:MEASURED]
    shapes = choose_shapes(lengths, _SHAPES, _ROWS)
    fit = smallest_fit(lengths, shapes)
    tallied = jax.jit(partial(_tallied, graphdef))
    found = []
    for number, shape in enumerate(shapes):
        rows = np.flatnonzero(fit == number)
        rows = np.concatenate([rows, np.full(-len(rows) % _ROWS, -1, rows.dtype)])
        for part in rows.reshape(-1, _ROWS):
            batch = examples.batch(part, shape, EVALUATION)
            found.append(jax.device_get(tallied(params, batch.source, batch.target)))
    return jax.tree.map(lambda *sums: np.sum(sums, axis=0, dtype=np.float64), *found)


def tally(weights: Float[Array, "L N R C"], rows: Int[Array, ""], columns: Int[Array, ""]) -> Tally:
    """Sums over the first `rows` positions of one item, which look at the first `columns`."""
    row, column = jnp.arange(weights.shape[2])[:, None], jnp.arange(weights.shape[3])
    inside = (row < rows) & (column < columns)
    weights = jnp.where(inside, weights, 0.0).astype(jnp.float32)
    visible = jnp.sum(jnp.any(weights > 0, axis=(0, 1)), axis=-1)
    at = row + jnp.array(OFFSETS)
    there = (row < rows) & (at >= 0) & (at < columns)
    where = jnp.clip(at, 0, weights.shape[3] - 1)
    near = jnp.take_along_axis(weights, where[None, None], axis=-1)
    highest = (jnp.argmax(weights, axis=-1)[..., None] == at) & jnp.any(weights > 0, -1)[..., None]
    return Tally(
        positions=rows,
        entropy=-jnp.sum(xlogy(weights, weights), axis=(-2, -1)),
        uniform=jnp.sum(jnp.log(jnp.maximum(visible, 1))),
        placed=jnp.sum(there, axis=0),
        weight=jnp.sum(jnp.where(there, near, 0.0), axis=-2),
        maximum=jnp.sum(highest & there, axis=-2),
    )


def tallies(
    model: Mapped, source: Int[Array, "B S"], target: Int[Array, "B T"]
) -> dict[str, Tally]:
    """Sums over each row's positions, leaves [B, ...], one row after another: maps are large."""

    def one(row: tuple[Array, Array]) -> dict[str, Tally]:
        source, target = (side[None] for side in row)
        # What precedes a label: the reference without its last token.
        target_in = jnp.where(target[:, 1:] != PAD, target[:, :-1], PAD)
        sizes = sides(source_lengths(source)[0], source_lengths(target_in)[0])
        maps = model.maps(source, target_in)
        return {kind: tally(found[0], *sizes[kind]) for kind, found in maps.items()}

    return jax.lax.map(one, (source, target))


def _tallied(
    graphdef: nnx.GraphDef, params: PyTree, source: Int[Array, "B S"], target: Int[Array, "B T"]
) -> dict[str, Tally]:
    """Sums over a batch."""
    model: Mapped = nnx.merge(graphdef, params, copy=True)
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), tallies(model, source, target))


def sides(source: Any, target: Any) -> Mapping[str, tuple[Any, Any]]:
    """Real rows and columns of each kind of map, of an item with so many tokens."""
    return {
        "encoder": (source, source),
        "decoder": (target, target),
        "cross": (target, source),
        "sequence": (source + target, source + target),
    }


def _shown(
    graphdef: nnx.GraphDef, params: PyTree, task: Task, config: SearchConfig
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The items whose weights are kept: their labels, and what the model looks at."""
    examples = task.splits["test"]
    short = np.flatnonzero((examples.lengths <= LONGEST).all(axis=1))
    among = short if len(short) else np.arange(len(examples))
    rows = among[choose(examples.lengths[among].sum(axis=1), SHOWN)]
    width = int(examples.lengths[rows, 0].max())
    batch = examples.batch(rows, (width, int(examples.lengths[rows, 1].max())), EVALUATION)
    source, target = batch.source[:, :LONGEST], batch.target[:, :-1]
    if task.kind == "sequence":
        find = jax.jit(partial(searched, graphdef, config=config, n_best=1))
        found = find(params, source).tokens[:, 0]
        target = np.pad(np.asarray(found), ((0, 0), (1, 0)), constant_values=BOS)
    target = np.where(target == EOS, PAD, target)[:, :LONGEST]
    maps = jax.device_get(jax.jit(partial(_maps, graphdef))(params, source, target))
    items: list[dict[str, Any]] = []
    weights: dict[str, np.ndarray] = {}
    for row, (read, written) in enumerate(zip(source, target, strict=True)):
        read, written = read[read != PAD], written[written != PAD]
        labels = task.source.tokens(read.tolist()), task.target.tokens(written.tolist())
        items.append({"source": labels[0], "target": labels[1]})
        for kind, found in maps.items():
            rows_, columns = sides(len(read), len(written))[kind]
            kept = np.asarray(found[row, :, :, :rows_, :columns], np.float32)
            weights[f"{row}-{kind}"] = np.round(255 * kept).astype(np.uint8)
    return items, weights


def _maps(
    graphdef: nnx.GraphDef, params: PyTree, source: Int[Array, "B S"], target_in: Int[Array, "B T"]
) -> dict[str, Float[Array, "B L N rows columns"]]:
    model: Mapped = nnx.merge(graphdef, params, copy=True)
    return model.maps(source, target_in)


def _rounded(values: Any) -> Any:
    return np.round(values, 4).tolist()
