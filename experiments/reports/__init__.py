"""Tables and pictures of what was trained, from the files that the runs left and nothing else."""

from experiments.reports.figures import figure_for_readme
from experiments.reports.html import REPORT, write_report
from experiments.reports.results import validate
from experiments.reports.terminal import print_table

__all__ = ["REPORT", "figure_for_readme", "print_table", "validate", "write_report"]
