"""Statistics of heads whose maps are made up, and the files that a run keeps of a model."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attn.models import DecoderConfig, EncoderConfig, TransformerConfig
from attn.models.source import source_lengths
from experiments.config import SearchConfig
from experiments.data.batches import Examples
from experiments.evaluation.heads import MEASURED, keep_heads, measure, tally
from tests.experiments.evaluation.toy import HistoryModule, task
from tests.experiments.evaluation.toy_language import text_task


def means(weights, rows, columns):
    """Entropy [L, N], uniform entropy, weight and maximum [L, N, 3] at the offsets."""
    found = tally(jnp.asarray(weights, jnp.float32), jnp.int32(rows), jnp.int32(columns))
    kept = found.to_json(related=True)
    return (np.array(kept[name]) for name in ("entropy", "uniform_entropy", "weight", "maximum"))


def shifted(length: int, offset: int) -> np.ndarray:
    """One map: all weight at an offset, at the nearest token where there is none."""
    return np.eye(length)[np.clip(np.arange(length) + offset, 0, length - 1)]


def test_a_head_that_looks_one_back_has_share_1_and_entropy_0():
    entropy, _, weight, maximum = means(shifted(7, -1)[None, None], 7, 7)
    assert entropy == [[0.0]]
    # The first position has nothing before it, and looks at itself: a seventh of all.
    np.testing.assert_allclose(weight, [[[1.0, 1 / 7, 0.0]]], atol=1e-4)
    np.testing.assert_array_equal(weight, maximum)


def test_a_uniform_head_has_the_entropy_of_chance():
    entropy, uniform, weight, _ = means(np.full((1, 1, 5, 8), 1 / 8), 5, 8)
    assert entropy == pytest.approx(np.log(8), abs=1e-4)
    assert uniform == pytest.approx(np.log(8), abs=1e-4)
    np.testing.assert_allclose(weight, 1 / 8, atol=1e-4)


def test_chance_knows_what_a_position_may_look_at():
    causal = np.tril(np.ones((6, 6))) / np.arange(1, 7)[:, None]
    entropy, uniform, weight, _ = means(causal[None, None], 6, 6)
    expected = np.log(np.arange(1, 7)).mean()
    assert entropy == pytest.approx(expected, abs=1e-4)
    assert uniform == pytest.approx(expected, abs=1e-4)
    back = (1 / np.arange(2, 7)).mean()
    np.testing.assert_allclose(weight[0, 0], [back, (1 / np.arange(1, 7)).mean(), 0.0], atol=1e-4)


def test_heads_and_layers_keep_their_places():
    """Six heads that look at six offsets, two layers of three; random ones against NumPy."""
    heads = [shifted(9, offset) for offset in (-1, 0, 1, -2, 2, 3)]
    _, _, weight, maximum = means(np.reshape(heads, (2, 3, 9, 9)), 9, 9)
    inner = np.array([np.eye(3), np.zeros((3, 3))])
    assert np.all(weight[inner == 1] == 1.0)
    assert np.all(weight[inner == 0] <= 0.25)  # at the edges some look at their neighbours
    np.testing.assert_array_equal(weight, maximum)

    random = np.random.default_rng(0).dirichlet(np.ones(9), (2, 3, 9))
    entropy, _, weight, maximum = means(random, 9, 9)
    np.testing.assert_allclose(entropy, -(random * np.log(random)).sum(-1).mean(-1), atol=1e-4)
    for place, offset in enumerate((-1, 0, 1)):
        rows = np.arange(max(0, -offset), 9 - max(0, offset))
        at = random[..., rows, rows + offset]
        np.testing.assert_allclose(weight[..., place], at.mean(-1), atol=1e-4)
        highest = random[..., rows, :].argmax(-1) == rows + offset
        np.testing.assert_allclose(maximum[..., place], highest.mean(-1), atol=1e-4)


def test_padding_counts_for_nothing():
    random = np.random.default_rng(0).dirichlet(np.ones(6), (1, 2, 6))
    padded = np.full((1, 2, 9, 8), np.nan)
    padded[:, :, :6, :6] = random
    for found, expected in zip(means(padded, 6, 6), means(random, 6, 6), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_position_that_looks_at_nothing_has_no_largest_weight():
    before = np.eye(4, k=-1)[None, None]
    _, _, weight, maximum = means(before, 4, 4)
    np.testing.assert_allclose(weight[0, 0], [1, 0, 0])
    np.testing.assert_allclose(maximum[0, 0], [1, 0, 0])


class MappedModule(HistoryModule):
    """Two layers of two heads that look one back (the first layer) and evenly (the second)."""

    def maps(self, source, target_in):
        def of(rows, columns, limit):
            back = jnp.eye(columns)[jnp.maximum(jnp.arange(rows) - 1, 0)]
            even = jnp.where(jnp.arange(columns) < limit[:, None, None], 1.0, 0.0)
            even = even / jnp.maximum(limit, 1)[:, None, None]
            back, even = (jnp.broadcast_to(x, (len(source), rows, columns)) for x in (back, even))
            return jnp.stack([jnp.stack([back, back], 1), jnp.stack([even, even], 1)], 1)

        (_, s), (_, t) = source.shape, target_in.shape
        read, written = source_lengths(source), source_lengths(target_in)
        return {
            "encoder": of(s, s, read),
            "decoder": of(t, t, written),
            "cross": of(t, s, read),
            "sequence": of(s + t, s + t, read + written),
        }


def model(**settings):
    return nnx.split(MappedModule(vocabulary=8, seed=7, **settings))


def test_items_of_many_lengths_are_measured_together():
    toy = task({"train": 5, "validation": 5, "test": MEASURED + 40})
    found = measure(*model(), toy.splits["test"])
    lengths = toy.splits["test"].lengths[:MEASURED] - [0, 1]  # the last target token is a label
    both = lengths.sum(axis=1)
    for kind, rows, columns in (
        ("encoder", lengths[:, 0], lengths[:, 0]),
        ("decoder", lengths[:, 1], lengths[:, 1]),
        ("cross", lengths[:, 1], lengths[:, 0]),
        ("sequence", both, both),
    ):
        kept = found[kind].to_json(related=kind != "cross")
        assert kept["positions"] == rows.sum()
        chance = (rows * np.log(columns)).sum() / rows.sum()
        np.testing.assert_allclose(kept["entropy"], [[0, 0], [chance, chance]], atol=1e-3)
        assert kept["uniform_entropy"] == pytest.approx(chance, abs=1e-3)
        if kind != "cross":
            np.testing.assert_allclose(np.array(kept["weight"])[0, :, 0], 1.0, atol=1e-4)


def test_a_run_keeps_maps_of_its_own_outputs(tmp_path):
    toy = task()
    keep_heads(tmp_path, *model(), toy, SearchConfig(max_length=12))
    found = json.loads((tmp_path / "heads.json").read_text())
    assert found["offsets"] == [-1, 0, 1]
    assert found["measured"] == len(toy.splits["test"])
    assert set(found["kinds"]) == {"encoder", "decoder", "cross", "sequence"}
    assert "weight" not in found["kinds"]["cross"]
    references = [("<s>", *text.split()) for text in toy.splits["test"].targets]
    assert all(tuple(item["target"]) not in references for item in found["items"])
    with np.load(tmp_path / "heads.npz") as weights:
        assert len(weights) == 3 * 4
        for place, item in enumerate(found["items"]):
            source, target = item["source"], item["target"]
            assert source[-1] == "</s>"
            assert target[0] == "<s>"
            assert "<pad>" not in (*source, *target)
            cross = weights[f"{place}-cross"]
            assert cross.shape == (2, 2, len(target), len(source))
            assert cross.dtype == np.uint8
            np.testing.assert_array_equal(cross[1], round(255 / len(source)))
            both = len(source) + len(target)
            assert weights[f"{place}-sequence"].shape == (2, 2, both, both)


def test_text_is_shown_with_its_references_cut_short(tmp_path):
    toy = text_task()
    long = toy.target.encode("abcdefgh" * 9)
    split = Examples.of([""] * 4, [""] * 4, [[]] * 4, [long] * 4)
    keep_heads(tmp_path, *model(), replace(toy, splits={"test": split}),
               SearchConfig())  # fmt: skip
    items = json.loads((tmp_path / "heads.json").read_text())["items"]
    assert items[0] == {"source": ["</s>"], "target": ["<s>", *("abcdefgh" * 5)[:39]]}


def test_a_model_without_maps_leaves_nothing(tmp_path):
    keep_heads(tmp_path, *nnx.split(HistoryModule(8, 7)), task(), SearchConfig())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        (TransformerConfig(width=8, layers=2, heads=2), {"encoder", "decoder", "cross"}),
        (DecoderConfig(width=8, layers=2, heads=2), {"sequence"}),
        (EncoderConfig(width=8, layers=2, heads=2, head="tokens"), {"encoder"}),
    ],
)
def test_real_models_are_measured(tmp_path, config, kinds):
    toy = task({"train": 5, "validation": 5, "test": 40})
    built = nnx.split(config.build(toy.source.size, toy.target.size, nnx.Rngs(0)))
    keep_heads(tmp_path, *built, toy, SearchConfig(max_length=12))
    found = json.loads((tmp_path / "heads.json").read_text())["kinds"]
    assert set(found) == kinds
    for kept in found.values():
        entropy = np.array(kept["entropy"])
        assert entropy.shape == (2, 2)
        # An untrained model looks about evenly at what it may look at, and never more evenly.
        assert np.all(entropy <= kept["uniform_entropy"] + 1e-3)
        assert np.all(entropy > 0.7 * kept["uniform_entropy"])
    with np.load(tmp_path / "heads.npz") as weights:
        for array in weights.values():
            np.testing.assert_allclose(array.sum(axis=-1) / 255, 1.0, atol=0.05)
