"""One head is too few, and narrow keys are too narrow (Vaswani et al. 2017, table 3).

Beside the transduction stands associative recall with two relations: to answer, a value has to be
bound to the key and to the relation before it, two places for one layer to look at. Training has
all of its 1,536 sources.

The size of that task was chosen knowing what came of others. With four keys to draw from and twice
the examples, one head and four were alike on the test split, 0.25 nats each, half of it learned;
this one was taken after trials on the validation split in which four heads learned all of it and
one did not. So its contrast shows that there is such a task, not how often there is.
"""

from collections.abc import Sequence
from dataclasses import replace

from attn.models import EncoderConfig, TransformerConfig
from experiments.ablations.grid import chain, over, product, setting
from experiments.ablations.measures import Lane, likelihoods
from experiments.ablations.plots import Plot
from experiments.ablations.results import Results
from experiments.ablations.series import curve, published
from experiments.ablations.statistics import Sample
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.bases import (
    GPU_MODEL,
    PAPER_TRANSFORMER,
    on_gpu,
    pronunciation_by_transformers,
    wmt14,
)
from experiments.ablations.suites.terms import Term, least, loss, minus
from experiments.ablations.verdict import Contrast
from experiments.config import OptimizerConfig, SearchConfig, TaskConfig, TrainConfig

HEADS, NARROW = (1, 2, 4, 8, 16), (2, 4)
"""Heads at fixed compute; widths d_k below the 8 that 8 heads have of 64."""
RECALLING = (1, 4, 16)
RECALL = {
    "task": TaskConfig("recall", symbols=2, pairs=2, relations=2, buckets=1),
    "model": EncoderConfig(
        width=64, layers=2, dropout=0.0, feed_forward=2,
        norm="post", positions="rope", initialization="lecun",
    ),
    "optimizer": OptimizerConfig(learning_rate=1e-3, warmup_steps=50),
    "train": TrainConfig(batch_size=16, examples=48_000),
    "search": SearchConfig(max_length=4, batch_size=500),
}  # fmt: skip
"""The same at every budget, but for the model's size."""


def measure(lane: Lane) -> dict[str, Sample]:
    """The loss: "nll", or "recall nll", whose items are others."""
    found = likelihoods(lane)
    return {"recall nll": found["nll"]} if lane.task.name == "recall" else found


def recall(heads: int) -> Term:
    """The loss on recall."""
    return loss(f"recall, {heads}", "recall nll")


def figure(results: Results) -> Sequence[Plot]:
    """NLL against heads and against d_k, and the paper's perplexities."""
    heads = {str(n): results.variant(f"{n}").quantity("nll") for n in HEADS}
    widths = {str(d): results.variant(f"8, keys of {d}").quantity("nll") for d in NARROW}
    widths["8"] = heads["8"]
    recalled = {str(n): results.variant(f"recall, {n}").quantity("recall nll") for n in RECALLING}
    labels = ["1", "4", "8", "16", "32"]
    paper = published(SUITE.name, "vaswani2017", "perplexity", labels, [1, 4, 8, 16, 32], "heads")
    unit = "NLL, nats a token"
    return [
        Plot("Heads at fixed compute", "heads", unit, [curve("ours", heads)], x_log=True),
        Plot("8 heads", "width of queries and keys d_k", unit, [curve("ours", widths)]),
        Plot("Recall", "heads", unit, [curve("ours", recalled)], x_log=True),
        Plot("The paper, English-German", "heads", "perplexity", [paper], x_log=True),
    ]


SUITE = Suite(
    name="heads_dk",
    claim="At the same compute one head is worse than several, and narrow queries and keys are "
    "worse than wide ones (Vaswani 2017)",
    mode="NLL teacher-forced, of pronunciations and of associative recall",
    base=replace(
        pronunciation_by_transformers(),  # as many parameters, whatever the number of heads
        model=TransformerConfig(width=64, layers=2, dropout=0.0, feed_forward=2),
    ),
    grid=chain(
        over("model.heads", *HEADS),
        product(
            over("model.heads", 8), over("model.head_width", **{f"keys of {d}": d for d in NARROW})
        ),
        product(setting("recall", RECALL), over("model.heads", *RECALLING)),
    ),
    measure=measure,
    contrasts=(
        Contrast(
            "one head minus the best number of heads, nats a token",
            minus(loss("1"), least(*(loss(str(n)) for n in HEADS[1:]))),
            "one head is as good as the best",
            matters=0.02,  # a quarter of the paper's log 5.29 / 4.91
        ),
        Contrast(
            "8 heads with keys of width 2 minus 8 of width 8, nats a token",
            minus(loss("8, keys of 2"), loss("8")),
            "the width of keys does not matter",
            matters=0.01,  # a fifth of the paper's log 5.16 / 4.92
        ),
        Contrast(
            "recall: one head minus the best number of heads, nats a token",
            minus(recall(1), least(*map(recall, RECALLING[1:]))),
            "one head recalls as well as the best",
            matters=0.02,
        ),
    ),
    budgets={
        "cpu": Budget(),
        "gpu": Budget(on_gpu(None), GPU_MODEL, seeds=(0, 1, 2)),
        "paper": Budget(
            wmt14(parameters=None),
            PAPER_TRANSFORMER,
            seeds=(0, 1, 2), together=1,
        ),
    },
    figure=figure,
)  # fmt: skip
