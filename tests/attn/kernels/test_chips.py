"""Every kernel compiled for real chips, forward and backward, by the chips' own compilers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, SingleDeviceSharding, use_abstract_mesh

import attn
from experiments.chips import (
    CHIPS,
    compile_for,
    device,
    largest_buffer,
    missing,
    temporary_bytes,
)
from tests.marks import param

BACKENDS = {"v5e": "pallas_tpu", "v6e": "pallas_tpu", "h100": "pallas_gpu"}

SHAPES = {
    # batch, queries, keys, heads, key heads, query width, value width, dtype
    "bf16-64": (2, 512, 512, 4, 4, 64, 64, "bfloat16"),
    "bf16-128-grouped": (1, 1024, 1024, 8, 2, 128, 128, "bfloat16"),
    "float32": (2, 256, 512, 4, 2, 64, 64, "float32"),
    "odd": (2, 77, 131, 4, 2, 72, 40, "bfloat16"),
    "80-96": (1, 300, 200, 2, 1, 80, 96, "float32"),
    "wide": (1, 256, 256, 2, 2, 256, 256, "bfloat16"),
    "long-wide": (1, 2048, 2048, 1, 1, 256, 256, "float32"),
    "one-query": (2, 1, 2048, 8, 2, 64, 64, "bfloat16"),
    "float16": (1, 128, 128, 2, 1, 40, 64, "float16"),
}


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def tilt(s, b, n, i, j, params):
    return s * params["gain"] + params["tilt"][n] * (j - i)


LENGTHS = np.array([100, 77], np.int32)
FEATURES = {
    "scale": {"score": attn.Dot(np.float32(0.3))},
    "general": {"score": attn.General(normal(4, 64, 64))},
    "additive": {"score": attn.Additive(normal(4, 64))},
    "concat": {"score": attn.Concat(normal(4, 64, 48), normal(2, 64, 48), normal(4, 48))},
    "location": {"score": attn.Location(normal(4, 64, 200))},
    "softcap": {"mods": (attn.SoftCap(3.0),)},
    "bias": {"mods": (attn.Bias(normal(1, 4, 130, 200)),)},
    "bias-of-keys": {"mods": (attn.Bias(normal(2, 1, 1, 200)),)},
    "bias-of-queries": {"mods": (attn.Bias(normal(4, 130, 1)),)},
    "alibi": {"mods": (attn.ALiBi(normal(4)),)},
    "relative": {"mods": (attn.RelativeBias(normal(32, 4)),)},
    "user": {"mods": (attn.Mod(tilt, {"gain": np.float32(1.1), "tilt": normal(4)}),)},
    "causal": {"mask": attn.Causal(70)},
    "window": {"mask": attn.Window(40, 3)},
    "prefix-or-lengths": {"mask": attn.Prefix(LENGTHS) | attn.Lengths(LENGTHS, LENGTHS)},
    "segments": {"mask": attn.Segments(np.zeros((2, 130), int), np.zeros((2, 200), int))},
    "local": {"mask": attn.Local(100 + normal(2, 4, 130), 30)},
    "dense": {"mask": attn.Dense(normal(1, 4, 130, 200) > 0) & attn.Causal(70)},
    "dropout": {"weighting": attn.Dropout(0.1, jax.random.key(0))},
    "gaussian": {"weighting": attn.Gaussian(100 + normal(2, 4, 130), np.float32(9.0))},
    "additive-causal-bias-dropout": {
        "score": attn.Additive(normal(4, 64)),
        "mods": (attn.SoftCap(3.0), attn.Bias(normal(1, 4, 130, 200))),
        "mask": attn.Causal(70) & attn.Lengths(key=LENGTHS),
        "weighting": attn.Dropout(0.1, jax.random.key(0)),
    },
}


@pytest.fixture(params=[param(chip, quick=chip != "v6e") for chip in BACKENDS])
def chip(request):
    """A chip's name; the test is skipped where its compiler is not installed."""
    if reason := missing(CHIPS[request.param]):
        pytest.skip(reason)
    return request.param


def compiled(chip, operands, backward=True, **pieces):
    """The op, or its gradients of all arrays, compiled for a chip."""
    attend = functools.partial(attn.attention, backend=BACKENDS[chip], return_lse=True)

    def weighed(query, key, value, pieces):
        output, lse = attend(query, key, value, **pieces)
        return jnp.sum(output.astype(jnp.float32) ** 2) + jnp.sum(lse)

    def forward(query, key, value, pieces):
        return attend(query, key, value, **pieces)

    function = jax.grad(weighed, (0, 1, 2, 3), allow_int=True) if backward else forward
    return compile_for(CHIPS[chip], function, *operands, pieces)


