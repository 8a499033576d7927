import hashlib
from collections import Counter
from types import SimpleNamespace

import pytest

from experiments.data import lookup
from experiments.data.lookup import LONGEST, PEOPLE, SEPARATOR, Lookup

SIZES = {"train": 3000, "validation": 300, "test": 500}


@pytest.fixture(scope="module")
def splits():
    """(words, first, last) of the first examples of each split."""
    builder, found = SimpleNamespace(SIZES=SIZES, SEED=Lookup.SEED), {}
    for split, source, target in Lookup.pairs(builder, None):
        first, last = map(int, target.split())
        found.setdefault(split, []).append((source.split(), first, last))
    return found


def facts(words):
    """The sentences of a passage."""
    text = " ".join(words[words.index(SEPARATOR) + 1 :])
    return [sentence.strip() for sentence in text.split(" .") if sentence.strip()]


def test_the_same_for_ever(splits):
    digest = hashlib.sha256(repr(splits["test"]).encode()).hexdigest()
    # Written down once: another means other data under the same name.
    assert digest == "1b67849e4ce97c58b853d420192b9a4cf7cf73818af83f038eba89b9b8135821"


def test_no_passage_is_in_two_splits(splits):
    passages = [{" ".join(words) for words, _, _ in rows} for rows in splits.values()]
    assert sum(map(len, passages)) == len(set().union(*passages))


def test_the_span_is_the_answer(splits):
    for words, first, last in splits["test"]:
        bar = words.index(SEPARATOR)
        assert bar < first <= last < len(words) <= LONGEST
        answer, question = words[first : last + 1], words[:bar]
        start = first
        while words[start - 1] not in (".", SEPARATOR):
            start -= 1
        fact = " ".join(words[start : words.index(".", first)])
        asked_of = [name for name in question if name in PEOPLE]
        if asked_of:  # the thing, in the person's own sentence
            assert answer[0] == "the"
            assert asked_of[0] in fact
        else:  # the person, where the thing of the question is told
            assert answer[0] in PEOPLE
            assert first == last
            thing = " ".join(question[question.index("the") : -1])
            assert thing in fact


def test_whom_or_what_is_asked_for_is_not_alone(splits):
    """The person has other facts, and others have facts of the same relation."""
    for words, first, last in splits["test"][:300]:
        told = facts(words)
        assert 4 <= len(told) <= lookup.MOST_FACTS
        question = words[: words.index(SEPARATOR)]
        person = next((name for name in [*question, words[first]] if name in PEOPLE), None)
        assert sum(person in fact.split() for fact in told) >= 2
        thing = words[first : last + 1] if words[first] == "the" else question
        nouns = [r.things for r in lookup.RELATIONS if set(r.things) & set(thing)]
        assert len(nouns) == 1
        assert sum(bool(set(nouns[0]) & set(fact.split())) for fact in told) >= 2


def test_answers_differ_in_length(splits):
    lengths = Counter(last - first + 1 for _, first, last in splits["train"])
    assert set(lengths) >= {1, 2, 3, 4, 5, 6}


def test_the_commonest_span_is_seldom_right(splits):
    """Nor is it when the length of the question is known."""
    train, test = splits["train"], splits["test"]
    ((span, _),) = Counter((first, last) for _, first, last in train).most_common(1)
    assert sum((first, last) == span for _, first, last in test) < 0.05 * len(test)
    by_question = {}
    for words, first, last in train:
        question = " ".join(words[:3]), words.index(SEPARATOR)
        by_question.setdefault(question, Counter())[first, last] += 1
    right = sum(
        by_question[" ".join(words[:3]), words.index(SEPARATOR)].most_common(1)[0][0]
        == (first, last)
        for words, first, last in test
    )
    assert right < 0.15 * len(test)
