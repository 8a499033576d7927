import itertools
import subprocess
import sys
from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn.models.protocol import BOS, EOS, PAD
from experiments.data.batches import Batches, Examples, Ordered, Ragged
from experiments.data.stream import Stream
from experiments.errors import InputError


def make_examples(n, longest=12, seed=0):
    random = np.random.default_rng(seed)
    ids = [
        [random.integers(4, 50, random.integers(1, longest + 1)).tolist() for _ in range(n)]
        for _ in range(2)
    ]
    texts = [[" ".join(map(str, row)) for row in side] for side in ids]
    return Examples.of(*texts, *ids)


def same(a, b):
    return all(
        x.dtype == y.dtype and np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def check_rows(batch, examples):
    """Every row is the example that its index names, padded."""
    for source, target, index in zip(batch.source, batch.target, batch.index, strict=True):
        if index < 0:
            assert not source.any()
            assert not target.any()
            continue
        tokens = [int(t) for t in examples.sources[index].split()]
        assert source.tolist() == [*tokens, EOS] + [PAD] * (len(source) - len(tokens) - 1)
        tokens = [int(t) for t in examples.targets[index].split()]
        assert target.tolist() == [BOS, *tokens, EOS] + [PAD] * (len(target) - len(tokens) - 2)


sizes = st.tuples(st.integers(1, 70), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 3))
def test_an_epoch_shows_every_example_and_repeats_less_than_a_batch(sizes, epoch):
    n, batch_size, buckets, seed = sizes
    examples = make_examples(n)
    batches = Batches(examples, batch_size, seed, buckets)
    seen = Counter()
    first = epoch * batches.steps_per_epoch
    for step in range(first, first + batches.steps_per_epoch):
        batch = batches(step)
        assert (batch.source.shape[1], batch.target.shape[1]) == batches.shape(step)
        assert batches.shape(step) in batches.shapes
        assert len(batch.index) == batch_size
        check_rows(batch, examples)
        seen.update(batch.index.tolist())
    assert set(seen) == set(range(n))
    assert seen.total() - n < batch_size
    assert len(batches.shapes) <= buckets


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 500))
def test_a_batch_depends_on_seed_and_step_alone(sizes, step):
    n, batch_size, buckets, seed = sizes
    examples = make_examples(n)
    one, other = (Batches(examples, batch_size, seed, buckets) for _ in range(2))
    for before in (step + 100, 0, 7):
        one(before)
    assert same(one(step), other(step))


def test_another_process_makes_the_same_bytes():
    code = (
        "import hashlib, numpy as np\n"
        "from tests.experiments.data.test_batches import make_examples\n"
        "from experiments.data.batches import Batches\n"
        "b = Batches(make_examples(50), 8, 3, 3)\n"
        "data = b''.join(b(s).source.tobytes() + b(s).target.tobytes() for s in (0, 5, 40))\n"
        "print(hashlib.sha256(data).hexdigest())\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Written down once: other bytes mean that runs begun before cannot be gone on with.
    assert made.stdout.strip() == "b119ce6de7d8e0263f6c71e3e3f7debd054d83ccd04427d8e07c58373373dda1"


def test_seeds_and_epochs_are_ordered_differently():
    examples = make_examples(64)
    batches = Batches(examples, 8, 0, 1)
    orders = [
        np.concatenate([b(first + step).index for step in range(8)]).tolist()
        for b, first in ((batches, 0), (batches, 8), (Batches(examples, 8, 1, 1), 0))
    ]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_every_seed_has_the_same_shape_at_a_step():
    """And its own examples in that shape."""
    examples, steps = make_examples(203), range(52)  # two epochs
    made = [Batches(examples, 8, seed, 4) for seed in (0, 1, 2**63)]
    shapes = [[batches.shape(step) for step in steps] for batches in made]
    assert len(set(shapes[0])) > 2
    assert shapes[0] == shapes[1] == shapes[2]
    assert shapes[0][:26] != shapes[0][26:]
    for step in steps:
        rows = [batches(step).index.tolist() for batches in made]
        assert rows[0] != rows[1] != rows[2] != rows[0]
    for batches in made:
        seen = Counter(i for step in range(26) for i in batches(step).index.tolist())
        assert set(seen) == set(range(203))
        assert seen.total() == 26 * 8


def test_consecutive_steps_differ_in_shape():
    batches = Batches(make_examples(800), 8, 0, 4)
    shapes = [batches.shape(step) for step in range(100)]
    changes = sum(a != b for a, b in itertools.pairwise(shapes))
    assert changes > 50


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.sampled_from([1, 2, 3, 4]), st.integers(0, 20))
def test_hosts_together_have_the_rows_of_one(n, hosts, step):
    examples = make_examples(n)
    whole = Batches(examples, 12, 5, 3)(step)
    parts = [Batches(examples, 12, 5, 3, host, hosts)(step) for host in range(hosts)]
    assert same(whole, jax.tree.map(lambda *rows: np.concatenate(rows), *parts))
    shapes = Batches(examples, 12, 5, 3).shapes
    ordered = [Ordered(examples, 12, shapes, host, hosts) for host in range(hosts)]
    for place, batch in enumerate(Ordered(examples, 12, shapes)):
        rows = [part[place] for part in ordered]
        assert same(batch, jax.tree.map(lambda *rows: np.concatenate(rows), *rows))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.sampled_from([4, 12, 15]))
