import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from attn.hashing import counter_bits, counter_uniform, hash_words

KEYS = [jax.random.key(0, impl=impl) for impl in ("threefry2x32", "rbg", "unsafe_rbg")]


@pytest.fixture(scope="module")
def grid():
    """Uniform numbers on a 512 x 512 grid of counters."""
    return np.asarray(counter_uniform(KEYS[0], jnp.arange(512)[:, None], jnp.arange(512)[None]))


def test_uniform_numbers_are_uniform(grid):
    assert grid.dtype == np.float32
    assert grid.min() >= 0.0
    assert grid.max() < 1.0
    for part in (grid, grid[:3], grid[:, :3], grid[::2, ::2]):
        counts, _ = np.histogram(part, 64, (0, 1))
        assert stats.chisquare(counts).pvalue > 1e-3
        assert abs(part.mean() - 0.5) < 4 / np.sqrt(12 * part.size)


def test_neighbours_and_keys_are_uncorrelated(grid):
    other = np.asarray(
        counter_uniform(jax.random.key(1), jnp.arange(512)[:, None], jnp.arange(512)[None])
    )
    pairs = {
        "rows": (grid[1:], grid[:-1]),
        "columns": (grid[:, 1:], grid[:, :-1]),
        "far rows": (grid[256:], grid[:-256]),
        "swapped counters": (np.triu(grid, 1), np.triu(grid.T, 1)),
        "keys": (grid, other),
    }
    for name, (x, y) in pairs.items():
        x, y = (x[x != 0], y[x != 0]) if name == "swapped counters" else (x.ravel(), y.ravel())
        assert abs(np.corrcoef(x, y)[0, 1]) < 4.5 / np.sqrt(x.size), name


def test_rows_do_not_repeat_each_other(grid):
    """Values repeat no more often than by chance: rows are no shifts of each other."""
    repeats = grid.size - len(np.unique(grid))
    expected = grid.size**2 / 2 / 2**24
    assert abs(repeats - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("place", range(4), ids=["key low", "key high", "counter", "last counter"])
def test_every_bit_moves_every_bit(place):
    """Flipping one input bit flips each output bit half of the time."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 2**32, (4, 4096), dtype=np.uint32)

    def bits(words):
        hashed = np.asarray(hash_words(*((words[0], words[1]),), words[2], words[3]))
        return (hashed[:, None] >> np.arange(32, dtype=np.uint32)) & 1

    before = bits(jnp.asarray(inputs))
    for bit in range(0, 32, 3):
        flipped = inputs.copy()
        flipped[place] ^= np.uint32(1 << bit)
        rates = (bits(jnp.asarray(flipped)) != before).mean(axis=0)
        assert np.all(abs(rates - 0.5) < 5 * 0.5 / np.sqrt(4096))


@pytest.mark.parametrize("key", KEYS, ids=["threefry", "rbg", "unsafe_rbg"])
def test_same_bits_however_they_are_asked_for(key):
    rows, columns = jnp.arange(6)[:, None], jnp.arange(5, dtype=jnp.uint32)[None]
    whole = counter_bits(key, 7, rows, columns)
    assert whole.shape == (6, 5)
    assert whole.dtype == jnp.uint32
    block = counter_bits(key, 7, rows[2:4], columns[:, 1:])
    np.testing.assert_array_equal(block, whole[2:4, 1:])
    one_by_one = jax.jit(jax.vmap(lambda i: counter_bits(key, jnp.int32(7), i, columns[0])))
    np.testing.assert_array_equal(one_by_one(rows[:, 0]), whole)


def test_every_word_of_a_key_counts():
    data = jax.random.key_data(KEYS[1])
    drawn = {int(counter_bits(KEYS[1], 3))}
    for word in range(data.size):
        key = jax.random.wrap_key_data(data.at[word].add(1), impl="rbg")
        drawn.add(int(counter_bits(key, 3)))
    assert len(drawn) == 1 + data.size


def test_asks_for_a_counter():
    with pytest.raises(TypeError, match="expected at least one"):
        counter_bits(KEYS[0])
