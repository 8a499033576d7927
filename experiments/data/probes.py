"""Generated tasks whose target follows from the source by a known rule.

So the best loss that a model can reach is known, that of a model which ignores the source too, and
of most tasks which source symbol makes which target symbol.
"""

import abc
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from experiments.data.dice import Dice
from experiments.data.pairs import PairBuilder
from experiments.errors import InputError

SETTINGS = ("length", "symbols", "block", "pairs", "relations")
"""What rules have for fields, all of them fields of `experiments.config.TaskConfig`."""

OPTIMUM = 0.0
"""Nats a token of a model that knows the rule, whichever it is: every token of a target follows
from the source, and so does the `EOS` behind them, for the source tells how many there are."""

DISTRACTORS, MARKS = ("a", "b", "c", "d"), ("X", "Y")
"""Symbols of `Order`: what says nothing, and what is to be remembered."""


def alignment(length: int, block: int) -> list[int]:
    """Where each target symbol comes from, if blocks of consecutive symbols are reversed.

    Args:
        length: symbols of the source, and of the target.
        block: symbols of a block; the last may have fewer. 1 copies, `length` reverses the whole.

    Returns:
        The source position of each target position.

    Raises:
        InputError: one of them is below 1.
    """
    for name, value in (("length", length), ("block", block)):
        _expect_at_least(name, value, 1)
    return [
        place
        for start in range(0, length, block)
        for place in reversed(range(start, min(start + block, length)))
    ]


@dataclass(frozen=True)
class Rule(abc.ABC):
    """How a source and its target are made; its fields are among `SETTINGS`."""

    @property
    @abc.abstractmethod
    def vocabularies(self) -> tuple[list[str], list[str]]:
        """Symbols of sources and of targets."""

    @property
    @abc.abstractmethod
    def blind(self) -> float:
        """Nats a token of the best model that ignores the source, `EOS` counted among the tokens:
        all nats of a corpus over all its tokens."""

    @abc.abstractmethod
    def example(self, dice: Dice) -> tuple[str, str]:
        """Source and target: symbols with spaces between."""


@dataclass(frozen=True)
class Rearranged(Rule):
    """The target has the symbols of the source in another order: 1 to `length` random ones, every
    length as often."""

    length: int
    symbols: int

    def __post_init__(self) -> None:
        _expect_at_least("length", self.length, 1)
        _expect_at_least("symbols", self.symbols, 2)

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        names = _numbered("", self.symbols)
        return names, names

    @property
    def blind(self) -> float:
        """The length costs log `length`, wherever the model pays for it, and each symbol
        log `symbols`."""
        mean = (self.length + 1) / 2
        return (math.log(self.length) + mean * math.log(self.symbols)) / (mean + 1)

    def example(self, dice: Dice) -> tuple[str, str]:
        n = self.draw_length(dice)
        source = dice.picks(self.vocabularies[0], n)
        return " ".join(source), " ".join(source[place] for place in self.origins(n))

    def draw_length(self, dice: Dice) -> int:
        """How many symbols the next source has."""
        return 1 + dice.below(self.length)

    @abc.abstractmethod
    def origins(self, n: int) -> list[int]:
        """The source position of each target position, for a source of `n` symbols."""


class Copy(Rearranged):
    """The target is the source."""

    def origins(self, n: int) -> list[int]:
        return alignment(n, 1)


class Reverse(Rearranged):
    """The target is the source, last symbol first."""

    def origins(self, n: int) -> list[int]:
        return alignment(n, n)


@dataclass(frozen=True)
class Permutation(Rearranged):
    """The target is the source, the symbols of each block of `block` in reverse.

    Sources have exactly `length` symbols, so that the alignment is the same for all.
    """

    block: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect_at_least("block", self.block, 1)

    @property
    def blind(self) -> float:
        """Each symbol costs log `symbols`; the `EOS` behind them, which always stands in the same
        place, nothing."""
        return self.length * math.log(self.symbols) / (self.length + 1)

    def draw_length(self, dice: Dice) -> int:
        return self.length

    def origins(self, n: int) -> list[int]:
        return alignment(n, self.block)