def test_evaluation_sees_every_example_once(n, batch_size, longest):
    shapes = Batches(make_examples(40), 4, 0, 3).shapes
    examples = make_examples(n, longest, seed=1)
    ordered = Ordered(examples, batch_size, shapes)
    seen = []
    for batch in ordered:
        check_rows(batch, examples)
        assert (batch.source.shape[1], batch.target.shape[1]) in ordered.shapes
        assert len(batch.index) == batch_size
        seen += [i for i in batch.index.tolist() if i >= 0]
    assert sorted(seen) == list(range(n))
    assert len(ordered) == -(-n // batch_size)
    assert len(set(ordered.shapes) - set(shapes)) <= 1
    assert (ordered[-1].index >= 0).any()


def test_evaluation_goes_up_in_length():
    examples = make_examples(60)
    batches = Ordered(examples, 7, Batches(examples, 7, 0, 3).shapes)
    widths = [batch.source.shape[1] + batch.target.shape[1] for batch in batches]
    assert widths == sorted(widths)
    assert len(set(widths)) > 1
    assert [len(b.index) for b in batches[2:4]] == [7, 7]


def test_padding_is_what_the_batches_hold():
    batches = Batches(make_examples(100), 7, 0, 3)
    made = [batches(step) for step in range(batches.steps_per_epoch)]
    arrays = [array for batch in made for array in (batch.source, batch.target)]
    blank = sum((array == PAD).sum() for array in arrays)
    assert batches.padding == pytest.approx(blank / sum(array.size for array in arrays))


def test_ragged_rows():
    rows = Ragged.of([[5, 6, 7], [], [8]])
    assert len(rows) == 3
    assert rows[0].tolist() == [5, 6, 7]
    assert rows.lengths.tolist() == [3, 0, 1]
    padded = rows.padded(np.array([2, -1, 0]), 4)
    assert padded.tolist() == [[8, 0, 0, 0], [0, 0, 0, 0], [5, 6, 7, 0]]
    assert padded.dtype == np.int32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"buckets": 0}, "buckets is 0"),
        ({"process_count": 3}, "does not divide over 3 hosts"),
        ({"examples": make_examples(0)}, "no examples"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    arguments = {"examples": make_examples(5), "batch_size": 4, "seed": 0, "buckets": 2} | change
    with pytest.raises(InputError, match=message):
        Batches(**arguments)


def test_no_examples_to_evaluate():
    with pytest.raises(InputError, match="no examples"):
        Ordered(make_examples(0), 4, [(5, 5)])


def test_a_stream_is_the_batches_in_order_and_counts_its_waiting():
    batches = Batches(make_examples(100), 8, 0, 3)
    made = Stream(batches, 5, 40)
    assert made.seconds_waited == 0.0
    read = list(made)
    assert len(read) == 35
    assert all(same(batch, batches(5 + place)) for place, batch in enumerate(read))
    assert made.seconds_waited > 0.0
