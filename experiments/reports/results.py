"""What `results.json` holds, as typed records, and the check that it does hold it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.errors import InputError
from experiments.reports.schema import check, described, field, interval


@dataclass(frozen=True)
class Metric:
    """How a number is called, written and judged."""

    name: str
    label: str
    unit: str
    """Written after a value: "%" or nothing."""
    lower: bool
    """Whether less is better."""
    forced: bool
    """Measured with the reference's prefix given (teacher-forced), not on the model's own output
    (free-running)."""
    digits: int
    """Decimals."""

    @property
    def heading(self) -> str:
        """The label as a heading starts: a capital, unless it has capitals of its own (chrF)."""
        return self.label if self.label != self.label.lower() else self.label.capitalize()

    def write(self, value: float) -> str:
        """`value` with its unit, as text."""
        return f"{value:.{self.digits}f}{self.unit}"


METRICS = {
    metric.name: metric
    for metric in (
        Metric("phoneme_error_rate", "phoneme error rate", "%", True, False, 1),
        Metric("word_error_rate", "word error rate", "%", True, False, 1),
        Metric("bleu", "BLEU", "", False, False, 1),
        Metric("chrf", "chrF", "", False, False, 1),
        Metric("accuracy", "accuracy", "%", False, False, 1),
        Metric("exact_match", "exact match", "%", False, False, 1),
        Metric("span_f1", "span F1", "", False, False, 1),
        Metric("silent_f1", "F1 of silent letters", "", False, False, 1),
        Metric("label_accuracy", "label accuracy", "%", False, False, 2),
        Metric("bits_per_character", "bits per character", "", True, True, 3),
        Metric("masked_accuracy", "accuracy of hidden tokens", "%", False, True, 1),
        Metric("nll", "NLL per token (nats)", "", True, True, 3),
        Metric("perplexity", "perplexity per token", "", True, True, 2),
    )
}
"""Every metric that a report can show, by its name in the files."""


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95% interval, if there is one."""

    value: float
    interval: tuple[float, float] | None

    def overlaps(self, other: "Estimate") -> bool | None:
        """Whether the two intervals share a point (None: one of them is not known)."""
        if self.interval is None or other.interval is None:
            return None
        return self.interval[0] <= other.interval[1] and other.interval[0] <= self.interval[1]


@dataclass(frozen=True)
class Bucket:
    """Test items whose source length is in `low..high`, both included."""

    low: int
    high: int
    n: int
    test: Mapping[str, Estimate]

    @property
    def label(self) -> str:
        """The lengths, as text: "5–8"."""
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"


@dataclass(frozen=True)
class Run:
    """One model trained once from one seed, and its scores."""

    model: str
    seed: int
    parameters: int
    examples_seen: int
    tokens_seen: int
    """On the target side."""
    train_seconds: float
    """Without compilation and evaluation."""
    compile_seconds: float
    data_wait_seconds: float
    padding: float
    """Share of the positions in training batches that held no token."""
    test: Mapping[str, Estimate]
    by_length: tuple[Bucket, ...]
    folder: str
    decoding: str
    attends: bool | None
    """Whether the decoder looks at the source by attention (None: the file does not say)."""


@dataclass(frozen=True)
class Pair:
    """A paired bootstrap of two runs of the same seed: `difference` is a's metric minus b's."""

    a: str
    b: str
    seed: int
    metric: str
    difference: Estimate
    p: float


