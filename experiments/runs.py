"""One run from its configuration to its scores; everything is kept in its folder."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from attn.models import count_parameters, fit
from experiments import tasks
from experiments.config import Config, SearchConfig
from experiments.errors import InputError
from experiments.evaluation.alignments import choose
from experiments.evaluation.evaluate import Evaluator
from experiments.evaluation.heads import keep_heads
from experiments.evaluation.outcome import Evaluation
from experiments.evaluation.translate import Translator
from experiments.tasks import Task
from experiments.training import folder as files
from experiments.training.journal import errors_noted
from experiments.training.loop import Summary, train
from experiments.training.restore import Trained, load_best
from experiments.training.sharded import mesh_of

TEST, ALIGNMENTS = files.TEST, "alignments.json"
SHOWN = 6
"""Test items whose alignments are kept for the report."""


def sized(config: Config, task: Task) -> Config:
    """The configuration with its model at the width that its parameter budget asks for.

    Raises:
        InputError: no width comes near, or the model cannot be built.
    """
    vocabularies = task.source.size, task.target.size
    try:
        if config.parameters is None:
            count_parameters(config.model, *vocabularies)
            return config
        return replace(config, model=fit(config.model, config.parameters, *vocabularies))
    except ValueError as error:
        raise InputError(str(error)) from error


def train_run(
    config: Config, task: Task, folder: Path, console: Console, command: str = ""
) -> Summary:
    """Trains to the end, from wherever the folder's run stands.

    Args:
        config: of the run.
        task: what it learns.
        folder: of the run.
        console: where progress is shown.
        command: how to make it again, kept with the run.
    """
    if jax.process_index() == 0:
        task.save(folder)
    return train(sized(config, task), task, folder, console=console, command=command)


def load_run(folder: Path) -> tuple[Trained, Task]:
    """A run's best model and its task.

    Raises:
        InputError: it is no run's folder, or holds no sound checkpoint.
    """
    task = tasks.load(files.read_config(folder).task, folder)
    return load_best(folder, task.source.size, task.target.size), task


def test_run(folder: Path, task: Task) -> Evaluation:
    """Scores a finished run's best model on the test split, once: later calls read what was kept.

    Leaves `test.json` and, for a model that attends while it writes, `alignments.json`; for one
    that shows the weights of every head, `heads.json` and `heads.npz`.
    """
    path = folder / TEST
    config = files.read_config(folder)
    if path.exists():
        return Evaluation.from_json(json.loads(path.read_text("utf-8")))
    with errors_noted(folder):
        evaluation = _test(folder, task, config.search)
        if jax.process_index() == 0:  # all hosts score, the first one keeps
            files.write_json(path, evaluation.to_json())
    return evaluation


def evaluate_run(folder: Path, split: str, search: SearchConfig) -> Evaluation:
    """Scores a run's best model on a split, searching as told."""
    trained, task = load_run(folder)
    evaluator = Evaluator(trained.graphdef, task, search, mesh_of(trained.config))
    return evaluator.evaluate(trained.params, split)


def run_record(folder: Path, label: str, seed: int, evaluation: Evaluation) -> dict:
    """A run's entry in `results.json`."""
    summary = json.loads((folder / files.SUMMARY).read_text("utf-8"))
    kept = ("parameters", "examples_seen", "tokens_seen", "train_seconds", "compile_seconds")
    found = evaluation.to_json()
    return {
        "model": label,
        "seed": seed,
        **{name: summary[name] for name in (*kept, "data_wait_seconds", "padding")},
        "test": found["metrics"],
        "intervals": found["intervals"],
        "by_length": found["by_length"],
        "folder": folder.name,
        "decoding": evaluation.decoding,
        **({} if evaluation.attends is None else {"attends": evaluation.attends}),
    }


def _test(folder: Path, task: Task, search: SearchConfig) -> Evaluation:
    trained = load_best(folder, task.source.size, task.target.size)
    evaluator = Evaluator(trained.graphdef, task, search, mesh_of(trained.config))
    evaluation = evaluator.evaluate(trained.params, "test")
    if jax.process_index() == 0:
        if task.searched:
            _keep_alignments(folder, trained, task, evaluation, search)
        keep_heads(folder, trained.graphdef, trained.params, task, search)
    return evaluation


def _keep_alignments(
    folder: Path, trained: Trained, task: Task, evaluation: Evaluation, search: SearchConfig
) -> None:
    lengths = np.array([item.source_length for item in evaluation.items])
    texts = [evaluation.items[at].source for at in choose(lengths, SHOWN)]
    found = Translator(trained.graphdef, trained.params, task, search)(texts)
    kept = [each.alignment.to_json() for each in found if each.alignment is not None]
    if kept:
        files.write_json(folder / ALIGNMENTS, kept)
