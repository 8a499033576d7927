"""Attention around a ring of devices is attention."""

import os
import subprocess
import sys

import jax.numpy as jnp
import pytest

from attn.ring import ring_attention


@pytest.mark.parametrize("extent", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_a_ring_of_devices_computes_the_same(extent):
    """Any score, mods, masks, GQA, rows that see nothing, NaN in padding; with all gradients."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-m", "tests.attn.ringed", extent],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_operands_without_batch_are_refused(unchecked):
    x = jnp.ones((4, 2, 8))
    with pytest.raises(ValueError, match=r"query: got shape \(4, 2, 8\); expected \[batch"):
        ring_attention(x, x, x, axis_name="ring")
