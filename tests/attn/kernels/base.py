"""What every backend must do: a backend's tests are a subclass that names it and sets the flags."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import attn
from attn.pieces import leaf, piece
from attn.scores import Featurewise, Score
from tests.attn.cases import EACH_PIECE, Case, build, cases, split
from tests.attn.kernels.interpreted import interpreted
from tests.attn.oracle import attend_loops, attend_plain
from tests.marks import param

SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": (Phase.explicit, Phase.generate),  # shrinking compiles anew at every step
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.differing_executors],
}
PADDED = tuple(product(("Dot", "Additive", "General", "Concat"), (np.nan, np.inf)))
"""Scores, and what padding holds."""
QUICK = {"xla_backend_optimization_level": 0}
"""Compiles in half the time."""


@piece
class Distance(Featurewise):
    """Minus the squared distance: a sum over the width."""

    size: jax.Array = leaf("head", "floating")

    def feature(self, q, k):
        return -((q - k) ** 2) / self.size


@piece
class Cosine(Score):
    """The angle's cosine: no sum over the width."""

    gain: jax.Array = leaf("head", "floating")

    def tile(self, query, key, b, n, i, j):
        sizes = (jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True) + 1e-6) for x in (query, key))
        query, key = (x / size for x, size in zip((query, key), sizes, strict=True))
        return self.gain * jax.lax.dot_general(query, key, (((1,), (1,)), ((), ())))


