"""Outputs beside their references, with what differs marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from experiments.reports.evidence import Output


@dataclass(frozen=True)
class Piece:
    """A stretch of an output: "same" as the reference, "wrong" (not in it) or "missing" from the
    output."""

    kind: str
    text: str


@dataclass(frozen=True)
class Example:
    """A test item and, by model, its output in pieces."""

    source: str
    reference: str
    outputs: Mapping[str, tuple[Piece, ...]]


def examples(outputs: Mapping[str, Sequence[Output]], count: int) -> list[Example]:
    """So many test items, chosen by length alone: sorted by source length, evenly spaced.

    Args:
        outputs: by model; only items that all models have are chosen.
        count: at most so many.
    """
    by_index = {model: {item.index: item for item in items} for model, items in outputs.items()}
    if not by_index:
        return []
    common = set.intersection(*(set(items) for items in by_index.values()))
    first = next(iter(by_index.values()))
    order = sorted(common, key=lambda index: (first[index].source_length, index))
    count = min(count, len(order))
    chosen = [order[(2 * n + 1) * len(order) // (2 * count)] for n in range(count)]
    return [
        Example(
            first[index].source,
            first[index].reference,
            {
                model: compare(items[index].hypothesis, items[index].reference)
                for model, items in by_index.items()
            },
        )
        for index in chosen
    ]


def compare(hypothesis: str, reference: str) -> tuple[Piece, ...]:
    """The hypothesis in pieces, by white-space separated tokens."""
    said, wanted = hypothesis.split(), reference.split()
    pieces = []
    matcher = SequenceMatcher(None, wanted, said, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", " ".join(said[k:m])))
            continue
        if m > k:
            pieces.append(Piece("wrong", " ".join(said[k:m])))
        if j > i:
            pieces.append(Piece("missing", " ".join(wanted[i:j])))
    return tuple(pieces)
