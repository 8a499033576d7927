"""`report`: pages from what is in a folder."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from experiments.cli.ablate import is_ablation, write_ablation
from experiments.cli.parsing import parse


@dataclass(frozen=True)
class Report:
    """Write report.html anew from what is in a folder.

    A run that kept the maps of its heads gets a heads.html as well.
    """

    folder: tyro.conf.Positional[Path]
    """Of a comparison, a run or an ablation; experiments/results/ablations gives RESULTS.md."""


def run_report(arguments: list[str]) -> None:
    """write report.html anew from what is in a folder"""
    asked = parse(Report, "report", arguments)
    if is_ablation(asked.folder):
        print(write_ablation(asked.folder))
        return
    from experiments.reports import write_report

    print(write_report(asked.folder))
