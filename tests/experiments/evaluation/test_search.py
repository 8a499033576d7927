import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn.models.protocol import BOS, EOS, PAD, State
from experiments.evaluation.search import search
from tests.experiments.evaluation.toy import HistoryModel, sources

run = jax.jit(search, static_argnames=("beam", "length_penalty", "max_length", "n_best"))


@jax.jit
def log_probabilities(model, source, target_in):
    """Teacher-forced, of every token after each of `target_in`: [B, T, V]."""
    return jax.nn.log_softmax(model.decode(model.encode(source), target_in))


def greedy(model, source, max_length):
    """The definition, one token at a time; the whole history is read anew for each."""
    batch = len(source)
    history = np.full((batch, max_length + 2), PAD, np.int32)
    history[:, 0] = BOS
    total, lengths, open_ = np.zeros(batch), np.zeros(batch, int), np.ones(batch, bool)
    for time in range(max_length + 1):
        log_p = np.array(log_probabilities(model, source, history[:, :-1]))[:, time]
        log_p[:, [PAD, BOS]] = -np.inf
        token = np.argmax(log_p, axis=1) if time < max_length else np.full(batch, EOS)
        total += np.where(open_, log_p[np.arange(batch), token], 0.0)
        history[:, time + 1] = np.where(open_, token, PAD)
        lengths += open_
        open_ &= token != EOS
    return history[:, 1:], lengths, total


def log_p(model, source, outputs):
    """Teacher-forced log-probability of each output, `EOS` included."""
    outputs = np.asarray(outputs)
    target_in = np.concatenate([np.full((len(outputs), 1), BOS, np.int32), outputs[:, :-1]], axis=1)
    each = np.take_along_axis(
        np.array(log_probabilities(model, source, target_in)), outputs[..., None], axis=2
    )
    return np.sum(each[..., 0], axis=1, where=outputs != PAD)


def penalised(total, length, alpha):
    return total / ((5 + length) / 6) ** alpha


def every_output(vocabulary, max_length):
    """All there are, int32 [outputs, max_length + 1], and their lengths."""
    letters = [t for t in range(vocabulary) if t not in (PAD, BOS, EOS)]
    bodies = [body for n in range(max_length + 1) for body in itertools.product(letters, repeat=n)]
    outputs = np.full((len(bodies), max_length + 1), PAD, np.int32)
    for output, body in zip(outputs, bodies, strict=True):
        output[: len(body) + 1] = [*body, EOS]
    return outputs, np.sum(outputs != PAD, axis=1)


@pytest.mark.parametrize("vocabulary", [6, 40])
def test_beam_of_one_is_greedy(vocabulary):
    model, source = HistoryModel(vocabulary, seed=3), sources(40, 5)
    found = run(model, source, beam=1, length_penalty=0.6, max_length=7)
    tokens, lengths, total = greedy(model, source, 7)
    assert len(np.unique(lengths)) > 3
    np.testing.assert_array_equal(found.tokens[:, 0], tokens)
    np.testing.assert_array_equal(found.lengths[:, 0], lengths)
    np.testing.assert_allclose(found.scores[:, 0], penalised(total, lengths, 0.6), rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.6, -1.0])
def test_a_wide_beam_is_exhaustive(alpha):
    model, source = HistoryModel(vocabulary=6, seed=1), sources(3, 4)
    outputs, lengths = every_output(vocabulary=6, max_length=3)
    wide = len(outputs)
    found = run(model, source, beam=wide + 5, length_penalty=alpha, max_length=3)
    for row in range(3):
        totals = log_p(model, np.repeat(source[row : row + 1], wide, axis=0), outputs)
        scores = penalised(totals, lengths, alpha)
        order = np.argsort(-scores)
        np.testing.assert_array_equal(found.tokens[row, :wide], outputs[order])
        np.testing.assert_array_equal(found.lengths[row, :wide], lengths[order])
        np.testing.assert_allclose(found.scores[row, :wide], scores[order], rtol=1e-5)
    assert np.all(found.scores[:, wide:] == -np.inf)
    assert not np.any(found.tokens[:, wide:])
    assert not np.any(found.lengths[:, wide:])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), beam=st.sampled_from([3, 9]))
