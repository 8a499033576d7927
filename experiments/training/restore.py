"""The model that a run has learned."""

from dataclasses import dataclass
from pathlib import Path

import jax
from flax import nnx

from attn.typing import PyTree
from experiments.config import Config
from experiments.training import folder as files
from experiments.training.checkpoint import best
from experiments.training.step import initialise


@dataclass(frozen=True)
class Trained:
    """A model: `nnx.merge(graphdef, params)`."""

    config: Config
    graphdef: nnx.GraphDef
    params: PyTree
    """Host arrays; the moving average where the run kept one."""
    step: int
    """Steps taken when they were saved."""
    nll: float | None
    """On the validation split then, nats a token; None if the run never evaluated."""


def load_best(folder: Path, source_vocabulary: int, target_vocabulary: int) -> Trained:
    """The parameters with the lowest validation loss of a run, finished or not.

    A damaged checkpoint is passed over with a warning; then it is the best of the others.

    Args:
        folder: of the run.
        source_vocabulary: size of the vocabulary it was trained with.
        target_vocabulary: likewise.

    Raises:
        InputError: it is no run's folder, or holds no sound checkpoint.
    """
    config = files.read_config(folder)

    def build() -> nnx.Module:
        return config.model.build(source_vocabulary, target_vocabulary, nnx.Rngs(0))

    graphdef, params = nnx.split(nnx.eval_shape(build))
    template = jax.eval_shape(lambda params: initialise(params, config, steps=1), params)
    found = best(folder / files.CHECKPOINTS, template)
    return Trained(config, graphdef, found.state.evaluated, found.step, found.nll)
