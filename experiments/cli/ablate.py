"""`ablate`: put a paper's claim to the test."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from experiments.cli.parsing import SWITCHES, parse
from experiments.errors import InputError
from experiments.hosts import Hosts, join

PUBLISHED = Path(__file__).parents[1] / "results" / "ablations"
"""Results that RESULTS.md is made of, kept with the code."""


@dataclass(frozen=True)
class Ablate:
    """Train a suite's variants from several seeds, and say whether the paper's claim holds.

    Everything is kept in FOLDER/SUITE-BUDGET: the same command goes on where it was stopped, and
    finished runs are never repeated. Seeds, and variants of one shape, train together.
    """

    suites: tyro.conf.Positional[tuple[str, ...]] = ()
    """By name, as in experiments/ablations/suites, or your own by their modules' names."""
    all: bool = False
    """Every suite, and then RESULTS.md anew."""
    budget: Literal["cpu", "gpu", "paper"] = "cpu"
    """At most 15 minutes on two cores; at most 10 minutes on one H100; the paper's own setting."""
    seeds: tuple[int, ...] | None = None
    """At least 3 (None: as many as the budget has, 5 on a CPU)."""
    folder: Path = Path("runs/ablate")
    jobs: int = 1
    """Work in so many processes here, or jobs on a cluster (1: in this process)."""
    cluster: Literal["local", "slurm"] = "local"
    """Where jobs run."""
    settings: tuple[str, ...] = ()
    """Of the jobs, as submitit names them: slurm_partition=gpu gpus_per_node=1."""
    publish: bool = False
    """Keep the results with the code and write RESULTS.md anew; --all implies it."""
    manual_dir: str | None = None
    """Folder with files fetched by hand (None: $ATTN_DATA)."""
    data_dir: str | None = None
    """Where prepared data is kept (None: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    hosts: Hosts = field(default_factory=Hosts)
    """Of which all work on each group; jobs are processes on their own."""


def run_ablate(arguments: list[str]) -> None:
    """put papers' claims to the test"""
    asked = parse(Ablate, "ablate", arguments, settings=SWITCHES)
    from experiments.ablations.engine import Launch, ablate
    from experiments.ablations.spread import Order
    from experiments.ablations.suite import check_seeds
    from experiments.ablations.suites import NAMES, find

    if asked.all == bool(asked.suites):
        given = "--all and suites" if asked.all else "neither suites nor --all"
        raise InputError(f"suites: got {given}; expected --all, or some of {', '.join(NAMES)}")
    if asked.settings and asked.jobs == 1 and asked.cluster == "local":
        shown = " ".join(asked.settings)
        raise InputError(f"settings: got {shown}; expected none, for there are no jobs")
    names = asked.suites
    if asked.all:
        names = tuple(name for name in NAMES if asked.budget in find(name).budgets)
    foreign = [name for name in names if name not in NAMES]
    if asked.publish and foreign:
        raise InputError(f"publish: got {', '.join(foreign)}; expected suites of this code base")
    launches = []
    for name in names:
        suite = find(name)
        seeds = asked.seeds or suite.budget(asked.budget).seeds
        check_seeds(seeds)
        folder = asked.folder / f"{suite.name}-{asked.budget}"
        order = Order(name, asked.budget, seeds, folder, asked.manual_dir, asked.data_dir)
        jobs = asked.jobs, asked.cluster, asked.settings
        launches.append(Launch(order, _command(name, asked), *jobs))
    join(asked.hosts)
    import jax

    if jax.process_count() > 1 and (asked.jobs > 1 or asked.cluster != "local"):
        raise InputError(
            f"jobs: got {asked.jobs} on {asked.cluster} from each of {jax.process_count()} hosts; "
            "expected jobs from one process, or hosts without jobs"
        )
    first = jax.process_index() == 0
    console = Console(quiet=not first)
    for launch in launches:
        suite, folder = find(launch.order.suite), launch.order.folder
        console.print(f"[bold]{suite.name}[/]: {escape(suite.claim)}", soft_wrap=True)
        results = ablate(launch, console)
        if not first:
            continue
        _tell(results, _write_page(suite, folder), console)
        if asked.all or asked.publish:
            _publish(folder)


def is_ablation(folder: Path) -> bool:
    """Whether a folder is a suite's, or that of the published results."""
    return folder.resolve() == PUBLISHED or (folder / "groups").is_dir()


def write_ablation(folder: Path) -> Path:
    """The pages of a suite's folder anew; of the published results, RESULTS.md.

    Raises:
        InputError: the folder holds no results, or those of a suite that is not of this code base:
            no module is imported because a file names it.
    """
    if folder.resolve() == PUBLISHED:
        return _write_table()
    from experiments.ablations.results import read
    from experiments.ablations.suites import NAMES, find

    suite = read(folder / "results.json").suite
    if suite not in NAMES:
        raise InputError(
            f"{folder} holds results of {suite!r}, which is not of this code base; the command "
            "that made them writes their page anew"
        )
    return _write_page(find(suite), folder)


def _command(suite: str, asked: Ablate) -> str:
    words = ["python", "-m", "experiments", "ablate", suite, "--budget", asked.budget]
    if asked.seeds is not None:
        words += ["--seeds", *map(str, asked.seeds)]
    return shlex.join(words)


def _write_page(suite: Any, folder: Path) -> Path:
    from experiments.ablations.page import Presentation, write_pages
    from experiments.ablations.papers import EFFECT
    from experiments.ablations.papers import PUBLISHED as TABLES

    effect = EFFECT.get(suite.name, "none that is kept here")
    return write_pages(folder, Presentation(suite.figure, TABLES.get(suite.name, ()), effect))


def _tell(results: dict, page: Path, console: Console) -> None:
    for contrast in results["contrasts"]:
        value = "no number"
        if contrast["value"] is not None:
            low, high = contrast["interval"]
            value = f"{contrast['value']:.4g} [{low:.4g}, {high:.4g}]"
        console.print(
            f"  {escape(contrast['name'])}: {escape(value)}, {contrast['outcome']}",
            soft_wrap=True,
            highlight=False,
        )
    for failure in results["failed"]:
        told = f"{failure['variant']}, seed {failure['seed']}: {failure['error']}"
        console.print(f"  [red]failed:[/] {escape(told)}", soft_wrap=True, highlight=False)
    console.print(
        f"  [bold]{results['verdict']}[/] in {results['seconds']:.0f} s: {page}",
        soft_wrap=True,
        highlight=False,
    )


def _publish(folder: Path) -> None:
    from experiments.ablations.engine import RESULTS
    from experiments.training.folder import write_text

    PUBLISHED.mkdir(parents=True, exist_ok=True)
    write_text(PUBLISHED / f"{folder.name}.json", (folder / RESULTS).read_text("utf-8"))
    _write_table()


def _write_table() -> Path:
    from experiments.ablations.papers import EFFECT
    from experiments.ablations.table import write_results

    out = PUBLISHED.parents[1] / "RESULTS.md"
    write_results(PUBLISHED, out, EFFECT)
    return out
