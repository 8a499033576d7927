"""What trained models gave, and how else it could have come out: other seeds and other items.

A run gives for each quantity a few numbers an item, whose sums become a score. A resample draws
seeds and items together, each independently of the other, and the same ones for all variants, so
that a difference of two variants is one of pairs. It errs on the side of doubt: what is neither the
seed's nor the item's own doing is counted thrice or more (McCullagh 2000, "Resampling and
exchangeable arrays").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.errors import InputError, expect_known
from experiments.evaluation import bootstrap
from experiments.evaluation.metrics import METRICS

MEAN = "mean"
"""The metric of what is none of `METRICS`: the columns are a sum and how many it is of."""


@dataclass(frozen=True)
class Sample:
    """What one run gave for one quantity."""

    statistics: np.ndarray
    """float64 [items, F], sufficient statistics of each item."""
    metric: str
    """How their sums become a score: a name in `METRICS`, or "mean"."""


class NoScore(Exception):
    """A variant has no run to score; the message names it."""


class Scores:
    """Scores of every variant and quantity, as observed and on resamples of seeds and items.

    Args:
        samples: by variant and seed what each run gave, by quantity. A run that failed is absent, a
            variant of which all failed is an empty mapping. All variants are scored on the seeds
            that all have, those without any left aside. The runs of a variant give the same
            quantities; variants may differ in which they give.
        resamples: how many, at least 1.
        seed: of the resamples, at least 0.

    Raises:
        InputError: an argument out of its range; an unknown metric; runs of a variant that differ
            in their quantities; or runs that differ in the number of items, the numbers an item or
            the metric of a quantity.
    """

    def __init__(
        self,
        samples: Mapping[str, Mapping[int, Mapping[str, Sample]]],
        *,
        resamples: int,
        seed: int = 0,
    ) -> None:
        for what, given, least in (("resamples", resamples, 1), ("seed", seed, 0)):
            if given < least:
                raise InputError(f"{what} is {given}; expected at least {least}")
        _check(samples)
        self.seeds = _common_seeds(samples)
        """Those that all variants have, ascending."""
        self.resamples = resamples
        self._samples, self._seed = samples, seed
        self._cache: dict[str, dict[str, np.ndarray]] = {}

    def scores(self, variant: str, quantity: str) -> np.ndarray:
        """Float64 [1 + resamples], not to be written to: the observed score, then the resamples'.

        Raises:
            InputError: an unknown variant, or a quantity that it does not give.
            NoScore: the variant has no run, or none from a seed that all variants have.
        """
        self._expect(variant, quantity)
        if quantity not in self._cache:
            self._cache[quantity] = self._score_all(quantity)
        return self._cache[quantity][variant]

    def quantities(self, variant: str) -> tuple[str, ...]:
        """Those that a variant gives, in its measure's order.

        Raises:
            InputError: an unknown variant.
            NoScore: the variant has no run.
        """
        expect_known("variant", variant, self._samples)
        if not self._samples[variant]:
            raise NoScore(f"variant {variant!r}: every run failed")
        return tuple(next(iter(self._samples[variant].values())))

    def by_seed(self, variant: str, quantity: str) -> dict[int, float]:
        """The score of each seed that all variants have.

        Raises:
            InputError, NoScore: as `scores`.
        """
        self._expect(variant, quantity)
        samples = {seed: self._samples[variant][seed][quantity] for seed in self.seeds}
        return {
            seed: float(_score(sample.metric, sample.statistics.sum(axis=0)))
            for seed, sample in samples.items()
        }

    def _expect(self, variant: str, quantity: str) -> None:
        expect_known("variant", variant, self._samples)
        runs = self._samples[variant]
        if not runs:
            raise NoScore(f"variant {variant!r}: every run failed")
        expect_known(f"quantity of variant {variant!r}", quantity, next(iter(runs.values())))
        if not self.seeds:
            raise NoScore(f"variant {variant!r}: the variants have no seed in common")

    def _score_all(self, quantity: str) -> dict[str, np.ndarray]:
        """Scores of all variants that give the quantity, [1 + resamples] each."""
        runs = {
            variant: [by_seed[seed][quantity] for seed in self.seeds]
            for variant, by_seed in self._samples.items()
            if by_seed and quantity in next(iter(by_seed.values()))
        }
        metric = next(iter(runs.values()))[0].metric
        # [items, variants, seeds, F]: side by side, all are drawn alike.
        table = np.stack([[s.statistics for s in row] for row in runs.values()]).astype(np.float64)
        table = np.moveaxis(table, 2, 0)
        with np.errstate(invalid="ignore"):  # a run that diverged: its scores are NaN too
            drawn = self._draw_items(table.reshape(len(table), -1)).reshape(-1, *table.shape[1:])
            sums = np.einsum("rs,rvsf->rvf", self._draw_seeds(), drawn)
            whole = table.sum(axis=(0, 2))[None]
            scores = _score(metric, np.concatenate([whole, sums]))
        scores.setflags(write=False)
        return dict(zip(runs, scores.T, strict=True))

    def _draw_seeds(self) -> np.ndarray:
        """How often each seed is in each resample: float64 [resamples, seeds].

        Of S seeds S - 3 are drawn, or one. So the mean over resampled seeds has the variance that
        Student's t with S - 1 degrees of freedom has, (S - 1) / (S - 3) times that of the mean;
        drawing S would leave (S - 1) / S of it, far too sure where S is 3 or 5. No resample lies
        outside the seeds: where they alone decide, an interval over S holds the truth with
        probability at most 1 - 2 ** (1 - S), 94% for 5 seeds and 75% for 3.
        """
        seeds = len(self.seeds)
        drawn = max(1, seeds - 3)
        rng = np.random.default_rng([self._seed, 0])
        return rng.multinomial(drawn, np.full(seeds, 1 / seeds), size=self.resamples).astype(float)

    def _draw_items(self, statistics: np.ndarray) -> np.ndarray:
        """Sums over resampled items: [items, columns] to float64 [resamples, columns]."""
        # A stream for each number of items, none that of the seeds: chance couples no two of them.
        seed = int(np.random.SeedSequence([self._seed, len(statistics)]).generate_state(1)[0])
        return bootstrap.resample(statistics, resamples=self.resamples, seed=seed)


def estimate(scores: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The observed score, and the interval of the resampled ones that holds the middle 95%.

    Args:
        scores: [1 + resamples], as `Scores.scores` gives them, or a function of several.
    """
    with np.errstate(invalid="ignore"):
        return float(scores[0]), bootstrap.interval(scores[1:])


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: those below 0.05 may be rejected all together.

    The chance that any of the rejected is true is then at most 5%, however they depend on each
    other (Holm 1979, "A simple sequentially rejective multiple test procedure").
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    ascending = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    adjusted = np.empty(len(order))
    adjusted[order] = ascending
    return adjusted.tolist()


