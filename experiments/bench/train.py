"""`bench train`: how fast attn trains, against the same architectures of PyTorch's own layers."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from attn.models import PAD
from experiments import tasks
from experiments.bench.command import command
from experiments.config import Config
from experiments.configs import MODELS, TASKS, for_task
from experiments.data.batches import Batch, Batches
from experiments.errors import InputError, expect_known
from experiments.machine import hardware, versions
from experiments.runs import sized
from experiments.tasks import Task
from experiments.tasks.registry import family_of
from experiments.training import folder as files

if TYPE_CHECKING:
    from experiments.bench.trainers import Trainer

COMPARED = ("seq2seq", "rnnsearch", "luong-dot", "luong-general", "transformer", "gpt")
"""The models that are written in PyTorch too."""
PAIRS = COMPARED[:-1]
"""Those that read a source; the last one is for language modelling."""


@dataclass(frozen=True)
class BenchTrain:
    """Measure how fast attn trains against PyTorch.

    Each model is built twice, by attn and from PyTorch's own layers (nn.LSTM, nn.GRU,
    nn.Transformer; gpt as nanoGPT has it, on F.scaled_dot_product_attention), at the same sizes and
    with the same optimizer. The two train in turns on the same batches of a task, so that whatever
    else the machine does slows both.
    PyTorch gets the number of threads that it is fastest with. Compilation is not in the times,
    placing batches is.
    """

    models: tuple[str, ...] = PAIRS
    """Also: gpt, for a task of language modelling."""
    parameters: int = 500_000
    """About so many in every model."""
    batch_size: int = 128
    steps: int = 25
    """Of a round, the same in every round."""
    rounds: int = 9
    """How often each of the two runs the steps."""
    task: str = "pronunciation"
    data_dir: str | None = None
    """Where prepared data is kept (None: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    output: Path = Path("runs/bench-train.json")
    """File for the figures, hardware and versions."""


@dataclass(frozen=True)
class Speed:
    """How fast one side trains one model; rates are medians over the rounds."""

    parameters: int
    workers: str
    """Devices or threads."""
    examples_per_second: float
    tokens_per_second: float
    """Target tokens predicted, `EOS` counted."""
    prepare_seconds: float
    """Compilation, for PyTorch the choice of a number of threads, and a round to warm up."""
    loss: float
    """Mean of the last round, nats a token: a sign of life. The sides start from initialisations
    of their own and PyTorch has trained longer by then, on choosing its threads."""
    seconds: list[float]
    """Of each round."""


@dataclass(frozen=True)
class Duel:
    """The two sides of one model."""

    model: str
    attn: Speed
    pytorch: Speed
    ratio: float
    """Examples per second of attn over PyTorch's: the median over the rounds of the ratio of
    neighbouring times."""
    lowest: float
    """Ratio of a round."""
    highest: float
    """Ratio of a round."""


def bench_train(asked: BenchTrain, console: Console) -> list[Duel]:
    """Measures, prints a table and writes `asked.output`.

    Raises:
        InputError: PyTorch is not installed, or an argument cannot be.
    """
    _check(asked)
    base = for_task(asked.task)
    base = replace(
        base,
        parameters=asked.parameters,
        task=replace(base.task, data_dir=asked.data_dir),
        train=replace(base.train, batch_size=asked.batch_size),
        # The same rate on both sides, whatever their schedules would be.
        optimizer=replace(base.optimizer, schedule="constant", warmup_steps=0),
    )
    task = tasks.load(base.task)
    duels = []
    for name in asked.models:
        with console.status(f"{name}: attn and PyTorch in turns"):
            duels.append(duel(name, base, task, asked.steps, asked.rounds))
    _write(asked, duels)
    console.print(_table(duels))
    console.print(f"figures: {asked.output}", soft_wrap=True)
    return duels


def _check(asked: BenchTrain) -> None:
    if find_spec("torch") is None:
        raise InputError("bench train needs PyTorch: install the extra with pip install '.[bench]'")
    if not asked.models or len(set(asked.models)) < len(asked.models):
        shown = " ".join(asked.models) or "none"
        raise InputError(f"models: got {shown}; expected at least one, each once")
    for name in asked.models:
        expect_known("model", name, COMPARED)
    expect_known("task", asked.task, TASKS)
    for name in asked.models:
        if (name == "gpt") != (family_of(for_task(asked.task).task.name).kind == "text"):
            raise InputError(
                f"models: got {name} for {asked.task}; expected gpt for tasks of language "
                "modelling alone, and it alone for them"
            )
    for field in ("batch_size", "steps", "rounds"):
        if getattr(asked, field) < 1:
            raise InputError(f"{field} is {getattr(asked, field)}; expected at least 1")


def duel(name: str, base: Config, task: Task, steps: int, rounds: int) -> Duel:
    """Trains a model's two versions in turns on the first batches of a task.

    Args:
        name: one of `COMPARED`.
        base: optimizer, batch size, parameter budget, seed.
        task: its training split and vocabularies are used.
        steps: of a round; the batches are the same in every round.
        rounds: that are timed.
    """
    from experiments.bench.trainers import AttnTrainer, TorchTrainer

    config = sized(replace(base, model=MODELS[name]), task)
    vocabularies = task.source.size, task.target.size
    settings = config.train
    make = Batches(task.splits["train"], settings.batch_size, settings.seed, config.task.buckets)
    batches = [make(step) for step in range(steps)]
    sides: list[Trainer] = [AttnTrainer(config, vocabularies), TorchTrainer(config, vocabularies)]
    prepare = [_timed(side, batches, prepare=True)[0] for side in sides]
    seconds: list[list[float]] = [[], []]
    losses: list[list[float]] = [[], []]
    for round_ in range(rounds):
        for k in (0, 1) if round_ % 2 == 0 else (1, 0):  # neither always runs after the other
            took, losses[k] = _timed(sides[k], batches)
            seconds[k].append(took)
    attn, pytorch = (_speed(sides[k], batches, prepare[k], seconds[k], losses[k]) for k in (0, 1))
    ratios = [theirs / ours for ours, theirs in zip(*seconds, strict=True)]
    return Duel(name, attn, pytorch, statistics.median(ratios), min(ratios), max(ratios))


def _timed(
    side: "Trainer", batches: Sequence[Batch], prepare: bool = False
) -> tuple[float, list[float]]:
    began = time.perf_counter()
    if prepare:
        side.prepare(batches)
    losses = side.run(batches)
    return time.perf_counter() - began, losses


def _speed(
    side: "Trainer",
    batches: Sequence[Batch],
    prepare: float,
    seconds: list[float],
    losses: list[float],
) -> Speed:
    typical = statistics.median(seconds)
    examples = sum(len(batch.index) for batch in batches)
    tokens = sum(int((np.asarray(batch.target)[:, 1:] != PAD).sum()) for batch in batches)
    loss = statistics.fmean(losses)
    return Speed(
        side.parameters,
        side.workers,
        examples / typical,
        tokens / typical,
        prepare,
        loss,
        seconds,
    )


def _write(asked: BenchTrain, duels: Sequence[Duel]) -> None:
    settings = {k: v for k, v in asdict(asked).items() if k not in ("output", "data_dir")}
    figures = {
        "bench": "train",
        "task": asked.task,
        "command": command("train", asked, ("output", "data_dir")),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": settings,
        "models": [asdict(duel) for duel in duels],
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(asked.output, figures)


def _table(duels: Sequence[Duel]) -> Table:
    title = "Training, attn against PyTorch: medians over rounds"
    table = Table("model", title=title, box=SIMPLE_HEAD, collapse_padding=True)
    for heading in ("examples/s", "PyTorch", "tokens/s", "PyTorch", "ratio", "range"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in duels:
        attn, pytorch = each.attn, each.pytorch
        table.add_row(
            each.model,
            f"{attn.examples_per_second:,.0f}",
            f"{pytorch.examples_per_second:,.0f}",
            f"{attn.tokens_per_second:,.0f}",
            f"{pytorch.tokens_per_second:,.0f}",
            f"{each.ratio:.2f}",
            f"{each.lowest:.2f}–{each.highest:.2f}",
        )
    return table
