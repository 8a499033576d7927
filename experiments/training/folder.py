"""A run's folder: whose it is, and files in it that are whole or not there.

One process at a time trains in a folder, with the one configuration it was made with.
"""

import dataclasses
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, get_args

from attn.models import ModelConfig
from experiments.config import Config, OptimizerConfig, SearchConfig, TaskConfig, TrainConfig
from experiments.errors import InputError

CONFIG = "config.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
TEST = "test.json"
"""Scores on the test split, once it is evaluated."""
CHECKPOINTS = "checkpoints"
TOKENIZERS = "tokenizer"
"""Made before training: the task reads it."""
PROFILE = "profile"
WANDB_ID = "wandb-id.txt"
LAUNCHES = "launches.jsonl"
ERRORS = "errors"
"""Of each host: `errors-HOST.jsonl`."""
LOCK = ".lock"
NEW = ".new"

DISK_ERRORS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES),
        *(errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
    }
)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns a full or unwritable disk into a message.

    Raises:
        InputError: the system refused to write; it says where and why.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        number = _system_error(error)
        if number not in DISK_ERRORS:
            raise
        raise InputError(
            f"cannot write {place}: {os.strerror(number)}; what was written before is as it was"
        ) from error


@contextmanager
def claimed(folder: Path, config: Mapping[str, Any], primary: bool = True) -> Iterator[None]:
    """Makes the folder if it is not there and holds it for one run.

    Args:
        folder: of the run.
        config: all of it, as JSON, such as `config_to_json` gives.
        primary: whether this is the first host of the run; the others leave all to it.

    Raises:
        InputError: another process trains in it, it was made with another configuration, it holds
            something else, or it cannot be written.
    """
    if not primary:
        yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "a")  # noqa: SIM115
    with lock:
        if not _locks(lock, fcntl.LOCK_EX):
            raise InputError(f"{folder} is in use: another process is training in it")
        _settle_config(folder, config)
        yield


def in_use(folder: Path) -> bool:
    """Whether a process trains in a folder."""
    path = folder / LOCK
    if not path.exists():
        return False
    with open(path) as lock:
        return not _locks(lock, fcntl.LOCK_SH, tries=1)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON; the file is the old one until it is wholly the new one."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes text; the file is the old one until it is wholly the new one."""
    with writing(path):
        _replace(path, text)


def keep_lines(path: Path, last_step: int) -> None:
    """Drops from a file of JSON lines those of later steps, and a last one that was cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            step = json.loads(line)["step"]
        except ValueError:
            break
        if step <= last_step:
            kept.append(line)
    with writing(path):
        _replace(path, "".join(line + "\n" for line in kept))


def config_to_json(config: Config) -> dict[str, Any]:
    """The configuration as JSON; the model's name stands among its fields."""
    value = dataclasses.asdict(config)
    value["model"] = {"name": config.model.name, **value["model"]}
    return value


def read_config(folder: Path) -> Config:
    """The configuration that a run's folder was made with.

    Raises:
        InputError: there is none, or this version cannot read it.
    """
    path = folder / CONFIG
    try:
        return _config(_read_config_json(path))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a configuration of this version: {error}") from error


def _config(value: Mapping[str, Any]) -> Config:
    """The configuration in JSON; fields younger than it are at their defaults.

    Raises:
        KeyError, TypeError: it is none of this version.
    """
    models = {model.name: model for model in get_args(ModelConfig)}
    sections = {
        "task": TaskConfig,
        "optimizer": OptimizerConfig,
        "train": TrainConfig,
        "search": SearchConfig,
    }
    model = dict(value["model"])
    found = {
        name: sections[name](**field) if name in sections else field
        for name, field in value.items()
        if name != "model"
    }
    return Config(model=models[model.pop("name")](**model), **found)


def _locks(lock: TextIO, kind: int, tries: int = 5) -> bool:
    """Takes a lock until the file is closed; False where another process keeps it.

    Who asks whether a folder is in use holds its lock for an instant, hence a few tries.
    """
    for number in range(tries):
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return True
        except OSError:
            if number < tries - 1:
                time.sleep(0.05)
    return False


def _settle_config(folder: Path, config: Mapping[str, Any]) -> None:
    path = folder / CONFIG
    if not path.exists():
        own = (LOCK, CONFIG, TOKENIZERS, ERRORS)
        names = sorted(entry.name for entry in folder.iterdir())
        foreign = [name for name in names if not name.startswith(own)]
        if foreign:
            raise InputError(
                f"{folder} holds no {CONFIG} but other files ({', '.join(foreign[:5])}); "
                "expected a run's folder or an empty one"
            )
        write_json(path, config)
        return
    value = _read_config_json(path)
    # A field that this version has and the folder's did not is at its default there.
    with suppress(KeyError, TypeError):
        value = json.loads(json.dumps(config_to_json(_config(value))))
    theirs = _flat(value)
    # Through JSON, as the file went, so that tuples and lists compare equal.
    ours = _flat(json.loads(json.dumps(config)))
    lines = [
        f"  {name}: {theirs.get(name, 'not there')!r} there, {ours.get(name, 'not there')!r} now"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name, ...) != ours.get(name, ...)
    ]
    if lines:
        raise InputError(
            "\n".join([f"{folder} was made with another configuration:", *lines])
            + "\nexpected the same one, or another folder"
        )


def _read_config_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path.parent} is no run's folder: it holds no {path.name}")
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged: expected an object")
    return value


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{name}.")
        else:
            flat[prefix + name] = inner
    return flat


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + NEW)
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _system_error(error: BaseException) -> int:
    """The system's number of an error; TensorStore writes it into its message. 0: not known."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found.group(1)) if found else 0
