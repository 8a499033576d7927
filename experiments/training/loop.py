"""The training loop: dispatch a step, read the one before, then log? evaluate? save?

It knows no model, no task and no kernel by name. All it carries from step to step is the state, a
few totals and the step's number, and all of these are in every checkpoint: a run that is stopped
at any instant and started again ends in the same bits as one that never was.
"""

import dataclasses
import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from rich.console import Console

from attn.models import count_parameters
from experiments.checks import check
from experiments.config import Config
from experiments.data.batches import Batch, Batches
from experiments.data.stream import Stream
from experiments.errors import InputError
from experiments.evaluation.evaluate import Evaluator
from experiments.hosts import meet
from experiments.tasks.task import Task
from experiments.training import folder as files
from experiments.training import tracking
from experiments.training.checkpoint import Checkpoints, best_step
from experiments.training.errors import DivergedError
from experiments.training.journal import errors_noted, note_launch
from experiments.training.profile import Profile
from experiments.training.progress import Display
from experiments.training.sharded import machine_of
from experiments.training.signals import Interrupted, StopRequest
from experiments.training.step import Metrics, TrainState, initialise, make_train_step
from experiments.training.writers import NoWriters, Writers


@dataclass(frozen=True)
class Summary:
    """A finished run; the JSON of `summary.json`."""

    steps: int
    examples_seen: int
    tokens_seen: int
    """Target tokens predicted, `EOS` counted."""
    train_seconds: float
    """Without compilation and evaluation."""
    compile_seconds: float
    data_wait_seconds: float
    padding: float
    """The fraction of positions, source and target, that hold `PAD`."""
    parameters: int
    best_step: int
    """Of the checkpoint with the lowest validation loss."""


@dataclass
class Totals:
    """What is summed over a run, and since the last line of metrics."""

    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    data_wait_seconds: float = 0.0
    line_loss: float = 0.0
    line_tokens: int = 0
    line_seconds: float = 0.0
    """`seconds` at the last line."""


def train(
    config: Config, task: Task, folder: Path, *, console: Console | None = None, command: str = ""
) -> Summary:
    """Trains a model in a run's folder, from the start or from where it was stopped.

    Args:
        config: the whole run, its model already sized to `parameters` if that is given; of
            `config.task` only the number of buckets is used.
        task: splits "train" and "validation", and the sizes of the two vocabularies.
        folder: new, empty but for the tokenizer, or of a run with the same configuration. If that
            run is finished, nothing is done.
        console: where progress is shown (None: standard error).
        command: how to make it again, kept with the run.

    Raises:
        InputError: numbers that cannot be, a folder that is another run's or in use, a disk that
            is full.
        DivergedError: the loss, its gradients or the parameters are NaN or infinite.
        Interrupted: SIGTERM or SIGINT came; a checkpoint is written.
    """
    check(config)
    _check_size(config, task)
    primary = jax.process_index() == 0
    with files.claimed(folder, files.config_to_json(config), primary), errors_noted(folder):
        meet(f"{folder} is claimed")  # the others must not write before
        summary = folder / files.SUMMARY
        if summary.exists():
            return Summary(**json.loads(summary.read_text("utf-8")))
        if primary:
            note_launch(folder, command)
        return _Run(config, task, folder, console or Console(stderr=True)).finish()


