"""Letters to phonemes and back, a vocabulary a side."""

from experiments.config import TaskConfig
from experiments.data.sets import Texts
from experiments.data.tokenizers import Symbols, Tokenizer
from experiments.tasks.family import Family


class Pronunciation(Family):
    """Spelling to phonemes; reversed, phonemes to spelling."""

    kind = "sequence"
    reversible = True

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        sources, targets = train
        if config.reverse:
            return Symbols.of(sources, "word"), Symbols.of(targets, "character")
        return Symbols.of(sources, "character"), Symbols.of(targets, "word")

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        if config.reverse:  # one word of letters: characters are its parts
            return ("word_error_rate", "chrf")
        return ("phoneme_error_rate", "word_error_rate")
