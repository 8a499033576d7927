"""What tasks of one kind have in common: how pairs are read, cut into tokens and scored.

A family answers six questions about a configuration. `Family` itself answers them for pairs of
texts; another family is a subclass that answers differently where it differs, and a line in
`experiments.tasks.registry`.
"""

import abc
from typing import ClassVar, Literal

from experiments.config import TaskConfig
from experiments.data.batches import Examples
from experiments.data.probes import SETTINGS
from experiments.data.sets import Texts
from experiments.data.tokenizers import Tokenizer
from experiments.errors import InputError

Kind = Literal["sequence", "text", "class", "tokens", "span"]
"""What a target is: a sequence made of the source; text that follows nothing (the source is empty);
one label of the whole source; one for each of its tokens (`PAD` where there is none); two places in
it. A decoder can write any of them but the labels that `PAD` leaves out, a language model the first
two, a reader with a head of that name the last three."""


class Family(abc.ABC):
    """Tasks that differ in their set and settings alone."""

    kind: ClassVar[Kind]
    holes: ClassVar[bool] = False
    """Whether targets hold `PAD` where nothing is asked, so that they cannot be written."""
    reversible: ClassVar[bool] = False
    """Whether source and target may be swapped."""
    instructible: ClassVar[bool] = False
    """Whether an instruction may be put before a source."""

    def set_name(self, config: TaskConfig) -> str:
        """The set of `experiments.data.sets` that is read."""
        return config.name

    def set_settings(self, config: TaskConfig) -> dict[str, int]:
        """What of the configuration says how that set is generated; all of `SETTINGS` that is not
        in it must be left as it is.

        Raises:
            InputError: a setting that the set cannot have.
        """
        return {}

    def check(self, config: TaskConfig) -> None:
        """Looks at the configuration before any data is read.

        Raises:
            InputError: a setting that such a task cannot have.
        """
        if config.reverse and not self.reversible:
            raise InputError(f"reverse is True; {config.name} has one direction: expected False")
        for name in ("limit", "train_length", "max_words"):
            value = getattr(config, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        used = self.set_settings(config)
        for name in SETTINGS:
            value, usual = getattr(config, name), getattr(TaskConfig, name)
            if name not in used and value != usual:
                raise InputError(f"{name} is {value}; {config.name} has none: expected {usual}")
        if config.instruction is None:
            return
        if not self.instructible:
            raise InputError(
                f"instruction is {config.instruction!r}; {config.name} has no source of subwords "
                "to put it before: expected None"
            )
        if not config.instruction.strip():
            raise InputError(f"instruction is {config.instruction!r}; expected words, or None")

    def pairs(self, config: TaskConfig, split: str, texts: Texts) -> Texts:
        """The pairs of a split to learn or score: direction, length and number as configured.

        Raises:
            InputError: none is left.
        """
        sources, targets = texts[::-1] if config.reverse else texts
        most = config.max_words
        pairs = [
            pair
            for pair in zip(sources, targets, strict=True)
            if most is None or len(pair[0].split()) <= most
        ]
        if not pairs:
            raise InputError(
                f"max_words {most}: no pair of {config.name}'s {split} split is so short"
            )
        if split == "train" and config.limit is not None:
            pairs = pairs[: config.limit]
        return [source for source, _ in pairs], [target for _, target in pairs]

    @abc.abstractmethod
    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        """Of source and target, made from the training pairs: one object where they share."""

    def examples(
        self, config: TaskConfig, pairs: Texts, source: Tokenizer, target: Tokenizer
    ) -> Examples:
        """A split's pairs as tokens."""
        sources, targets = pairs
        shown = (instructed(config.instruction, text) for text in sources)
        return Examples.of(sources, targets, map(source.encode, shown), map(target.encode, targets))

    @abc.abstractmethod
    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        """Names in `experiments.evaluation.metrics.METRICS`, the main one first."""


def instructed(instruction: str | None, text: str) -> str:
    """A source as the model reads it, which is told what to do with it."""
    return text if instruction is None else f"{instruction.strip()} {text}"
