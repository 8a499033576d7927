"""What the builders of this project share: pairs of texts, read from lines, without TensorFlow."""

import abc
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import requests
import tensorflow_datasets as tfds

from experiments.errors import InputError

SPLITS = ("train", "validation", "test")


class PairBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder of (source, target) texts; a subclass says where they come from.

    Not registered with TFDS, some of whose own sets have the same names.
    """

    VERSION = tfds.core.Version("1.0.0")
    SIDES: ClassVar[tuple[str, str]]
    """Names of source and target."""
    DESCRIPTION: ClassVar[str]

    def __init_subclass__(cls, **named: Any):
        super().__init_subclass__(skip_registration=True, **named)  # type: ignore[call-arg]

    @abc.abstractmethod
    def pairs(self, dl_manager: Any) -> Iterable[tuple[str, str, str]]:
        """(split, source, target) of every pair.

        Raises:
            InputError: a file is missing, empty or malformed.
        """

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {side: tfds.features.Text() for side in self.SIDES}
            ),
            supervised_keys=self.SIDES,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        splits: dict[str, list[tuple[str, str]]] = {name: [] for name in SPLITS}
        for split, source, target in self.pairs(dl_manager):
            splits[split].append((source, target))
        for name, pairs in splits.items():
            if not pairs:
                raise InputError(f"{self.name}: the data has no pairs for the {name} split")
        return {name: self._generate_examples(pairs) for name, pairs in splits.items()}

    def _generate_examples(self, pairs: list[tuple[str, str]]) -> Iterator[tuple[int, Any]]:
        for number, pair in enumerate(pairs):
            yield number, dict(zip(self.SIDES, pair, strict=True))


class FetchedPairs(PairBuilder):
    """A builder whose files may not be given on: downloaded, or fetched by hand."""

    MANUAL_DOWNLOAD_INSTRUCTIONS: str
    """What to fetch from where, and under which licence."""
    FOLDER: ClassVar[str | None] = None
    """Subfolder that its files may lie in (None: of this set's name)."""

    def fetch(self, dl_manager: Any, urls: Mapping[str, str]) -> dict[str, Path]:
        """The files by name: from the manual folder (or its subfolder for this set) if it has them
        all, as they are or gzipped with `.gz` behind the name; else downloaded.

        Args:
            dl_manager: TFDS's.
            urls: official address by file name.

        Raises:
            InputError: neither; the message says what to put where.
        """
        try:
            manual = Path(dl_manager.manual_dir)
        except AssertionError:  # there is no such folder, or nothing in it
            looked = "no folder of files fetched by hand was found"
        else:
            inside = manual / (self.FOLDER or self.name)
            for folder in (manual, inside):
                files = {name: _perhaps_gzipped(folder / name) for name in urls}
                if all(file.exists() for file in files.values()):
                    return files
            looked = f"neither {manual} nor {inside} has {', '.join(urls)}"
        try:
            # TFDS tries for minutes where there is no network: ask first whether anyone is there.
            requests.head(next(iter(urls.values())), timeout=10)
            downloaded = dl_manager.download(dict(urls))
        except Exception as error:  # requests', urllib3's and TFDS's own have no common base
            raise InputError(
                f"{self.name}: {looked}, and the download failed "
                f"({type(error).__name__}). Fetch it by hand:\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            ) from error
        return {name: Path(path) for name, path in downloaded.items()}


def _perhaps_gzipped(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if packed.exists() and not file.exists() else file


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, gzipped or not (told by its first bytes).

    Raises:
        InputError: the file is missing, empty or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        lines = text_lines(data, str(path))
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return lines


def text_lines(data: bytes, name: str) -> list[str]:
    """The lines of UTF-8 text; `name` says in errors where it comes from.

    Raises:
        InputError: there is no line, or one is not UTF-8.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{name} is empty")
    text = []
    for number, line in enumerate(lines, start=1):
        try:
            text.append(line.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError as error:
            raise InputError(f"{name}, line {number}: not UTF-8 ({error.reason})") from error
    return text


def malformed(name: str | Path, number: int, line: str, expected: str) -> InputError:
    """The error for a line that is not as it should be; `number` counts from 1."""
    shown = line if len(line) <= 60 else line[:60] + "…"
    return InputError(f"{name}, line {number}: expected {expected}, got {shown!r}")


def split_of(group: str, train: float, validation: float) -> str:
    """The split of everything in a group: a hash of its name, the same everywhere.

    Args:
        group: name that all members share.
        train: fraction of groups for training.
        validation: fraction for validation; the rest is for testing.
    """
    place = int.from_bytes(hashlib.sha256(group.encode("utf-8")).digest()[:8]) / 2**64
    if place < train:
        return "train"
    return "validation" if place < train + validation else "test"
