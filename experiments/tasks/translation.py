"""Sentences to sentences, subwords in one vocabulary."""

from experiments.config import TaskConfig
from experiments.data.sets import Texts
from experiments.data.tokenizers import SentencePiece, Tokenizer
from experiments.tasks.family import Family, instructed


class Translation(Family):
    """Any set of text pairs.

    With an instruction before every source ("translate English to Spanish:"), source and target can
    be read on as one text.
    """

    kind = "sequence"
    reversible = True
    instructible = True

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        sources = [instructed(config.instruction, text) for text in train[0]]
        shared = SentencePiece.train([*sources, *train[1]], config.vocabulary, config.subwords)
        return shared, shared

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("bleu", "chrf")
