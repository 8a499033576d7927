import jax.numpy as jnp
import numpy as np
import pytest

import attn
from attn.masks import Mask, seen

ROWS, COLUMNS = jnp.arange(4)[:, None], jnp.arange(5)[None]


def picture(mask: Mask) -> list[str]:
    allowed = np.broadcast_to(mask.tile(jnp.int32(0), jnp.int32(0), ROWS, COLUMNS), (4, 5))
    return ["".join(".x"[int(x)] for x in row) for row in allowed]


@pytest.mark.parametrize(
    ("mask", "wanted"),
    [
        (attn.Causal(), ["x....", "xx...", "xxx..", "xxxx."]),
        (attn.Causal(1), ["xx...", "xxx..", "xxxx.", "xxxxx"]),
        (attn.Causal(-1), [".....", "x....", "xx...", "xxx.."]),
        (attn.Window(1, 0), ["x....", "xx...", ".xx..", "..xx."]),
        (attn.Window(None, 1), ["xx...", "xxx..", "xxxx.", "xxxxx"]),
        (attn.Window(0, None), ["xxxxx", ".xxxx", "..xxx", "...xx"]),
        (attn.Window(), ["xxxxx"] * 4),
        (attn.Prefix(jnp.int32(2)), ["xx...", "xx...", "xxx..", "xxxx."]),
        (attn.Lengths(), ["xxxxx"] * 4),
        (attn.Lengths(jnp.int32(3), jnp.int32(2)), ["xx...", "xx...", "xx...", "....."]),
        (attn.Lengths(jnp.int32(2)), ["xxxxx", "xxxxx", ".....", "....."]),
        (
            attn.Segments(jnp.array([[0], [0], [1], [2]]), jnp.array([[0, 1, 1, 2, 2]])),
            ["x....", "x....", ".xx..", "...xx"],
        ),
        (
            attn.Local(jnp.array([[0.0], [1.5], [3.0], [9.0]]), 1),
            ["xx...", ".xx..", "..xxx", "....."],
        ),
        (attn.Causal() & attn.Window(1, None), ["x....", "xx...", ".xx..", "..xx."]),
        (attn.Causal() | attn.Lengths(key=jnp.int32(2)), ["xx...", "xx...", "xxx..", "xxxx."]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_pictures(mask, wanted):
    assert picture(mask) == wanted


def test_joins_masks_only():
    with pytest.raises(TypeError, match="unsupported operand"):
        attn.Causal() & jnp.ones((4, 5), bool)
    with pytest.raises(TypeError, match="unsupported operand"):
        attn.Causal() | None


def test_seen_says_of_each_key_head_whether_any_query_sees_it():
    array = np.zeros((1, 4, 2, 3), bool)
    array[0, 0, 0, 1] = array[0, 3, 1, 2] = True
    sizes = {"batch": 2, "query": 2, "key": 3, "head": 4, "key_head": 2}
    queries, keys = seen(attn.Dense(jnp.asarray(array)), sizes)
    np.testing.assert_array_equal(queries[1], [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(keys[1], [[0, 0], [1, 0], [0, 1]])
