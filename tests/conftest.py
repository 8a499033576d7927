"""Every array annotation of `attn` and `experiments` is checked at run time under test."""

import os
from pathlib import Path

import jaxtyping
import pytest
from jaxtyping import install_import_hook

# Where there is no accelerator, the plug-ins that compile for one must not go looking for it.
if not any(list(Path("/dev").glob(name)) for name in ("nvidia*", "accel*", "vfio/*")):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

# The hook stays for the whole session: it must be in place before the packages are imported.
install_import_hook(["attn", "experiments"], "beartype.beartype")


@pytest.fixture
def unchecked():
    """Annotations are not checked, as for a user: the library's own errors must say it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
