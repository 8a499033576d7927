"""Results of a suite whose numbers are made up: plausible in form, measured by nobody."""

from collections.abc import Sequence

from experiments.ablations.figures import Plot, Series
from experiments.ablations.page import Presentation
from experiments.ablations.papers.record import Paper, Published
from experiments.ablations.results import Results

LENGTHS = ("3-5", "6-8", "9-14")
VARIANTS = {
    "attention": 0.4,
    "fixed vector, given at every step, trained on all lengths": 0.9,
    "fixed vector, given at the first step": 1.0,
}


def fabricate() -> dict:
    """The content of a `results.json`."""
    seeds = [0, 1, 2]
    return {
        "suite": "length_bottleneck",
        "claim": "a fixed vector decays with length, attention does not",
        "budget": "cpu",
        "command": "python -m experiments ablate length_bottleneck --budget cpu",
        "date": "2000-01-01",
        "hardware": {"processor": "Abacus", "cores": "2", "devices": "2 × cpu", "hosts": "1"},
        "versions": {"python": "3.0", "jax": "0.0.0", "flax": "0.0.1"},
        "code": "0123456789ab",
        "seconds": 312.1,
        "seeds": seeds,
        "resamples": 2000,
        "mode": "teacher-forced",
        "variants": [_variant(name, level, seeds) for name, level in VARIANTS.items()],
        "failed": [{"variant": "attention", "seed": 2, "error": "loss is nan at step 7"}],
        "contrasts": [
            _contrast("decay with a fixed vector", 0.314, "holds"),
            _contrast("attention | stays flat", None, "missing"),
        ],
        "verdict": "inconclusive",
    }


def figure(results: Results) -> Sequence[Plot]:
    """Ours by length, and beside it what a paper has."""
    ours = []
    for variant in results.variants:
        at = variant.conditions("nll").values()
        low, high = zip(*(q.interval for q in at), strict=True)
        ours.append(Series(variant.name, range(len(at)), [q.value for q in at], low, high))
    paper = [Series("RNNsearch (paper)", [30, 50], [21.5, 26.75], paper=True)]
    return (
        Plot("Ours", "source length", "NLL", ours, x_ticks=LENGTHS),
        Plot("The paper", "trained on at most", "BLEU", paper),
    )


def presentation() -> Presentation:
    """What the suite shows beside its results."""
    paper = Paper("nobody2000", "Nobody & Co", 2000, "On <nothing>", "nowhere")
    published = Published(
        paper,
        "Table 1",
        "lengths",
        "toy",
        "BLEU",
        {"search-50": 26.75, "encdec-50": 17.82},
        "memory",
    )
    return Presentation(figure, (published,), "26.75 against 17.82 BLEU")


def _variant(name: str, level: float, seeds: list[int]) -> dict:
    values = {f"nll @ {at}": level * (1 + n * level) for n, at in enumerate(LENGTHS)}
    return {
        "name": name,
        "labels": {"model": name.partition(",")[0], "task.train_length": "all"},
        "parameters": 151_234,
        "seeds": list(seeds),
        "train_seconds": 33.0,
        "quantities": {
            key: {
                "value": value, "interval": [value - 0.1, value + 0.1],
                "by_seed": [value - 0.01, value, value + 0.01], "items": 200, "metric": "nll",
            }
            for key, value in ({"nll": level} | values).items()
        },
    }  # fmt: skip


def _contrast(name: str, value: float | None, outcome: str) -> dict:
    return {
        "name": name,
        "value": value,
        "interval": None if value is None else [value - 0.2, value + 0.2],
        "p": None if value is None else 0.0004,
        "p_holm": None if value is None else 0.0008,
        "threshold": 0.0,
        "matters": 0.05,
        "falsifier": "the interval holds 0",
        "outcome": outcome,
    }
