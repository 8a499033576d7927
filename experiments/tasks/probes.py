"""Generated tasks, whose rule and best loss are known."""

from dataclasses import asdict, fields

from experiments.config import TaskConfig
from experiments.data.probes import PROBES, Rule
from experiments.data.sets import Texts
from experiments.data.tokenizers import Symbols, Tokenizer
from experiments.tasks.family import Family


def rule_of(config: TaskConfig) -> Rule:
    """The rule that a generated task follows.

    Raises:
        InputError: a setting that it cannot have.
    """
    rule = PROBES[config.name]
    return rule(**{field.name: getattr(config, field.name) for field in fields(rule)})


class Generated(Family):
    """Tasks that follow a rule of `experiments.data.probes`; symbols are words of their texts."""

    def set_settings(self, config: TaskConfig) -> dict[str, int]:
        return asdict(rule_of(config))

    def tokenizers(self, config: TaskConfig, train: Texts) -> tuple[Tokenizer, Tokenizer]:
        # From the rule: few training pairs need not hold every symbol.
        sources, targets = rule_of(config).vocabularies
        source = Symbols(sources, "word")
        return source, source if targets == sources else Symbols(targets, "word")


class GeneratedSequence(Generated):
    """The source in another order: copy, reverse, permutation."""

    kind = "sequence"

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("label_accuracy", "exact_match")


class GeneratedLabel(Generated):
    """One label of the whole source: recall, order."""

    kind = "class"

    def metrics(self, config: TaskConfig) -> tuple[str, ...]:
        return ("accuracy",)
