"""Running text for language modelling: "tiny Shakespeare", passages of the plays in one file."""

from collections.abc import Iterator
from typing import Any

from experiments.data.pairs import FetchedPairs, read_lines

FILE = "input.txt"
ADDRESS = f"https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/{FILE}"


class Shakespeare(FetchedPairs):
    """1,115,394 characters, one text a split: the first 90% of the lines, then 5% and 5%."""

    SIDES = ("before", "text")
    DESCRIPTION = "Passages of Shakespeare's plays."
    FOLDER = "tiny_shakespeare"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The plays are in the public domain. Get\n"
        f"  {ADDRESS}\n"
        "put it, gzipped or not, into a folder and name the folder with --task.manual-dir or in "
        "$ATTN_DATA."
    )

    def pairs(self, dl_manager: Any) -> Iterator[tuple[str, str, str]]:
        lines = read_lines(self.fetch(dl_manager, {FILE: ADDRESS})[FILE])
        cuts = len(lines) * 90 // 100, len(lines) * 95 // 100
        parts = lines[: cuts[0]], lines[cuts[0] : cuts[1]], lines[cuts[1] :]
        for split, part in zip(("train", "validation", "test"), parts, strict=True):
            if part:
                yield split, "", "".join(f"{line}\n" for line in part)