@dataclass(frozen=True)
class Recall(Rule):
    """Associative recall: "k1 v1 k2 v2 ... k", and the target is the value behind that key.

    A source has `pairs` different keys, each with a random value, and one of these keys again.
    There are `symbols` keys and as many values, and none is both.

    With more than one of `relations` each of the keys has a value under each of them, in any order:
    "k1 r1 v1 k2 r0 v2 ... k r", so that neither the key nor the relation alone tells the value.
    """

    symbols: int
    pairs: int
    relations: int = 1

    def __post_init__(self) -> None:
        _expect_at_least("symbols", self.symbols, 2)
        _expect_at_least("pairs", self.pairs, 1)
        _expect_at_least("relations", self.relations, 1)
        if self.pairs > self.symbols:
            raise InputError(
                f"pairs is {self.pairs}; their keys differ, and there are {self.symbols} symbols: "
                f"expected at most {self.symbols}"
            )

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        keys, values = _numbered("k", self.symbols), _numbered("v", self.symbols)
        return [*keys, *values, *self._relations], values

    @property
    def _relations(self) -> list[str]:
        """Their names; one alone is not said."""
        return _numbered("r", self.relations) if self.relations > 1 else []

    @property
    def blind(self) -> float:
        """The value costs log `symbols`, the `EOS` behind it nothing."""
        return math.log(self.symbols) / 2

    def example(self, dice: Dice) -> tuple[str, str]:
        names, labels = self.vocabularies
        keys = dice.draw(names[: self.symbols], self.pairs)
        if self.relations > 1:
            facts = [f"{key} {relation}" for key in keys for relation in self._relations]
            keys = dice.draw(facts, len(facts))
        values = dice.picks(labels, len(keys))
        asked = dice.below(len(keys))
        told = [word for pair in zip(keys, values, strict=True) for word in pair]
        return " ".join([*told, keys[asked]]), values[asked]


@dataclass(frozen=True)
class Order(Rule):
    """Temporal order, two symbols (Hochreiter and Schmidhuber 1997, experiment 6a).

    Among `length` symbols that say nothing stand two marks, X or Y each: the first somewhere in the
    second tenth, the second in the sixth. The target is what they are, in order: XX, XY, YX or YY.
    The paper's sequences have 100 to 110 symbols, and one of their own at each end.
    """

    length: int

    def __post_init__(self) -> None:
        _expect_at_least("length", self.length, 10)

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        return [*DISTRACTORS, *MARKS], [a + b for a in MARKS for b in MARKS]

    @property
    def blind(self) -> float:
        """The class costs log 4, the `EOS` behind it nothing."""
        return math.log(len(MARKS) ** 2) / 2

    def example(self, dice: Dice) -> tuple[str, str]:
        source = dice.picks(DISTRACTORS, self.length)
        marks = dice.picks(MARKS, 2)
        for tenth, mark in zip((1, 5), marks, strict=True):
            first, end = (self.length * part // 10 for part in (tenth, tenth + 1))
            source[first + dice.below(end - first)] = mark
        return " ".join(source), "".join(marks)


PROBES: dict[str, type[Rule]] = {
    "copy": Copy,
    "reverse": Reverse,
    "permutation": Permutation,
    "recall": Recall,
    "order": Order,
}
"""Rules by the names of their tasks."""


class Probe(PairBuilder):
    """A TFDS builder of examples that follow a rule, from a fixed seed.

    Each rule and each of its settings is a TFDS configuration of its own: no two share a folder.
    The random numbers are raw Philox output, which NumPy keeps the same for ever. Short sources of
    few symbols occur in more than one split.
    """

    SIDES = ("source", "target")
    DESCRIPTION = "Generated sources, and targets that follow from them by a known rule."
    SIZES: ClassVar[dict[str, int]] = {"train": 20_000, "validation": 500, "test": 1_000}
    SEED = 0

    def __init__(self, task: str, *, data_dir: str | None, file_format: str, **settings: int):
        """Of one rule.

        Args:
            task: a name in `PROBES`.
            data_dir: where prepared data is kept, as TFDS takes it.
            file_format: how it is kept.
            settings: the rule's fields.

        Raises:
            InputError: a setting that the rule cannot have.
        """
        self._task = task
        self._rule = PROBES[task](**settings)
        super().__init__(data_dir=data_dir, file_format=file_format)

    def get_default_builder_config(self) -> Any:
        # Not given to TFDS as an argument: it warns of configurations that the class does not list.
        settings = (f"{name}{value}" for name, value in asdict(self._rule).items())
        return tfds.core.BuilderConfig(name="-".join([self._task, *settings]))

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        for number, (split, size) in enumerate(self.SIZES.items()):
            dice = Dice(self.SEED, number)
            for _ in range(size):
                yield split, *self._rule.example(dice)


def _expect_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{name} is {value}; expected at least {least}")


def _numbered(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(n)]
