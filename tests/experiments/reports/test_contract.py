"""The reports read what evaluation writes, and the configuration as runs keep it."""

import json
from pathlib import Path

import numpy as np

from experiments.config import Config
from experiments.evaluation.alignments import Alignment
from experiments.evaluation.outcome import Item, assess
from experiments.reports.evidence import read_evidence
from experiments.reports.html import render
from experiments.training.folder import config_to_json
from tests.experiments.reports.fabricate import PRONUNCIATIONS


def test_the_files_of_a_run_are_understood(tmp_path: Path) -> None:
    items = [
        Item(index, word, said, said if index % 3 else "AH0", 2.0, len(said.split()) + 1, len(word))
        for index, (word, said) in enumerate(PRONUNCIATIONS.items())
    ]
    metrics = ["phoneme_error_rate", "word_error_rate"]
    outcome = assess(items, metrics, decoding="greedy", resamples=20)
    weights = np.full((3, 4), 0.25)
    alignment = Alignment(("c", "a", "t", "</s>"), ("K", "AE1", "</s>"), weights, 1, 1)
    config = Config()
    summary = {
        "examples_seen": 256, "tokens_seen": 2000, "train_seconds": 3.0, "compile_seconds": 1.0,
        "data_wait_seconds": 0.01, "padding": 0.1, "parameters": 5000,
    }  # fmt: skip
    for name, content in {
        "config.json": config_to_json(config),
        "summary.json": summary,
        "test.json": outcome.to_json(),
        "alignments.json": [alignment.to_json()],
    }.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "metrics.jsonl").write_text(
        '{"kind": "train", "step": 1, "examples": 128, "seconds": 1.5, "loss": 3.0}\n'
        '{"kind": "validation", "step": 2, "examples": 256, "seconds": 3.0, "nll": 2.5}\n'
    )

    evidence = read_evidence(tmp_path)
    (run,) = evidence.results.runs
    assert (run.model, run.seed, run.attends) == (config.model.name, config.train.seed, True)
    assert run.test["phoneme_error_rate"].value == outcome.metrics["phoneme_error_rate"]
    assert evidence.length_unit == "letters"
    assert evidence.missing == ()
    page = render(evidence)
    assert alignment.shown in page
    assert '<h3 lang="">cat</h3>' in page
