"""`aot`: plan before paying."""

from rich.console import Console

from experiments.cli.parsing import SWITCHES, parse


def run_aot(arguments: list[str]) -> None:
    """compile a whole training step for a TPU pod or GPUs, and tell what it will take"""
    import tyro

    from experiments.aot.command import Aot, aot

    kind = tyro.conf.configure(tyro.conf.PositionalRequiredArgs)(Aot)
    aot(parse(kind, "aot", arguments, settings=SWITCHES), Console())
