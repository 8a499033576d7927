"""Text itself is what is learned: language modelling, with all before or with holes."""

from dataclasses import replace

from attn.models.protocol import BOS
from experiments.config import TaskConfig
from experiments.data.batches import Examples, Ragged
from experiments.data.masking import Masking
from experiments.data.sets import Texts
from experiments.data.tokenizers import MASK, SentencePiece, Symbols, Tokenizer
from experiments.errors import InputError
from experiments.tasks.family import Family


class Language(Family):
    """Running text in chunks of at most `config.context` tokens; the source is empty.

    Each text of the set (a chapter; all of a split) is cut every `context` tokens, and what is left
    at its end is a shorter chunk. A chunk is predicted from its own beginning alone, so bits per
    character are an upper bound on what the model needs for the text, nearer the longer the chunks.
    No `EOS` follows a chunk: a cut is no end, and a model that has learned to expect one after
    `context` tokens reads nothing longer.
    """

    kind = "text"

    def check(self, config: TaskConfig) -> None:
        super().check(config)
        if config.context < 2:
            raise InputError(f"context is {config.context}; expected at least 2 tokens")
        for name in ("max_words", "limit", "train_length"):
            if (value := getattr(config, name)) is not None:
                raise InputError(f"{name} is {value}; {config.name} is running text: expected None")

    def pairs(self, config: TaskConfig, split: str, texts: Texts) -> Texts:
        if not any(texts[1]):
            raise InputError(f"{config.name}'s {split} split is empty; expected text")
        return texts

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        texts = train[1]
        if config.unit == "character":
            shared: Tokenizer = Symbols.of(texts, "character")
        else:
            lines = [f"{line}\n" for text in texts for line in text.removesuffix("\n").split("\n")]
            shared = SentencePiece.train(lines, config.vocabulary, config.subwords, exact=True)
        return shared, shared

    def examples(
        self, config: TaskConfig, pairs: Texts, source: Tokenizer, target: Tokenizer
    ) -> Examples:
        chunks, rows = [], []
        for text in pairs[1]:
            ids, parts = target.encode(text), target.surfaces(text)
            for start in range(0, len(ids), config.context):
                rows.append(ids[start : start + config.context])
                chunks.append("".join(parts[start : start + config.context]))
        empty = [""] * len(rows)
        examples = Examples.of(empty, chunks, map(source.encode, empty), rows)
        return replace(examples, target=Ragged.of([BOS, *row] for row in rows))

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("bits_per_character",)


class MaskedLanguage(Family):
    """The English verses with holes: a token of the source is hidden, the target is what it was.

    Every batch hides other tokens; evaluation always the same ones.
    """

    kind = "tokens"
    holes = True

    def set_name(self, config: TaskConfig) -> str:
        return "verses"

    def pairs(self, config: TaskConfig, split: str, texts: Texts) -> Texts:
        english, _ = super().pairs(config, split, texts)
        return english, english

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        shared = SentencePiece.train(train[0], config.vocabulary, config.subwords, mask=True)
        return shared, shared

    def examples(
        self, config: TaskConfig, pairs: Texts, source: Tokenizer, target: Tokenizer
    ) -> Examples:
        texts, ids = pairs[0], [source.encode(text) for text in pairs[0]]
        mask = source.tokens(range(source.size)).index(MASK)
        hidden = Masking(mask, source.size, first=mask + 1)
        return Examples.of(texts, texts, ids, ids, hidden)

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("masked_accuracy",)
