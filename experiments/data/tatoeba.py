"""German → English sentences from tatoeba.org, as manythings.org gathers them."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.data.pairs import FetchedPairs, malformed, split_of, text_lines
from experiments.errors import InputError

ARCHIVE, MEMBER = "deu-eng.zip", "deu.txt"
ADDRESS = f"https://www.manythings.org/anki/{ARCHIVE}"


class Tatoeba(FetchedPairs):
    """Mostly short sentences, split 90/5/5.

    A sentence has many translations, so whole clusters go to one side: pairs are in one cluster if
    they share a German or an English sentence, or a chain of pairs joins them.
    """

    SIDES = ("de", "en")
    DESCRIPTION = "German sentences and their English translations from tatoeba.org."
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The sentences of tatoeba.org are licensed CC BY 2.0 (attribution: www.manythings.org/anki "
        f"and tatoeba.org). Get\n  {ADDRESS}\n"
        "with a browser, put the zip file as it is into a folder and name the folder with "
        "--task.manual-dir or in $ATTN_DATA."
    )

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        pairs = read_archive(self.fetch(dl_manager, {ARCHIVE: ADDRESS})[ARCHIVE])
        for cluster, pair in zip(clusters(pairs), pairs, strict=True):
            yield split_of(cluster, train=0.9, validation=0.05), *pair


def read_archive(path: Path) -> list[tuple[str, str]]:
    """(German, English) of every line of the archive's text file.

    Lines are English, German and, in newer archives, an attribution, with tabs between.

    Raises:
        InputError: no such archive, or not in that format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(MEMBER)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"cannot read {MEMBER} in {path}: {error}") from error
    name = f"{path}/{MEMBER}"
    pairs = []
    for number, line in enumerate(text_lines(data, name), start=1):
        english, _, rest = line.partition("\t")
        german = rest.partition("\t")[0]
        if not english.strip() or not german.strip():
            raise malformed(name, number, line, "English and German with a tab between")
        pairs.append((german.strip(), english.strip()))
    return pairs


def clusters(pairs: list[tuple[str, str]]) -> list[str]:
    """For each pair a name that it shares with every pair joined to it by a sentence or a chain."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for source, target in pairs:
        # The smaller name leads, so that a cluster's name does not depend on the order of lines.
        low, high = sorted((root((0, source)), root((1, target))))
        parent[high] = low
    return [root((0, source))[1] for source, _ in pairs]