@dataclass(frozen=True)
class Results:
    """A comparison: the runs, and how they were made."""

    task: str
    hardware: Mapping[str, str]
    versions: Mapping[str, str]
    command: str
    date: str
    runs: tuple[Run, ...]
    paired: tuple[Pair, ...]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that all runs share, free-running ones first; otherwise in the file's order.

        The first is the task's main metric.
        """
        found = [METRICS[name] for name in self.runs[0].test]
        return tuple(sorted(found, key=lambda metric: metric.forced))


def validate(results: Mapping[str, Any]) -> Results:
    """The content of a `results.json`, checked and typed.

    `hardware` may be text or an object. A run may say `attends` (true or false). A metric may
    lack an interval.

    Raises:
        InputError: a field is missing or wrong; the message gives its path.
    """
    where = "results"
    check(results, dict, where)
    runs = field(results, "runs", list, where)
    if not runs:
        raise InputError(f"{where}.runs is empty; expected at least one run")
    field(results, "config", dict, where)
    checked = Results(
        task=field(results, "task", str, where),
        hardware=described(results, "hardware", where),
        versions=described(results, "versions", where),
        command=field(results, "command", str, where),
        date=field(results, "date", str, where),
        runs=tuple(check_run(run, f"{where}.runs[{n}]") for n, run in enumerate(runs)),
        paired=tuple(
            _check_pair(pair, f"{where}.paired[{n}]")
            for n, pair in enumerate(field(results, "paired", list, where))
        ),
    )
    _check_comparable(checked, where)
    return checked


def check_run(run: Any, where: str) -> Run:
    """One element of `runs`, checked and typed.

    Raises:
        InputError: a field is missing or wrong; the message gives its path.
    """
    check(run, dict, where)
    attends = field(run, "attends", bool, where) if "attends" in run else None
    return Run(
        model=field(run, "model", str, where),
        seed=field(run, "seed", int, where),
        parameters=field(run, "parameters", int, where),
        examples_seen=field(run, "examples_seen", int, where),
        tokens_seen=field(run, "tokens_seen", int, where),
        train_seconds=field(run, "train_seconds", float, where),
        compile_seconds=field(run, "compile_seconds", float, where),
        data_wait_seconds=field(run, "data_wait_seconds", float, where),
        padding=field(run, "padding", float, where),
        test=_check_scores(
            field(run, "test", dict, where),
            field(run, "intervals", dict, where),
            f"{where}.test",
            f"{where}.intervals",
        ),
        by_length=tuple(
            _check_bucket(bucket, f"{where}.by_length[{n}]")
            for n, bucket in enumerate(field(run, "by_length", list, where))
        ),
        folder=field(run, "folder", str, where),
        decoding=field(run, "decoding", str, where),
        attends=attends,
    )


def _check_scores(
    values: Mapping[str, Any], intervals: Mapping[str, Any], where: str, where_intervals: str
) -> dict[str, Estimate]:
    """Values and their intervals, joined by the metric's name."""
    if not values:
        raise InputError(f"{where} is empty; expected at least one metric")
    for name in [*values, *intervals]:
        if name not in METRICS:
            raise InputError(f"{where} has {name!r}; expected one of {', '.join(METRICS)}")
    return {
        name: Estimate(
            field(values, name, float, where),
            interval(intervals[name], f"{where_intervals}.{name}") if name in intervals else None,
        )
        for name in values
    }


def _check_bucket(bucket: Any, where: str) -> Bucket:
    check(bucket, dict, where)
    values = {name: bucket[name] for name in bucket if name not in ("from", "to", "n", "interval")}
    return Bucket(
        low=field(bucket, "from", int, where),
        high=field(bucket, "to", int, where),
        n=field(bucket, "n", int, where),
        test=_check_scores(
            values, field(bucket, "interval", dict, where), where, f"{where}.interval"
        ),
    )


def _check_pair(pair: Any, where: str) -> Pair:
    check(pair, dict, where)
    metric = field(pair, "metric", str, where)
    if metric not in METRICS:
        raise InputError(f"{where}.metric is {metric!r}; expected one of {', '.join(METRICS)}")
    bounds = interval(field(pair, "interval", list, where), f"{where}.interval")
    return Pair(
        a=field(pair, "a", str, where),
        b=field(pair, "b", str, where),
        seed=field(pair, "seed", int, where),
        metric=metric,
        difference=Estimate(field(pair, "difference", float, where), bounds),
        p=field(pair, "p", float, where),
    )


def _check_comparable(results: Results, where: str) -> None:
    """Runs are laid side by side, so they must have the same metrics and the same buckets."""
    first, seen = results.runs[0], set()
    buckets = [(bucket.low, bucket.high, bucket.n) for bucket in first.by_length]
    for n, run in enumerate(results.runs):
        if set(run.test) != set(first.test):
            raise InputError(
                f"{where}.runs[{n}].test has {sorted(run.test)}; "
                f"expected those of runs[0], {sorted(first.test)}"
            )
        for m, bucket in enumerate(run.by_length):
            if set(bucket.test) != set(first.test):
                raise InputError(
                    f"{where}.runs[{n}].by_length[{m}] has metrics {sorted(bucket.test)}; "
                    f"expected those of runs[0].test, {sorted(first.test)}"
                )
        if [(bucket.low, bucket.high, bucket.n) for bucket in run.by_length] != buckets:
            raise InputError(
                f"{where}.runs[{n}].by_length differs in from, to or n from runs[0].by_length"
            )
        if (run.model, run.seed) in seen:
            raise InputError(f"{where}.runs[{n}] repeats model {run.model!r}, seed {run.seed}")
        seen.add((run.model, run.seed))
