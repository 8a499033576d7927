"""Several runs of one shape trained as one: their states are stacked, and `vmap` takes their steps.

Small models leave a machine idle: the more so, the more cores or the larger the accelerator. Runs
that differ in the seed, or in data of the same shape, take each step at once. What a run learns
depends on its own seed and data alone, whichever others train beside it, up to rounding: products
over a batch of models may add in another order.
"""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from attn.typing import PyTree
from experiments.config import Config, TaskConfig
from experiments.data.batches import Batch, Batches
from experiments.data.stream import Stream
from experiments.errors import InputError
from experiments.tasks.task import Task
from experiments.training import folder as files
from experiments.training.checkpoint import Checkpoints
from experiments.training.parallel import Machine
from experiments.training.sharded import Sharded, machine_of
from experiments.training.signals import Interrupted, StopRequest
from experiments.training.step import Metrics, TrainState, TrainStep, initialise, make_train_step


@dataclass(frozen=True)
class Learned:
    """What runs have learned together; trees are stacked: their leaves' first axis is the run."""

    graphdef: nnx.GraphDef
    start: PyTree
    """Parameters before the first step, host arrays."""
    params: PyTree
    """Parameters after the last step, host arrays."""
    diverged: tuple[int | None, ...]
    """The first step of each run, counted from 1, whose numbers are not finite."""
    losses: tuple[float, ...]
    """Training loss of each run over its last steps (`train.log_every`), nats a token."""
    seconds: float
    """Of all steps, without compilation."""

    def run(self, number: int) -> tuple[PyTree, PyTree]:
        """`start` and `params` of one run."""
        start, params = (jax.tree.map(lambda x: x[number], t) for t in (self.start, self.params))
        return start, params


def one_program(config: Config) -> Config:
    """What runs that train together must share: the configuration without seed and task."""
    return replace(config, task=TaskConfig(), train=replace(config.train, seed=0))


def train_together(configs: Sequence[Config], tasks: Sequence[Task], folder: Path) -> Learned:
    """Trains runs of one model, optimizer and budget, from the start or where they were stopped.

    The last step's parameters count: no checkpoint is chosen.

    Args:
        configs: of each run, its model already sized; they differ in `train.seed` and `task` only.
        tasks: of each run; all give batches of the same shape at the same step.
        folder: where checkpoints are kept (every `train.save_every` steps, the newest).

    Raises:
        InputError: the runs are no one program.
        Interrupted: SIGTERM or SIGINT came; a checkpoint is written.
    """
    batches = Together(configs, tasks)
    return _Runs(configs, tasks[0], batches, folder).finish()


class Together:
    """Batches of several runs at the same step, side by side: leaves are [rows, runs, ...]."""

    def __init__(self, configs: Sequence[Config], tasks: Sequence[Task]):
        """Looks whether the runs can train together.

        Raises:
            InputError: they cannot; it says in what they differ.
        """
        self.runs = [
            Batches(
                task.splits["train"], config.train.batch_size, config.train.seed,
                config.task.buckets,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            )
            for config, task in zip(configs, tasks, strict=True)
        ]  # fmt: skip
        programs = {repr(one_program(config)) for config in configs}
        sizes = {(task.source.size, task.target.size) for task in tasks}
        shapes = {(tuple(run.shapes), run.steps_per_epoch) for run in self.runs}
        for what, found in (("settings", programs), ("vocabularies", sizes), ("shapes", shapes)):
            if len(found) != 1:
                raise InputError(
                    f"runs that train together have {len(found)} different {what}; expected one: "
                    f"{'; '.join(map(str, found))}"
                )

    def __call__(self, step: int) -> Batch:
        """The batches of a step, counted from 0.

        Raises:
            InputError: their shapes differ.
        """
        return _side_by_side([run(step) for run in self.runs])

    def blanks(self) -> list[Batch]:
        """A batch of filler of every shape."""
        blanks = (run.blanks() for run in self.runs)
        return [_side_by_side(list(each)) for each in zip(*blanks, strict=True)]


def vmapped(step: TrainStep) -> TrainStep:
    """The step of stacked states and of batches side by side."""
    return jax.vmap(step, in_axes=(0, 1))


