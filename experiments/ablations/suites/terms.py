"""Terms of contrasts: larger is worse, whatever the metric."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.ablations.statistics import Scores

Term = Callable[[Scores], np.ndarray]

HIGHER_IS_BETTER = ("bleu", "accuracy", "label_accuracy")


def loss(variant: str, quantity: str = "nll") -> Term:
    """A quantity of a variant; one that is better the higher it is counts negative."""
    sign = -1.0 if quantity.partition(" @ ")[0] in HIGHER_IS_BETTER else 1.0
    return lambda scores: sign * scores.scores(variant, quantity)


def errors(variant: str) -> Term:
    """The task's own metric, the first that its measure gives."""
    return lambda scores: loss(variant, scores.quantities(variant)[0])(scores)


def errors_at(variant: str, place: int) -> Term:
    """The task's own metric at its first (0) or last (-1) condition."""

    def of(scores: Scores) -> np.ndarray:
        names = scores.quantities(variant)
        conditions = [name for name in names if name.startswith(f"{names[0]} @ ")]
        return loss(variant, conditions[place])(scores)

    return of


def least(*terms: Term) -> Term:
    """The best of several, found anew on every resample."""
    return lambda scores: np.min([term(scores) for term in terms], axis=0)


def minus(first: Term, second: Term) -> Term:
    """A difference."""
    return lambda scores: first(scores) - second(scores)


def slope(x: Sequence[float | int], terms: Sequence[Term]) -> Term:
    """Of the straight line that fits terms at places x best."""
    centred = np.asarray(x) - np.mean(x)
    return lambda scores: (
        (centred @ np.stack([term(scores) for term in terms])) / (centred @ centred)
    )
