"""Generated passages of facts, each with a question whose answer is a span of the passage."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from experiments.data.dice import Dice
from experiments.data.pairs import PairBuilder

SEPARATOR = "|"
"""Between question and passage."""

# fmt: off
PEOPLE = (
    "ada", "ben", "cleo", "dora", "emil", "finn", "gita", "hugo",
    "iris", "jonas", "kaya", "leon", "mara", "nils", "olga", "piet",
    "rosa", "samir", "tilda", "umar", "vera", "wim", "yara", "zeno",
)
# fmt: on
ADJECTIVES = ("", "", "old", "small", "red", "grey", "quiet", "crooked", "broad", "famous", "green")


@dataclass(frozen=True)
class Relation:
    """Something that holds between a person and a thing, and how it is told and asked for."""

    things: Sequence[str]
    """Nouns; "the", perhaps an adjective and one of `tails` make a thing's name of them."""
    tails: Sequence[str]
    told: Sequence[str]
    """Sentences with {who} and {what}."""
    asked: Sequence[str]
    """Questions with {who}, in other words than `told`: {what} is the answer."""
    turned: Sequence[str]
    """Questions with {what}: {who} is the answer."""


RELATIONS = (
    Relation(
        ("mill", "cottage", "tower", "farm", "lighthouse", "cabin"),
        ("", "", "by the river", "on the hill", "near the old harbour"),
        (
            "{who} lives in {what} .",
            "{what} is home to {who} .",
            "since spring {what} has been where {who} sleeps .",
        ),
        ("where does {who} dwell ?", "in which place would one find {who} at night ?"),
        ("who dwells at {what} ?",),
    ),
    Relation(
        ("cat", "dog", "goose", "pony", "parrot", "goat"),
        ("", "", "with one ear", "from the south", "that never eats"),
        (
            "{who} keeps {what} .",
            "{what} follows {who} everywhere .",
            "every morning {who} feeds {what} .",
        ),
        ("which animal belongs to {who} ?", "what creature does {who} own ?"),
        ("whose animal is {what} ?",),
    ),
    Relation(
        ("lantern", "violin", "kettle", "umbrella", "watch", "ladder"),
        ("", "", "of brass", "from a market", "without a handle"),
        (
            "{who} has lost {what} .",
            "{what} went missing while {who} was away .",
            "nobody but {who} misses {what} .",
        ),
        ("which object is {who} searching for ?", "what can {who} no longer find ?"),
        ("who is searching for {what} ?",),
    ),
    Relation(
        ("soup", "bread", "pie", "cheese", "porridge", "stew"),
        ("", "", "with plums", "of the day", "in a blue bowl"),
        (
            "{who} ordered {what} for supper .",
            "{what} was brought to {who} .",
            "on fridays {what} is all that {who} wants .",
        ),
        ("which dish did {who} eat ?", "what was on the plate of {who} ?"),
        ("who ate {what} ?",),
    ),
)
MOST_FACTS = 6


def _longest(texts: Sequence[str]) -> int:
    """Words of the longest text once {who} and {what} are filled in."""
    thing = 3 + max(len(tail.split()) for relation in RELATIONS for tail in relation.tails)
    return max(len(text.split()) + text.count("{what}") * (thing - 1) for text in texts)


LONGEST = (
    _longest([text for r in RELATIONS for text in (*r.asked, *r.turned)])
    + 1
    + MOST_FACTS * _longest([text for r in RELATIONS for text in r.told])
)
"""Words that question, separator and passage have at most."""


class Lookup(PairBuilder):
    """Question, separator and passage → first and last place of the answer among these words.

    A passage tells of two or three people two or three things each, in any order, so that the
    person asked about and the relation asked for both occur elsewhere too. A
    question shares no verb with the passage, and answers have one to six words. The
    random numbers are raw Philox output, which NumPy keeps the same for ever.
    """

    SIDES = ("question", "span")
    DESCRIPTION = "Generated passages of facts, a question each, and the place of its answer."
    SIZES: ClassVar[dict[str, int]] = {"train": 20_000, "validation": 1_000, "test": 2_000}
    SEED = 0

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        for number, (split, size) in enumerate(self.SIZES.items()):
            dice = Dice(self.SEED, number)
            for _ in range(size):
                yield split, *_example(dice)


def _example(dice: Dice) -> tuple[str, str]:
    """Source and target texts."""
    people, relations = dice.pick([(2, 2), (2, 3), (3, 2)])
    names = dice.draw(PEOPLE, people)
    facts = [
        (relation, {"{who}": [name], "{what}": thing})
        for relation in dice.draw(RELATIONS, relations)
        for name, thing in zip(names, _things(dice, relation, people), strict=True)
    ]
    facts = dice.draw(facts, len(facts))
    wanted = dice.pick(facts)
    relation, filling = wanted
    answer = dice.pick(["{what}", "{who}"])
    question = dice.pick(relation.asked if answer == "{what}" else relation.turned)
    words = [*_filled(question, filling), SEPARATOR]
    first = 0
    for fact in facts:
        told = dice.pick(fact[0].told)
        if fact is wanted:
            first = len(words) + len(_filled(told.partition(answer)[0], filling))
        words += _filled(told, fact[1])
    return " ".join(words), f"{first} {first + len(filling[answer]) - 1}"


def _things(dice: Dice, relation: Relation, n: int) -> list[list[str]]:
    """Names of `n` different things, as words."""
    return [
        f"the {dice.pick(ADJECTIVES)} {noun} {dice.pick(relation.tails)}".split()
        for noun in dice.draw(relation.things, n)
    ]


def _filled(text: str, filling: Mapping[str, list[str]]) -> list[str]:
    """The words of a text, names put in."""
    return [word for part in text.split() for word in filling.get(part, [part])]
