"""What a comparison found, in sentences computed from its numbers."""

from itertools import pairwise

from experiments.reports.results import Bucket, Estimate, Metric, Results
from experiments.reports.summary import Summary, contenders, lengths, ranked, summarize, write


def title(results: Results, unit: str) -> str:
    """The finding in one sentence: attention against a fixed vector on the longest sources, or the
    best model where a comparison has not both kinds."""
    metric, summaries = results.metrics[0], summarize(results)
    pair = contenders(summaries, metric)
    if pair is None or not pair[0].by_length:
        best = ranked(summaries, metric)[0]
        value = metric.write(best.test[metric.name].value)
        if len(summaries) == 1:
            return f"{best.model} on {results.task}: {metric.label} {value}"
        return f"{best.model} has the best {metric.label} on {results.task}: {value}"
    attending, fixed = pair
    here, there = _last(attending, metric), _last(fixed, metric)
    what = f"{metric.label} on sources of {lengths(attending.by_length[-1], unit)}"
    if here.overlaps(there):
        return f"With attention or without, {what} is not told apart"
    return f"With attention, {what} is {_distance(metric, here.value - there.value)}"


def sentences(results: Results, unit: str) -> list[str]:
    """The findings behind the title: the best model, the gap on long sources, how it grows."""
    metric, summaries = results.metrics[0], summarize(results)
    found = [_best(summaries, metric)]
    pair = contenders(summaries, metric)
    if pair is not None and pair[0].by_length:
        found.append(_longest(*pair, metric, unit))
        if len(pair[0].by_length) > 1:
            found.append(_growth(*pair, metric, unit))
    return found


def _best(summaries: tuple[Summary, ...], metric: Metric) -> str:
    order = ranked(summaries, metric)
    best = order[0].test[metric.name]
    how = "teacher-forced" if metric.forced else f"free-running, {order[0].runs[0].decoding}"
    extreme = "lowest" if metric.lower else "highest"
    if len(order) == 1:
        only = order[0]
        return (
            f"On the test split ({how}) {only.model} has {write(metric, best)}, with "
            f"{only.mean('parameters'):,.0f} parameters, {only.mean('examples_seen'):,.0f} "
            f"examples seen and {only.mean('train_seconds'):,.0f} seconds of training."
        )
    second = order[1].test[metric.name]
    return (
        f"{order[0].model} has the {extreme} {metric.label} on the test split ({how}): "
        f"{write(metric, best)}. Next is {order[1].model} with "
        f"{write(metric, second)}{_verdict(best, second)}."
    )


def _longest(attending: Summary, fixed: Summary, metric: Metric, unit: str) -> str:
    here, there = _last(attending, metric), _last(fixed, metric)
    bucket = attending.by_length[-1]
    return (
        f"On the longest sources ({lengths(bucket, unit)}, {bucket.n:,} test items) the best "
        f"model with attention, {attending.model}, has {write(metric, here)} and the best with "
        f"a fixed vector, {fixed.model}, {write(metric, there)}: "
        f"{_distance(metric, here.value - there.value)}{_verdict(here, there)}."
    )


def _growth(attending: Summary, fixed: Summary, metric: Metric, unit: str) -> str:
    """How attention's lead changes from the shortest sources to the longest."""
    sign = -1 if metric.lower else 1
    leads = [
        sign * (a.test[metric.name].value - b.test[metric.name].value)
        for a, b in zip(attending.by_length, fixed.by_length, strict=True)
    ]
    first, last = attending.by_length[0], attending.by_length[-1]
    rising = all(later > earlier for earlier, later in pairwise(leads))
    if rising:
        how = "grows with every step in length"
    elif leads[-1] > leads[0]:
        how = "is larger on long sources than on short ones"
    else:
        how = "does not grow with length"
    return (
        f"The lead of {attending.model} over {fixed.model} {how}: "
        f"{_points(metric, leads[0])} at {lengths(first, unit)}, "
        f"{_points(metric, leads[-1])} at {lengths(last, unit)}"
        f"{_apart_from(attending.by_length, fixed.by_length, metric, unit)}."
    )


def _apart_from(
    ours: tuple[Bucket, ...], theirs: tuple[Bucket, ...], metric: Metric, unit: str
) -> str:
    """From which length on the intervals of two models stay apart."""
    start = len(ours)
    while start > 0 and (
        ours[start - 1].test[metric.name].overlaps(theirs[start - 1].test[metric.name]) is False
    ):
        start -= 1
    if start == len(ours):
        return ""
    if start == 0:
        return "; the intervals are apart at every length"
    return f"; from {ours[start].low} {unit} on, the intervals are apart"


def _last(summary: Summary, metric: Metric) -> Estimate:
    return summary.by_length[-1].test[metric.name]


def _verdict(one: Estimate, other: Estimate) -> str:
    """Whether two intervals overlap, as the end of a sentence."""
    overlap = one.overlaps(other)
    if overlap is None:
        return ""
    return "; their 95% intervals overlap" if overlap else "; their 95% intervals do not overlap"


def _distance(metric: Metric, difference: float) -> str:
    """The size and the side of a difference: "8.2 points lower"."""
    return f"{_points(metric, abs(difference))} {'lower' if difference < 0 else 'higher'}"


def _points(metric: Metric, difference: float) -> str:
    return f"{difference:.{metric.digits}f} points".replace("-", "−")
