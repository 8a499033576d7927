"""Which letters of a word each of its phonemes belongs to: monotone alignment by EM.

A letter stands for no phoneme, one, or two in a row (the x of "fox": K S), as in many-to-many
alignment (Jiampojamarn, Kondrak and Sherif 2007). P(word's phonemes, alignment | letters) is the
product over the letters of P(what it stands for | letter); EM finds these probabilities, and each
word then takes its most probable alignment. All arithmetic is sums and products, no logarithms, so
the same words give the same alignments everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 24
"""Of EM; eight more turn three of ten thousand letters of the pronouncing dictionary."""
SAMPLE = 20_000
"""Words at most that EM learns from, evenly spread; all of the dictionary's turn as few."""
FEWEST = 1e-12
"""Probability at least of all that a letter may stand for, so that every word has an alignment."""

TIE = 1e-9
"""Relative difference of two alignments' probabilities that is rounding: of two letters alike the
first has the phoneme."""


@dataclass(frozen=True)
class _Words:
    """Words of one number of letters, [N, L], and phonemes padded with 0 to [N, P]."""

    rows: np.ndarray
    letters: np.ndarray
    phonemes: np.ndarray
    lengths: np.ndarray
    """[N]: phonemes."""


@dataclass(frozen=True)
class _Table:
    """P(no phoneme | letter) [A], P(one | letter) [A, K] and P(two | letter) [A, K, K]."""

    none: np.ndarray
    one: np.ndarray
    two: np.ndarray

    def of(self, words: _Words, letter: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the letter at a place gives: [N, 1], [N, P] and [N, P - 1] by first phoneme."""
        at, heard = words.letters[:, letter, None], words.phonemes
        return self.none[at], self.one[at, heard], self.two[at, heard[:, :-1], heard[:, 1:]]


def align(words: Sequence[str], pronunciations: Sequence[Sequence[str]]) -> list[list[int] | None]:
    """How many phonemes (0, 1 or 2) each letter of each word stands for.

    Args:
        words: at least one letter each.
        pronunciations: phonemes of each word.

    Returns:
        For each word a count for each of its letters; the counts sum to its phonemes. None where
        there are more phonemes than twice the letters.
    """
    groups = _grouped(words, pronunciations)
    table = _learnt(groups, sum(len(group.rows) for group in groups))
    found: list[list[int] | None] = [None] * len(words)
    for group in groups:
        for row, counts in zip(group.rows, _best(group, table).tolist(), strict=True):
            found[row] = counts
    return found


def _grouped(words: Sequence[str], pronunciations: Sequence[Sequence[str]]) -> list[_Words]:
    """The words that can be aligned, by number of letters; letters and phonemes are numbered."""
    alphabet = {letter: n for n, letter in enumerate(sorted(set("".join(words))))}
    sounds = {sound: n for n, sound in enumerate(sorted({s for p in pronunciations for s in p}))}
    groups = []
    for size in sorted({len(word) for word in words}):
        rows = [
            row
            for row, word in enumerate(words)
            if len(word) == size and len(pronunciations[row]) <= 2 * size
        ]
        if not rows:
            continue
        lengths = np.array([len(pronunciations[row]) for row in rows])
        phonemes = np.zeros((len(rows), max(2, lengths.max())), np.int64)
        for line, row in zip(phonemes, rows, strict=True):
            line[: len(pronunciations[row])] = [sounds[sound] for sound in pronunciations[row]]
        letters = np.array([[alphabet[letter] for letter in words[row]] for row in rows])
        groups.append(_Words(np.array(rows), letters, phonemes, lengths))
    return groups


def _learnt(groups: Sequence[_Words], total: int) -> _Table:
    """The table after `ROUNDS` of EM, from one in which all is equally likely."""
    every = -(-total // SAMPLE)
    sample = [
        _Words(g.rows[::every], g.letters[::every], g.phonemes[::every], g.lengths[::every])
        for g in groups
    ]
    letters = 1 + max(int(g.letters.max()) for g in groups)
    sounds = 1 + max(int(g.phonemes.max()) for g in groups)
    shapes = (letters,), (letters, sounds), (letters, sounds, sounds)
    table = _Table(*(np.full(shape, 1.0 / (1 + sounds + sounds**2)) for shape in shapes))
    for _ in range(ROUNDS):
        counts = _Table(*map(np.zeros, shapes))
        for group in sample:
            _add_expected(group, table, counts)
        whole = counts.none + counts.one.sum(axis=1) + counts.two.sum(axis=(1, 2))
        whole = np.maximum(whole, FEWEST)
        table = _Table(
            np.maximum(counts.none / whole, FEWEST),
            np.maximum(counts.one / whole[:, None], FEWEST),
            np.maximum(counts.two / whole[:, None, None], FEWEST),
        )
    return table


def _add_expected(words: _Words, table: _Table, counts: _Table) -> None:
    """Adds to `counts` how often each letter is expected to stand for what (forward–backward)."""
    size, given = (
        words.letters.shape[1],
        [table.of(words, i) for i in range(words.letters.shape[1])],
    )
    n, width = words.phonemes.shape
    before = np.zeros((size + 1, n, width + 1))
    before[0, :, 0] = 1.0
    for i, (none, one, two) in enumerate(given):
        before[i + 1] = before[i] * none
        before[i + 1, :, 1:] += before[i, :, :-1] * one
        before[i + 1, :, 2:] += before[i, :, :-2] * two
    rows = np.arange(n)
    after = np.zeros((n, width + 1))
    after[rows, words.lengths] = 1.0 / before[size, rows, words.lengths]
    for i in reversed(range(size)):
        none, one, two = given[i]
        at, heard = words.letters[:, i], words.phonemes
        used = before[i, :, :-1] * one * after[:, 1:]
        pairs = before[i, :, :-2] * two * after[:, 2:]
        np.add.at(counts.none, at, (before[i] * none * after).sum(axis=1))
        np.add.at(counts.one, (at[:, None], heard), used)
        np.add.at(counts.two, (at[:, None], heard[:, :-1], heard[:, 1:]), pairs)
        earlier = after * none
        earlier[:, :-1] += after[:, 1:] * one
        earlier[:, :-2] += after[:, 2:] * two
        after = earlier


def _best(words: _Words, table: _Table) -> np.ndarray:
    """[N, L]: phonemes of each letter in the most probable alignment (Viterbi)."""
    n, size = words.letters.shape
    width = words.phonemes.shape[1]
    score = np.zeros((n, width + 1))
    score[:, 0] = 1.0
    chosen = np.zeros((size, n, width + 1), np.int8)
    for i in range(size):
        none, one, two = table.of(words, i)
        ways = np.zeros((3, n, width + 1))
        ways[0] = score * none
        ways[1, :, 1:] = score[:, :-1] * one
        ways[2, :, 2:] = score[:, :-2] * two
        best = ways.argmax(axis=0)
        best[ways[0] > (1 - TIE) * ways.max(axis=0)] = 0
        chosen[i] = best
        score = np.take_along_axis(ways, best[None], axis=0)[0]
    counts = np.zeros((n, size), np.int64)
    rows, place = np.arange(n), words.lengths.copy()
    for i in reversed(range(size)):
        counts[:, i] = chosen[i, rows, place]
        place -= counts[:, i]
    return counts
