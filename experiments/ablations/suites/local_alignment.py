"""Local attention with a predicted place survives reordering, a monotonic one not (Luong 2015)."""

from collections.abc import Sequence
from functools import partial

from attn.models import LuongConfig
from experiments.ablations.grid import chain, over, product
from experiments.ablations.measures import Lane, alignment_error, likelihoods
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.terms import loss, minus
from experiments.ablations.verdict import Contrast
from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig
from experiments.data.probes import alignment

LENGTH, BLOCKS = 12, (1, 4, 12)
"""Symbols of a source; how many neighbours are reversed: none, some, all."""
LOCAL = {"local-m": "monotonic", "local-p": "predictive"}


def measure(lane: Lane) -> dict[str, Sample]:
    """NLL, and how often the largest weight is not where the symbol comes from."""
    known = partial(alignment, block=lane.config.task.block)
    return {**likelihoods(lane), **alignment_error(lane, known)}


def figure(results: Results) -> Sequence[Plot]:
    """NLL and alignment error against the degree of reordering."""
    panels = []
    for quantity, unit in (("nll", "NLL, nats a token"), ("alignment error", "share of tokens")):
        curves = [
            curve(
                model,
                {str(b): results.variant(f"{model}, {b}").quantity(quantity) for b in BLOCKS},
                by_name=True,
            )
            for model in ("global", "local-m, 2", "local-p, 2")
        ]
        title, ticks = "Alignment error" if quantity != "nll" else "Loss", ["none", "by 4", "all"]
        panels.append(Plot(title, "symbols reversed", unit, curves, x_ticks=ticks))
    labels = ["global, location", "local-m, general", "local-p, general"]
    paper = published(SUITE.name, "luong2015", "alignment error rate", labels, [0, 1, 2], "Luong")
    ticks = ["location", "local-m", "local-p"]
    return [*panels, Plot("The paper", "", "AER", [paper], x_ticks=ticks, kind="points")]


SUITE = Suite(
    name="local_alignment",
    claim="A window at a predicted place follows any order of the source; one that moves along "
    "with the target fails where the order changes (Luong 2015)",
    mode="NLL and alignments teacher-forced, against known permutations",
    base=Config(
        task=TaskConfig("permutation", length=LENGTH, symbols=8, buckets=1),
        model=LuongConfig(width=48, init_scale=0.2),
        optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=50),
        train=TrainConfig(batch_size=64, examples=64_000),
        search=SearchConfig(max_length=LENGTH + 1),
    ),
    grid=chain(
        product(over("model.local", **{"global": None}), over("task.block", *BLOCKS)),
        product(over("model.local", **LOCAL), over("model.window", 2), over("task.block", *BLOCKS)),
        product(over("model.local", **LOCAL), over("model.window", 1), over("task.block", LENGTH)),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "local-m minus local-p where all is reversed, D = 2, nats a token",
            minus(loss("local-m, 2, 12"), loss("local-p, 2, 12")),
            "local-m equals local-p under full reversal",
            matters=0.05,  # what separates them in the paper at all: log 6.2 / 5.9
        ),
    ),
    budgets={"cpu": Budget(), "gpu": Budget({"train.examples": 256_000}, {"model.width": 128})},
    figure=figure,
)
