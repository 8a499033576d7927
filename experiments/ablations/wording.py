"""How the numbers of an ablation are written, on pages and in Markdown alike."""

import math
from collections import Counter
from collections.abc import Mapping

from experiments.ablations.results import Contrast, Quantity, Results
from experiments.reports.results import METRICS

ABSENT = "–"
"""Stands where there is nothing to say."""
MARKS = {"holds": "✓", "fails": "✗", "open": "?", "missing": ABSENT}
"""Before an outcome."""
PROVENANCE = {
    "text": "read in the paper",
    "notes": "from a transcription",
    "memory": "from memory, not checked",
}


def numbers(*values: float | int) -> list[str]:
    """The values with as many decimals as give the largest of them three digits."""
    largest = max(map(abs, values))
    digits = 2 - math.floor(math.log10(largest)) if largest else 0
    if digits > 6:
        return [f"{value:.2e}".replace("-", "−") for value in values]
    return [f"{value:,.{max(digits, 0)}f}".replace("-", "−") for value in values]


def estimate(value: float | None, interval: tuple[float, float] | None) -> str:
    """A value and its interval: "0.30 [0.10, 0.50]"."""
    if value is None or interval is None:
        return ABSENT
    middle, low, high = numbers(value, *interval)
    return f"{middle} [{low}, {high}]"


def score(quantity: Quantity) -> tuple[str, str]:
    """A quantity and, in brackets, its interval; as the metric is written, if it is known."""
    values = (quantity.value, *quantity.interval)
    if quantity.metric in METRICS:
        metric = METRICS[quantity.metric]
        low, high = (f"{bound:.{metric.digits}f}".replace("-", "−") for bound in quantity.interval)
        return metric.write(quantity.value), f"[{low}, {high}]"
    middle, low, high = numbers(*values)
    return middle, f"[{low}, {high}]"


def probability(p: float | None) -> str:
    """A p-value with three decimals."""
    if p is None:
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def outcome(contrast: Contrast) -> str:
    """The outcome and its mark: "✓ holds"."""
    return f"{MARKS[contrast.outcome]} {contrast.outcome}"


def minutes(seconds: float | int) -> str:
    """Seconds as minutes: one decimal below ten."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:,.0f}"


def machine(hardware: Mapping[str, str]) -> str:
    """The hardware in a few words: the processor, its cores, and accelerators."""
    if not {"processor", "cores", "devices"} <= hardware.keys():
        return "; ".join(hardware.values())
    devices = "" if "cpu" in hardware["devices"].lower() else f"; {hardware['devices']}"
    return f"{hardware['processor']}, {hardware['cores']} cores{devices}"


def named(values: Mapping[str, str]) -> str:
    """Names and values: "python 3.11, jax 0.10"."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def summary(results: Results) -> str:
    """What became of the contrasts, and what stands behind that, in two sentences."""
    counts = Counter(contrast.outcome for contrast in results.contrasts)
    verbs = {
        "holds": ("holds", "hold"),
        "fails": ("fails", "fail"),
        "open": ("is open", "are open"),
        "missing": ("is missing", "are missing"),
    }
    said = [f"{n} {verbs[name][n > 1]}" for name, n in ((o, counts[o]) for o in verbs) if n]
    total = len(results.contrasts)
    return (
        f"Of {total} contrast{'s' if total > 1 else ''}, {', '.join(said)}. "
        f"{len(results.variants)} variants, {len(results.seeds)} seeds, "
        f"{results.resamples:,} resamples of seeds and items together; {results.mode}."
    )


def sentence(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]
