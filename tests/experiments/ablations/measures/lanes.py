"""Lanes of tiny models whose training is made up: parameters that were moved at random."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from attn.models import ModelConfig
from experiments.ablations.measures import Lane
from experiments.ablations.statistics import Sample
from experiments.config import Config, SearchConfig
from experiments.data.batches import Examples
from experiments.data.tokenizers import Symbols
from experiments.evaluation.evaluate import Evaluator
from experiments.evaluation.metrics import METRICS
from experiments.tasks.task import Task

LETTERS = "abcdefgh"


def lane_of(config: ModelConfig, task: Task, model: Any = None) -> Lane:
    """A lane of a configuration's model, or of another one."""
    model = model or config.build(task.source.size, task.target.size, nnx.Rngs(0))
    graphdef, start = nnx.split(model)
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.3 * random.normal(size=x.shape).astype("f"), start)
    search = SearchConfig(max_length=12)
    evaluator = Evaluator(graphdef, task, search)
    return Lane(graphdef, params, start, task, Config(model=config, search=search), evaluator)


def classes(texts: list[str], labels: list[str]) -> Task:
    """Words of letters in two classes."""
    source, target = Symbols(LETTERS, "character"), Symbols(["x", "y"], "word")
    split = Examples.of(texts, labels, map(source.encode, texts), map(target.encode, labels))
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return Task("classes", source, target, splits, ("accuracy",), kind="class")


def running(chunks: list[str]) -> Task:
    """A text of letters."""
    letters = Symbols(LETTERS, "character")
    empty = [""] * len(chunks)
    split = Examples.of(empty, chunks, map(letters.encode, empty), map(letters.encode, chunks))
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return Task("running", letters, letters, splits, ("bits_per_character",), kind="text")


def score(sample: Sample) -> float:
    """Of all items."""
    sums = sample.statistics.sum(axis=0)
    return sums[0] / sums[1] if sample.metric == "mean" else METRICS[sample.metric].score(sums)