class BackendTests:
    """Inherited by each backend's test class."""

    backend: ClassVar[str]
    float64: ClassVar[bool] = True
    """Computes in float64 throughout."""
    low_precision: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "float16")
    stretch: ClassVar[int] = 1
    """Lengths are multiplied by it, to have several blocks."""
    forward_mode: ClassVar[bool] = True
    second_order: ClassVar[bool] = True

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _interpreted(cls):
        with interpreted(cls.backend):
            yield

    def attend(self, query, key, value, score, mods, mask, weighting):
        """Output and log-sum-exp by this backend."""
        return attn.attention(
            query,
            key,
            value,
            score=score,
            mods=mods,
            mask=mask,
            weighting=weighting,
            backend=self.backend,
            return_lse=True,
        )

    # The meaning, in float64.

    @pytest.mark.parametrize("case", EACH_PIECE, ids=str)
    def test_each_piece_is_its_definition(self, case):
        self.check_definition(case)

    @settings(max_examples=4, **SETTINGS)
    @given(case=cases())
    @example(case=Case(batch=1, query=1, head=1, key_head=1, score="Additive", mask=("Lengths",)))
    @example(case=Case(mods=("SoftCap", "Bias"), mask=("Causal", "Lengths"), weighting="Dropout"))
    @example(case=Case(mods=("Bias", "SoftCap"), mask=("Local", "Segments"), joined="|"))
    def test_any_call_is_its_definition(self, case):
        if not self.float64:
            pytest.skip("has no float64; the same calls are drawn for its rounding")
        self.check_definition(case)

    @pytest.mark.slow
    @settings(max_examples=300, **SETTINGS)
    @given(case=cases())
    def test_very_many_calls_are_their_definition(self, case):
        self.check_definition(case)

    def check_definition(self, case: Case):
        """Values are those of NumPy loops; gradients are their central differences."""
        if not self.float64:
            self.check_rounding(case, "float32")
            return
        args = build(case)
        floats, join = split(args)
        rng = np.random.default_rng(case.seed + 1)
        wanted, wanted_lse = attend_loops(*args)
        weigh = self.weigher(rng, wanted.shape)
        with jax.enable_x64(True):
            run = jax.jit(value_and_gradients(self.attend, join, weigh), compiler_options=QUICK)
            (output, lse), gradients = jax.tree.map(np.asarray, run(floats))
        assert output.dtype == lse.dtype == np.float64
        np.testing.assert_allclose(output, wanted, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(lse, wanted_lse, rtol=1e-10, atol=1e-12)

        def along(k, direction, step):
            moved = [x + step * direction if at == k else x for at, x in enumerate(floats)]
            return weigh(np, *attend_loops(*join(moved)))

        for k, (x, gradient) in enumerate(zip(floats, gradients, strict=True)):
            direction = rng.normal(size=x.shape)
            slope = (along(k, direction, 1e-5) - along(k, direction, -1e-5)) / 2e-5
            np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-6)

    @staticmethod
    def weigher(rng: np.random.Generator, shape: tuple[int, ...]) -> Callable:
        """A random linear function of output and log-sum-exp (where that is finite)."""
        of_output, of_lse = rng.normal(size=shape), rng.normal(size=shape[:-1])

        def weigh(xp, output, lse):
            finite = xp.where(lse > -np.inf, lse, 0.0)
            return (output * of_output).sum() + (finite * of_lse).sum()

        return weigh

    # Rounding, in the dtypes that models use.

    @settings(max_examples=2, **SETTINGS)
    @given(case=cases(), dtype=st.integers(0, 2))
    @example(
        case=Case(mods=("SoftCap", "Bias"), mask=("Causal", "Lengths"), weighting="Dropout"),
        dtype=0,
    )
    @example(case=Case(query=33, key=47, width=80, mask=("Causal",)), dtype=1)
    @example(case=Case(query=17, key=31, width=40, score="Additive", mods=("Bias",)), dtype=2)
    def test_rounds_no_worse_than_plain_jnp(self, case, dtype):
        self.check_rounding(case, self.low_precision[dtype % len(self.low_precision)])

    @pytest.mark.slow
    @settings(max_examples=150, **SETTINGS)
    @given(case=cases(), dtype=st.integers(0, 2))
    def test_rounds_no_worse_in_very_many_calls(self, case, dtype):
        self.check_rounding(case, self.low_precision[dtype % len(self.low_precision)])

    def check_rounding(self, case: Case, dtype: str):
        """The error is at most twice that of plain `jnp` in the same dtype, plus a few ulp."""
        case = replace(case, query=self.stretch * case.query, key=self.stretch * case.key)
        args = build(case, jnp.dtype(dtype))
        floats, join = split(args)
        shape = (case.batch, case.query, case.head, case.value_width)
        weigh = self.weigher(np.random.default_rng(case.seed + 1), shape)

        def run(attend, floats):
            run = jax.jit(value_and_gradients(attend, join, weigh), compiler_options=QUICK)
            return jax.tree.map(np.asarray, run(floats))

        got, plain = run(self.attend, floats), run(attend_plain, floats)
        with jax.enable_x64(True):
            exact = run(attend_plain, [x.astype(np.float64) for x in floats])
        assert got[0][0].dtype == dtype
        assert got[0][1].dtype == np.float32
        assert [x.dtype for x in got[1]] == [x.dtype for x in floats]
        for ours, theirs, true in zip(*map(jax.tree.leaves, (got, plain, exact)), strict=True):
            ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
            seen = true > -np.inf
            np.testing.assert_array_equal(ours > -np.inf, seen)
            scale = np.abs(true[seen]).max(initial=0.0)
            # Of one number, a sum over all pairs whose terms cancel, plain jnp's error is luck.
            times, ulp = 2, 8
            if true.size == 1:
                times, ulp = 4, 256 if dtype == "float32" else 64
            allowed = times * np.abs(theirs[seen] - true[seen]).max(initial=0.0)
            allowed += ulp * float(jnp.finfo(dtype).eps) * scale + 1e-7
            assert np.abs(ours[seen] - true[seen]).max(initial=0.0) <= allowed

    # Scores of somebody's own.

    @pytest.mark.parametrize("kind", [Distance, Cosine])
    def test_any_score_is_fused(self, kind):
        """With its gradients, from its one definition."""
        args = list(build(Case(query=21, key=37, width=16, mask=("Causal",)), np.float32))
        args[3] = kind(np.linspace(2, 4, 4, dtype=np.float32))
        floats, join = split(tuple(args))
        weigh = self.weigher(np.random.default_rng(0), (2, 21, 4, 3))

        def plain(*args):
            return attn.attention(
                *args[:3], score=args[3], mask=args[5], backend="reference", return_lse=True
            )

        got, wanted = (
            jax.jit(value_and_gradients(attend, join, weigh))(floats)
            for attend in (self.attend, plain)
        )
        for ours, theirs in zip(*map(jax.tree.leaves, (got, wanted)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)

    # Corners.

    @pytest.mark.parametrize(
        ("score", "hole"),
        [param(*each, quick=np.isnan(each[1]) or each[0] == "Dot") for each in PADDED],
    )
    def test_padding_may_hold_anything(self, score, hole):
        """Keys and values that nobody may look at, and queries that may look at nothing."""
        case = Case(batch=3, query=4, key=6, score=score, mods=("SoftCap", "Bias"))
        query, key, value, *pieces = build(case, np.float32)
        rows, columns = np.array([4, 2, 3], np.int32), np.array([6, 4, 0], np.int32)
        pieces[2] = attn.Lengths(rows, columns)
        padded = [x.copy() for x in (query, key, value)]
        for b in range(3):
            padded[0][b, rows[b] if columns[b] else 0 :] = hole
            padded[1][b, columns[b] :] = hole
            padded[2][b, columns[b] :] = hole
        weigh = self.weigher(np.random.default_rng(0), (3, 4, 4, 3))
        floats, join = split((query, key, value, *pieces))
        run = jax.jit(value_and_gradients(self.attend, join, weigh))
        clean, dirty = run(floats), run([*padded, *floats[3:]])
        jax.tree.map(np.testing.assert_array_equal, dirty, clean)

    def test_empty_rows_give_zeros(self):
        """Output 0, gradients 0, log-sum-exp −inf: by a mask, by a bias of −inf, with no keys."""
        args = build(Case(batch=2), np.float32)
        floats, join = split(args[:3])
        weigh = self.weigher(np.random.default_rng(0), (2, 3, 4, 3))
        mask = np.array([True, False]).reshape(2, 1, 1, 1)
        for pieces in (
            (attn.Dot(), (), attn.Dense(mask), None),
            (attn.Dot(), (attn.Bias(np.where(mask, 0, -np.inf).astype(np.float32)),), None, None),
        ):
            run = value_and_gradients(lambda *qkv, p=pieces: self.attend(*qkv, *p), join, weigh)
            (output, lse), gradients = jax.jit(run)(floats)
            assert np.all(output[1] == 0)
            assert np.all(lse[1] == -np.inf)
            assert np.all(np.isfinite(lse[0]))
            assert all(np.all(g[1] == 0) and np.any(g[0] != 0) for g in gradients)
        output, lse = jax.jit(self.attend)(args[0], args[1][:, :0], args[2][:, :0], *args[3:])
        assert np.all(output == 0)
        assert np.all(lse == -np.inf)

    def test_vmaps_over_every_argument(self):
        def call(seed):
            case = Case(mods=("Bias", "ALiBi"), mask=("Causal",), weighting="Gaussian", seed=seed)
            *rest, mask, weighting = build(case, np.float32)
            return *rest, mask & attn.Lengths(np.array([3, seed]), np.array([seed, 5])), weighting

        def same_shape(x, y):
            return np.broadcast_to(x, np.broadcast_shapes(np.shape(x), np.shape(y)))

        one, other = call(1), call(2)
        other = jax.tree.unflatten(jax.tree.structure(one), jax.tree.leaves(other))
        calls = jax.tree.map(same_shape, one, other), jax.tree.map(same_shape, other, one)
        run = jax.jit(lambda args: self.attend(*args))
        got = jax.jit(jax.vmap(run))(jax.tree.map(lambda *pair: jnp.stack(pair), *calls))
        for k, args in enumerate(calls):
            for ours, wanted in zip(got, run(args), strict=True):
                np.testing.assert_allclose(ours[k], wanted, rtol=1e-5, atol=1e-6)

    def test_arguments_may_be_donated(self):
        """As a decoding loop does; the arrays are gone, the result is the same."""
        args = build(Case(head=2, value_width=8), np.float32)
        arrays, pieces = args[:3], args[3:]
        wanted, _ = self.attend(*arrays, *pieces)
        run = jax.jit(lambda *arrays: self.attend(*arrays, *pieces)[0], donate_argnums=(0,))
        query, key, value = map(jnp.array, arrays)
        np.testing.assert_allclose(run(query, key, value), wanted, rtol=1e-5, atol=1e-6)
        assert query.is_deleted()

    def test_shards_over_batch_and_heads(self):
        """Under `shard_map` on 8 devices: outputs and gradients are those of one device."""
        flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
        done = subprocess.run(
            [sys.executable, "-m", "tests.attn.kernels.sharded", self.backend],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def test_forward_mode(self):
        floats, join = split(build(Case(score="Additive", mask=("Causal",)), np.float32))
        tangents = [np.full_like(x, 0.1) for x in floats]

        def scalar(floats):
            return jnp.sum(self.attend(*join(floats))[0] ** 2)

        if not self.forward_mode:
            with pytest.raises(TypeError, match="forward-mode"):
                jax.jvp(scalar, (floats,), (tangents,))
            return
        slope = jax.jit(lambda x, t: jax.jvp(scalar, (x,), (t,))[1])(floats, tangents)
        gradients = jax.jit(jax.grad(scalar))(floats)
        wanted = sum(np.sum(g * t) for g, t in zip(gradients, tangents, strict=True))
        np.testing.assert_allclose(slope, wanted, rtol=1e-4)

    def test_gradient_of_gradient(self):
        if not self.second_order:
            self.check_second_order_refused()
            return
        case = Case(batch=1, query=2, mask=("Prefix",), mods=("SoftCap",))
        floats, join = split(build(case))
        along = [np.cos(np.arange(x.size)).reshape(x.shape) for x in floats]

        def slope(floats):
            return jax.grad(lambda f: jnp.sum(self.attend(*join(f))[0] ** 2))(floats)

        with jax.enable_x64(True):
            run = jax.jit(slope)
            moved = [[x + h * d for x, d in zip(floats, along, strict=True)] for h in (1e-5, -1e-5)]
            up, down = (jax.tree.map(np.asarray, run(floats)) for floats in moved)
            curved = jax.jit(lambda x: jax.jvp(slope, (x,), (along,))[1])(floats)
            curved = jax.tree.map(np.asarray, curved)
        for got, above, below in zip(curved, up, down, strict=True):
            assert np.any(got != 0)
            np.testing.assert_allclose(got, (above - below) / 2e-5, rtol=1e-5, atol=1e-8)

    def check_second_order_refused(self):
        floats, join = split(build(Case(batch=1, query=2), np.float32))

        def slope(floats):
            gradients = jax.grad(lambda f: jnp.sum(self.attend(*join(f))[0] ** 2))(floats)
            return sum(jnp.sum(x) for x in gradients)

        with pytest.raises(attn.Unsupported, match="xla and reference have all"):
            jax.grad(slope)(floats)


def value_and_gradients(attend: Callable, join: Callable, weigh: Callable) -> Callable:
    """Function of the float arrays of a call: (output, log-sum-exp) and gradients of `weigh`."""

    def weighed(floats):
        results = attend(*join(floats))
        return weigh(jnp, *results), results

    def run(floats):
        (_, results), gradients = jax.value_and_grad(weighed, has_aux=True)(floats)
        return results, gradients

    return run
