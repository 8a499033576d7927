"""English → German captions of pictures (Elliott and others 2016)."""

from collections.abc import Iterator
from typing import Any

from experiments.data.pairs import FetchedPairs, malformed, read_lines
from experiments.errors import InputError

ADDRESS = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
FILES = {"train": "train", "validation": "val", "test": "test_2016_flickr"}


class Multi30k(FetchedPairs):
    """Multi30k, task 1: 29,000 captions for training, 1,014 for validation, 1,000 for testing."""

    SIDES = ("en", "de")
    DESCRIPTION = "Multi30k, task 1: English captions and their German translations."
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Multi30k is free for non-commercial research only. Get from\n"
        f"  {ADDRESS}\n"
        "the six files train, val and test_2016_flickr, each .en.gz and .de.gz, put them into a "
        "folder and name it with --task.manual-dir or in $ATTN_DATA."
    )

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        names = [f"{stem}.{side}.gz" for stem in FILES.values() for side in self.SIDES]
        files = self.fetch(dl_manager, {name: ADDRESS + name for name in names})
        for split, stem in FILES.items():
            english, german = (files[f"{stem}.{side}.gz"] for side in self.SIDES)
            sources, targets = read_lines(english), read_lines(german)
            if len(sources) != len(targets):
                raise InputError(
                    f"{english} has {len(sources)} lines but {german} has {len(targets)}; "
                    "expected as many"
                )
            for number, pair in enumerate(zip(sources, targets, strict=True), start=1):
                for file, line in zip((english, german), pair, strict=True):
                    if not line.strip():
                        raise malformed(file, number, line, "a caption")
                yield split, pair[0].strip(), pair[1].strip()
