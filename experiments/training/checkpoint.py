"""Checkpoints that survive being killed while they are written, and damage afterwards.

Orbax writes them, asynchronously and each into a temporary folder that is renamed when it is
whole, and keeps the newest few and the best. Each holds a digest of all its numbers, checked when
it is read: one that does not hold is passed over with a warning.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from attn.typing import PyTree
from experiments.errors import InputError
from experiments.training.folder import writing

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

REMOVED = "removed"
DAMAGED = "damaged"


def _not_orbax(record: logging.LogRecord) -> bool:
    return record.levelno != logging.ERROR or "orbax" not in record.pathname


# Orbax logs a traceback from each of its threads for an error that it also raises.
logging.getLogger("absl").addFilter(_not_orbax)


class DamagedError(Exception):
    """A checkpoint cannot be read or is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read and found sound."""

    step: int
    state: PyTree
    record: dict[str, Any]
    """What else was saved with it: plain JSON."""
    nll: float | None
    """On the validation split, nats a token; None where it was not evaluated."""


class Checkpoints:
    """The checkpoints of a run that is training; one process (or job) at a time."""

    def __init__(self, folder: Path, keep: int):
        """Opens a folder of checkpoints, which need not be there.

        What was half written or half removed when a process died is swept away, and what is
        damaged is moved out of the way, into a folder `damaged` beside this one.

        Args:
            folder: theirs alone.
            keep: newest ones kept, at least 1, beside the best.

        Raises:
            InputError: the folder cannot be written.
        """
        self.folder = folder.absolute()
        with writing(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            for step in steps_in(self.folder):
                try:
                    _read(self.folder, step, "record", "metrics")
                except DamagedError as error:
                    self._set_aside(step, error)
            self._manager = ocp.CheckpointManager(self.folder, options=_options(keep))

    def save(
        self, step: int, state: PyTree, record: Mapping[str, Any], nll: float | None = None
    ) -> None:
        """Copies the state to the host and begins to write it; the writing goes on behind.

        Args:
            step: steps taken.
            state: replicated arrays; they may be donated as soon as this returns.
            record: plain JSON to save with it.
            nll: of the validation split, if it was just evaluated; the lowest is the best.

        Raises:
            InputError: this one, or the one before, cannot be written.
        """
        if step in self._manager.all_steps():
            return
        # A NumPy view of a CPU array would change under the writer once the array is donated.
        arrays = {name: np.array(leaf) for name, leaf in _named(jax.device_get(state))}
        metrics = {} if nll is None else {"nll": nll if math.isfinite(nll) else math.inf}
        signed = {"record": dict(record), "metrics": metrics}
        self.wait()
        self._sweep()
        with writing(self.folder / str(step)):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    record=ocp.args.JsonSave({**signed, "digest": digest(arrays, signed)}),
                ),
                metrics=metrics,
            )

    def restore(self, template: PyTree) -> Checkpoint | None:
        """The newest sound checkpoint; None if there is none.

        Newer ones that are damaged are named in a warning and moved out of the way.

        Args:
            template: a state of the same structure, shapes and dtypes.

        Raises:
            InputError: a sound checkpoint is of another model.
        """
        for step in reversed(self._manager.all_steps()):
            try:
                return _load(self.folder, step, template)
            except DamagedError as error:
                self._set_aside(step, error)
                self._manager.reload()
        return None

    def latest(self) -> int | None:
        """The step of the newest checkpoint that is wholly written; waits for one under way."""
        self.wait()
        return self._manager.latest_step()

    def preempted(self, step: int) -> bool:
        """Whether one of several hosts was told to stop; all of them must ask at every step."""
        return self._manager.reached_preemption(step)

    def wait(self) -> None:
        """Waits until what was begun is written.

        Raises:
            InputError: it cannot be written.
        """
        with writing(self.folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends the threads that write."""
        with writing(self.folder):
            self._manager.close()
            self._sweep()

    def _sweep(self) -> None:
        """Deletes what Orbax renamed to be deleted: a kill never leaves half a checkpoint."""
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / REMOVED, ignore_errors=True)

    def _set_aside(self, step: int, error: DamagedError) -> None:
        aside = self.folder.parent / DAMAGED
        log.warning(
            "checkpoint %s is damaged (%s): passed over, moved to %s",
            self.folder / str(step), error, aside,
        )  # fmt: skip
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            number = sum(1 for _ in aside.glob(f"{step}.*"))
            (self.folder / str(step)).rename(aside / f"{step}.{number}")


