"""One model of a group that was trained, and what measures of it have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from attn.typing import PyTree
from experiments.ablations.statistics import Sample
from experiments.config import Config
from experiments.evaluation.evaluate import Evaluator
from experiments.tasks.task import Task

ITEMS = 256
"""Test items that costly measures look at."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One seed of one variant.

    A measure is a function of a lane that returns a sample for each quantity: "nll", or a quantity
    at a condition, "nll @ 5-6". Its items are the same for all lanes of a task, in the same order:
    where variants have different tasks, so have their quantities different names.
    """

    graphdef: nnx.GraphDef
    params: PyTree
    """After training."""
    start: PyTree
    """The same before it."""
    task: Task
    config: Config
    evaluator: Evaluator
    """Of `graphdef` and `task`: lanes of one group share it, so that nothing is compiled twice."""


def mean(values: np.ndarray, counts: np.ndarray | None = None) -> Sample:
    """A sample whose score is the sum of `values` over that of `counts` (None: 1 an item)."""
    counts = np.ones(len(values)) if counts is None else counts
    return Sample(np.stack([values, counts], axis=1).astype(np.float64), "mean")


def leaf_name(path: Any) -> str:
    """A parameter's name, as in "encoder.0.attention.out.kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def map_named(function: Callable[[str, Any], Any], params: PyTree) -> PyTree:
    """The parameters with each array replaced by `function` of its name and itself."""
    return jax.tree_util.tree_map_with_path(lambda path, x: function(leaf_name(path), x), params)