def test_each_score_is_its_outputs_own(seed, beam):
    model, source = HistoryModel(vocabulary=7, seed=seed), sources(4, 4, seed)
    found = run(model, source, beam=beam, length_penalty=0.6, max_length=5)
    assert np.all(np.diff(found.scores, axis=1) <= 0)
    tokens, lengths = np.array(found.tokens), np.array(found.lengths)
    place = np.arange(tokens.shape[2])
    assert lengths.min() >= 1
    np.testing.assert_array_equal(tokens == PAD, place >= lengths[..., None])
    np.testing.assert_array_equal(tokens == EOS, place == lengths[..., None] - 1)
    assert not np.any(tokens == BOS)
    for column in range(beam):
        totals = log_p(model, source, tokens[:, column])
        scores = penalised(totals, lengths[:, column], 0.6)
        np.testing.assert_allclose(found.scores[:, column], scores, rtol=1e-4)
    for row in tokens:
        assert len(np.unique(row, axis=0)) == beam


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), alpha=st.sampled_from([-0.5, 1.0]))
def test_stopping_early_changes_nothing(seed, alpha):
    model, source = HistoryModel(vocabulary=12, seed=seed), sources(5, 4, seed)
    options = {"beam": 4, "length_penalty": alpha, "max_length": 9}
    whole = run(model, source, **options)
    early = run(model, source, **options, n_best=1)
    np.testing.assert_array_equal(early.tokens, whole.tokens[:, :1])
    np.testing.assert_allclose(early.scores, whole.scores[:, :1], rtol=1e-6)


class Counting(HistoryModel):
    """Ends after three tokens for sure, and writes down each step taken."""

    taken: ClassVar[list[int]] = []

    def start(self, memory, capacity):
        state = super().start(memory, capacity)
        return State(memory, {**state.carry, "time": jnp.zeros(len(memory["code"]))})

    def step(self, state, token):
        jax.debug.callback(lambda: self.taken.append(1))
        time = state.carry["time"] + 1
        after, logits = super().step(state, token)
        end = jnp.where(jnp.arange(self.vocabulary) == EOS, 0.0, -1e4)
        logits = jnp.where((time > 3)[:, None], end, logits.at[:, EOS].set(-1e4))
        return State(after.memory, {**after.carry, "time": time}), logits


@pytest.mark.parametrize("beam", [1, 4])
def test_stops_when_all_are_complete(beam):
    Counting.taken.clear()
    source = np.concatenate([sources(3, 4), np.zeros((1, 5), np.int32)])
    found = search(Counting(9), jnp.array(source), beam=beam, length_penalty=0.6, max_length=30)
    jax.effects_barrier()
    assert len(Counting.taken) == 4
    assert np.all(found.lengths[:3] == 4)
    assert np.all(found.lengths[3] == 0)


def test_fillers_take_no_step():
    Counting.taken.clear()
    filler = jnp.zeros((3, 5), jnp.int32)
    found = search(Counting(9), filler, beam=2, length_penalty=0.6, max_length=30)
    jax.effects_barrier()
    assert not Counting.taken
    assert not np.any(found.tokens)
    assert np.all(found.scores == -np.inf)


def test_a_row_is_the_same_in_any_company():
    model, source = HistoryModel(vocabulary=10, seed=5), sources(8, 5)
    options = {"beam": 3, "length_penalty": 0.6, "max_length": 8}
    together = run(model, np.concatenate([source, np.zeros_like(source[:4])]), **options)
    for row in range(8):
        alone = run(model, source[row : row + 1], **options)
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-6)


class Broken(HistoryModel):
    def _logits(self, code):
        return super()._logits(code) * jnp.nan


@pytest.mark.parametrize("beam", [1, 3])
def test_a_model_of_nan_finds_nothing_and_ends(beam):
    found = search(Broken(9), jnp.array(sources(2, 3)), beam=beam, length_penalty=0.6, max_length=6)
    assert not np.any(found.tokens)
    assert np.all(found.scores == -np.inf)


class Half(HistoryModel):
    def _logits(self, code):
        return super()._logits(code).astype(jnp.bfloat16)


def test_scores_are_float32_whatever_the_logits():
    found = search(Half(50), jnp.array(sources(2, 3)), beam=3, length_penalty=0.0, max_length=4)
    assert found.scores.dtype == jnp.float32
    assert np.any(found.scores != found.scores.astype(jnp.bfloat16))


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"max_length": 0}, {"n_best": 3}, {"n_best": 0}])
def test_says_what_is_wrong(wrong):
    options = {"beam": 2, "length_penalty": 0.6, "max_length": 4, **wrong}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is|n_best is"):
        search(HistoryModel(6), jnp.array(sources(1, 2)), **options)
