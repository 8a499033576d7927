import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.data.buckets import choose_shapes, smallest_fit

lengths = st.lists(st.tuples(st.integers(1, 7), st.integers(2, 7)), min_size=1, max_size=30).map(
    lambda pairs: np.array(pairs, np.int64)
)


def cost(lengths, shapes, batch_size):
    """Positions covered when leftovers move up and the last batch is completed."""
    total = rest = 0
    for number, shape in enumerate(shapes):
        rest += int((smallest_fit(lengths, shapes) == number).sum())
        last = number == len(shapes) - 1
        batches = -(-rest // batch_size) if last else rest // batch_size
        rest -= batches * batch_size
        total += batches * sum(shape)
    return total


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 3), st.integers(1, 5))
def test_no_nested_shapes_cost_less(lengths, buckets, batch_size):
    shapes = choose_shapes(lengths, buckets, batch_size)
    widths = [range(1, side + 1) for side in lengths.max(axis=0)]
    everything = tuple(lengths.max(axis=0).tolist())
    best = min(
        cost(lengths, [*chain, everything], batch_size)
        for chain in itertools.combinations(itertools.product(*widths), buckets - 1)
        if all(a <= c and b <= d for (a, b), (c, d) in itertools.pairwise(chain))
    )
    assert cost(lengths, shapes, batch_size) == best
    assert len(shapes) <= buckets
    assert shapes[-1] == everything


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 6))
def test_smallest_fit_holds_and_the_one_before_does_not(lengths, buckets):
    shapes = choose_shapes(lengths, buckets, 1)
    for (source, target), fit in zip(lengths, smallest_fit(lengths, shapes), strict=True):
        assert source <= shapes[fit][0]
        assert target <= shapes[fit][1]
        if fit:
            assert source > shapes[fit - 1][0] or target > shapes[fit - 1][1]


@pytest.mark.parametrize("longest", [60, 600])
def test_many_widths(longest):
    random = np.random.default_rng(0)
    source = np.minimum(random.geometric(10 / longest, 20_000) + 2, longest)
    target = np.minimum((source * random.uniform(0.9, 1.1, 20_000)).astype(int) + 2, longest + 10)
    lengths = np.stack([source, target], axis=1)
    one, six = (cost(lengths, choose_shapes(lengths, n, 128), 128) for n in (1, 6))
    assert six < 0.5 * one
