"""Spelling → which letters are silent, derived from the pronouncing dictionary by alignment."""

from collections.abc import Iterator
from typing import Any

from experiments.data import pronunciation
from experiments.data.alignment import align
from experiments.data.pairs import PairBuilder

SOUNDED, SILENT = "sounded", "silent"


class SilentLetters(PairBuilder):
    """Each letter of a word: silent if its alignment gives it no phoneme, else sounded.

    "knight", N AY T → silent sounded sounded silent silent sounded. Of two letters that share a
    phoneme one counts as silent, always the same (the h of "ph", the second t of "attend"). Words,
    pronunciations and splits are those of `Pronunciation`, without the few that have more than two
    phonemes a letter (abbreviations).
    """

    SIDES = ("spelling", "letters")
    DESCRIPTION = "Words of the CMU Pronouncing Dictionary, each letter sounded or silent."

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        rows = list(pronunciation.read_dictionary(pronunciation.DICTIONARY))
        counts = align([word for _, word, _ in rows], [heard.split() for _, _, heard in rows])
        for (split, word, _), letters in zip(rows, counts, strict=True):
            if letters is not None:
                yield split, word, " ".join(SOUNDED if n else SILENT for n in letters)
