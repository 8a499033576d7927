"""Scores that look at the content beat one that looks at the place (Luong et al. 2015)."""

from collections.abc import Sequence

from attn.models import LuongConfig, Seq2SeqConfig
from experiments.ablations.grid import over
from experiments.ablations.measures import Lane, outputs
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, main_metric, named, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import GPU_MODEL, PAPER_MODEL, on_gpu, pronunciation, wmt14
from experiments.ablations.suites.terms import errors, least, minus
from experiments.ablations.verdict import Contrast

CONTENT = ("dot", "general", "additive")
best = least(*map(errors, CONTENT))


def measure(lane: Lane) -> dict[str, Sample]:
    """The task's own metric and the NLL."""
    return outputs(lane, lane.task.metrics[:1])


def figure(results: Results) -> Sequence[Plot]:
    """One score beside another, and the papers' in perplexity."""
    metric = main_metric(results)
    ours = {v.name: v.quantity(metric) for v in results.variants}
    labels = ["global, location", "global, dot", "global, general"]
    paper = published(SUITE.name, "luong2015", "perplexity", labels, [0, 1, 2], "Luong 2015")
    ticks = ["location", "dot", "general"]
    return [
        Plot("Ours", "", named(metric), [curve("all seeds", ours, True)], x_ticks=list(ours),
             kind="points"),
        Plot("The paper, English-German", "", "perplexity", [paper], x_ticks=ticks, kind="points"),
    ]  # fmt: skip


SUITE = Suite(
    name="score_function",
    claim="Attention that scores contents is far better than attention by place, which is better "
    "than none (Luong 2015; Britz 2017)",
    mode="the task's metric free-running; NLL teacher-forced",
    base=pronunciation(),
    grid=over(
        "model",
        none=Seq2SeqConfig(init_scale=0.1),
        location=LuongConfig(score="location"),
        dot=LuongConfig(score="dot"),
        general=LuongConfig(score="general"),
        additive=LuongConfig(score="concat"),  # v tanh(W q + U k), for W [q; k] is that sum
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "no attention minus the best content score, points",
            minus(errors("none"), best),
            "the best content score is within noise of none",
            matters=1.0,  # a tenth of what Britz 2017 found, 10.9 BLEU
        ),
        Contrast(
            "location minus the best content score, points",
            minus(errors("location"), best),
            "location is as good as every content score",
            matters=0.25,  # half of what Luong 2015 found, 0.5 BLEU
        ),
    ),
    budgets={
        "cpu": Budget(),
        "gpu": Budget(on_gpu(), GPU_MODEL, seeds=(0, 1, 2)),
        "paper": Budget(wmt14(), PAPER_MODEL, seeds=(0, 1, 2), together=1),
    },
    figure=figure,
)
