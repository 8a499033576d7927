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
