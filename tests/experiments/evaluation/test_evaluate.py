import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from attn.models.protocol import BOS, EOS, PAD
from experiments.config import SearchConfig
from experiments.errors import InputError
from experiments.evaluation.evaluate import Evaluator, describe, evaluate
from experiments.evaluation.search import search
from experiments.training import parallel
from tests.experiments.evaluation.toy import HistoryModel, HistoryModule, task

CONFIG = SearchConfig(max_length=12, batch_size=16, resamples=50)
DECODE = jax.jit(lambda model, source, target: model.decode(model.encode(source), target))
SEARCH = jax.jit(search, static_argnames=("beam", "length_penalty", "max_length"))


def split_model(seed=7):
    return nnx.split(HistoryModule(vocabulary=8, seed=seed))


def padded(ids, before=()):
    row = np.full((1, 16), PAD, np.int32)
    row[0, : len(before) + len(ids) + 1] = [*before, *ids, EOS]
    return row


def by_hand(toy, index, seed=7):
    """NLL, tokens and greedy output of one test item, alone and otherwise padded."""
    model, examples = HistoryModel(8, np.uint32(seed)), toy.splits["test"]
    source = padded(toy.source.encode(examples.sources[index]))
    target = padded(toy.target.encode(examples.targets[index]), before=[BOS])
    log_p = np.array(jax.nn.log_softmax(DECODE(model, source, target[:, :-1])))[0]
    labels = target[0, 1:]
    real = labels != PAD
    nll = -log_p[np.arange(15), labels].sum(where=real)
    found = SEARCH(model, source, beam=1, length_penalty=0.6, max_length=12)
    return nll, real.sum(), toy.target.decode(np.array(found.tokens[0, 0]).tolist())


@pytest.fixture(scope="module")
def toy():
    return task()


@pytest.fixture(scope="module")
def evaluator(toy):
    return Evaluator(split_model()[0], toy, CONFIG)


@pytest.fixture(scope="module")
def found(evaluator):
    return evaluator.evaluate(split_model()[1], "test")


def test_items_are_what_each_gives_alone(toy, found):
    assert [item.index for item in found.items] == list(range(83))
    for item in found.items:
        nll, tokens, output = by_hand(toy, item.index)
        assert item.nll == pytest.approx(nll, rel=1e-5)
        assert (item.tokens, item.hypothesis) == (tokens, output)
        assert item.source == toy.splits["test"].sources[item.index]
        assert item.reference == toy.splits["test"].targets[item.index]
        assert item.source_length == len(item.source)
    assert found.metrics["nll"] == pytest.approx(
        sum(item.nll for item in found.items) / sum(item.tokens for item in found.items)
    )
    assert found.decoding == "greedy"
    assert sum(bucket.n for bucket in found.by_length) == 83


def test_tokens_that_are_the_most_likely_are_counted(toy, found):
    model, examples = HistoryModel(8, np.uint32(7)), toy.splits["test"]
    for item in found.items[:20]:
        target = padded(toy.target.encode(item.reference), before=[BOS])
        source = padded(toy.source.encode(examples.sources[item.index]))
        guess = np.argmax(DECODE(model, source, target[:, :-1])[0], axis=-1)
        assert item.right == ((guess == target[0, 1:]) & (target[0, 1:] != PAD)).sum()
    assert 0 < sum(item.right for item in found.items) < sum(item.tokens for item in found.items)


def test_nothing_is_searched_for_that_no_metric_reads(toy, found, monkeypatch):
    monkeypatch.setattr("experiments.evaluation.evaluate.searched", None)
    forced = dataclasses.replace(toy, metrics=("bits_per_character",))
    blind = evaluate(*split_model(), forced, "test", CONFIG)
    assert {item.hypothesis for item in blind.items} == {""}
    assert blind.decoding == "nothing decoded: likelihoods alone"
    assert list(blind.metrics) == ["bits_per_character", "nll", "perplexity"]
    assert blind.metrics["nll"] == found.metrics["nll"]
    characters = sum(len(item.reference) for item in blind.items)
    nats = sum(item.nll for item in blind.items)
    assert blind.metrics["bits_per_character"] == pytest.approx(nats / characters / np.log(2))


def test_validation_is_the_same_nll_without_a_search(evaluator, found):
    params = split_model()[1]
    likelihood = evaluator.likelihood(params, "test")
    assert likelihood == pytest.approx({m: found.metrics[m] for m in ("nll", "perplexity")})
    assert likelihood["perplexity"] == pytest.approx(np.exp(likelihood["nll"]))
    assert evaluator.likelihood(params) != likelihood


def test_other_parameters_compile_nothing_new(evaluator):
    evaluator.likelihood(split_model(0)[1])
    compiled = parallel._by_rows._cache_size()
    scores = [evaluator.likelihood(split_model(seed)[1])["nll"] for seed in (1, 2, 3)]
    assert len(set(scores)) == 3
    assert parallel._by_rows._cache_size() == compiled


def test_scores_the_first_items_only(toy, found):
    some = evaluate(*split_model(), toy, "test", dataclasses.replace(CONFIG, items=5))
    assert [item.hypothesis for item in some.items] == [item.hypothesis for item in found.items[:5]]


BEAM = dataclasses.replace(CONFIG, beam=3, batch_size=20)  # not a multiple of 8
SPREAD = """
import json, jax
from tests.experiments.evaluation.test_evaluate import BEAM, evaluate, split_model, task
assert jax.device_count() == 8
graphdef, params = split_model()
# Parameters as they come out of training under pmap: a copy on each device.
copy = jax.pmap(lambda params, _: params, in_axes=(None, 0), out_axes=None)
params = copy(params, jax.numpy.arange(8))
print(json.dumps(evaluate(graphdef, params, task(), "test", BEAM).to_json()))
"""


def test_eight_devices_find_what_one_finds(toy):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", SPREAD],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    spread = json.loads(done.stdout)
    alone = evaluate(*split_model(), toy, "test", BEAM).to_json()
    assert [item["hypothesis"] for item in spread["items"]] == [
        item["hypothesis"] for item in alone["items"]
    ]
    assert spread["metrics"] == pytest.approx(alone["metrics"], rel=1e-6)


def test_describes_the_search():
    assert describe(SearchConfig()) == "greedy"
    assert describe(SearchConfig(beam=4)) == "beam 4, length penalty 0.6"


@pytest.mark.parametrize("field", ["beam", "max_length", "batch_size", "items", "resamples"])
def test_a_count_of_none_is_refused(field):
    with pytest.raises(InputError, match=f"search.{field} is 0; expected at least 1"):
        Evaluator(split_model()[0], task(), SearchConfig(**{field: 0}))
