"""Every array annotation of `attn` and `experiments` is checked at run time under test."""

import jaxtyping
import pytest
from jaxtyping import install_import_hook

from experiments.environment import seek_no_accelerator

seek_no_accelerator()

# The hook stays for the whole session: it must be in place before the packages are imported.
install_import_hook(["attn", "experiments"], "beartype.beartype")


@pytest.fixture
def unchecked():
    """Annotations are not checked, as for a user: the library's own errors must say it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
