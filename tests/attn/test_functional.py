import functools
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn

RNG = np.random.default_rng(0)


def normal(*shape, dtype=jnp.float32):
    return jnp.asarray(RNG.normal(size=shape), dtype)


Q, K, V = normal(2, 5, 4, 8), normal(2, 7, 2, 8), normal(2, 7, 2, 3)
X = normal(2, 5, 4, 8)


def test_rank_3_is_a_batch_of_one():
    pieces = {
        "score": attn.Additive(normal(4, 8)),
        "mods": (attn.Bias(normal(4, 5, 7)),),
        "mask": attn.Lengths(key=jnp.int32(4)),
    }
    output, lse = attn.attention(Q[0], K[0], V[0], return_lse=True, **pieces)
    batched, batched_lse = attn.attention(Q[:1], K[:1], V[:1], return_lse=True, **pieces)
    np.testing.assert_array_equal(output, batched[0])
    np.testing.assert_array_equal(lse, batched_lse[0])
    weights = attn.attention_weights(Q[0], K[0], **pieces)
    assert weights.shape == (4, 5, 7)


def test_weights_are_those_of_the_op():
    pieces = {
        "mods": (attn.SoftCap(2.0),),
        "mask": attn.Causal(2),
        "weighting": attn.Dropout(0.4, jax.random.key(3)),
    }
    weights = attn.attention_weights(Q, K, **pieces)
    assert weights.shape == (2, 4, 5, 7)
    summed = jnp.einsum("bnts,bsne->btne", weights, jnp.repeat(V, 2, axis=2))
    output = attn.attention(Q, K, V, **pieces)
    np.testing.assert_allclose(summed, output, rtol=1e-5, atol=1e-6)


def test_location_serves_grouped_heads():
    w = normal(4, 8, 9)
    s = jnp.einsum("btnd,nds->bnts", Q, w[:, :, :7])
    wanted = jnp.einsum("bnts,bsne->btne", jax.nn.softmax(s), jnp.repeat(V, 2, axis=2))
    got = attn.attention(Q, K, V, score=attn.Location(w))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_precision_reaches_every_product():
    score = attn.General(normal(4, 8, 8))
    for given in ("highest", jax.lax.Precision.HIGHEST):
        attend = functools.partial(attn.attention, score=score, precision=given)
        text = str(jax.make_jaxpr(attend)(Q, K, V))
        assert text.count("dot_general") == 3
        assert len(re.findall(r"precision=\S*HIGHEST", text)) == 3
    text = str(jax.make_jaxpr(attn.attention)(Q, K, V))
    assert "HIGHEST" not in text


def test_keys_are_not_repeated_for_groups():
    q, k = normal(1, 3, 8, 4), normal(1, 5, 1, 4)
    text = str(jax.make_jaxpr(attn.attention)(q, k, k))
    assert "f32[8,5,4]" not in text.replace(" ", "")
    assert "f32[5,8,4]" not in text.replace(" ", "")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.7, "bias": normal(1, 4, 5, 7)},
        {"bias": normal(4, 5, 7), "mask": jnp.asarray(RNG.random((2, 1, 5, 7)) < 0.7)},
        {"is_causal": True, "return_residual": True},
        {"local_window_size": 2, "key_value_seq_lengths": jnp.array([7, 4])},
        {"local_window_size": (3, 1)},
        {"query_seq_lengths": jnp.array([3, 5]), "key_value_seq_lengths": jnp.array([7, 2])},
        {"implementation": "xla"},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