class _Run:
    """One process's share of a run."""

    def __init__(self, config: Config, task: Task, folder: Path, console: Console):
        self.config, self.settings, self.folder = config, config.train, folder
        self.steps = -(-config.train.examples // config.train.batch_size)
        self.machine = machine_of(config)

        def build() -> nnx.Module:
            rngs = nnx.Rngs(config.train.seed)
            return config.model.build(task.source.size, task.target.size, rngs)

        def begin() -> TrainState:
            return initialise(nnx.split(build())[1], config, self.steps)

        graphdef, params = nnx.split(nnx.eval_shape(build))
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
        step = make_train_step(graphdef, config, self.steps, self.machine.axis)
        self.train_step = self.machine.spread(step)
        self.evaluator = Evaluator(graphdef, task, config.search, self.machine.evaluating)
        self.batches = Batches(
            task.splits["train"],
            config.train.batch_size,
            config.train.seed,
            config.task.buckets,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

        self.checkpoints = Checkpoints(folder / files.CHECKPOINTS, config.train.keep)
        found = self.checkpoints.restore(jax.eval_shape(begin))
        self.state: TrainState = (
            self.machine.begin(begin) if found is None else self.machine.place(found.state)
        )
        self.start = 0 if found is None else found.step
        self.totals = Totals() if found is None else Totals(**found.record)

        primary = jax.process_index() == 0
        self.writers = self._writers() if primary else NoWriters()
        self.display = Display(
            console if primary else Console(quiet=True), folder.name, self.start, self.steps
        )
        self.pending: tuple[int, Batch, Metrics] | None = None
        self.clock = time.perf_counter()

    def _writers(self) -> Writers:
        mode, told = self.settings.wandb, files.config_to_json(self.config)
        tracker = None if mode is None else tracking.Tracking(self.folder, mode, told)
        return Writers(self.folder, self.start, tracker)

    def finish(self) -> Summary:
        """Trains to the end and leaves the summary."""
        try:
            with self.display, StopRequest() as stop:
                if self.start:
                    self.display.say(f"goes on from step {self.start}")
                if self.start < self.steps:
                    self._train(stop)
                self.checkpoints.wait()
        finally:
            self.writers.close()
            self.checkpoints.close()
        summary = Summary(
            steps=self.steps,
            examples_seen=self.totals.examples,
            tokens_seen=self.totals.tokens,
            train_seconds=self.totals.seconds,
            compile_seconds=self.totals.compile_seconds,
            data_wait_seconds=self.totals.data_wait_seconds,
            padding=self.batches.padding,
            parameters=self.parameters,
            best_step=best_step(self.folder / files.CHECKPOINTS),
        )
        if jax.process_index() == 0:
            files.write_json(self.folder / files.SUMMARY, dataclasses.asdict(summary))
        return summary

    def _train(self, stop: StopRequest) -> None:
        """Compiles all shapes ahead, so that no step's time holds a compilation; then steps."""
        stream = Stream(self.batches, self.start, self.steps)  # reads ahead from here on
        began = time.perf_counter()
        self.machine.compile(self.train_step, self.state, self.batches.blanks())
        self.totals.compile_seconds += time.perf_counter() - began
        with jax.transfer_guard("disallow"):
            self._loop(stream, stop)

    def _loop(self, stream: Stream, stop: StopRequest) -> None:
        profile = Profile(self.folder, self.start, self.steps, self.settings.profile)
        self.clock = time.perf_counter()
        try:
            for step in range(self.start, self.steps):
                self._heed(stop, step)
                batch = self._next(stream)
                profile.before(step)
                self.state, metrics = self.train_step(self.state, self.machine.place_batch(batch))
                profile.after(step, metrics)
                # Read only now, while the devices are busy with the step just dispatched.
                self._settle()
                self.pending = (step + 1, batch, metrics)
                self._after(step + 1)
        finally:
            profile.close()

    def _after(self, done: int) -> None:
        """What falls due after `done` steps."""
        evaluated = self._due(done, self.settings.evaluate_every)
        if evaluated or self._due(done, self.settings.save_every):
            self._settle()
            # An evaluated state may be the best there will be, so it is always saved.
            self._save(done, self._evaluate(done) if evaluated else None)

    def _due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.steps

    def _next(self, stream: Stream) -> Batch:
        waited = stream.seconds_waited
        batch = next(stream)
        self.totals.data_wait_seconds += stream.seconds_waited - waited
        return batch

    def _settle(self) -> None:
        """Reads the numbers of the step last dispatched; waits until it is done."""
        if self.pending is None:
            return
        (done, batch, metrics), self.pending = self.pending, None
        metrics = jax.device_get(metrics)
        if not metrics.finite:
            self._diverged(done, batch, metrics)
        self._tick()
        totals = self.totals
        totals.examples += int(metrics.examples)
        totals.tokens += int(metrics.tokens)
        totals.line_tokens += int(metrics.tokens)
        totals.line_loss += float(metrics.loss)
        self.display.advance(done)
        if self._due(done, self.settings.log_every):
            self._log(done, metrics)

    def _log(self, done: int, metrics: Metrics) -> None:
        totals = self.totals
        loss = totals.line_loss / max(totals.line_tokens, 1)
        pace = totals.line_tokens / max(totals.seconds - totals.line_seconds, 1e-9)
        line = {
            **self._so_far(),
            "tokens": totals.tokens,
            "loss": loss,
            "learning_rate": float(metrics.learning_rate),
            "gradient_norm": float(metrics.gradient_norm),
            "tokens_per_second": pace,
        }
        self.writers.write("train", done, line)
        self.display.report(done, loss, pace)
        totals.line_loss, totals.line_tokens, totals.line_seconds = 0.0, 0, totals.seconds

    def _evaluate(self, done: int) -> float:
        """Negative log-likelihood of the validation split, nats a token."""
        found = self.evaluator.likelihood(self.machine.evaluated(self.state.evaluated))
        self.writers.write("validation", done, {**self._so_far(), **found})
        self.clock = time.perf_counter()  # evaluation is not training time
        return found["nll"]

    def _save(self, done: int, nll: float | None = None) -> None:
        self.checkpoints.save(
            done, self.machine.host(self.state), dataclasses.asdict(self.totals), nll
        )

    def _heed(self, stop: StopRequest, done: int) -> None:
        """Saves and stops if that was asked for."""
        if not (stop.signal or self.checkpoints.preempted(done)):
            return
        self._settle()
        self._save(done)
        self.checkpoints.wait()
        raise Interrupted(stop.signal or signal.SIGTERM, done)

    def _so_far(self) -> dict[str, Any]:
        return {"examples": self.totals.examples, "seconds": self.totals.seconds}

    def _tick(self) -> None:
        """Adds the time since the last tick to the training time."""
        now = time.perf_counter()
        self.totals.seconds += now - self.clock
        self.clock = now

    def _diverged(self, done: int, batch: Batch, metrics: Metrics) -> None:
        last = self.checkpoints.latest()
        checkpoint = None if last is None else self.folder / files.CHECKPOINTS / str(last)
        examples = sorted(int(index) for index in batch.index if index >= 0)
        raise DivergedError(metrics, done, examples, checkpoint)


def _check_size(config: Config, task: Task) -> None:
    """Refuses a model that is not as large as its configuration says."""
    if config.parameters is not None:
        found = count_parameters(config.model, task.source.size, task.target.size)
        if abs(found - config.parameters) > 0.05 * config.parameters:
            raise InputError(
                f"parameters is {config.parameters:,}, but the {config.model.name} given has "
                f"{found:,}; expected one within 5% of it (attn.models.fit finds the width)"
            )
