"""Attention is a short path for gradients, recurrence a long one (Bahdanau et al. 2014)."""

from collections.abc import Sequence

import numpy as np

from attn.models import RecurrentReaderConfig
from experiments.ablations.grid import over, product
from experiments.ablations.measures import Lane, gradient_by_lag, outputs
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve
from experiments.ablations.statistics import Sample, Scores
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.terms import Term, minus, slope
from experiments.ablations.verdict import Contrast
from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig

CELLS, POOLS, LENGTHS = ("rnn", "lstm", "gru"), ("alone", "attention"), (20, 60)
LAGS = (1, 5, 10, 15, 20)
FAR = (1, 10, 20, 30, 40, 50, 60)


def measure(lane: Lane) -> dict[str, Sample]:
    """Accuracy, and the gradient by how long ago a symbol was read."""
    lags = FAR if lane.config.task.length == LENGTHS[-1] else LAGS
    return {**outputs(lane, ("accuracy",)), **gradient_by_lag(lane, lags)}


def decay(variant: str) -> Term:
    """Of the gradient before training: nats that its norm loses with each step back."""

    def log_norm(lag: int) -> Term:
        def of(scores: Scores) -> np.ndarray:
            norm = scores.scores(variant, f"gradient @ {lag}")
            return -np.log(np.maximum(norm, np.finfo(np.float32).tiny))

        return of

    return slope(FAR, [log_norm(lag) for lag in FAR])


def figure(results: Results) -> Sequence[Plot]:
    """Log gradient against lag, before training; success against length."""
    far = LENGTHS[-1]
    gradients = [
        curve(f"{cell}, {pool}", results.variant(f"{cell}, {pool}, {far}").conditions("gradient"))
        for cell in CELLS
        for pool in POOLS
    ]
    success = [
        curve(
            f"{cell}, {pool}",
            {str(n): results.variant(f"{cell}, {pool}, {n}").quantity("accuracy") for n in LENGTHS},
        )
        for cell in CELLS
        for pool in POOLS
    ]
    return [
        Plot("Before training", "steps back", "norm of the gradient", gradients, y_log=True),
        Plot("Temporal order, after training", "symbols read", "right, %", success),
    ]


SUITE = Suite(
    name="gradient_path",
    claim="The gradient by what was read long ago dies out in a recurrent network, also in an "
    "LSTM, and not where attention looks back at it (Bahdanau 2014; Hochreiter 1997)",
    mode="gradients at initialisation; accuracy free-running",
    base=Config(
        task=TaskConfig("order", buckets=1),
        model=RecurrentReaderConfig(),
        parameters=40_000,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50),
        train=TrainConfig(batch_size=64, examples=19_200),
        search=SearchConfig(max_length=3, items=500),
    ),
    grid=product(
        over("model.cell", *CELLS),
        over("model.pool", alone="last", attention="attention"),
        over("task.length", *LENGTHS),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "decay of the LSTM's gradient minus that with attention, nats a step",
            minus(decay("lstm, alone, 60"), decay("lstm, attention, 60")),
            "with attention the gradient decays as fast as the LSTM's",
            matters=0.02,  # a factor of 3 over 60 steps
        ),
    ),
    budgets={"cpu": Budget(), "gpu": Budget({"train.examples": 640_000})},
    figure=figure,
)
