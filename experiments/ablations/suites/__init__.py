"""Suites by name: a file a suite."""

from importlib import import_module

from experiments.ablations.suite import Suite
from experiments.errors import InputError, expect_known

NAMES = (
    "length_bottleneck",
    "score_function",
    "qk_scaling",
    "positions_extrapolate",
    "gradient_path",
    "local_alignment",
    "heads_dk",
    "kv_sharing",
    "nmt_ladder",
    "seq2seq_as_lm",
    "head_pruning",
)
"""In the order of RESULTS.md; each is a module of this package with a `SUITE`."""


def find(name: str) -> Suite:
    """A suite by its name, or one of yours by its module's, such as "my_suites.windows".

    Raises:
        InputError: there is none; the nearest are named.
    """
    if "." not in name:
        expect_known("suite", name, NAMES)
        return import_module(f"{__name__}.{name}").SUITE
    try:
        return import_module(name).SUITE
    except (ImportError, AttributeError) as error:
        raise InputError(f"suite: {name} is no module with a SUITE: {error}") from error
