"""A task from its configuration: pairs are read, filtered and cut into tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from experiments.config import TaskConfig
from experiments.data import tokenizers
from experiments.data.batches import Examples, Ragged
from experiments.data.sets import Texts, read_set
from experiments.data.tokenizers import UNK, Tokenizer
from experiments.errors import InputError
from experiments.evaluation.metrics import METRICS
from experiments.tasks.family import Family, Kind, instructed
from experiments.tasks.registry import family_of

KEPT, SHARED, SOURCE, TARGET = "tokenizer", "shared", "source", "target"


@dataclass(frozen=True)
class Task:
    """Splits "train", "validation" and "test" of one set of pairs, as tokens."""

    name: str
    source: Tokenizer
    target: Tokenizer
    """The same object as `source` where the two sides share a vocabulary."""
    splits: Mapping[str, Examples]
    metrics: tuple[str, ...]
    """Beside negative log-likelihood and perplexity; the first is the task's main one."""
    kind: Kind = "sequence"
    """What a target is, which says what models fit."""
    instruction: str | None = None
    """Put before every source; `sources` of the splits, and what a user gives, are without it."""

    @property
    def searched(self) -> bool:
        """Whether a metric reads what a model itself writes."""
        return any(METRICS[name].searched for name in self.metrics)

    def read(self, text: str) -> list[int]:
        """Token ids of a source that a user gives, without `EOS`.

        Raises:
            InputError: the text has no character that the vocabulary knows, or the task has empty
                sources and it is not empty.
        """
        text = text.strip()
        if self.kind == "text":
            if text:
                raise InputError(f"the text is {text!r}; {self.name} has no source: expected none")
            return []
        ids = self.source.encode(text)
        labels = zip(ids, self.source.tokens(ids), strict=True)
        if not any(i != UNK and label.strip(" ▁") for i, label in labels):
            raise InputError(f"the text {text!r} has no character that the source vocabulary knows")
        return self.source.encode(instructed(self.instruction, text))

    def shown(self, text: str, output: str) -> str:
        """An output as people want it: of a span the words there, then its places."""
        places = [int(place) for place in output.split()] if self.kind == "span" else []
        if len(places) != 2:
            return output
        words = self.source.surfaces(text.strip())[places[0] : places[1] + 1]
        return f"{' '.join(words)} ({output})"

    def save(self, folder: Path) -> None:
        """Keeps the tokenizers in a run's folder, where `load` finds them, if there are none yet.

        They are saved whole or not at all: a run that is killed leaves no half-written tokenizer.
        """
        kept = folder / KEPT
        if kept.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=f"{KEPT}.") as scratch:
            unfinished = Path(scratch) / KEPT
            if self.source is self.target:
                self.source.save(unfinished / SHARED)
            else:
                self.source.save(unfinished / SOURCE)
                self.target.save(unfinished / TARGET)
            try:
                unfinished.rename(kept)
            except OSError:
                if not kept.exists():  # else another process of this run has saved the same one
                    raise


def load(config: TaskConfig, folder: Path | None = None) -> Task:
    """Reads and encodes a task.

    Args:
        config: which set, what of it, how it is cut.
        folder: of a run; its `tokenizer/` is used if it is there, else trained on the training
            split and kept there. None keeps nothing.

    Raises:
        InputError: unknown name, data that is missing, empty or malformed, a setting that such a
            task cannot have, no pair or source that is short enough, or more subwords asked for
            than the texts give.
    """
    family = family_of(config.name)
    family.check(config)
    texts = read_set(
        family.set_name(config),
        config.data_dir,
        config.manual_dir,
        family.set_settings(config),
    )
    pairs = {split: family.pairs(config, split, texts[split]) for split in texts}
    source, target = _tokenizers(family, config, pairs["train"], folder)
    splits = {split: family.examples(config, pairs[split], source, target) for split in pairs}
    if config.train_length is not None:
        # Not before: all caps have the tokenizers of all training pairs, and so can be compared.
        splits["train"] = _shortened(splits["train"], config.train_length, config.name)
    task = Task(
        config.name,
        source,
        target,
        splits,
        family.metrics(config),
        family.kind,
        config.instruction,
    )
    if folder is not None:
        task.save(folder)
    return task


def _shortened(examples: Examples, most: int, name: str) -> Examples:
    """Those whose source has at most so many tokens, `EOS` not counted.

    Raises:
        InputError: there is none.
    """
    kept = np.flatnonzero(examples.source.lengths - 1 <= most).tolist()
    if not kept:
        raise InputError(
            f"train_length is {most}; the shortest training source of {name} has "
            f"{examples.source.lengths.min() - 1} tokens: expected at least so many"
        )
    return replace(
        examples,
        sources=[examples.sources[row] for row in kept],
        targets=[examples.targets[row] for row in kept],
        source=Ragged.of(examples.source[row].tolist() for row in kept),
        target=Ragged.of(examples.target[row].tolist() for row in kept),
    )


def _tokenizers(
    family: Family, config: TaskConfig, train: Texts, folder: Path | None
) -> tuple[Tokenizer, Tokenizer]:
    """Those that the folder holds, else new ones made from the training split."""
    kept = None if folder is None else folder / KEPT
    if kept is None or not kept.exists():
        return family.tokenizers(config, train)
    if (kept / SHARED).exists():
        shared = tokenizers.load(kept / SHARED)
        return shared, shared
    return tokenizers.load(kept / SOURCE), tokenizers.load(kept / TARGET)
