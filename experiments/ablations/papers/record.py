"""What is kept of a paper and of a table in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Paper:
    """A publication, or a public code base that reports numbers."""

    key: str
    """First author and year, for links: "bahdanau2014"."""
    authors: str
    year: int
    """Of its first appearance."""
    title: str
    source: str
    """Where it can be read: the arXiv number or an address."""


@dataclass(frozen=True)
class Published:
    """Numbers of one unit, from one place of one paper."""

    paper: Paper
    where: str
    """The place in it: "Table 1"; "" where our source does not say."""
    what: str
    """What is compared."""
    setting: str
    """Data and sizes."""
    unit: str
    """The metric, and what it is counted in."""
    values: Mapping[str, float]
    """By the label that the paper gives."""
    provenance: Literal["text", "notes", "memory"]
    """Read in the paper itself; in a transcription; or known by heart: check before quoting."""
