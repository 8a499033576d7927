"""Memory and communication against chips."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.aot.collectives import KINDS, sent_bytes
from experiments.aot.plan import Plan
from experiments.reports import theme


def draw(name: str, plans: Sequence[Plan]) -> Figure:
    """Two panels over the number of chips: a device's memory, and what it sends by kind.

    Args:
        name: of the config.
        plans: by the number of chips.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    memory, network = figure.subplots(1, 2)
    chips = [plan.chips for plan in plans]
    memory.stackplot(
        chips,
        [plan.arguments / 2**30 for plan in plans],
        [plan.temporaries / 2**30 for plan in plans],
        labels=("state and batch", "on the way"),
        colors=[theme.series(k)["color"] for k in range(2)],
        alpha=0.7,
    )
    memory.axhline(plans[0].memory / 2**30, color="0.3", linestyle="--", label="there is")
    memory.set(ylabel="GiB of a device", title=f"{name} on {plans[0].chip}", ylim=(0, None))
    for position, kind in enumerate(KINDS):
        sent = [
            math.nan if plan.exchanges is None else sent_bytes(plan.exchanges, kind) / 2**20
            for plan in plans
        ]
        if any(bytes_ > 0 for bytes_ in sent):
            network.plot(chips, sent, label=kind, **theme.series(position))
    network.set(ylabel="MiB sent by a device in a step", title="what devices send", ylim=(0, None))
    for axes in (memory, network):
        axes.set_xscale("log", base=2)
        axes.set_xticks(chips, [str(n) for n in chips])
        axes.set_xlabel("chips")
        if axes.get_legend_handles_labels()[0]:  # one chip alone sends nothing
            axes.legend(frameon=False, fontsize="small")
    return figure
