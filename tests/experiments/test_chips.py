"""Programs are compiled for chips that this machine does not have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from experiments import chips
from experiments.chips import CHIPS, compile_for, largest_buffer, missing, temporary_bytes

X = jax.ShapeDtypeStruct((512, 128), jnp.float32)


@pytest.fixture(params=["v5e", "v6e", "h100"])
def chip(request):
    return available(request.param)


def available(name):
    chip = CHIPS[name]
    reason = missing(chip)
    if reason is not None:
        pytest.skip(reason)
    return chip


@pytest.mark.parametrize("name", CHIPS)
def test_chips_are_as_their_plug_ins_say(name):
    chip = available(name)
    device = chips.device(chip)
    seen = chip.abstract
    assert device.device_kind == seen.device_kind
    assert device.platform == seen.platform
    assert getattr(device, "num_cores", chip.cores) == seen.num_cores


def test_compiles_jnp(chip):
    compiled = compile_for(chip, lambda x: x @ x.T, X)
    (output,) = jax.tree.leaves(compiled.out_info)
    assert output.shape == (512, 512)
    ((given,), _) = compiled.input_shardings
    assert given.device_set == {chips.device(chip)}


def test_compiles_pallas(chip):
    """Mosaic for a TPU, Triton for a GPU: which, is what the abstract device says under trace."""

    def gram(x):
        device = jax.sharding.get_abstract_mesh().abstract_device
        params = plgpu.CompilerParams(num_warps=4) if device.platform == "gpu" else None

        def kernel(block, out):
            out[...] = jnp.dot(block[...], block[...].T)

        block = pl.BlockSpec((128, 128), lambda i: (i, 0))
        return pl.pallas_call(
            kernel,
            out_shape=X,
            grid=(4,),
            in_specs=[block],
            out_specs=block,
            compiler_params=params,
            name="gram",
        )(x)

    compiled = compile_for(chip, gram, X)
    called = "triton" if chip.platform == "cuda" else "tpu_custom_call"
    assert called in compiled.as_text()
    assert temporary_bytes(compiled) == 0
    assert largest_buffer(compiled).bytes == 0


@pytest.mark.parametrize("names", [("v5e", "v6e", "h100"), ("h100", "v6e", "v5e")])
def test_one_function_is_traced_anew_for_each_chip(names):
    seen = []

    @jax.jit
    def inner(carry, _):
        device = jax.sharding.get_abstract_mesh().abstract_device
        seen.append(device.device_kind)
        return carry + 1, None

    def function(x):
        return jax.lax.scan(inner, x, None, length=3)[0]

    for name in names:
        compile_for(available(name), function, X)
    assert seen == [CHIPS[name].kind for name in names]


def test_arguments_may_be_trees_of_arrays(chip):
    compiled = compile_for(
        chip, lambda tree, y: tree["x"] + y, {"x": np.ones((8, 128))}, X.update(shape=(8, 128))
    )
    (output,) = jax.tree.leaves(compiled.out_info)
    assert output.shape == (8, 128)


def test_the_largest_buffer_is_found(chip):
    """Of softmax(x xᵀ) x: the scores, which are not among what is given or returned."""
    long = X.update(shape=(2**14, 128), dtype=jnp.bfloat16)

    def attend(x):
        return jax.nn.softmax(x @ x.T) @ x

    compiled = compile_for(chip, attend, long)
    assert largest_buffer(compiled).elements == 2**28
    assert temporary_bytes(compiled) >= 2 * 2**28
    assert largest_buffer(compile_for(chip, lambda x: x * 2 + 1, long)).elements == 0


def test_what_is_missing_is_said(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no such plug-in")

    monkeypatch.setattr(chips, "get_topology_desc", fails)
    monkeypatch.setattr(chips, "device", chips.device.__wrapped__)
    reason = missing.__wrapped__(CHIPS["v5e"])
    assert "attn[aot]" in reason
    assert "no such plug-in" in reason
