import hashlib
import math
from collections import Counter
from dataclasses import fields

import pytest

from experiments.config import TaskConfig
from experiments.data import probes
from experiments.data.dice import Dice
from experiments.data.probes import OPTIMUM, PROBES, SETTINGS, Probe, alignment
from experiments.data.sets import read_set
from experiments.errors import InputError

SMALL = {
    "copy": {"length": 3, "symbols": 3},
    "reverse": {"length": 3, "symbols": 3},
    "permutation": {"length": 5, "symbols": 3, "block": 2},
    "recall": {"symbols": 3, "pairs": 2},
    "order": {"length": 10},
}
"""Few enough sources that most occur again and again."""


def examples(name, n, **settings):
    dice, rule = Dice(0, 0), PROBES[name](**settings)
    return [rule.example(dice) for _ in range(n)]


def entropy(things):
    """Of their frequencies, in nats."""
    counts = Counter(things)
    whole = counts.total()
    return -sum(n / whole * math.log(n / whole) for n in counts.values())


@pytest.mark.parametrize(
    ("length", "block", "expected"),
    [
        (5, 1, [0, 1, 2, 3, 4]),
        (5, 2, [1, 0, 3, 2, 4]),
        (5, 3, [2, 1, 0, 4, 3]),
        (5, 5, [4, 3, 2, 1, 0]),
        (5, 9, [4, 3, 2, 1, 0]),
        (1, 1, [0]),
    ],
)
def test_alignment(length, block, expected):
    assert alignment(length, block) == expected


@pytest.mark.parametrize("block", [1, 2, 4, 7, 20])
def test_a_permutation_is_its_alignment(block):
    for source, target in examples("permutation", 50, length=7, symbols=99, block=block):
        symbols = source.split()
        assert len(symbols) == 7
        assert target.split() == [symbols[place] for place in alignment(7, block)]


@pytest.mark.parametrize(("name", "step"), [("copy", 1), ("reverse", -1)])
def test_copies_and_reversals(name, step):
    pairs = examples(name, 4000, length=4, symbols=6)
    assert all(target.split() == source.split()[::step] for source, target in pairs)
    lengths = Counter(len(source.split()) for source, _ in pairs)
    assert sorted(lengths) == [1, 2, 3, 4]
    assert min(lengths.values()) > 900
    symbols = Counter(symbol for source, _ in pairs for symbol in source.split())
    assert sorted(symbols) == ["0", "1", "2", "3", "4", "5"]
    assert min(symbols.values()) > 1500


def test_recall_asks_for_one_of_the_keys():
    asked = Counter()
    for source, target in examples("recall", 2000, symbols=9, pairs=5):
        *told, question = source.split()
        values = dict(zip(told[::2], told[1::2], strict=True))
        assert len(values) == 5
        assert all(key[0] == "k" for key in values)
        assert all(value[0] == "v" for value in values.values())
        assert target == values[question]
        asked[told.index(question)] += 1
    assert sorted(asked) == [0, 2, 4, 6, 8]
    assert min(asked.values()) > 300


def test_recall_of_one_relation_among_several():
    asked = Counter()
    for source, target in examples("recall", 2000, symbols=9, pairs=2, relations=3):
        *told, key, relation = source.split()
        facts = [tuple(told[at : at + 3]) for at in range(0, len(told), 3)]
        values = {(key, relation): value for key, relation, value in facts}
        keys = {key for key, _ in values}
        assert len(facts) == len(values) == 6
        assert len(keys) == 2
        assert set(values) == {(key, r) for key in keys for r in ("r0", "r1", "r2")}
        assert target == values[key, relation]
        asked[facts.index((key, relation, target))] += 1
    assert sorted(asked) == [0, 1, 2, 3, 4, 5]
    assert min(asked.values()) > 250


@pytest.mark.parametrize(
    ("length", "first", "second"), [(10, {1}, {5}), (50, range(5, 10), range(25, 30))]
)
def test_order_is_that_of_the_marks(length, first, second):
    stood = set(), set()
    for source, target in examples("order", 400, length=length):
        symbols = source.split()
        assert len(symbols) == length
        places = [place for place, symbol in enumerate(symbols) if symbol in probes.MARKS]
        assert "".join(symbols[place] for place in places) == target
        for seen, place in zip(stood, places, strict=True):
            seen.add(place)
    assert stood == (set(first), set(second))


@pytest.mark.parametrize("name", PROBES)
def test_losses_are_those_of_the_data(name):
    """By counting: how much the targets tell, and what is left of it once the source is known."""
    pairs = examples(name, 8_000, **SMALL[name])
    targets = [target for _, target in pairs]
    labels = PROBES[name](**SMALL[name]).vocabularies[1]
    assert {word for target in targets for word in target.split()} == set(labels)
    tokens = sum(len(target.split()) + 1 for target in targets) / len(targets)
    blind = PROBES[name](**SMALL[name]).blind
    assert entropy(targets) / tokens == pytest.approx(blind, rel=0.01)
    if name != "order":  # whose distractors make nearly every source another one
        assert len({source for source, _ in pairs}) < 300
    assert entropy(pairs) - entropy(source for source, _ in pairs) == pytest.approx(OPTIMUM)


def test_the_same_for_ever():
    made = {name: examples(name, 20, **SMALL[name]) for name in PROBES}
    digest = hashlib.sha256(repr(made).encode()).hexdigest()
    # Written down once: another means other data under the same name.
    assert digest == "5b03505b3e7f8e855097f71166b26d9eb4d1209d0b3dffd31db3a110f7e8a5b5"


def test_settings_are_those_of_the_rules_and_of_tasks():
    assert {field.name for rule in PROBES.values() for field in fields(rule)} == set(SETTINGS)
    assert set(SETTINGS) < {field.name for field in fields(TaskConfig)}


def test_no_two_settings_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Probe, "SIZES", {"train": 6, "validation": 3, "test": 4})
    read = [
        read_set("permutation", tmp_path, settings={"length": n, "symbols": 20, "block": block})
        for n, block in ((4, 1), (4, 3), (6, 1), (4, 1))
    ]
    assert [len(read[0][split][0]) for split in ("train", "validation", "test")] == [6, 3, 4]
    sources, targets = zip(*(splits["train"] for splits in read), strict=True)
    assert sources[0] == sources[1]
    assert targets[0] == sources[0] != targets[1]
    assert {len(source.split()) for source in sources[2]} == {6}
    assert read[3] == read[0]
    assert not set(sources[2]) & set(read[2]["test"][0])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("copy", {"length": 0}, "length is 0; expected at least 1"),
        ("reverse", {"symbols": 1}, "symbols is 1; expected at least 2"),
        ("permutation", {"symbols": 0}, "symbols is 0; expected at least 2"),
        ("permutation", {"block": 0}, "block is 0; expected at least 1"),
        ("recall", {"pairs": 0}, "pairs is 0; expected at least 1"),
        ("recall", {"symbols": 1}, "symbols is 1; expected at least 2"),
        ("recall", {"relations": 0}, "relations is 0; expected at least 1"),
        ("recall", {"pairs": 4}, "pairs is 4; .* there are 3 symbols: expected at most 3"),
        ("order", {"length": 9}, "length is 9; expected at least 10"),
    ],
)
def test_settings_that_cannot_be(name, change, message):
    with pytest.raises(InputError, match=message):
        PROBES[name](**(SMALL[name] | change))


@pytest.mark.parametrize("name", ["length", "block"])
def test_alignments_that_cannot_be(name):
    with pytest.raises(InputError, match=f"{name} is 0; expected at least 1"):
        alignment(**({"length": 4, "block": 2} | {name: 0}))
