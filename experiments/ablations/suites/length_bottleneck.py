"""A fixed vector decays with the source's length, attention does not (Bahdanau et al. 2014)."""

from collections.abc import Sequence

from attn.models import RNNSearchConfig, Seq2SeqConfig
from experiments.ablations.grid import over, product
from experiments.ablations.measures import Lane, outputs
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, main_metric, named, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import GPU_MODEL, PAPER_MODEL, on_gpu, pronunciation, wmt14
from experiments.ablations.suites.terms import Term, errors_at, minus
from experiments.ablations.verdict import Contrast

MODELS = {
    "state only": Seq2SeqConfig(),
    "every step": Seq2SeqConfig(context="every_step"),
    "attention": RNNSearchConfig(),
}


def measure(lane: Lane) -> dict[str, Sample]:
    """The task's own metric and the NLL, by length of source."""
    return outputs(lane, lane.task.metrics[:1], by_length=True)


def lead(over_: str, place: int) -> Term:
    """What attention gains at the shortest (0) or longest (-1) sources, in points."""
    return minus(errors_at(f"{over_}, all", place), errors_at("attention, all", place))


def figure(results: Results) -> Sequence[Plot]:
    """The score by length, as in the paper's figure 2."""
    metric, panels = main_metric(results), []
    for cap in ("all", "short"):
        found = {model: results.variant(f"{model}, {cap}").conditions(metric) for model in MODELS}
        curves = [curve(model, each, by_name=True) for model, each in found.items()]
        title, ticks = f"Trained on {cap} sources", list(found["attention"])
        panels.append(Plot(title, "tokens of the source", named(metric), curves, x_ticks=ticks))
    paper = [
        published(SUITE.name, "bahdanau2014", "BLEU", [f"{key}-30", f"{key}-50"], [0, 1], label)
        for label, key in (("fixed vector", "RNNencdec"), ("attention", "RNNsearch"))
    ]
    title = "The paper, all lengths"
    return [*panels, Plot(title, "trained up to, words", "BLEU", paper, x_ticks=["30", "50"])]


SUITE = Suite(
    name="length_bottleneck",
    claim="A decoder that has its source as one vector gets worse with the source's length; one "
    "that attends does not (Bahdanau 2014)",
    mode="phoneme errors free-running (greedy); NLL teacher-forced",
    base=pronunciation(),
    grid=product(over("model", **MODELS), over("task.train_length", all=None, short=7)),
    measure=measure,
    contrasts=tuple(
        Contrast(
            f"lead of attention over {fixed}: longest minus shortest sources, points",
            minus(lead(fixed, -1), lead(fixed, 0)),
            "the interval of gap(longest) - gap(shortest) holds 0",
            matters=2.0,  # a fifth of the paper's lead at all lengths, 9 BLEU
        )
        for fixed in ("every step", "state only")
    ),
    budgets={
        "cpu": Budget(),
        "gpu": Budget(on_gpu(), GPU_MODEL, seeds=(0, 1, 2)),
        "paper": Budget(wmt14("fr-en"), PAPER_MODEL, seeds=(0, 1, 2), together=1),
    },
    figure=figure,
)