def _score(metric: str, sums: np.ndarray) -> np.ndarray:
    """Summed statistics [..., F] to scores [...]; the mean of nothing is NaN."""
    if metric != MEAN:
        return np.asarray(METRICS[metric].score(sums))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _common_seeds(samples: Mapping[str, Mapping[int, Mapping[str, Sample]]]) -> tuple[int, ...]:
    """Ascending, so that the order of the runs does not matter."""
    survivors = [set(runs) for runs in samples.values() if runs]
    return tuple(sorted(set.intersection(*survivors))) if survivors else ()


def _check(samples: Mapping[str, Mapping[int, Mapping[str, Sample]]]) -> None:
    """Raises `InputError` where runs cannot be set side by side."""
    first: dict[str, tuple[str, tuple[int, ...], str]] = {}
    for variant, runs in samples.items():
        quantities = set(next(iter(runs.values()), {}))
        for seed, run in runs.items():
            where = f"{variant!r} from seed {seed}"
            if set(run) != quantities:
                unshared = ", ".join(sorted(set(run) ^ quantities))
                raise InputError(f"{where}: not every seed of the variant gives {unshared}")
            for quantity, sample in run.items():
                _check_sample(f"{quantity!r} of {where}", sample)
                shape = sample.statistics.shape
                metric, expected, other = first.setdefault(quantity, (sample.metric, shape, where))
                if (sample.metric, shape) != (metric, expected):
                    raise InputError(
                        f"{quantity!r} of {where} is {sample.metric} of statistics {list(shape)}; "
                        f"expected {metric} of {list(expected)} as {other} gives"
                    )


def _check_sample(where: str, sample: Sample) -> None:
    expect_known(f"metric of {where}:", sample.metric, [MEAN, *METRICS])
    shape = sample.statistics.shape
    if len(shape) != 2 or shape[0] < 1:
        raise InputError(
            f"{where} has statistics of shape {list(shape)}; expected [items, F], 1 item or more"
        )
