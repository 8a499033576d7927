"""Reversal, attention, input feeding and the Transformer each add (Luong 2015; Vaswani 2017)."""

from collections.abc import Sequence

from attn.models import LuongConfig, Seq2SeqConfig, TransformerConfig
from experiments.ablations.grid import over
from experiments.ablations.measures import Lane, outputs
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, main_metric, named, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import GPU_MODEL, PAPER_MODEL, on_gpu, wmt14
from experiments.ablations.suites.terms import errors, minus
from experiments.ablations.verdict import Contrast
from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig


def measure(lane: Lane) -> dict[str, Sample]:
    """BLEU and NLL."""
    return outputs(lane, ("bleu",))


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
    claim="In translation, attention beats a fixed vector, and the Transformer beats recurrence "
    "with attention (Luong 2015; Vaswani 2017)",
    mode="BLEU free-running (greedy), NLL teacher-forced",
    base=Config(
        task=TaskConfig("verses", vocabulary=1000, max_words=10, buckets=2),
        parameters=300_000,
        optimizer=OptimizerConfig(learning_rate=4e-3, warmup_steps=100),
        train=TrainConfig(batch_size=32, examples=24_000),
        search=SearchConfig(max_length=40, batch_size=250, items=500),
    ),
    grid=over(
        "model",
        forward=Seq2SeqConfig(reverse=False),
        reversed=Seq2SeqConfig(),
        attention=LuongConfig(input_feeding=False),
        input_feeding=LuongConfig(),
        transformer=TransformerConfig(width=64, dropout=0.0, tied="all"),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "fixed vector minus attention, errors in BLEU",
            minus(errors("reversed"), errors("attention")),
            "attention is within noise of the fixed vector",
            matters=0.5,  # a fifth of Luong's gain, 2.8 BLEU
        ),
        Contrast(
            "recurrence with attention minus the Transformer, errors in BLEU",
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
