import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.kernels.call import Call
from attn.kernels.visits import visits
from attn.masks import Mask, Places
from attn.pieces import checked, piece
from tests.marks import param

T, S, B, N = 13, 19, 2, 4
RNG = np.random.default_rng(0)


@piece
class Checkered(Mask):
    """One of somebody's own: by the head's number, and nothing is known of its blocks."""

    def tile(self, b, n, i, j):
        return (i // 4 + j // 4 + n) % 2 == 0


MASKS = {
    "none": None,
    "causal": attn.Causal(),
    "causal to the end": attn.Causal(S - T),
    "window": attn.Window(2, 1),
    "half window": attn.Window(None, 3),
    "prefix": attn.Prefix(np.array([3, 11])),
    "lengths": attn.Lengths(np.array([13, 5]), np.array([19, 0])),
    "segments": attn.Segments(np.arange(T) // 5, np.arange(S) // 5),
    "dense": attn.Dense(RNG.random((1, N, T, S)) < 0.1),
    "own": Checkered(),
    "local": attn.Local(RNG.uniform(0, S, (B, N, T)).astype(np.float32), 2),
    "causal and dense": attn.Causal() & attn.Dense(RNG.random((T, S)) < 0.1),
    "causal or lengths": attn.Causal() | attn.Lengths(key=np.array([5, 7])),
}
ROUGH = ("local", "causal and dense", "causal or lengths")
"""May call a block partial that is empty or full."""


def call_of(mask, places):
    query, key = jnp.zeros((B, T, N, 2)), jnp.zeros((B, S, 2, 2))
    bare = Call(query, key, key, attn.Dot(), (), None, None)
    mask, places = checked("mask", mask, bare.sizes), checked("places", places, bare.sizes)
    return Call(query, key, key, attn.Dot(), (), mask, None, places)


def kinds_by_pairs(mask, places, queries, keys):
    """0, 1, 2 for empty, partial and full blocks, [B, N, nq, nk], from every pair."""
    i = np.broadcast_to(np.arange(T) if places.query is None else places.query, (B, T))
    j = np.broadcast_to(np.arange(S) if places.key is None else places.key, (B, S))
    blocks = -(-T // queries), -(-S // keys)
    found = np.zeros((B, N, *blocks), int)

    def here(array, b, n):
        return None if array is None else array[b % len(array), n]

    def allowed(mask, b, n):
        rows, columns = i[b][:, None], j[b][None, :]
        match mask:
            case None:
                return np.ones((T, S), bool)
            case attn.masks.And():
                return allowed(mask.left, b, n) & allowed(mask.right, b, n)
            case attn.masks.Or():
                return allowed(mask.left, b, n) | allowed(mask.right, b, n)
            case attn.Prefix():
                mask = attn.Prefix(mask.lengths[b])
            case attn.Lengths():
                ends = (None if x is None else x[b] for x in (mask.query, mask.key))
                mask = attn.Lengths(*ends)
            case attn.Segments():
                mask = attn.Segments(mask.query[:, None], mask.key[None, :])
            case attn.Local():
                mask = attn.Local(mask.center[b, n][:, None], mask.radius)
            case attn.Dense():
                full = np.broadcast_to(mask.array, (B, N, T, S))
                mask = attn.Dense(full[b, n])
        return np.broadcast_to(mask.tile(b, n, rows, columns), (T, S))

    for b, n, at, to in np.ndindex(found.shape):
        pairs = allowed(mask, b, n)[at * queries :, to * keys :][:queries, :keys]
        whole = pairs.all() and (to + 1) * keys <= S
        found[b, n, at, to] = 2 if whole else int(pairs.any())
    return found


def kinds_of_table(turns):
    """The same from a table; each block is named once."""
    shape = np.broadcast_shapes(turns.order.shape, (B, N, 1, 1))
    order = np.broadcast_to(turns.order, shape)
    full, some = (np.broadcast_to(x, shape[:-1]) for x in (turns.full, turns.some))
    found = np.zeros(shape, int)
    for where in np.ndindex(shape[:-1]):
        named = order[where][: some[where]]
        assert len(set(named)) == len(named)
        found[where][named] = np.where(np.arange(len(named)) < full[where], 2, 1)
    return found


@pytest.mark.parametrize(
    "blocks",
    [param(each, quick=each == (8, 4), id=str(each)) for each in ((4, 4), (8, 4), (16, 32))],
)
@pytest.mark.parametrize("moved", [False, True], ids=["", "moved"])
@pytest.mark.parametrize("name", MASKS)
def test_tables_name_the_blocks_with_pairs(name, moved, blocks):
    mask = MASKS[name]
    places = Places(np.arange(T) + 3, RNG.permutation(S)) if moved else Places()
    by_query, by_key, kinds = jax.jit(lambda call: visits(call, *blocks))(call_of(mask, places))
    got = kinds_of_table(by_query)
    np.testing.assert_array_equal(got, kinds_of_table(by_key).swapaxes(2, 3))
    np.testing.assert_array_equal(got, np.broadcast_to(kinds, got.shape))
    wanted = kinds_by_pairs(mask, places, *blocks)
    assert np.all(got >= np.minimum(wanted, 1))
    assert np.all(wanted[got == 2] == 2)
    if name not in ROUGH and not moved:
        np.testing.assert_array_equal(got, wanted)


def test_tables_do_not_repeat_what_is_the_same_for_all():
    assert visits(call_of(attn.Causal(), Places()), 4, 4)[0].order.shape == (1, 1, 4, 5)
    assert visits(call_of(MASKS["lengths"], Places()), 4, 4)[0].order.shape == (2, 1, 4, 5)
    assert visits(call_of(Checkered(), Places()), 4, 4)[0].order.shape == (2, 4, 4, 5)


def test_order_is_known_where_shapes_decide():
    by_query, by_key, _ = visits(call_of(attn.Causal(), Places()), 4, 4)
    assert by_query.in_order
    assert not by_key.in_order
    assert not jax.jit(lambda call: visits(call, 4, 4)[0].in_order)(
        call_of(MASKS["lengths"], Places())
    )
