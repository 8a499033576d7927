"""Examples as ragged token arrays, and the batches made of them.

Training reads `Batches`, whose every batch is a function of the seed and the step alone: the whole
state of the data is the step. Evaluation reads `Ordered`: each example once.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import jax
import numpy as np

from attn.models.protocol import BOS, EOS, PAD
from attn.typing import ArrayLike
from experiments.data.buckets import Shape, choose_shapes, smallest_fit
from experiments.data.masking import EVALUATION, Corruption, Draw
from experiments.errors import InputError

_ANY_SEED = 2**64 - 1
"""Stands for the seed where random numbers are the same for all seeds."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Padded examples, int32. A filler row is all `PAD` and has index -1."""

    source: ArrayLike
    """[B, S]: tokens, `EOS`, then `PAD`."""
    target: ArrayLike
    """[B, T]: `BOS`, tokens, `EOS`, then `PAD`."""
    index: ArrayLike
    """[B]: the example's number in its split."""


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, end to end."""

    tokens: np.ndarray
    """[total], int32."""
    offsets: np.ndarray
    """[rows + 1], int64: row r is `tokens[offsets[r] : offsets[r + 1]]`."""

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> "Ragged":
        """From rows of token ids."""
        rows = list(rows)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        flat = (token for row in rows for token in row)
        return cls(np.fromiter(flat, np.int32, count=int(offsets[-1])), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """[rows], int64."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray, width: int) -> np.ndarray:
        """[len(rows), width], int32: the rows, `PAD` behind them; row -1 is all `PAD`."""
        lengths = np.where(rows < 0, 0, self.lengths[rows])
        column = np.arange(width)
        inside = column < lengths[:, None]
        out = np.full((len(rows), width), PAD, np.int32)
        out[inside] = self.tokens[(self.offsets[rows][:, None] + column)[inside]]
        return out


@dataclass(frozen=True)
class Examples:
    """A split: pairs of texts and their tokens, `BOS` and `EOS` included."""

    sources: list[str]
    targets: list[str]
    source: Ragged
    target: Ragged
    corrupt: Corruption | None = None
    """Applied to every example of a batch, each time anew (None: batches hold what is here)."""

    @classmethod
    def of(
        cls,
        sources: list[str],
        targets: list[str],
        source_ids: Iterable[Sequence[int]],
        target_ids: Iterable[Sequence[int]],
        corrupt: Corruption | None = None,
    ) -> "Examples":
        """From texts and their token ids without `BOS` and `EOS`."""
        return cls(
            sources,
            targets,
            Ragged.of([*ids, EOS] for ids in source_ids),
            Ragged.of([BOS, *ids, EOS] for ids in target_ids),
            corrupt,
        )

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N, 2], int64: tokens in source and target as a batch holds them."""
        return np.stack([self.source.lengths, self.target.lengths], axis=1)

    def batch(self, rows: np.ndarray, shape: Shape, draw: Draw) -> Batch:
        """The examples of the given numbers, padded to `shape`; number -1 makes a filler row.

        They are corrupted, where that is asked for, as `draw` and each example's number say.
        """
        source, target = self.source.padded(rows, shape[0]), self.target.padded(rows, shape[1])
        if self.corrupt is not None:
            for place, row in enumerate(rows.tolist()):
                if row >= 0:
                    shown, wanted = self.corrupt(self.source[row], self.target[row], draw, row)
                    source[place, : len(shown)], target[place, : len(wanted)] = shown, wanted
        return Batch(source, target, rows.astype(np.int32))


@dataclass(frozen=True)
class _Plan:
    """Which examples stand in which batch."""

    rows: np.ndarray
    """[batches, batch_size], int64: numbers of examples, -1 for filler."""
    shape: np.ndarray
    """[batches], int64: each batch's place in the list of shapes."""

    def padding(self, lengths: np.ndarray, shapes: Sequence[Shape]) -> float:
        area = np.array(shapes).sum(axis=1)[self.shape].sum() * self.rows.shape[1]
        return 1.0 - float(lengths[self.rows[self.rows >= 0]].sum() / area)


def _plan(
    order: np.ndarray, fit: np.ndarray, shapes: int, batch_size: int, fill: np.ndarray
) -> _Plan:
    """Cuts `order` into full batches of one shape each.

    What is left over of a shape moves up into the next larger one; what is left over at the end
    is filled up from `fill`.

    Args:
        order: [n] numbers of examples.
        fit: [n] the smallest shape that holds each of `order`.
        shapes: how many shapes there are, the last of which holds every example.
        batch_size: rows of a batch.
        fill: [batch_size] rows to complete the last batch with.
    """
    parts, which = [], []
    rest = order[:0]
    for shape in range(shapes):
        rest = np.concatenate([rest, order[fit == shape]])
        if shape == shapes - 1 and len(rest) % batch_size:
            rest = np.concatenate([rest, fill[: -len(rest) % batch_size]])
        full = len(rest) // batch_size
        # The ones moved up are the first to go into a batch there, so none moves up forever.
        parts.append(rest[: full * batch_size])
        which.append(np.full(full, shape))
        rest = rest[full * batch_size :]
    return _Plan(np.concatenate(parts).reshape(-1, batch_size), np.concatenate(which))


def _host_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; expected at least 1")
    if batch_size % process_count:
        raise InputError(
            f"batch_size {batch_size} does not divide over {process_count} hosts; "
            f"expected a multiple of {process_count}"
        )
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


