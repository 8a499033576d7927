"""One sequence is enough if the source sees all of itself (Raffel et al. 2019)."""

from collections.abc import Sequence
from dataclasses import replace

from attn.models import DecoderConfig, TransformerConfig
from experiments.ablations.grid import over
from experiments.ablations.measures import Lane, outputs
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, main_metric, named, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import (
    GPU_MODEL,
    PAPER_MODEL,
    on_gpu,
    pronunciation_by_transformers,
    wmt14,
)
from experiments.ablations.suites.terms import loss, minus
from experiments.ablations.verdict import Contrast


def measure(lane: Lane) -> dict[str, Sample]:
    """The task's own metric and the NLL."""
    return outputs(lane, lane.task.metrics[:1])


def figure(results: Results) -> Sequence[Plot]:
    """The three readings of a source, and the paper's."""
    panels = []
    for metric in (main_metric(results), "nll"):
        ours = {v.name: v.quantity(metric) for v in results.variants}
        rows = [curve("all seeds", ours, by_name=True)]
        panels.append(Plot(named(metric), "", "", rows, x_ticks=list(ours), kind="points"))
    labels = ["causal LM", "prefix-LM", "shared"]
    paper = published(SUITE.name, "raffel2019", "BLEU", labels, range(3), "T5, English-German")
    ticks = ["causal", "prefix", "encoder-decoder"]
    return [*panels, Plot("The paper", "", "BLEU", [paper], x_ticks=ticks, kind="points")]


SUITE = Suite(
    name="seq2seq_as_lm",
    claim="A language model that sees all of its source translates better than one that reads it "
    "from left to right, at the same size (Raffel 2019)",
    mode="the task's metric free-running; NLL teacher-forced",
    base=replace(pronunciation_by_transformers(), parameters=120_000),
    grid=over(
        "model",
        causal=DecoderConfig(width=64, layers=3, dropout=0.0),
        prefix=DecoderConfig(width=64, layers=3, dropout=0.0, prefix=True),
        encoder_decoder=TransformerConfig(width=48, layers=2, dropout=0.0),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "causal minus prefix, nats a token",
            minus(loss("causal"), loss("prefix")),
            "reading from left to right is as good as seeing all of the source",
            matters=0.01,  # the paper's 1.3 BLEU are about 0.05 nats
        ),
    ),
    budgets={
        "cpu": Budget({"train.examples": 80_000}),
        "gpu": Budget(on_gpu(), GPU_MODEL, seeds=(0, 1, 2)),
        "paper": Budget(wmt14(), PAPER_MODEL, seeds=(0, 1, 2), together=1),
    },
    figure=figure,
)
