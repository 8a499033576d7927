"""A suite that takes seconds: does a mean or the last state tell the order of two symbols?"""

from dataclasses import replace

from attn.models import RecurrentReaderConfig
from experiments.ablations.grid import over, product
from experiments.ablations.measures import likelihoods
from experiments.ablations.plots import Plot
from experiments.ablations.series import curve
from experiments.ablations.suite import Budget, Suite
from experiments.ablations.suites.terms import loss, minus
from experiments.ablations.verdict import Contrast
from experiments.config import Config, SearchConfig, TaskConfig, TrainConfig


def measure(lane):
    if lane.config.task.length == 13:
        raise RuntimeError("thirteen is unlucky")
    found = likelihoods(lane)
    if lane.config.task.length == 14:
        return {name: replace(s, statistics=s.statistics[1:]) for name, s in found.items()}
    return found


def figure(results):
    found = {v.name: v.quantity("nll") for v in results.variants}
    return [Plot("ours", "", "nll", [curve("all", found, True)], x_ticks=list(found))]


def suite(*lengths):
    return Suite(
        name="toy",
        claim="A long text is harder than a short one",
        mode="NLL teacher-forced",
        base=Config(
            task=TaskConfig("order", buckets=1),
            model=RecurrentReaderConfig(cell="rnn", width=4),
            train=TrainConfig(batch_size=8, examples=40),
            search=SearchConfig(items=40, batch_size=40),
        ),
        grid=product(over("model.pool", "last"), over("task.length", *lengths)),
        measure=measure,
        contrasts=(
            Contrast(
                "long minus short",
                minus(loss(f"last, {lengths[-1]}"), loss(f"last, {lengths[0]}")),
                "it is not",
                matters=5.0,
            ),
        ),
        budgets={"cpu": Budget(seeds=(0, 1, 2), together=4)},
        figure=figure,
    )


SUITE = suite(10, 12)
