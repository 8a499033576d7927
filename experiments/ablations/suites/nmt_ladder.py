"""Reversal, attention, input feeding and the Transformer each add (Luong 2015; Vaswani 2017).

Two cores cannot carry translation: in 15 minutes, five models from five seeds stay at 1 to 4 BLEU
on the verses, where a difference says nothing. There the ladder is of pronunciation.
"""

from collections.abc import Sequence
from dataclasses import replace

from attn.models import LuongConfig, Seq2SeqConfig, TransformerConfig
from experiments.ablations.grid import over
from experiments.ablations.measures import Lane, outputs
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, main_metric, named, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import GPU_MODEL, PAPER_MODEL, on_gpu, pronunciation, wmt14
from experiments.ablations.suites.terms import errors, minus
from experiments.ablations.verdict import Contrast


def measure(lane: Lane) -> dict[str, Sample]:
    """The task's own metric and the NLL."""
    return outputs(lane, lane.task.metrics[:1])


def figure(results: Results) -> Sequence[Plot]:
    """A rung of the ladder beside another, and the papers'."""
    panels = []
    for metric in (main_metric(results), "nll"):
        ours = {v.name: v.quantity(metric) for v in results.variants}
        rungs = [curve("all seeds", ours, by_name=True)]
        panels.append(Plot(named(metric), "", "", rungs, x_ticks=list(ours), kind="points"))
    labels = ["base", "+ reverse", "+ dropout", "+ global attention (location)", "+ input feeding"]
    paper = published(SUITE.name, "luong2015", "BLEU", labels, range(5), "Luong 2015")
    ticks = ["base", "reversed", "+ dropout", "+ attention", "+ input feeding"]
    title = "The paper, English-German"
    return [*panels, Plot(title, "", "BLEU", [paper], x_ticks=ticks, kind="points")]


SUITE = Suite(
    name="nmt_ladder",
    claim="From sequence to sequence, attention beats a fixed vector, and the Transformer beats "
    "recurrence with attention (Luong 2015; Vaswani 2017)",
    mode="the task's metric free-running; NLL teacher-forced",
    base=replace(
        pronunciation(),
        optimizer=replace(pronunciation().optimizer, learning_rate=3e-3),  # one that suits all
    ),
    grid=over(
        "model",
        forward=Seq2SeqConfig(reverse=False),
        reversed=Seq2SeqConfig(),
        attention=LuongConfig(input_feeding=False),
        input_feeding=LuongConfig(),
        transformer=TransformerConfig(width=64, dropout=0.0),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "fixed vector minus attention, points",
            minus(errors("reversed"), errors("attention")),
            "attention is within noise of the fixed vector",
            matters=0.5,  # a fifth of Luong's gain, 2.8 BLEU
        ),
        Contrast(
            "recurrence with attention minus the Transformer, points",
            minus(errors("input feeding"), errors("transformer")),
            "the Transformer is not above recurrence with attention",
            matters=0.5,  # half of Vaswani's gain over the best recurrent systems
        ),
    ),
    budgets={
        "cpu": Budget(),
        "gpu": Budget(on_gpu(), GPU_MODEL, seeds=(0, 1, 2)),
        "paper": Budget(wmt14(), PAPER_MODEL, seeds=(0, 1, 2), together=1),
    },
    figure=figure,
)
