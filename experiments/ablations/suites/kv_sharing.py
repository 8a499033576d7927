"""Heads can share keys and values: little is lost, decoding is far cheaper (Shazeer 2019)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attn.models import DecoderConfig
from experiments.ablations.grid import chain, over, product
from experiments.ablations.measures import Lane, decode_speed, likelihoods
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import verses_text
from experiments.ablations.suites.terms import Term, loss, minus
from experiments.ablations.verdict import Contrast

MODEL = DecoderConfig(width=64, layers=2, heads=8, dropout=0.0, positions="rope")
SHARED = (8, 2, 1)
"""Heads of keys and values, of 8."""
VARIANTS = (*(f"8, {n} shared" for n in SHARED), "1, head of 8")


def measure(lane: Lane) -> dict[str, Sample]:
    """The loss, and what a cached decoding step costs beside one with 8 heads of their own."""
    own = replace(MODEL, width=lane.config.model.width)
    cost = decode_speed(lane, own, batch=16, length=2048, rounds=3)
    return {**likelihoods(lane), **cost}


def saving(scores_of: str) -> Term:
    """Nats by which a decoding step is faster than with 8 heads of their own."""
    return lambda scores: -np.log(scores.scores(scores_of, "decode time ratio"))


def figure(results: Results) -> Sequence[Plot]:
    """Quality and cost, variant by variant."""
    ticks = ["8 (MHA)", "2 (GQA)", "1 (MQA)", "1 head of 8"]
    panels = [
        Plot(title, "", unit,
             [curve("all seeds", {v: results.variant(v).quantity(q) for v in VARIANTS}, True)],
             x_ticks=ticks, kind="points")
        for q, title, unit in (
            ("nll", "Quality", "NLL, nats a letter"),
            ("decode time ratio", "Time of a step, to MHA's", "ratio"),
            ("cache bytes ratio", "Cache, to MHA's", "ratio"),
        )
    ]  # fmt: skip
    labels = ["MHA, 8 heads", "MQA, 8 heads", "1 head of 128"]
    paper = published(SUITE.name, "shazeer2019", "nats per token", labels, [0, 1, 2], "Shazeer")
    ticks = ["MHA", "MQA", "1 head"]
    return [*panels, Plot("The paper", "", "nats a token", [paper], x_ticks=ticks, kind="points")]


SUITE = Suite(
    name="kv_sharing",
    claim="Eight heads that share one key and value, with the feed-forward layer widened to match, "
    "lose less than one head of the same cache, and decode much faster than eight with their own "
    "(Shazeer 2019)",
    mode="NLL teacher-forced; decoding timed with 2,048 tokens cached at batch 16, on this machine",
    base=replace(
        verses_text(),
        parameters=120_000,
        model=MODEL,
    ),
    grid=chain(
        product(
            over("model.heads", 8),
            over("model.kv_heads", **{f"{n} shared": n for n in SHARED}),
        ),
        product(over("model.heads", 1), over("model.head_width", **{"head of 8": 8})),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "one head minus 8 heads on one key and value, nats a letter",
            minus(loss("1, head of 8"), loss("8, 1 shared")),
            "sharing is worse than having fewer heads",
            matters=0.02,  # a quarter of the paper's 1.518 - 1.439
        ),
        Contrast(
            "speed of decoding with one key and value to that with 8, log",
            saving("8, 1 shared"),
            "decoding is not faster at large batch and length",
            matters=float(np.log(1.5)),  # the paper has a factor of 12
        ),
    ),
    budgets={"cpu": Budget(), "gpu": Budget({"train.examples": 320_000})},
    figure=figure,
)
