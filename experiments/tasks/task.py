"""A task from its configuration: pairs are read, filtered and cut into tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.config import TaskConfig
from experiments.data import tokenizers
from experiments.data.batches import Examples
from experiments.data.sets import Texts, read_set
from experiments.data.tokenizers import UNK, SentencePiece, Symbols, Tokenizer
from experiments.errors import InputError

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

    def read(self, text: str) -> list[int]:
        """Token ids of a source that a user gives, without `EOS`.

        Raises:
            InputError: the text has no character that the vocabulary knows.
        """
        ids = self.source.encode(text.strip())
        labels = zip(ids, self.source.tokens(ids), strict=True)
        if not any(i != UNK and label.strip(" ▁") for i, label in labels):
            raise InputError(f"the text {text!r} has no character that the source vocabulary knows")
        return ids

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
        InputError: unknown name, data that is missing, empty or malformed, no pair that is short
            enough, or more subwords asked for than the texts give.
    """
    pairs = {
        split: _selected(config, split, texts)
        for split, texts in read_set(config.name, config.data_dir, config.manual_dir).items()
    }
    source, target = _tokenizers(config, pairs["train"], folder)
    task = Task(
        config.name,
        source,
        target,
        {
            split: Examples.of(
                sources, targets, map(source.encode, sources), map(target.encode, targets)
            )
            for split, (sources, targets) in pairs.items()
        },
        _metrics(config),
    )
    if folder is not None:
        task.save(folder)
    return task


def _metrics(config: TaskConfig) -> tuple[str, ...]:
    if config.name != "pronunciation":
        return ("bleu", "chrf")
    if config.reverse:  # one word of letters: characters are its parts
        return ("word_error_rate", "chrf")
    return ("phoneme_error_rate", "word_error_rate")


def _selected(config: TaskConfig, split: str, texts: Texts) -> Texts:
    """The pairs to learn or score: direction, length and number as configured."""
    sources, targets = texts[::-1] if config.reverse else texts
    most = config.max_words
    pairs = [
        pair
        for pair in zip(sources, targets, strict=True)
        if most is None or len(pair[0].split()) <= most
    ]
    if not pairs:
        raise InputError(f"max_words {most}: no pair of {config.name}'s {split} split is so short")
    if split == "train" and config.limit is not None:
        if config.limit < 1:
            raise InputError(f"limit is {config.limit}; expected at least 1")
        pairs = pairs[: config.limit]
    return [source for source, _ in pairs], [target for _, target in pairs]


def _tokenizers(
    config: TaskConfig, train: Texts, folder: Path | None
) -> tuple[Tokenizer, Tokenizer]:
    """Those that the folder holds, else new ones made from the training split."""
    kept = None if folder is None else folder / KEPT
    if kept is not None and kept.exists():
        if (kept / SHARED).exists():
            shared = tokenizers.load(kept / SHARED)
            return shared, shared
        return tokenizers.load(kept / SOURCE), tokenizers.load(kept / TARGET)
    sources, targets = train
    if config.name == "pronunciation":
        if config.reverse:
            return Symbols.of(sources, "word"), Symbols.of(targets, "character")
        return Symbols.of(sources, "character"), Symbols.of(targets, "word")
    texts = [text for side in train for text in side]
    shared = SentencePiece.train(texts, config.vocabulary, config.subwords)
    return shared, shared
