"""What the fork server imports; no device is touched."""

# ruff: noqa: F401
import tensorboardX

import experiments.training.loop
import experiments.training.restore
import tests.experiments.training.toy_task