def best(folder: Path, template: PyTree) -> Checkpoint:
    """The sound checkpoint with the lowest validation loss; the newest where none has one.

    Reads only, so it may be called while a run trains.

    Args:
        folder: of checkpoints.
        template: a state of the same structure, shapes and dtypes.

    Raises:
        InputError: there is no sound checkpoint, or one is of another model.
    """
    for step in _best_first(folder):
        try:
            return _load(folder, step, template)
        except DamagedError as error:
            log.warning("checkpoint %s is damaged (%s): passed over", folder / str(step), error)
    raise InputError(f"{folder} holds no sound checkpoint")


def best_step(folder: Path) -> int:
    """The step of the checkpoint that `best` looks at first.

    Raises:
        InputError: there is no checkpoint.
    """
    for step in _best_first(folder):
        return step
    raise InputError(f"{folder} holds no checkpoint")


def steps_in(folder: Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def arrays_in(folder: Path, step: int) -> Arrays:
    """The arrays of a checkpoint by their names.

    Raises:
        InputError: it is not there, or damaged.
    """
    try:
        return _read(folder, step, "state")["state"]
    except DamagedError as error:
        raise InputError(f"checkpoint {folder / str(step)} cannot be read: {error}") from error


def digest(arrays: Mapping[str, np.ndarray], signed: Mapping[str, Any]) -> str:
    """SHA-256 over every array's name, dtype, shape and bytes, and over the JSON beside them."""

    def of(name: str) -> bytes:
        array = np.ascontiguousarray(arrays[name])
        head = f"{name} {array.dtype} {array.shape} ".encode()
        whole = hashlib.sha256(head)
        whole.update(array.reshape(-1).view(np.uint8).data)
        return whole.digest()

    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        parts = list(pool.map(of, sorted(arrays)))
    return hashlib.sha256(b"".join(parts) + json.dumps(signed, sort_keys=True).encode()).hexdigest()


def _options(keep: int) -> ocp.CheckpointManagerOptions:
    def nll(metrics: Mapping[str, float]) -> float:
        return metrics.get("nll", math.inf)

    return ocp.CheckpointManagerOptions(
        best_fn=nll,
        best_mode="min",
        preservation_policy=policies.AnyPreservationPolicy(
            [policies.LatestN(keep), policies.BestN(get_metric_fn=nll, reverse=True, n=1)]
        ),
        cleanup_tmp_directories=True,
        todelete_subdir=REMOVED,
    )


def _best_first(folder: Path) -> Iterator[int]:
    """Steps by validation loss, among equals the newest first, as Orbax keeps them."""
    ranked = []
    for step in steps_in(folder):
        try:
            found = _read(folder, step, "metrics")["metrics"]
        except DamagedError as error:
            log.warning("checkpoint %s is damaged (%s): passed over", folder / str(step), error)
            continue
        ranked.append((found.get("nll", math.inf), -step))
    yield from (-step for _, step in sorted(ranked))


def _load(folder: Path, step: int, template: PyTree) -> Checkpoint:
    """Reads a checkpoint and checks its digest.

    Raises:
        DamagedError: it is not what was written.
        InputError: it is, but of another model.
    """
    found = _read(folder, step, "state", "record", "metrics")
    arrays, record = found["state"], dict(found["record"])
    written = record.pop("digest", None)
    if written != digest(arrays, record):
        raise DamagedError("its digest does not hold")
    if record["metrics"] != found["metrics"]:
        raise DamagedError("its metrics are not those it was saved with")
    return Checkpoint(
        step,
        _fill(template, arrays, folder / str(step)),
        record["record"],
        record["metrics"].get("nll"),
    )


def _read(folder: Path, step: int, *items: str) -> dict[str, Any]:
    """The named items of a checkpoint.

    Raises:
        DamagedError: one of them cannot be read.
    """
    handler = ocp.CompositeCheckpointHandler(
        state=ocp.StandardCheckpointHandler(),
        record=ocp.JsonCheckpointHandler(),
        metrics=ocp.JsonCheckpointHandler(filename="metrics"),
    )
    kinds = {"state": ocp.args.StandardRestore}
    asked = {item: kinds.get(item, ocp.args.JsonRestore)() for item in items}
    place = folder.absolute() / str(step)
    try:
        with ocp.Checkpointer(handler) as reader:
            found = reader.restore(place, args=ocp.args.Composite(**asked))
        return {item: found[item] for item in items}
    except Exception as error:  # whatever a damaged file makes its reader raise
        raise DamagedError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error


def _named(tree: PyTree) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _fill(template: PyTree, arrays: Arrays, place: Path) -> PyTree:
    """The template's structure with the arrays in it."""
    wanted = {name: (leaf.shape, np.dtype(leaf.dtype)) for name, leaf in _named(template)}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if wanted != found:
        other = sorted(set(wanted.items()) ^ set(found.items()), key=str)[0]
        raise InputError(f"{place} holds another model's state: they differ in {other}")
    leaves = [arrays[name] for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)
