"""All that a report is made from: `results.json` and the files of the run folders."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.errors import InputError
from experiments.reports.results import Results, Run, check_run, validate
from experiments.reports.schema import check, described, field, read_json, read_json_lines
from experiments.training.journal import launches


@dataclass(frozen=True)
class Point:
    """A loss (nats per token) at some moment of training."""

    examples: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class Output:
    """What a model wrote for a test item."""

    index: int
    source: str
    reference: str
    hypothesis: str
    source_length: int


@dataclass(frozen=True)
class Alignment:
    """Attention weights of a model's output for a test item, by target token (rows) and source
    token (columns)."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    shown: str
    """Which of the model's weights these are: "layer 3 of 3, mean of 4 heads"."""


@dataclass(frozen=True)
class RunFiles:
    """What a run folder adds to its entry in the results; None where a file is not there."""

    config: Mapping[str, Any] | None
    train: tuple[Point, ...] | None
    validation: tuple[Point, ...] | None
    outputs: tuple[Output, ...] | None
    signatures: Mapping[str, str]
    alignments: tuple[Alignment, ...] | None


@dataclass(frozen=True)
class Evidence:
    """The results and, by (model, seed), the files of each run."""

    results: Results
    files: Mapping[tuple[str, int], RunFiles]
    places: Mapping[tuple[str, int], Path]
    """Folders of the runs."""
    missing: tuple[str, ...]
    """Files that would have shown more, as "run folder/file"."""
    length_unit: str
    """What source lengths count: letters, words or tokens."""


def read_evidence(folder: Path) -> Evidence:
    """Reads a comparison folder, or a single run's folder.

    Raises:
        InputError: it is neither, or a file in it is not what it should be.
    """
    if (folder / "results.json").exists():
        results = validate(read_json(folder / "results.json", dict))
        places = {(run.model, run.seed): _inside(folder, run.folder) for run in results.runs}
    elif (folder / "config.json").exists():
        results = _results_of_run(folder)
        places = {(run.model, run.seed): folder for run in results.runs}
    else:
        raise InputError(
            f"{folder}: no results.json (a comparison) and no config.json (a run) in this folder"
        )
    files = {run: _read_run(place) for run, place in places.items()}
    runs = tuple(
        replace(run, attends=_attends(run, files[run.model, run.seed])) for run in results.runs
    )
    return Evidence(
        results=replace(results, runs=runs),
        files=files,
        places=places,
        missing=tuple(_missing(runs, files)),
        length_unit=_length_unit(files),
    )


def _inside(folder: Path, name: str) -> Path:
    """A run's folder, which the file names and which may come from anywhere.

    Raises:
        InputError: it is not right in the comparison's.
    """
    place = folder / name
    if place.resolve().parent != folder.resolve():
        raise InputError(f"results.runs: folder is {name!r}; expected one right in {folder}")
    return place


def _results_of_run(folder: Path) -> Results:
    """A comparison of one, from a run's own files."""
    for name in ("summary.json", "test.json"):
        if not (folder / name).exists():
            raise InputError(
                f"{folder / name} is missing: a run is reported once it is trained and evaluated"
            )
    config = read_json(folder / "config.json", dict)
    summary = read_json(folder / "summary.json", dict)
    test = read_json(folder / "test.json", dict)
    model = field(config, "model", dict, "config.json")
    train = field(config, "train", dict, "config.json")
    run = check_run(
        {
            **summary,
            **test,
            "test": field(test, "metrics", dict, str(folder / "test.json")),
            "model": field(model, "name", str, "config.json: model"),
            "seed": field(train, "seed", int, "config.json: train"),
            "folder": folder.name,
        },
        str(folder),
    )
    task = field(field(config, "task", dict, "config.json"), "name", str, "config.json: task")
    return Results(task, *_provenance(folder), (run,), ())


def _provenance(folder: Path) -> tuple[dict[str, str], dict[str, str], str, str]:
    """A run's hardware, versions, command and date; of several launches, all that differ."""
    found, where = launches(folder), f"{folder}: launch"
    hardware, versions = (
        _joined([described(launch, name, where) for launch in found])
        for name in ("hardware", "versions")
    )
    commands = [field(launch, "command", str, where) for launch in found]
    dates = [field(launch, "time", str, where)[:10] for launch in found]
    return hardware, versions, commands[-1] if commands else "", " to ".join(_ends(dates))


