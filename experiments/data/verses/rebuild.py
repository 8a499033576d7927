"""Makes `en_es.tsv.gz` again from two Debian packages; run by hand, never by the project itself.

    apt-get install sword-text-web sword-text-sparv && pip install pysword
    python -m experiments.data.verses.rebuild /usr/share/sword verses.tsv.gz

Takes some minutes and 2 GB of memory, and says how the result compares with the embedded file.
"""

import argparse
import gzip
import html
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.data.pairs import read_lines
from experiments.data.verses import VERSES

ENGLISH, SPANISH = "engWEB2015eb", "spaRV1909eb"
"""Names of the SWORD modules."""

Reference = tuple[str, int, int]
"""Book, chapter, verse."""
Verses = dict[Reference, tuple[str, str]]
"""English and Spanish."""

REMARK = re.compile(r"<(note|title)\b[^>]*?(?:/>|>.*?</\1>)", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
SPACE_BEFORE = re.compile(r" +([,.;:!?”’])")

WORDS = range(5, 61)
LENGTH_RATIO = (0.45, 2.2)
UNSEEN = 1e-7
"""Probability of words that were never seen in one pair."""
MISFIT = -4.55
"""Mean log-likelihood below which a chapter goes: other chapters are at -4 on average."""


def read_module(sword: Path, module: str) -> Iterator[tuple[Reference, str]]:
    """The OSIS markup of every verse of a SWORD module."""
    from pysword.modules import SwordModules  # nothing else in the project needs it

    modules = SwordModules(str(sword))
    modules.parse_modules()
    bible = modules.get_bible_from_module(module)
    for books in bible.get_structure().get_books().values():
        for book in books:
            for chapter, length in enumerate(book.chapter_lengths, start=1):
                for verse in range(1, length + 1):
                    text = bible.get([book.name], [chapter], [verse], clean=False)
                    yield (book.osis_name, chapter, verse), text


def plain(osis: str) -> str:
    """The text of a verse without notes, titles and markup."""
    text = html.unescape(TAG.sub("", REMARK.sub(" ", osis)))
    return SPACE_BEFORE.sub(r"\1", " ".join(text.split()))


def without_capitals(text: str) -> str:
    """With the first word, which the 1909 text sets in capitals at a chapter's start, in small
    letters but for its first."""
    first, space, rest = text.partition(" ")
    letters = [place for place, character in enumerate(first) if character.isalpha()]
    if len(letters) < 2 or not first.isupper():
        return text
    start = letters[0] + 1
    return first[:start] + first[start:].lower() + space + rest


def of_like_length(english: dict[Reference, str], spanish: dict[Reference, str]) -> Verses:
    """The verses that both texts have, of 5–60 words, neither much longer than the other."""
    kept = {}
    for reference, markup in english.items():
        if reference not in spanish:
            continue
        pair = plain(markup), without_capitals(plain(spanish[reference]))
        source, target = (len(text.split()) for text in pair)
        low, high = LENGTH_RATIO
        if source in WORDS and target in WORDS and low <= target / source <= high:
            kept[reference] = pair
    return kept


class Lexicon:
    """IBM model 1 (Brown and others 1993): p(Spanish word | English word), learned from verses."""

    def __init__(self, verses: Verses, iterations: int = 5):
        """Learns by expectation maximisation."""
        self._ids: dict[str, int] = {"": 0}  # the empty word stands in every English verse
        pairs = [self.words(pair) for pair in verses.values()]
        self._base = len(self._ids)
        cells = [self._cells(*pair) for pair in pairs]
        widths = np.repeat([c.shape[1] for c in cells], [c.shape[0] for c in cells])
        starts = np.cumsum(widths) - widths
        row = np.repeat(np.arange(len(widths)), widths)
        self._keys, cell = np.unique(
            np.concatenate([c.ravel() for c in cells]), return_inverse=True
        )
        english = self._keys // self._base
        self._probability = np.ones(len(self._keys))
        for _ in range(iterations):
            share = self._probability[cell]
            share /= np.add.reduceat(share, starts)[row]
            count = np.bincount(cell, share, len(self._keys))
            self._probability = count / np.bincount(english, count)[english]

    def words(self, pair: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the empty and the English words, and of the Spanish ones."""
        ids = self._ids
        english, spanish = (
            [ids.setdefault(word, len(ids)) for word in re.findall(r"\w+", text.lower())]
            for text in pair
        )
        return np.array([0, *english]), np.array(spanish)

    def log_likelihood(self, english: np.ndarray, spanish: np.ndarray) -> float:
        """A Spanish word's log-probability beside English words, on average."""
        cells = self._cells(english, spanish)
        place = np.searchsorted(self._keys, cells).clip(0, len(self._keys) - 1)
        found = np.where(self._keys[place] == cells, self._probability[place], 0.0)
        return float(np.log(np.maximum(found.mean(axis=1), UNSEEN)).mean())

    def _cells(self, english: np.ndarray, spanish: np.ndarray) -> np.ndarray:
        return english[None, :] * self._base + spanish[:, None]


def without_shifted(verses: Verses) -> Verses:
    """Without verses whose Spanish is another verse's, where the two texts count differently.

    A verse goes if its neighbour's English explains its Spanish better than its own; a chapter
    goes whole if its verses explain each other badly on average.
    """
    lexicon = Lexicon(verses)
    words = {reference: lexicon.words(pair) for reference, pair in verses.items()}
    chapters: dict[tuple[str, int], list[float]] = {}
    shifted = set()
    for (book, chapter, verse), (english, spanish) in words.items():
        own = lexicon.log_likelihood(english, spanish)
        chapters.setdefault((book, chapter), []).append(own)
        for neighbour in ((book, chapter, verse - 1), (book, chapter, verse + 1)):
            if neighbour in words and lexicon.log_likelihood(words[neighbour][0], spanish) > own:
                shifted.add((book, chapter, verse))
    misfit = {chapter for chapter, scores in chapters.items() if np.mean(scores) < MISFIT}
    return {
        reference: pair
        for reference, pair in verses.items()
        if reference not in shifted and reference[:2] not in misfit
    }


def without_repeats(verses: Verses) -> Verses:
    """Without verses whose English has occurred before."""
    first: dict[str, Reference] = {}
    for reference, (english, _) in verses.items():
        first.setdefault(english, reference)
    return {reference: verses[reference] for reference in first.values()}


def main() -> None:
    """Reads the modules, writes the file, says how it compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sword", type=Path, help="folder with mods.d/ and modules/")
    parser.add_argument("output", type=Path, help="the file to write")
    arguments = parser.parse_args()

    english, spanish = (dict(read_module(arguments.sword, module)) for module in (ENGLISH, SPANISH))
    verses = without_repeats(without_shifted(of_like_length(english, spanish)))
    lines = ["\t".join((f"{b}.{c}.{v}", *pair)) for (b, c, v), pair in verses.items()]
    with gzip.GzipFile(arguments.output, "wb", mtime=0) as file:
        file.write("".join(line + "\n" for line in lines).encode("utf-8"))

    made, embedded = set(lines), set(read_lines(VERSES))
    print(f"{len(made)} verses; the embedded file has {len(embedded)}")
    print(f"{len(made & embedded)} are in both, {len(embedded - made)} only in the embedded file")


if __name__ == "__main__":
    main()
