"""Which cases of a test `make test` runs."""

from typing import Any

import pytest


def param(*values: Any, quick: bool, id: str | None = None) -> Any:
    """A test's parameters; where others stand for it, it waits for `make test-slow`."""
    return pytest.param(*values, id=id, marks=[] if quick else [pytest.mark.slow])
