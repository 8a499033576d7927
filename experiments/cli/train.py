"""`train`: one named experiment."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from experiments.cli.evaluate import print_scores
from experiments.cli.parsing import USAGE, parse
from experiments.errors import expect_known
from experiments.hosts import Hosts, join


def run_train(arguments: list[str]) -> None:
    """train one named experiment, every setting of it a flag"""
    from experiments.config import Config
    from experiments.configs import named

    known = named()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments train CONFIG [-h] [flags]\n\nCONFIG is one of:")
        print("\n".join(f"  {name}" for name in known))
        raise SystemExit(0 if arguments else USAGE)
    name, rest = arguments[0], arguments[1:]
    expect_known("config", name, known)

    @dataclass(frozen=True)
    class Train:
        """Train one model; the same command goes on where it was stopped."""

        config: Annotated[Config, tyro.conf.arg(name="")]
        folder: Path = Path("runs") / name
        """Of the run."""
        hosts: Hosts = field(default_factory=Hosts)

    asked = parse(Train, f"train {name}", rest, Train(known[name]))
    join(asked.hosts)
    import jax

    from experiments import tasks
    from experiments.checks import check
    from experiments.runs import test_run, train_run

    check(asked.config)
    console = Console(quiet=jax.process_index() > 0)
    task = tasks.load(asked.config.task, asked.folder)
    command = shlex.join(["python", "-m", "experiments", "train", *arguments])
    train_run(asked.config, task, asked.folder, console, command)
    print_scores(console, test_run(asked.folder, task), "test")
    console.print(f"run: {asked.folder}", soft_wrap=True, markup=False)
