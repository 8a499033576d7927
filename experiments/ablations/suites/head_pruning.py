"""Most heads can go, those that look at the source last (Michel 2019; Voita 2019)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attn.models import TransformerConfig
from experiments.ablations.grid import over
from experiments.ablations.measures import Lane, head_importance
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import Sample, Scores
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import (
    GPU_MODEL,
    PAPER_TRANSFORMER,
    on_gpu,
    pronunciation_by_transformers,
    wmt14,
)
from experiments.ablations.suites.terms import Term, minus
from experiments.ablations.verdict import Contrast

KINDS, MATTERS = ("encoder", "decoder", "cross"), 0.02
"""Kinds of attention; nats a token whose loss makes a head one that matters."""


def measure(lane: Lane) -> dict[str, Sample]:
    """The loss without each head, and with each alone in its layer."""
    return head_importance(lane)


def cost(what: str, kind: str = "") -> Term:
    """Nats lost without each head, or with it alone: [heads, 1 + resamples]."""

    def of(scores: Scores) -> np.ndarray:
        names = [n for n in scores.quantities("4") if n.startswith(f"{what} {kind}")]
        return np.stack([scores.scores("4", n) for n in names]) - scores.scores("4", "nll")

    return of


def needless(scores: Scores) -> np.ndarray:
    """The share of heads that can go one at a time."""
    return np.asarray((cost("without")(scores) < MATTERS).mean(axis=0))


def alone(kind: str) -> Term:
    """Nats lost in the layer that suffers most where its best head is alone."""

    def of(scores: Scores) -> np.ndarray:
        layers = cost("only", kind)(scores).reshape(-1, 4, 1 + scores.resamples)
        return np.asarray(layers.min(axis=1).max(axis=0))

    return of


def alone_most(scores: Scores) -> np.ndarray:
    """The same of self-attention on either side, the worse of the two."""
    return np.maximum(alone("encoder")(scores), alone("decoder")(scores))


def figure(results: Results) -> Sequence[Plot]:
    """Nats lost without each head, and with it alone in its layer."""
    variant = results.variants[0]
    panels = []
    for what, title in (("without", "A head silenced"), ("only", "A head alone in its layer")):
        curves = []
        for kind in KINDS:
            found = {n: q for n, q in variant.quantities.items() if n.startswith(f"{what} {kind}")}
            places = {str(place): quantity for place, quantity in enumerate(found.values())}
            curves.append(curve(kind, places))
        panels.append(Plot(title, "head, layer by layer", "NLL, nats a token", curves))
    labels = ["encoder, layer 1", "encoder-decoder, layer 6"]
    paper = published(SUITE.name, "michel2019", "change of BLEU", labels, range(2), "Michel 2019")
    ticks = ["encoder", "cross"]
    return [*panels, Plot("The paper", "", "change of BLEU", [paper], x_ticks=ticks, kind="points")]


SUITE = Suite(
    name="head_pruning",
    claim="Most heads of a trained Transformer can be removed one at a time at no cost; attention "
    "to the source can be thinned least (Michel 2019; Voita 2019)",
    mode="NLL teacher-forced",
    base=replace(
        pronunciation_by_transformers(),
        search=replace(pronunciation_by_transformers().search, items=1000),
    ),
    grid=over("model", **{"4": TransformerConfig(width=64, layers=3, heads=4, dropout=0.0)}),
    measure=measure,
    contrasts=(
        Contrast(
            f"share of heads that cost less than {MATTERS} nats, minus one half",
            lambda scores: needless(scores) - 0.5,
            "over half of the heads matter",
            matters=0.1,  # two fifths of the paper's: 88 of 96 are needless
        ),
        Contrast(
            "a layer's best head alone: cross- minus self-attention, nats a token",
            minus(alone("cross"), alone_most),
            "cross-attention suffers no more than self-attention",
            matters=0.02,
        ),
    ),
    budgets={
        "cpu": Budget({"train.examples": 128_000}),  # the claim is of trained models
        "gpu": Budget(on_gpu(None), GPU_MODEL, seeds=(0, 1, 2)),
        "paper": Budget(
            wmt14(parameters=None),
            PAPER_TRANSFORMER,
            seeds=(0, 1, 2), together=1,
        ),
    },
    figure=figure,
)  # fmt: skip
