import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn import positions


def test_sinusoidal_is_the_papers():
    t, c = np.arange(50)[:, None], np.arange(6)[None]
    angle = t / 10000 ** (2 * c / 12)
    got = positions.sinusoidal(50, 12)
    np.testing.assert_allclose(got[:, 0::2], np.sin(angle), atol=1e-5)
    np.testing.assert_allclose(got[:, 1::2], np.cos(angle), atol=1e-5)
    later = jax.jit(lambda start: positions.sinusoidal(3, 12, offset=start))(jnp.int32(40))
    np.testing.assert_allclose(later, got[40:43], atol=1e-5)


def test_rope_turns_pairs_as_complex_numbers():
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 8)).astype(np.float32)
    pairs = x[..., 0::2] + 1j * x[..., 1::2]
    angle = np.arange(5)[:, None, None] / 10000 ** (np.arange(4) / 4)
    turned = pairs * np.exp(1j * angle)
    got = positions.rope(jnp.asarray(x))
    np.testing.assert_allclose(got[..., 0::2], turned.real, atol=1e-5)
    np.testing.assert_allclose(got[..., 1::2], turned.imag, atol=1e-5)


def test_rope_makes_products_depend_on_distance():
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(rng.normal(size=16), jnp.float32) for _ in "qk")

    def product(i, j):
        at = [jnp.asarray([t]) for t in (i, j)]
        turned = [positions.rope(x[None, None], t) for x, t in zip((q, k), at, strict=True)]
        return float(jnp.sum(turned[0] * turned[1]))

    assert product(3, 7) == pytest.approx(product(103, 107), abs=1e-4)
    assert product(3, 7) != pytest.approx(product(3, 8), abs=1e-3)
    assert product(5, 5) == pytest.approx(float(q @ k), abs=1e-4)


def test_rope_keeps_dtype_and_takes_positions_per_row():
    x = jnp.ones((2, 3, 1, 4), jnp.bfloat16)
    at = jnp.asarray([[0, 1, 2], [5, 6, 7]])
    got = positions.rope(x, at)
    assert got.dtype == jnp.bfloat16
    alone = positions.rope(x[1], at[1])
    np.testing.assert_array_equal(np.float32(got[1]), np.float32(alone))


def test_learned_takes_rows():
    table = jnp.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(positions.learned(table, 2, offset=3), table[3:5])
    with pytest.raises(ValueError, match=r"learned: got 7 positions; the table has 6"):
        positions.learned(table, 4, offset=3)
    beyond = jax.jit(lambda start: positions.learned(table, 2, offset=start))(jnp.int32(5))
    np.testing.assert_array_equal(np.isnan(beyond), [[False] * 2, [True] * 2])


@pytest.mark.parametrize(
    "encode", [lambda: positions.sinusoidal(3, 5), lambda: positions.rope(jnp.ones((3, 1, 5)))]
)
def test_asks_for_an_even_width(encode):
    with pytest.raises(ValueError, match="got 5; expected an even number"):
        encode()


def angles(rope, width=8):
    """How far each pair of columns turns in a step, from what the turning does."""
    unit = jnp.zeros((2, 1, width)).at[:, :, 0::2].set(1.0)
    cos, sin = np.moveaxis(np.asarray(rope(unit))[1, 0].reshape(-1, 2), 1, 0)
    return np.arctan2(sin, cos)


def test_halves_are_the_same_turning_of_other_columns():
    x = jax.random.normal(jax.random.key(0), (5, 2, 8))
    order = np.arange(8).reshape(4, 2).T.reshape(-1)
    want = positions.Rope()(x)[..., order]
    np.testing.assert_allclose(positions.Rope(halves=True)(x[..., order]), want, atol=1e-6)


def test_a_fraction_leaves_the_other_columns_as_they_are():
    x = jax.random.normal(jax.random.key(0), (5, 2, 8))
    got = positions.Rope(fraction=0.5)(x)
    np.testing.assert_array_equal(got[..., 4:], x[..., 4:])
    np.testing.assert_allclose(got[..., :4], positions.rope(x[..., :4]), atol=1e-6)


def test_scalings_slow_the_turns_that_they_say():
    plain = angles(positions.Rope())
    linear = angles(positions.Rope(scaling="linear", factor=4.0))
    np.testing.assert_allclose(linear, plain / 4, rtol=1e-5)
    ntk = angles(positions.Rope(scaling="ntk", factor=4.0))
    np.testing.assert_allclose([ntk[0], ntk[-1]], [plain[0], plain[-1] / 4], rtol=1e-5)
    # Of a wavelength that fits 512 / 2π · plain times into 512 tokens.
    turns = 512 * plain / (2 * np.pi)
    for kind, slow, fast in (("yarn", 1, 32), ("llama3", 1, 4)):
        got = angles(positions.Rope(scaling=kind, factor=4.0, trained_length=512))
        kept = np.clip((turns - slow) / (fast - slow), 0, 1)
        np.testing.assert_allclose(got, plain * kept + plain / 4 * (1 - kept), rtol=1e-5)
        assert got[0] == pytest.approx(plain[0])
        assert got[-1] == pytest.approx(plain[-1] / 4)


def test_yarn_sharpens_the_softmax():
    x = jax.random.normal(jax.random.key(0), (5, 2, 8))
    longer = np.linalg.norm(positions.Rope(scaling="yarn", factor=8.0)(x), axis=-1)
    assert longer / np.linalg.norm(x, axis=-1) == pytest.approx(0.1 * np.log(8) + 1)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"base": 0.0}, "Rope.base: got 0.0; expected a positive number"),
        ({"fraction": 1.5}, r"Rope.fraction: got 1.5; expected a number in \(0, 1\]"),
        ({"factor": 0.5}, "Rope.factor: got 0.5; expected a number of at least 1"),
        ({"trained_length": 0}, "Rope.trained_length: got 0; expected a positive"),
    ],
)
def test_a_rope_that_cannot_be_is_refused(kinds, said):
    with pytest.raises(ValueError, match=said):
        positions.Rope(**kinds)


def test_an_unknown_scaling_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"Rope.scaling: got 'dynamic'; expected one of none, lin"):
        positions.Rope(scaling="dynamic")
