"""Numbers that no run can have are refused before any data is read."""

from experiments.config import Config, SearchConfig, TrainConfig
from experiments.errors import InputError
from experiments.training import optimizer, tracking
from experiments.training.sharded import machine_of


def check(config: Config) -> None:
    """Looks at all of a run's numbers but the task's own, which `tasks.load` looks at.

    Raises:
        InputError: it names the field, its value and what was expected.
    """
    check_numbers(config)
    tracking.check(config.train.wandb)
    machine_of(config).check_divides(config.train.batch_size, config.train.accumulate)


def check_numbers(config: Config) -> None:
    """Looks at what is the same on every machine, as `check`: the run may be another's.

    Raises:
        InputError: as `check`.
    """
    _check_train(config.train)
    optimizer.check(config.optimizer)
    check_search(config.search)


def check_search(config: SearchConfig) -> None:
    """Looks at the numbers of a search.

    Raises:
        InputError: it names the field, its value and what was expected.
    """
    for name in ("beam", "max_length", "batch_size", "items", "resamples"):
        _expect_one("search", name, getattr(config, name))
    if not config.length_penalty >= 0:
        raise InputError(f"search.length_penalty is {config.length_penalty}; expected 0 or more")


def _check_train(config: TrainConfig) -> None:
    for name in ("examples", "batch_size", "log_every", "evaluate_every", "save_every", "keep"):
        _expect_one("train", name, getattr(config, name))
    if not 0 <= config.seed < 2**32:
        raise InputError(f"train.seed is {config.seed}; expected at least 0, less than 2**32")
    if not 0 <= config.label_smoothing < 1:
        raise InputError(
            f"train.label_smoothing is {config.label_smoothing}; "
            "expected at least 0 and less than 1"
        )


def _expect_one(part: str, name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"{part}.{name} is {value}; expected at least 1")
