import json

import matplotlib.image
import numpy as np
import pytest

from experiments.evaluation.alignments import Alignment, choose, draw


def diagonal(source, target, layers=1, heads=1):
    rows, columns = len(target), len(source)
    distance = np.arange(rows)[:, None] / rows - np.arange(columns) / columns
    weights = np.exp(-40 * distance**2)
    return Alignment(
        tuple(source), tuple(target), weights / weights.sum(axis=1, keepdims=True), layers, heads
    )


def test_json_is_read_back():
    alignment = diagonal([*"cat", "</s>"], ["K", "AE1", "T", "</s>"], layers=6, heads=8)
    data = json.loads(json.dumps(alignment.to_json()))
    assert set(data) == {"source", "target", "weights", "layers", "heads", "shown"}
    assert data["shown"] == "layer 6 of 6, mean of 8 heads"
    again = Alignment.from_json(data)
    assert (again.source, again.target) == (alignment.source, alignment.target)
    np.testing.assert_allclose(again.weights, alignment.weights, atol=5e-5)


@pytest.mark.parametrize(
    ("layers", "heads", "shown"),
    [(1, 1, "one layer, one head"), (2, 1, "layer 2 of 2"), (1, 4, "mean of 4 heads")],
)
def test_says_what_is_shown(layers, heads, shown):
    assert diagonal("ab", "cd", layers, heads).shown == shown


def test_chooses_from_short_to_long_and_always_alike():
    lengths = np.random.default_rng(0).integers(2, 21, size=500)
    chosen = choose(lengths, 5)
    assert chosen == choose(lengths, 5)
    found = lengths[chosen]
    assert list(found) == sorted(found)
    assert found[0] <= 4
    assert found[-1] >= 18
    assert choose(lengths[:3], 5) == [int(i) for i in np.argsort(lengths[:3], kind="stable")]


def test_draws_a_darker_cell_for_a_larger_weight(tmp_path):
    alignment = Alignment(
        ("$x$", "▁Haus", "</s>"),
        ("ein", "</s>"),
        np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        1,
        1,
    )
    draw(alignment, tmp_path / "picture.png")
    picture = matplotlib.image.imread(tmp_path / "picture.png")
    assert picture.shape[0] > 200
    assert picture.shape[1] > 200
    dark = np.array([0x06, 0x26, 0x4A]) / 255
    full = np.all(np.abs(picture[..., :3] - dark) < 0.01, axis=-1)
    cell = (0.3 * 200) ** 2
    assert 0.8 * cell < full.sum() < 1.6 * cell  # one cell, and the end of the scale
