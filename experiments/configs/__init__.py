"""Named experiments: a task's settings, times the models that it can be given to."""

from collections.abc import Callable
from dataclasses import replace

from experiments.config import Config
from experiments.configs.models import CONTESTS, MODELS, fits, model_for
from experiments.configs.tasks import TASKS, translation

__all__ = ["CONTESTS", "MODELS", "TASKS", "for_task", "model_for", "named"]


def for_task(task: str) -> Config:
    """The settings of a task, TFDS translation sets included."""
    make: Callable[[], Config] = TASKS.get(task, lambda: translation(task))
    return make()


def named() -> dict[str, Config]:
    """Every experiment `train` knows by name: `verses-rnnsearch` and its like."""
    settings = {task: for_task(task) for task in TASKS}
    return {
        f"{task}-{name}": replace(base, model=model_for(name, base.task))
        for task, base in settings.items()
        for name in MODELS
        if fits(name, base.task)
    }
