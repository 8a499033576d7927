"""What the fork server imports; no device is touched."""

# ruff: noqa: F401
import tensorboardX

import experiments.cli
import experiments.configs
import experiments.faults.phases
import experiments.runs
import experiments.tasks
