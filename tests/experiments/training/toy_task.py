"""A small task: spell a word backwards."""

import numpy as np

from experiments.data.batches import Examples
from experiments.data.tokenizers import Symbols
from experiments.tasks.task import Task


def reversal(train: int = 96, validation: int = 24) -> Task:
    letters = Symbols("abcdefg", "character")
    random = np.random.default_rng(0)

    def split(size: int) -> Examples:
        words = [
            "".join(random.choice(list("abcdefg"), random.integers(1, 6))) for _ in range(size)
        ]
        turned = [word[::-1] for word in words]
        return Examples.of(words, turned, map(letters.encode, words), map(letters.encode, turned))

    splits = {"train": split(train), "validation": split(validation), "test": split(validation)}
    return Task("reversal", letters, letters, splits, ("word_error_rate",))
