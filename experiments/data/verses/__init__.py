"""English–Spanish verses: two Bible translations in the public domain, embedded.

PROVENANCE.md says where the file comes from; `python -m experiments.data.verses.rebuild` makes it
again.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from experiments.data.pairs import PairBuilder, malformed, read_lines, split_of

VERSES = Path(__file__).parent / "en_es.tsv.gz"


class Verses(PairBuilder):
    """Verses in English and Spanish of 5–60 words, split 80/10/10 by a hash of the chapter.

    By chapter, because neighbouring verses repeat phrases.
    """

    SIDES = ("en", "es")
    DESCRIPTION = "Bible verses in English and Spanish (1909), aligned by verse."

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        yield from read_verses(VERSES)


class VersesEnglish(PairBuilder):
    """The English verses as running text: a chapter is a text, a verse a line; split as `Verses`.

    Verses that `Verses` lacks (longer than 60 words, or badly aligned) are missing here too.
    """

    SIDES = ("before", "text")
    DESCRIPTION = "Chapters of an English Bible, a verse a line."

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        for chapter, verses in groupby(_verses(VERSES), key=lambda verse: verse[0]):
            yield _split(chapter), "", "".join(f"{english}\n" for _, english, _ in verses)


def read_verses(path: Path) -> Iterator[tuple[str, str, str]]:
    """(split, English, Spanish) of a file of lines "Book.chapter.verse TAB English TAB Spanish".

    Raises:
        InputError: the file is missing or empty, or a line has another form.
    """
    for chapter, english, spanish in _verses(path):
        yield _split(chapter), english, spanish


def _verses(path: Path) -> Iterator[tuple[str, str, str]]:
    """(chapter, English, Spanish) of every line."""
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("\t")
        if len(fields) != 3 or not all(fields) or fields[0].count(".") != 2:
            raise malformed(path, number, line, "reference, English and Spanish with tabs between")
        reference, english, spanish = fields
        yield reference.rpartition(".")[0], english, spanish


def _split(chapter: str) -> str:
    return split_of(chapter, train=0.8, validation=0.1)