def test_dot_product_attention_is_jaxs(options, dtype):
    q, k, v = (x.astype(dtype) for x in (Q, K, normal(2, 7, 2, 8)))
    got = attn.dot_product_attention(q, k, v, **options)
    wanted = jax.nn.dot_product_attention(q, k, v, **options)
    tolerance = 1e-5 if dtype == "float32" else 4e-2
    for ours, theirs in zip(*map(jax.tree.leaves, (got, wanted)), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(
            np.float32(ours), np.float32(theirs), rtol=tolerance, atol=tolerance
        )


def test_dot_product_attention_gives_zeros_to_who_sees_nothing():
    lengths = jnp.array([0, 7])
    output, lse = attn.dot_product_attention(
        Q[0], K[0], V[0], key_value_seq_lengths=lengths[:1], return_residual=True
    )
    assert np.all(output == 0)
    assert np.all(lse == -np.inf)


def test_positions_are_what_pieces_see():
    """A part of a sequence at its positions is that part of the whole, dropout included."""
    pieces = {
        "mods": (attn.ALiBi(jnp.array([0.1, 0.2, 0.3, 0.4])),),
        "mask": attn.Causal(2) & attn.Window(4, 1),
        "weighting": attn.Dropout(0.3, jax.random.key(1)),
    }
    whole = attn.attention(Q, K, V, **pieces)
    rows, keys = jnp.array([3, 1, 4]), jnp.array([6, 0, 2, 1, 5, 4, 3])
    for backend in ("reference", "xla"):
        got = attn.attention(
            Q[:, rows],
            K[:, keys],
            V[:, keys],
            **pieces,
            query_positions=rows,
            key_positions=keys,
            backend=backend,
        )
        np.testing.assert_allclose(got, whole[:, rows], rtol=1e-5, atol=1e-6)
    weights = attn.attention_weights(Q[:, rows], K, **pieces, query_positions=rows)
    wanted = attn.attention_weights(Q, K, **pieces)[:, :, rows]
    np.testing.assert_allclose(weights, wanted, rtol=1e-5, atol=1e-6)


heads3, short = normal(2, 7, 3, 8), normal(2, 6, 2, 3)
BAD = [
    ("query", ValueError, r"query: got shape \(5, 8\)", lambda: attn.attention(Q[0, :, 0], K, V)),
    ("rank", ValueError, r"key: got shape \(7, 2, 8\)", lambda: attn.attention(Q, K[0], V)),
    (
        "batch",
        ValueError,
        "key: got batch 1; expected the query's, 2",
        lambda: attn.attention(Q, K[:1], V),
    ),
    (
        "heads",
        ValueError,
        "key: got 3 heads; expected a divisor of the query's 4",
        lambda: attn.attention(Q, heads3, heads3),
    ),
    (
        "value heads",
        ValueError,
        "value: got heads 4; expected the key's, 2",
        lambda: attn.attention(X, X[:, :, :2], X),
    ),
    (
        "length",
        ValueError,
        "value: got length 6; expected the key's, 7",
        lambda: attn.attention(Q, K, short),
    ),
    ("no heads", ValueError, "at least one head", lambda: attn.attention(Q, K[:, :, :0], V)),
    ("integers", TypeError, "query: got dtype int32", lambda: attn.attention(Q.astype(int), K, V)),
    (
        "mixed",
        TypeError,
        "key: got dtype bfloat16; expected the query's, float32",
        lambda: attn.attention(Q, K.astype(jnp.bfloat16), V),
    ),
    (
        "width",
        ValueError,
        "key: got width 7; Dot expects the query's, 8",
        lambda: attn.attention(Q, K[..., :7], V),
    ),
    (
        "additive",
        ValueError,
        r"score: Additive.v has shape \(4, 7\).*\[head 4, query_width 8\]",
        lambda: attn.attention(Q, K, V, score=attn.Additive(normal(4, 7))),
    ),
    (
        "additive width",
        ValueError,
        "key: got width 7; Additive expects",
        lambda: attn.attention(Q, K[..., :7], V, score=attn.Additive(normal(4, 8))),
    ),
    (
        "concat",
        ValueError,
        r"score: Concat.v has shape \(4, 5\).*width 6",
        lambda: attn.attention(
            Q, K, V, score=attn.Concat(normal(4, 8, 6), normal(2, 8, 6), normal(4, 5))
        ),
    ),
    (
        "location",
        ValueError,
        "score: Location.w has 6 places; the key has 7",
        lambda: attn.attention(Q, K, V, score=attn.Location(normal(4, 8, 6))),
    ),
    (
        "bias",
        ValueError,
        r"mods: Bias.array has shape \(5, 6\).*query 5, key 7",
        lambda: attn.attention(Q, K, V, mods=(attn.Bias(normal(5, 6)),)),
    ),
    (
        "integer bias",
        TypeError,
        "mods: Bias.array has dtype int32; expected floating",
        lambda: attn.attention(Q, K, V, mods=(attn.Bias(jnp.ones((5, 7), int)),)),
    ),
    (
        "dense",
        ValueError,
        r"mask: Dense.array has shape \(3, 1, 5, 7\)",
        lambda: attn.attention(Q, K, V, mask=attn.Dense(jnp.ones((3, 1, 5, 7), bool))),
    ),
    (
        "dense rank",
        ValueError,
        r"mask: Dense.array has shape \(1, 1, 1, 5, 7\)",
        lambda: attn.attention(Q, K, V, mask=attn.Dense(jnp.ones((1, 1, 1, 5, 7), bool))),
    ),
    (
        "additive mask",
        TypeError,
        "mask: Dense.array has dtype float32; expected boolean",
        lambda: attn.attention(Q, K, V, mask=attn.Dense(normal(5, 7))),
    ),
    (
        "lengths",
        TypeError,
        "mask: Lengths.key has dtype float32; expected integer",
        lambda: attn.attention(Q, K, V, mask=attn.Causal() & attn.Lengths(key=normal(2))),
    ),
    (
        "array mask",
        TypeError,
        "an array goes into Dense",
        lambda: attn.attention(Q, K, V, mask=jnp.ones((5, 7), bool)),
    ),
    ("score", TypeError, "score: got 'dot'", lambda: attn.attention(Q, K, V, score="dot")),
    (
        "mods",
        TypeError,
        "mods: got SoftCap.*expected a tuple",
        lambda: attn.attention(Q, K, V, mods=attn.SoftCap(1.0)),
    ),
    ("mod", TypeError, "mods: got Causal", lambda: attn.attention(Q, K, V, mods=(attn.Causal(),))),
    ("weighting", TypeError, "weighting: got 0.1", lambda: attn.attention(Q, K, V, weighting=0.1)),
    ("cap", ValueError, "SoftCap.cap: got 0", lambda: attn.SoftCap(0)),
    ("window", ValueError, "Window.left: got -1", lambda: attn.Window(-1, 2)),
    ("radius", ValueError, "Local.radius: got -2", lambda: attn.Local(jnp.ones(5), -2)),
    ("rate", ValueError, "Dropout.rate: got 1.0", lambda: attn.Dropout(1.0, jax.random.key(0))),
    (
        "precision",
        ValueError,
        "precision: got 'exact'",
        lambda: attn.attention(Q, K, V, precision="exact"),
    ),
    (
        "backend",
        attn.Unsupported,
        'backend: got "abacus".*"auto", "pallas_tpu", "pallas_gpu", "xla", "reference"',
        lambda: attn.attention(Q, K, V, backend="abacus"),
    ),
    *(
        (
            f"no {machine}",
            attn.Unsupported,
            f"backend: pallas_{machine}: needs a {machine.upper()}; this is a CPU",
            functools.partial(attn.attention, Q, K, V, backend=f"pallas_{machine}"),
        )
        for machine in ("gpu", "tpu")
        if jax.default_backend() == "cpu"
    ),
    (
        "positions",
        ValueError,
        r"positions: Places.query has shape \(7,\); expected .*query 5",
        lambda: attn.attention(Q, K, V, query_positions=jnp.arange(7)),
    ),
    (
        "float positions",
        TypeError,
        "positions: Places.key has dtype float32; expected integer",
        lambda: attn.attention(Q, K, V, key_positions=jnp.arange(7.0)),
    ),
    ("negative rate", ValueError, "rate: got -0.1", lambda: attn.Dropout(-0.1, jax.random.key(0))),
    (
        "cudnn",
        attn.Unsupported,
        'implementation: got "cudnn"',
        lambda: attn.dot_product_attention(Q, K, V, implementation="cudnn"),
    ),
]


@pytest.mark.parametrize(
    ("error", "message", "call"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input_is_named(error, message, call, unchecked):
    with pytest.raises(error, match=message):
        call()


def test_import_brings_jax_alone():
    """`import attn` costs what importing jax costs: it loads no layer, model or optimizer."""
    code = (
        "import sys, attn; "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('flax', 'optax', 'orbax', 'experiments') or m.startswith(('attn.nn', 'attn.models'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_exported_is_there():
    assert all(hasattr(attn, name) for name in attn.__all__)
    assert attn.__version__[0].isdigit()