def _machine(config: Config) -> Machine:
    """That of runs which train together: batches alone are cut.

    Raises:
        InputError: more is to be.
    """
    machine = machine_of(config)
    if isinstance(machine, Sharded):
        raise InputError(
            f"train.fsdp, train.tensor and train.sequence are {machine.sizes[1:]}; expected 1 "
            "each, as runs that train together lie whole on every device"
        )
    return machine


class _Runs:
    """Runs that train together, from wherever their folder stands."""

    def __init__(self, configs: Sequence[Config], task: Task, batches: Together, folder: Path):
        config = configs[0]
        self.settings, self.batches = config.train, batches
        self.steps = -(-config.train.examples // config.train.batch_size)
        self.machine = _machine(config)
        self.machine.check_divides(config.train.batch_size, config.train.accumulate)
        states = []
        for each in configs:
            model = each.model.build(task.source.size, task.target.size, nnx.Rngs(each.train.seed))
            self.graphdef, params = nnx.split(model)
            states.append(jax.device_get(initialise(params, each, self.steps)))
        first: TrainState = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
        self.first = first.evaluated
        step = make_train_step(self.graphdef, config, self.steps)
        self.step = self.machine.spread(vmapped(step))
        self.checkpoints = Checkpoints(folder / files.CHECKPOINTS, keep=1)
        found = self.checkpoints.restore(first)
        self.state: TrainState = self.machine.place(first if found is None else found.state)
        self.start = 0 if found is None else found.step
        record: dict[str, Any] = {} if found is None else found.record
        self.seconds: float = record.get("seconds", 0.0)
        self.diverged: list[int | None] = record.get("diverged", [None] * len(configs))
        self.losses = np.array(record.get("losses", [[0.0, 0.0]] * len(configs)))

    def finish(self) -> Learned:
        """Trains to the end."""
        try:
            with StopRequest() as stop:
                if self.start < self.steps:
                    self._train(stop)
            self.checkpoints.wait()
        finally:
            self.checkpoints.close()
        params = jax.device_get(self.machine.evaluated(self.state.evaluated))
        losses = tuple((self.losses[:, 0] / np.maximum(self.losses[:, 1], 1)).tolist())
        diverged = tuple(self.diverged)
        return Learned(self.graphdef, self.first, params, diverged, losses, self.seconds)

    def _train(self, stop: StopRequest) -> None:
        stream = Stream(self.batches, self.start, self.steps)
        self.machine.compile(self.step, self.state, self.batches.blanks())
        self.clock, pending = time.perf_counter(), None
        for number in range(self.start, self.steps):
            if stop.signal or self.checkpoints.preempted(number):
                self._settle(pending)
                self._save(number)
                self.checkpoints.wait()
                raise Interrupted(stop.signal or signal.SIGTERM, number)
            batch = self.machine.place_batch(next(stream))
            self.state, metrics = self.step(self.state, batch)
            self._settle(pending)  # read only now, while the devices are busy
            pending = number + 1, metrics
            if (number + 1) % self.settings.save_every == 0 or number + 1 == self.steps:
                self._settle(pending)
                pending = None
                self._save(number + 1)

    def _settle(self, pending: tuple[int, Metrics] | None) -> None:
        """Reads what a step told."""
        if pending is None:
            return
        done, metrics = pending[0], jax.device_get(pending[1])
        for number, finite in enumerate(np.asarray(metrics.finite)):
            if not finite and self.diverged[number] is None:
                self.diverged[number] = done
        if done > self.steps - self.settings.log_every:
            self.losses += np.stack([metrics.loss, metrics.tokens], axis=1)
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now

    def _save(self, done: int) -> None:
        record = {
            "seconds": self.seconds,
            "diverged": self.diverged,
            "losses": self.losses.tolist(),
        }
        self.checkpoints.save(done, self.state, record)


def _side_by_side(batches: list[Batch]) -> Batch:
    widths = {(np.shape(batch.source)[1], np.shape(batch.target)[1]) for batch in batches}
    if len(widths) != 1:
        raise InputError(
            f"runs that train together have batches of shapes {sorted(widths)} at one step; "
            "expected one shape"
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *batches)
