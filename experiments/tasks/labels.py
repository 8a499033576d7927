"""A label for a whole source, or for each of its tokens."""

from experiments.config import TaskConfig
from experiments.data.sets import Texts
from experiments.data.silent_letters import SILENT, SOUNDED
from experiments.data.sst import LABELS
from experiments.data.tokenizers import SentencePiece, Symbols, Tokenizer
from experiments.errors import InputError
from experiments.tasks.family import Family, instructed

TWO = {label: label.removeprefix("very-") for label in LABELS if label != "neutral"}
"""Degrees of sentiment in two classes; neutral sentences are in neither."""


class Sentiment(Family):
    """Sentences and their sentiment: two classes without the neutral sentences, or all five."""

    kind = "class"
    instructible = True

    def check(self, config: TaskConfig) -> None:
        super().check(config)
        if config.classes not in (2, 5):
            raise InputError(f"classes is {config.classes}; expected 2 or 5")

    def pairs(self, config: TaskConfig, split: str, texts: Texts) -> Texts:
        if config.classes == 2:
            kept = [(s, TWO[label]) for s, label in zip(*texts, strict=True) if label in TWO]
            texts = [sentence for sentence, _ in kept], [label for _, label in kept]
        return super().pairs(config, split, texts)

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        sources = [instructed(config.instruction, text) for text in train[0]]
        labels = LABELS if config.classes == 5 else tuple(dict.fromkeys(TWO.values()))
        return (
            SentencePiece.train(sources, config.vocabulary, config.subwords),
            Symbols(labels, "word"),
        )

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("accuracy",)


class SilentLetters(Family):
    """Letters, each silent or sounded."""

    kind = "tokens"

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        return Symbols.of(train[0], "character"), Symbols([SOUNDED, SILENT], "word")

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("silent_f1", "label_accuracy", "exact_match")
