"""Pairs of texts by their set's name: this project's builders and the translation sets of TFDS."""

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from experiments.data.lookup import Lookup
from experiments.data.multi30k import Multi30k
from experiments.data.pairs import SPLITS, PairBuilder
from experiments.data.probes import PROBES, Probe
from experiments.data.pronunciation import Pronunciation
from experiments.data.shakespeare import Shakespeare
from experiments.data.silent_letters import SilentLetters
from experiments.data.sst import Sst
from experiments.data.tatoeba import Tatoeba
from experiments.data.verses import Verses, VersesEnglish
from experiments.errors import InputError

_OWN: tuple[type[PairBuilder], ...] = (
    Pronunciation,
    Verses,
    Multi30k,
    Tatoeba,
    Shakespeare,
    VersesEnglish,
    Sst,
    SilentLetters,
    Lookup,
)
BUILDERS: dict[str, Callable[..., PairBuilder]] = {
    **{builder.name.replace("_", "-"): builder for builder in _OWN},
    **{name: partial(Probe, name) for name in PROBES},
}

Texts = tuple[list[str], list[str]]
"""Sources and targets."""


def read_set(
    name: str,
    data_dir: str | Path | None = None,
    manual_dir: str | Path | None = None,
    settings: Mapping[str, int] | None = None,
) -> dict[str, Texts]:
    """All pairs of a set by split, prepared first if they are not yet.

    Preparing writes to a folder of its own and renames it at the end, so a half-prepared set is
    never read and processes may prepare the same set at the same time.

    Args:
        name: one of `BUILDERS`, or a TFDS set of text pairs such as `wmt14_translate/de-en`.
        data_dir: where prepared data is kept (None: $TFDS_DATA_DIR, else ~/tensorflow_datasets).
        manual_dir: files fetched by hand (None: $ATTN_DATA).
        settings: of a generated set: the fields of its rule in `experiments.data.probes`.

    Raises:
        InputError: unknown name, no such files, files that cannot be read or written, or a setting
            that the set cannot have.
    """
    builder = make_builder(name, data_dir, settings)
    if not _has_text_pairs(builder):
        raise InputError(
            f"{name} is no set of text pairs: its features are {builder.info.features}"
        )
    _prepare(builder, manual_dir or os.environ.get("ATTN_DATA"))
    # One that knows what is there, whichever process prepared it.
    builder = make_builder(name, data_dir, settings)
    return {split: _read(builder, name, split) for split in SPLITS}


def make_builder(
    name: str, data_dir: str | Path | None = None, settings: Mapping[str, int] | None = None
) -> Any:
    """The TFDS builder of a set, which takes what `read_set` does.

    Raises:
        InputError: unknown name, the nearest known ones are named; or a setting that the set cannot
            have.
    """
    where = {"data_dir": os.fspath(data_dir) if data_dir else None, "file_format": "array_record"}
    if name in BUILDERS:
        return BUILDERS[name](**where, **(settings or {}))
    if ":" in name.partition("/")[0]:  # a namespace: TFDS would fetch code from there, and run it
        raise InputError(
            f"task {name!r} is of a community's namespace; expected one of TFDS itself"
        )
    importlib.import_module("tensorflow_datasets.translate")  # registers TFDS's translation sets
    try:
        return tfds.builder(name, **where)
    except tfds.core.DatasetNotFoundError as error:
        known = [*BUILDERS, *tfds.list_builders(with_community_datasets=False)]
        near = difflib.get_close_matches(name.partition("/")[0], known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(BUILDERS)}"
        raise InputError(
            f"unknown task {name!r}; {hint} (or a TFDS translation set, e.g. wmt14_translate/de-en)"
        ) from error
    except ValueError as error:  # a set's configuration that it does not have
        raise InputError(f"task {name!r}: {error}") from error


def _has_text_pairs(builder: Any) -> bool:
    features, keys = builder.info.features, builder.info.supervised_keys
    return (
        isinstance(features, tfds.features.FeaturesDict)
        and keys is not None
        and len(keys) == 2
        and all(isinstance(dict(features.items()).get(key), tfds.features.Text) for key in keys)
    )


def _prepare(builder: Any, manual_dir: str | Path | None) -> None:
    config = tfds.download.DownloadConfig(
        manual_dir=os.fspath(manual_dir) if manual_dir else None, try_download_gcs=False
    )
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        # What TFDS says belongs with other messages: standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(download_config=config)
    except InputError:
        raise
    except OSError as error:
        if Path(builder.data_dir).exists():  # another process has meanwhile prepared the same set
            return
        raise InputError(f"cannot prepare {builder.name} in {builder.data_dir}: {error}") from error


def _read(builder: Any, name: str, split: str) -> Texts:
    has = builder.info.splits
    if has and split not in has:
        raise InputError(
            f"{name} has no {split} split; expected {', '.join(SPLITS)}, it has {', '.join(has)}"
        )
    try:
        source = builder.as_data_source(split=split)
        records = source.__getitems__(range(len(source)))
    except Exception as error:  # of array_record, which has no type for it
        raise InputError(
            f"the prepared data in {builder.data_dir} is damaged; delete the folder ({error})"
        ) from error
    keys = builder.info.supervised_keys
    sources, targets = ([record[key].decode("utf-8") for record in records] for key in keys)
    return sources, targets
