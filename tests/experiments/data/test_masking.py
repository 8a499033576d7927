import jax
import numpy as np
import pytest

from attn.models.protocol import BOS, EOS, PAD
from experiments.data.batches import Batches, Examples, Ordered
from experiments.data.masking import Masking

MASK, SIZE = 4, 30
HIDE = Masking(MASK, SIZE, first=5)


def make_examples(n=40, longest=30):
    random = np.random.default_rng(0)
    ids = [random.integers(5, SIZE, random.integers(1, longest + 1)).tolist() for _ in range(n)]
    texts = [" ".join(map(str, row)) for row in ids]
    return Examples.of(texts, texts, ids, ids, HIDE)


def hidden(tokens, draw=(0, 0), index=0):
    return HIDE(np.array([*tokens, EOS]), np.array([BOS, *tokens, EOS]), draw, index)


def test_shares_are_berts():
    tokens = np.random.default_rng(0).integers(5, SIZE, 200_000)
    shown, wanted = hidden(tokens)
    assert shown[-1] == EOS
    assert (wanted[0], wanted[-1]) == (BOS, PAD)
    shown, wanted = shown[:-1], wanted[1:-1]
    chosen = wanted != PAD
    assert np.array_equal(wanted[chosen], tokens[chosen])
    assert np.array_equal(shown[~chosen], tokens[~chosen])
    assert chosen.mean() == pytest.approx(0.15, abs=0.005)
    inside = shown[chosen]
    assert (inside == MASK).mean() == pytest.approx(0.8, abs=0.01)
    # A random token is the right one once in 25 times.
    assert (inside == tokens[chosen]).mean() == pytest.approx(0.1 + 0.1 / 25, abs=0.01)
    swapped = inside[(inside != MASK) & (inside != tokens[chosen])]
    assert set(swapped) == set(range(5, SIZE))


def test_what_is_hidden_was_written_down_once():
    # Other ones mean that runs begun before cannot be gone on with.
    shown, wanted = hidden(range(5, 25), draw=(3, 17), index=8)
    assert np.flatnonzero(wanted[1:]).tolist() == [0, 8, 10, 14]
    assert shown[[0, 8, 10, 14]].tolist() == [5, MASK, 14, MASK]


def test_every_step_seed_and_example_hides_others():
    tokens = range(5, 25)
    cases = [((0, 0), 0), ((0, 1), 0), ((1, 0), 0), ((0, 0), 1)]
    rows = {tuple(hidden(tokens, draw, index)[1]) for draw, index in cases}
    assert len(rows) == len(cases)


def test_a_row_does_not_depend_on_its_batch():
    examples = make_examples()
    batches = Batches(examples, 8, 3, 3)
    for step in (0, 7, 23):
        batch = batches(step)
        for source, target, index in zip(batch.source, batch.target, batch.index, strict=True):
            number = int(index)
            shown, wanted = HIDE(
                examples.source[number], examples.target[number], (3, step), number
            )
            assert source.tolist() == [*shown, *[PAD] * (len(source) - len(shown))]
            assert target.tolist() == [*wanted, *[PAD] * (len(target) - len(wanted))]


def test_hosts_together_have_the_rows_of_one():
    examples = make_examples()
    whole = Batches(examples, 8, 5, 3)(4)
    parts = [Batches(examples, 8, 5, 3, host, 2)(4) for host in range(2)]
    joined = jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
    assert np.array_equal(whole.source, joined.source)
    assert np.array_equal(whole.target, joined.target)


def test_evaluation_always_hides_the_same():
    examples = make_examples()

    def rows(batch_size):
        return {
            int(i): (source[source != PAD].tolist(), target[target != PAD].tolist())
            for batch in Ordered(examples, batch_size, [(40, 40)])
            for source, target, i in zip(batch.source, batch.target, batch.index, strict=True)
            if i >= 0
        }

    assert rows(7) == rows(16)
    first = Batches(examples, 40, 0, 1)(0)
    place = first.index.tolist().index(5)
    assert rows(7)[5][1] != first.target[place][first.target[place] != PAD].tolist()


def test_filler_stays_padding():
    batch = Ordered(make_examples(3), 8, [(40, 40)])[0]
    assert not batch.source[batch.index < 0].any()
    assert not batch.target[batch.index < 0].any()
