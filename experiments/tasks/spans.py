"""The answer is a span of the source: its first and last place."""

from experiments.config import TaskConfig
from experiments.data.lookup import LONGEST
from experiments.data.sets import Texts
from experiments.data.tokenizers import Positions, Symbols, Tokenizer
from experiments.tasks.family import Family


class Lookup(Family):
    """Questions about generated passages; the target is two places in the source, a token each."""

    kind = "span"

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        return Symbols.of(train[0], "word"), Positions(LONGEST)

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("exact_match", "span_f1")