def _joined(found: list[dict[str, str]]) -> dict[str, str]:
    names = dict.fromkeys(name for each in found for name in each)
    return {
        name: ", then ".join(dict.fromkeys(each[name] for each in found if name in each))
        for name in names
    }


def _ends(dates: list[str]) -> list[str]:
    """The first and the last, once if they are one."""
    return list(dict.fromkeys([*dates[:1], *dates[-1:]]))


def _read_run(folder: Path) -> RunFiles:
    curves = _optional_lines(folder / "metrics.jsonl")
    test = read_json(folder / "test.json", dict) if (folder / "test.json").exists() else None
    alignments = folder / "alignments.json"
    config = folder / "config.json"
    return RunFiles(
        config=read_json(config, dict) if config.exists() else None,
        train=None if curves is None else _curve(curves, "train", "loss", folder),
        validation=None if curves is None else _curve(curves, "validation", "nll", folder),
        outputs=None if test is None else _outputs(test, folder / "test.json"),
        signatures={} if test is None else test.get("signatures", {}),
        alignments=_read_alignments(alignments) if alignments.exists() else None,
    )


def _optional_lines(path: Path) -> list[dict[str, Any]] | None:
    return read_json_lines(path) if path.exists() else None


def _curve(lines: list[dict[str, Any]], kind: str, loss: str, folder: Path) -> tuple[Point, ...]:
    """The lines of one kind, by step; of a step that was repeated after a restart, the last."""
    where = f"{folder / 'metrics.jsonl'}: {kind} line"
    chosen = [line for line in lines if line.get("kind") == kind]
    points = {
        field(line, "step", int, where): Point(
            examples=field(line, "examples", int, where),
            seconds=field(line, "seconds", float, where),
            loss=field(line, loss, float, where),
        )
        for line in chosen
    }
    return tuple(points[step] for step in sorted(points))


def _outputs(test: Mapping[str, Any], path: Path) -> tuple[Output, ...]:
    outputs = []
    for n, item in enumerate(field(test, "items", list, str(path))):
        where = f"{path}: items[{n}]"
        check(item, dict, where)
        outputs.append(
            Output(
                index=field(item, "index", int, where),
                source=field(item, "source", str, where),
                reference=field(item, "reference", str, where),
                hypothesis=field(item, "hypothesis", str, where),
                source_length=field(item, "source_length", int, where),
            )
        )
    return tuple(outputs)


def _read_alignments(path: Path) -> tuple[Alignment, ...]:
    alignments = []
    for n, item in enumerate(read_json(path, list)):
        where = f"{path}: [{n}]"
        check(item, dict, where)
        source = [check(token, str, where) for token in field(item, "source", list, where)]
        target = [check(token, str, where) for token in field(item, "target", list, where)]
        rows = field(item, "weights", list, where)
        if len(rows) != len(target) or any(len(row) != len(source) for row in rows):
            raise InputError(
                f"{where}.weights is not {len(target)} rows (target) of {len(source)} (source)"
            )
        weights = tuple(
            tuple(check(weight, float, f"{where}.weights") for weight in row) for row in rows
        )
        shown = field(item, "shown", str, where)
        alignments.append(Alignment(tuple(source), tuple(target), weights, shown))
    return tuple(alignments)


def _attends(run: Run, files: RunFiles) -> bool | None:
    """What the results say; where they don't, whether the run left attention maps (an empty list
    says that there are none to show; no file says nothing)."""
    if run.attends is not None or files.alignments is None:
        return run.attends
    return len(files.alignments) > 0


def _missing(runs: tuple[Run, ...], files: Mapping[tuple[str, int], RunFiles]) -> list[str]:
    missing = []
    for run in runs:
        found = files[run.model, run.seed]
        wanted = {
            "config.json": found.config,
            "metrics.jsonl": found.validation,
            "test.json": found.outputs,
            "alignments.json": found.alignments if run.attends else (),
        }
        missing += [f"{run.folder}/{name}" for name, value in wanted.items() if value is None]
    return missing


def _length_unit(files: Mapping[tuple[str, int], RunFiles]) -> str:
    """What the items' source lengths count, told by comparing them with the sources themselves."""
    counts: Counter[str] = Counter()
    for found in files.values():
        for output in found.outputs or ():
            counts["items"] += 1
            counts["letters"] += output.source_length == len(output.source)
            counts["words"] += output.source_length == len(output.source.split())
    for unit in ("letters", "words"):
        if counts["items"] and counts[unit] == counts["items"]:
            return unit
    return "tokens"