def operands(batch, queries, keys, heads, key_heads, width, value_width, dtype):
    return (
        jax.ShapeDtypeStruct((batch, queries, heads, width), dtype),
        jax.ShapeDtypeStruct((batch, keys, key_heads, width), dtype),
        jax.ShapeDtypeStruct((batch, keys, key_heads, value_width), dtype),
    )


COVERED = {"float32", "float16", "scale", "softcap", "bias-of-queries", "causal", "dropout"}
"""In others as well: they wait for `make test-slow`."""


@pytest.mark.parametrize("name", [param(name, quick=name not in COVERED) for name in SHAPES])
def test_shapes_compile(chip, name):
    mask = attn.Causal() if name in ("bf16-64", "80-96", "long-wide") else None
    program = compiled(chip, operands(*SHAPES[name]), mask=mask)
    assert kernels(program) >= 3  # output, gradients along queries, gradients along keys


@pytest.mark.parametrize("name", [param(name, quick=name not in COVERED) for name in FEATURES])
def test_features_compile(chip, name):
    program = compiled(chip, operands(2, 130, 200, 4, 2, 64, 48, "bfloat16"), **FEATURES[name])
    assert kernels(program) >= 3


def kernels(program):
    """How many of ours a program runs: it fell back on nothing else."""
    text = program.as_text()
    return sum("custom_call_target" in line and "attn_" in line for line in text.splitlines())


LONG = 4096


@pytest.mark.parametrize("name", ["dot", "grouped", "additive", "everything"])
def test_memory_does_not_grow_with_pairs(chip, name):
    """Forward and backward: a few times the operands, and nothing of queries x keys."""
    shape = (1, LONG, LONG, 2, 1 if name == "grouped" else 2, 64, 64, "bfloat16")
    pieces = {
        "additive": {"score": attn.Additive(normal(2, 64))},
        "everything": {
            "mods": (attn.SoftCap(3.0), attn.ALiBi(normal(2)), attn.RelativeBias(normal(32, 2))),
            "mask": attn.Causal() & attn.Segments(np.zeros((1, LONG), int), np.zeros(LONG, int)),
            "weighting": attn.Dropout(0.1, jax.random.key(0)),
        },
    }.get(name, {})
    program = compiled(chip, operands(*shape), **pieces)
    wide = 4 * 2 * LONG * 64  # a float32 operand
    assert temporary_bytes(program) <= 12 * wide
    assert largest_buffer(program).elements < LONG * LONG


def test_explicit_axes_of_a_mesh(chip):
    """A number's gradient adds up over several axes at once; no type may stand in its way."""
    there = SingleDeviceSharding(device(CHIPS[chip]))
    x = jax.ShapeDtypeStruct((2, 128, 2, 64), jnp.bfloat16, sharding=there)
    slopes = jax.ShapeDtypeStruct((2,), jnp.float32, sharding=there)

    def loss(query, key, value, slopes):
        mods = (attn.ALiBi(slopes),)
        output = attn.attention(query, key, value, mods=mods, backend=BACKENDS[chip])
        return jnp.sum(output.astype(jnp.float32))

    mesh = AbstractMesh(
        (1,), ("there",), (AxisType.Explicit,), abstract_device=CHIPS[chip].abstract
    )
    with use_abstract_mesh(mesh):
        traced = jax.jit(jax.grad(loss, (0, 1, 2, 3))).trace(x, x, x, slopes)
        program = traced.lower(lowering_platforms=(CHIPS[chip].platform,)).compile()
    assert kernels(program) >= 3


@pytest.mark.parametrize("mask", [None, attn.Causal()], ids=["no mask", "causal"])
def test_a_gpu_needs_nothing_beside_results(mask):
    """Forward: no memory but output and log-sum-exp; backward: these, and one number a query."""
    if reason := missing(CHIPS["h100"]):
        pytest.skip(reason)
    shape = 8, 1024, 1024, 8, 2, 128, 128, "bfloat16"
    tables = 2**14
    forward = compiled("h100", operands(*shape), backward=False, mask=mask)
    assert temporary_bytes(forward) <= tables
    rows = 8 * 1024 * 8
    backward = compiled("h100", operands(*shape), mask=mask)
    assert temporary_bytes(backward) <= 2 * rows * 128 + 2 * 4 * rows + tables
