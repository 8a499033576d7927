"""`faults`: what runs survive."""

from rich.console import Console

from experiments.cli.parsing import SWITCHES, parse


def run_faults(arguments: list[str]) -> None:
    """put faults into small training runs and see whether they survive them"""
    from experiments.faults.command import Faults, put_in

    tallies = put_in(parse(Faults, "faults", arguments, settings=SWITCHES), Console())
    if any(tally.survived < tally.times for tally in tallies):
        raise SystemExit(1)