class Batches:
    """Training batches: `batches(step)` is a pure function of (examples, batch size, seed, step).

    An epoch shuffles the examples, gathers those of about one length and orders the batches at
    random, so that consecutive steps differ in shape. The seed says which examples stand in which
    batch, and not which shape a step has: that is the same for all seeds, so that runs from several
    of them can take each step together, as one array. Every example is seen once an epoch, but for
    the fewer than `batch_size` that complete the last batch and are seen twice (all rows count in
    training: no step is noisier than another). The random numbers are raw Philox output, which
    NumPy keeps the same for ever.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int,
        buckets: int,
        process_index: int = 0,
        process_count: int = 1,
    ):
        """Chooses the shapes.

        Args:
            examples: the training split.
            batch_size: rows of a batch, over all hosts.
            seed: of the order.
            buckets: how many padded shapes there may be; each is compiled once a model.
            process_index: this host's number; it gets its contiguous share of each batch's rows.
            process_count: hosts.

        Raises:
            InputError: no examples, or a size that cannot be.
        """
        if not len(examples):
            raise InputError("there are no examples to make batches of")
        if buckets < 1:
            raise InputError(f"buckets is {buckets}; expected at least 1")
        self._host_rows = _host_rows(batch_size, process_index, process_count)
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.shapes: list[Shape] = choose_shapes(examples.lengths, buckets, batch_size)
        """The (source, target) widths that occur, ascending; the last holds every example."""
        self.steps_per_epoch = -(-len(examples) // batch_size)
        self._fit = smallest_fit(examples.lengths, self.shapes)
        self._latest: dict[int, _Plan] = {}
        self._lock = threading.Lock()

    def __call__(self, step: int) -> Batch:
        """The batch of a step, counted from 0: this host's rows of it."""
        epoch, place = divmod(step, self.steps_per_epoch)
        plan = self._epoch(epoch)
        return self.examples.batch(
            plan.rows[place, self._host_rows],
            self.shapes[plan.shape[place]],
            (self.seed, step),
        )

    def shape(self, step: int) -> Shape:
        """The widths of a step's batch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self.shapes[self._epoch(epoch).shape[place]]

    def blanks(self) -> list[Batch]:
        """A batch of filler of every shape: this host's rows of it."""
        filler = np.full(self.batch_size, -1)[self._host_rows]
        return [self.examples.batch(filler, shape, EVALUATION) for shape in self.shapes]

    @property
    def padding(self) -> float:
        """The fraction of an epoch's positions, source and target, that hold `PAD`."""
        return self._epoch(0).padding(self.examples.lengths, self.shapes)

    def _epoch(self, epoch: int) -> _Plan:
        with self._lock:
            if epoch not in self._latest:
                # Prefetching reads at most one epoch ahead of the step in training.
                self._latest = {e: p for e, p in self._latest.items() if abs(e - epoch) == 1}
                self._latest[epoch] = self._make_epoch(epoch)
            return self._latest[epoch]

    def _make_epoch(self, epoch: int) -> _Plan:
        random = np.random.Philox(key=[self.seed, epoch])
        order = _permutation(random, len(self.examples))
        repeats = np.resize(_permutation(random, len(self.examples)), self.batch_size)
        plan = _plan(order, self._fit[order], len(self.shapes), self.batch_size, repeats)
        # How many batches a shape has does not depend on `order`, so with a shuffle that knows no
        # seed, no step's shape does.
        shared = np.random.Philox(key=np.array([_ANY_SEED, epoch], np.uint64))
        shuffled = _permutation(shared, len(plan.rows))
        return _Plan(plan.rows[shuffled], plan.shape[shuffled])


class Ordered(Sequence[Batch]):
    """Evaluation batches: every example exactly once, in order of length.

    Rows that complete the last batch are filler. Where an example fits none of the shapes given,
    one that holds all examples is added.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        shapes: Sequence[Shape],
        process_index: int = 0,
        process_count: int = 1,
    ):
        """Plans the batches.

        Args:
            examples: a split.
            batch_size: rows of a batch, over all hosts.
            shapes: (source, target) widths, ascending, such as `Batches.shapes`.
            process_index: this host's number; it gets its contiguous share of each batch's rows.
            process_count: hosts.

        Raises:
            InputError: no examples, or a size that cannot be.
        """
        if not len(examples):
            raise InputError("there are no examples to evaluate")
        self._host_rows = _host_rows(batch_size, process_index, process_count)
        self._examples = examples
        lengths = examples.lengths
        largest = np.maximum(lengths.max(axis=0), shapes[-1] if shapes else 0)
        widths = [(int(s), int(t)) for s, t in (*shapes, largest)]
        widths = list(dict.fromkeys(widths))
        fit = smallest_fit(lengths, widths)
        order = np.lexsort((np.arange(len(examples)), *lengths.T[::-1], fit))
        self._plan = _plan(
            order, fit[order], len(widths), batch_size, np.full(batch_size, -1, np.int64)
        )
        self._widths = widths
        self.shapes: list[Shape] = [widths[k] for k in np.unique(self._plan.shape)]
        """The (source, target) widths that occur, ascending."""

    @property
    def examples_of_rows(self) -> np.ndarray:
        """[batches · rows], int64: of every row of every batch its example's number, -1 filler."""
        return self._plan.rows.reshape(-1)

    def __len__(self) -> int:
        return len(self._plan.rows)

    @overload
    def __getitem__(self, place: int) -> Batch: ...

    @overload
    def __getitem__(self, place: slice) -> list[Batch]: ...

    def __getitem__(self, place: int | slice) -> Batch | list[Batch]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        rows = self._plan.rows[place, self._host_rows]
        return self._examples.batch(rows, self._widths[self._plan.shape[place]], EVALUATION)


def _permutation(random: np.random.Philox, n: int) -> np.ndarray:
    return np.argsort(random.random_raw(n), kind="stable")
