"""Named experiments: a task's settings, times the models that it can be given to."""

from collections.abc import Callable
from dataclasses import replace

from experiments.config import Config
from experiments.configs.models import MODELS
from experiments.configs.tasks import TASKS, translation

__all__ = ["MODELS", "TASKS", "for_task", "named"]


def for_task(task: str) -> Config:
    """The settings of a task, TFDS translation sets included."""
    make: Callable[[], Config] = TASKS.get(task, lambda: translation(task))
    return make()


def named() -> dict[str, Config]:
    """Every experiment `train` knows by name: `verses-rnnsearch` and its like."""
    return {
        f"{task}-{name}": replace(for_task(task), model=model)
        for task in TASKS
        for name, model in MODELS.items()
    }
