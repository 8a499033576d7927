"""Biases on scores read longer texts than those of training; sinusoids do not (Press 2021)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attn.models import DecoderConfig
from experiments.ablations.grid import over
from experiments.ablations.measures import Lane, extrapolation
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import verses_text
from experiments.ablations.suites.terms import loss, minus
from experiments.ablations.verdict import Contrast

POSITIONS = ("none", "learned", "sinusoidal", "rope", "alibi", "t5")
TRAINED = 64
LENGTHS = (TRAINED, 2 * TRAINED, 4 * TRAINED)


def measure(lane: Lane) -> dict[str, Sample]:
    """NLL at one, two and four times the length of training."""
    return extrapolation(lane, LENGTHS, tokens=40_000)


def figure(results: Results) -> Sequence[Plot]:
    """NLL against the length of what is read, for windows side by side and sliding ones."""
    panels = [
        Plot(
            title, "tokens read at once", "NLL, nats a letter",
            [curve(v.name, v.conditions(quantity)) for v in results.variants],
        )
        for quantity, title in (
            ("nll", f"Trained at {TRAINED}, windows side by side"),
            ("sliding nll", "Windows that slide by half"),
        )
    ]  # fmt: skip
    lengths = ["532", "602", "15512"]
    paper = [
        published(
            SUITE.name,
            "press2021",
            "perplexity",
            lengths,
            [532, 602, 15512],
            "sinusoidal, from 512",
        )
    ]
    title = "The paper, WikiText-103"
    return [*panels, Plot(title, "tokens", "perplexity", paper, x_log=True, y_log=True)]


SUITE = Suite(
    name="positions_extrapolate",
    claim="Trained on short texts, a model with ALiBi reads longer ones as well; one with "
    "sinusoidal positions does not (Press 2021)",
    mode="NLL teacher-forced, of letters",
    base=replace(
        verses_text(),
        model=DecoderConfig(width=64, layers=2, heads=4, dropout=0.0, max_length=512),
    ),
    grid=over("model.positions", *POSITIONS),
    measure=measure,
    contrasts=(
        Contrast(
            "sinusoidal: log perplexity at 4 times the length minus at the length of training",
            minus(loss("sinusoidal", f"nll @ {LENGTHS[-1]}"), loss("sinusoidal", "nll @ 64")),
            "sinusoidal at 4L is within 10% of the perplexity at L",
            threshold=float(np.log(1.1)),
            matters=0.02,
        ),
        Contrast(
            "sinusoidal minus ALiBi at 4 times the length, nats",
            minus(
                loss("sinusoidal", f"nll @ {LENGTHS[-1]}"), loss("alibi", f"nll @ {LENGTHS[-1]}")
            ),
            "ALiBi is worse than sinusoidal",
            matters=0.02,  # half of the paper's gain at its own training length, log 18.67 / 17.96
        ),
    ),
    budgets={"cpu": Budget(), "gpu": Budget({"train.examples": 320_000, "train.batch_size": 64})},
    figure=figure,
)
