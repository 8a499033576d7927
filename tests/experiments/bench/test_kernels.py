import json
from functools import partial

import jax
import numpy as np
import pytest
from rich.console import Console

import attn
from experiments.bench import kernels
from experiments.bench.kernels import BenchKernels, Work, bench_kernels, measure, plain_additive
from experiments.errors import InputError

SMALL = Work(
    "dot", (1, 8, 2, 4), attn.attention, jax.nn.dot_product_attention, "jax.nn", torch_causal=False
)


def test_a_work_is_measured_in_turns():
    found = measure(SMALL, "forward and backward", rounds=3)
    assert {"attn", "jax.nn"} <= found.seconds.keys()
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.ratio is not None
    assert found.temporary_bytes.keys() == {"attn", "jax.nn"}


def test_figures_say_how_they_were_made(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "_works", lambda backend: [SMALL])
    output = tmp_path / "deep" / "figures.json"
    bench_kernels(BenchKernels(rounds=2, output=output), Console(quiet=True))
    figures = json.loads(output.read_text())
    assert figures["command"].endswith("bench kernels --backend auto --rounds 2")
    assert [work["what"] for work in figures["works"]] == ["forward", "forward and backward"]
    assert figures["versions"]["jax"] == jax.__version__


def test_the_peer_of_additive_attention_is_additive_attention():
    v = jax.random.normal(jax.random.key(0), (2, 4))
    arrays = [jax.random.normal(jax.random.key(k), (1, 5, 2, 4)) for k in range(1, 4)]
    ours = attn.attention(*arrays, score=attn.Additive(v))
    np.testing.assert_allclose(ours, partial(plain_additive, v)(*arrays), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rounds": 0}, "rounds is 0"), ({"backend": "xlaa"}, "xlaa.*xla")],
)
def test_what_cannot_be_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        bench_kernels(BenchKernels(output=tmp_path / "f.json", **change), Console(quiet=True))
