"""Which family a task is of, by its name."""

from experiments.tasks.family import Family
from experiments.tasks.labels import Sentiment, SilentLetters
from experiments.tasks.language import Language, MaskedLanguage
from experiments.tasks.probes import GeneratedLabel, GeneratedSequence
from experiments.tasks.pronunciation import Pronunciation
from experiments.tasks.spans import Lookup
from experiments.tasks.translation import Translation

FAMILIES: dict[str, Family] = {
    "pronunciation": Pronunciation(),
    "verses": Translation(),
    "multi30k": Translation(),
    "tatoeba": Translation(),
    "shakespeare": Language(),
    "verses-english": Language(),
    "verses-masked": MaskedLanguage(),
    "sst": Sentiment(),
    "silent-letters": SilentLetters(),
    "lookup": Lookup(),
    "copy": GeneratedSequence(),
    "reverse": GeneratedSequence(),
    "permutation": GeneratedSequence(),
    "recall": GeneratedLabel(),
    "order": GeneratedLabel(),
}
"""Tasks by name; any other name is a translation set of TFDS."""


def family_of(name: str) -> Family:
    """How a task of that name is made."""
    return FAMILIES.get(name) or Translation()
