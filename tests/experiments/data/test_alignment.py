from itertools import product
from math import prod

import numpy as np
import pytest

from experiments.data import alignment, pronunciation
from experiments.data.alignment import align


def ways(word, sounds):
    """Every alignment: (letter, what it stands for) of each letter."""
    for counts in product((0, 1, 2), repeat=len(word)):
        if sum(counts) == len(sounds):
            ends = np.cumsum(counts)
            yield [
                (letter, tuple(sounds[end - n : end]))
                for letter, n, end in zip(word, counts, ends, strict=True)
            ]


def by_enumeration(words, rounds):
    """EM and the best alignments, by the definition."""
    letters = sorted(set("".join(word for word, _ in words)))
    sounds = sorted({sound for _, heard in words for sound in heard})
    units = [(), *product(sounds), *product(sounds, sounds)]
    table = {(letter, unit): 1.0 for letter in letters for unit in units}
    for _ in range(rounds):
        counts = dict.fromkeys(table, 0.0)
        for word, heard in words:
            found = [(way, prod(table[pair] for pair in way)) for way in ways(word, heard)]
            total = sum(p for _, p in found)
            for way, p in found:
                for pair in way:
                    counts[pair] += p / total
        for letter in letters:
            whole = sum(counts[letter, unit] for unit in units)
            table |= {(letter, unit): counts[letter, unit] / whole for unit in units}
    best = []
    for word, heard in words:
        found = [
            (prod(table[pair] for pair in way), [len(unit) for _, unit in way])
            for way in ways(word, heard)
        ]
        most = max(p for p, _ in found)
        # Of equally probable ones, that in which the last letters stand for the least.
        best.append(min((c for p, c in found if p > 0.999999 * most), key=lambda c: c[::-1]))
    return best


WORDS = [
    ("cat", "K AE T"),
    ("at", "AE T"),
    ("cab", "K AE B"),
    ("comb", "K OW M"),
    ("tab", "T AE B"),
    ("mat", "M AE T"),
    ("tax", "T AE K S"),
    ("ax", "AE K S"),
    ("too", "T UW"),
    ("moot", "M UW T"),
]
WORDS = [(word, heard.split()) for word, heard in WORDS]


def test_it_is_expectation_maximisation():
    found = align([word for word, _ in WORDS], [heard for _, heard in WORDS])
    assert found == by_enumeration(WORDS, alignment.ROUNDS)
    assert found[WORDS.index(("tax", ["T", "AE", "K", "S"]))] == [1, 1, 2]
    assert found[WORDS.index(("too", ["T", "UW"]))] == [1, 1, 0]


def test_what_cannot_be_aligned():
    found = align(["at", "w", "aw"], [["AE", "T"], ["D", "AH", "B", "UW"], ["AO"]])
    assert found[1] is None
    assert [sum(found[0]), sum(found[2])] == [2, 1]


@pytest.fixture(scope="module")
def dictionary():
    """Every twentieth word and a few others; counts of the phonemes of their letters."""
    rows = [
        (word, heard.split())
        for _, word, heard in pronunciation.read_dictionary(pronunciation.DICTIONARY)
    ]
    some = rows[::20] + [row for row in rows if row[0] in EXPECTED]
    counts = align([word for word, _ in some], [heard for _, heard in some])
    return {
        word: (heard, found) for (word, heard), found in zip(some, counts, strict=True) if found
    }


EXPECTED = {
    "knight": "011001",
    "phone": "10110",
    "fox": "112",
    "through": "1010100",
    "comb": "1110",
    "write": "01110",
    "attend": "110111",
    "walked": "110101",
    "psychology": "0111011111",
}


@pytest.mark.parametrize("word", EXPECTED)
def test_words_of_the_dictionary(dictionary, word):
    assert "".join(map(str, dictionary[word][1])) == EXPECTED[word]


def test_every_phoneme_has_its_letter(dictionary):
    for word, (heard, counts) in dictionary.items():
        assert len(counts) == len(word)
        assert sum(counts) == len(heard)
        assert set(counts) <= {0, 1, 2}
