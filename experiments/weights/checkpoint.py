"""Checkpoints of safetensors in a local folder, read into attn's models and written from them."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.flax import load_file, save_file

from attn.typing import PyTree
from experiments.errors import InputError
from experiments.training.folder import write_json, writing
from experiments.weights import architectures
from experiments.weights.architectures import Config
from experiments.weights.names import BARE, DERIVED, ENTRIES, OLD, Entry

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_SHOWN = 8
"""Names listed in a message."""


@dataclass(frozen=True)
class Imported:
    """A model made elsewhere: `nnx.merge(graphdef, params)`."""

    config: Config
    graphdef: nnx.GraphDef
    params: PyTree
    """float32."""
    source_vocabulary: int
    target_vocabulary: int

    def model(self) -> Any:
        """The model itself."""
        return nnx.merge(self.graphdef, self.params, copy=True)


def load(folder: Path) -> Imported:
    """Reads a GPT-2, Llama-style (Llama, Mistral, Qwen 3) or BERT checkpoint of Hugging Face's.

    Args:
        folder: with `config.json` and `model.safetensors`, or the parts that
            `model.safetensors.index.json` names.

    Raises:
        InputError: files are missing or damaged, an architecture that attn has no equal for, or
            tensors that are missing, unexpected or of another shape; all of them are named.
    """
    found = architectures.read(_read_json(folder / CONFIG))
    vocabularies = found.source_vocabulary, found.target_vocabulary
    graphdef, params = _template(found.config, vocabularies)
    tensors = _renamed(_read_tensors(folder), found.family)
    wanted = _flat(params)
    filled, problems, read = {}, [], set()
    for path, entry, name in _pairs(found.family, wanted):
        if name in tensors:
            read.add(name)
            value, problem = _taken(tensors[name], entry, wanted[path].shape)
            filled[path] = value
            problems += [f"{name}: {problem}"] if problem else []
    missing = sorted(wanted.keys() - filled.keys())
    unexpected = sorted(name for name in tensors.keys() - read if not _derived(name))
    for what, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            problems.append(f"{what}: {', '.join(names[:_SHOWN])}{more}")
    if problems:
        raise InputError(f"{folder}: " + "; ".join(problems))
    return Imported(found.config, graphdef, _unflat(params, filled), *vocabularies)


def export(model: nnx.Module, config: Config, vocabularies: tuple[int, int], folder: Path) -> None:
    """Writes a model as a checkpoint that Hugging Face's library and `load` read.

    Args:
        model: of `config`.
        config: of a decoder or an encoder.
        vocabularies: sizes of the source's and the target's.
        folder: new or empty.

    Raises:
        InputError: no architecture of theirs has the model's settings, or the folder holds
            something.
    """
    family, theirs = architectures.write(config, vocabularies)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; expected a new folder")
    params = _flat(nnx.state(model, nnx.Param))
    parts: dict[str, dict[int, np.ndarray]] = {}
    for path, entry, name in _pairs(family, params):
        parts.setdefault(name, {})[entry.part] = _given(params[path], entry)
    tensors = {
        name: jnp.asarray(np.concatenate([each[k] for k in sorted(each)], axis=-1))
        for name, each in parts.items()
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
    write_json(folder / CONFIG, theirs)


def _template(config: Config, vocabularies: tuple[int, int]) -> tuple[nnx.GraphDef, PyTree]:
    try:
        build = nnx.eval_shape(lambda: config.build(*vocabularies, nnx.Rngs(0)))
    except ValueError as error:
        raise InputError(f"{CONFIG}: {error}") from error
    return nnx.split(build)


def _pairs(family: str, ours: Mapping[str, Any]) -> list[tuple[str, Entry, str]]:
    """Each of our parameters, or parts of it; its entry, and its tensor's name."""
    layers = 1 + max(int(k) for path in ours for k in re.findall(r"^blocks\.(\d+)\.", path))
    named = (
        (entry.ours.format(layer), entry, entry.theirs.format(layer))
        for entry in ENTRIES[family]
        for layer in (range(layers) if "{}" in entry.ours else (0,))
    )
    return [found for found in named if found[0] in ours]


def _taken(tensor: Any, entry: Entry, shape: tuple[int, ...]) -> tuple[np.ndarray, str | None]:
    """Our parameter from their tensor, and what is wrong with it."""
    theirs = _their_shape(entry, shape)
    if tuple(tensor.shape) != theirs:
        return np.zeros(shape), f"got shape {list(tensor.shape)}; expected {list(theirs)}"
    array = np.asarray(tensor.astype(jnp.float32))
    if entry.turned:
        array = array.T
    array = np.split(array, entry.parts, axis=-1)[entry.part]
    return np.ascontiguousarray(array).reshape(shape), None


def _their_shape(entry: Entry, shape: tuple[int, ...]) -> tuple[int, ...]:
    last = entry.ours.rpartition(".")[2]
    if last != "kernel":
        flat = shape if last in ("table", "positions", "segments") else (math.prod(shape),)
        return (*flat[:-1], entry.parts * flat[-1])
    rows, columns = math.prod(shape[: entry.inputs]), math.prod(shape[entry.inputs :])
    sizes = rows, entry.parts * columns
    return sizes[::-1] if entry.turned else sizes


def _given(param: Any, entry: Entry) -> np.ndarray:
    """Their part of a tensor from our parameter."""
    array = np.asarray(jax.device_get(param))
    if entry.ours.endswith(".kernel"):
        array = array.reshape(math.prod(array.shape[: entry.inputs]), -1)
    elif array.ndim > 1 and entry.ours.endswith(".bias"):
        array = array.reshape(-1)
    return np.ascontiguousarray(array.T if entry.turned else array)


def _flat(params: PyTree) -> dict[str, Any]:
    """Parameters by dotted path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value"): leaf
        for path, leaf in jax.tree.leaves_with_path(params)
    }


def _unflat(params: PyTree, filled: Mapping[str, np.ndarray]) -> PyTree:
    structure = jax.tree.structure(params)
    return jax.tree.unflatten(structure, [jnp.asarray(filled[path]) for path in _flat(params)])


def _derived(name: str) -> bool:
    return re.sub(r"\.\d+\.", ".{}.", name) in DERIVED


def _renamed(tensors: Mapping[str, Any], family: str) -> dict[str, Any]:
    """By the names that `ENTRIES` knows: old endings are new, a bare model's have its prefix."""
    known = tuple(entry.theirs.partition(".")[0] for entry in ENTRIES[family])
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in OLD.items():
            name = re.sub(re.escape(old) + "$", new, name)
        headless = name.partition(".")[0] not in known
        renamed[BARE[family] + name if headless else name] = tensor
    return renamed


def _read_tensors(folder: Path) -> dict[str, Any]:
    files = [WEIGHTS]
    if (folder / INDEX).exists():
        files = sorted(set(_read_json(folder / INDEX)["weight_map"].values()))
        if outside := [name for name in files if Path(name).name != name]:
            raise InputError(f"{folder / INDEX} names {outside[0]!r}; expected files beside it")
    tensors: dict[str, Any] = {}
    for name in files:
        path = folder / name
        if not path.is_file():
            raise InputError(
                f"{path} is missing; expected safetensors (pickled files are not read)"
            )
        try:
            tensors |= load_file(str(path))
        except SafetensorError as error:
            raise InputError(f"{path} is damaged: {error}") from error
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is missing; expected a checkpoint's folder")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
