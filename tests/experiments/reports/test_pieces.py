"""Outputs with their errors marked, attention maps, figures, the terminal's table."""

import io
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.errors import InputError
from experiments.reports import figure_for_readme, print_table, theme
from experiments.reports.drawing import short, spread
from experiments.reports.evidence import Alignment, Output
from experiments.reports.maps import attention_map, labels, lay_out, shared_items
from experiments.reports.outputs import Piece, compare, examples
from tests.experiments.reports.fabricate import fabricate


def test_errors_in_an_output_are_told_apart() -> None:
    assert compare("K AO1 T S", "K AE1 T") == (
        Piece("same", "K"),
        Piece("wrong", "AO1"),
        Piece("missing", "AE1"),
        Piece("same", "T"),
        Piece("wrong", "S"),
    )
    assert compare("", "K") == (Piece("missing", "K"),)
    assert compare("K", "K") == (Piece("same", "K"),)


def test_examples_are_spread_over_the_lengths_and_known_to_all_models() -> None:
    items = [Output(n, f"s{n}", "r", "r", source_length=100 - n) for n in range(100)]
    chosen = examples({"a": items, "b": items[:90]}, 3)
    lengths = [100 - int(example.source[1:]) for example in chosen]
    assert lengths == [26, 56, 86]
    assert [set(example.outputs) for example in chosen] == [{"a", "b"}] * 3
    assert len(examples({"a": items[:2]}, 3)) == 2
    assert examples({}, 3) == []


def test_labels_of_subwords_and_of_letters() -> None:
    assert labels(["▁at", "tend", ".", "</s>", "▁"]) == ["at", "-tend", ".", "</s>", "␣"]
    assert labels(["c", "a", "t", "</s>"]) == ["c", "a", "t", "</s>"]
    assert labels(["▁internationalization"]) == ["international…"]


def _alignment(source: int, target: int) -> Alignment:
    weights = np.full((target, source), 1 / source)
    return Alignment(
        tuple("abcdefghijklmnopqrstuvwxyz"[:source]),
        tuple("abcdefghijklmnopqrstuvwxyz"[:target]),
        tuple(map(tuple, weights.tolist())),
        "one layer, one head",
    )


@pytest.mark.parametrize(("source", "columns"), [(6, 4), (20, 4), (26, 2)])
def test_maps_share_a_row_while_their_cells_stay_readable(source: int, columns: int) -> None:
    layout = lay_out([_alignment(source, 8)] * 4, 1160, 24)
    assert layout.columns == columns
    width = layout.left + layout.cell * source + 4
    assert columns * width + 24 * (columns - 1) < 1160.01
    assert 10 <= layout.cell <= 19


def test_a_map_shows_each_weight_as_opacity() -> None:
    figure = attention_map(_alignment(4, 3), 15.0, 40.0)
    (image,) = figure.axes[0].images
    shown = image.to_rgba(image.get_array())
    assert shown.shape == (3, 4, 4)
    np.testing.assert_allclose(shown[..., 3], 0.25, atol=0.01)


def test_items_that_all_models_have_come_first() -> None:
    a, b, c = (_alignment(n, 2) for n in (3, 4, 5))
    assert shared_items({"x": [a, b], "y": [c, b]}, 2) == [b.source, a.source]
    assert shared_items({}, 2) == []


def test_labels_are_moved_apart_in_order() -> None:
    placed = spread(np.array([10.0, 11.0, 50.0, 10.5]), 15.0)
    assert np.all(np.diff(np.sort(placed)) >= 15.0 - 1e-6)
    assert list(np.argsort(placed)) == [0, 3, 1, 2]
    assert list(spread(np.array([0.0, 40.0]), 15.0)) == [0.0, 40.0]


def test_labels_are_moved_no_further_than_they_must() -> None:
    np.testing.assert_allclose(spread(np.array([10.0, 10.0, 90.0]), 20.0), [0.0, 20.0, 90.0])
    heights = [20.0, 40.0]
    np.testing.assert_allclose(spread(np.array([5.0, 5.0]), heights), [-10.0, 20.0])
    np.testing.assert_allclose(spread(np.array([5.0, 5.0]), heights, low=0.0), [10.0, 40.0])
    np.testing.assert_allclose(spread(np.array([90.0, 95.0]), heights, high=100.0), [50.0, 80.0])


def test_numbers_along_an_axis_are_short() -> None:
    numbers = [12_000, 2e6, 0.5, -3, 1e-5, 2e-7]
    assert list(map(short, numbers)) == ["12k", "2M", "0.5", "−3", "10⁻⁵", "2·10⁻⁷"]


def test_models_look_different_from_each_other() -> None:
    looks = {str(sorted(theme.series(n).items(), key=str)) for n in range(21)}
    assert len(looks) == 21


_VISION = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""What is seen of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)."""
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB; a distance of 2 is just seen."""
    xyz = _XYZ @ np.clip(linear, 0, 1) / _XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""
    low, high = sorted(float(_XYZ[1] @ _linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", _VISION)
@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK])
def test_five_models_are_told_apart_by_the_colour_blind(
    colours: dict[str, str], vision: str
) -> None:
    seen = [_lab(np.array(_VISION[vision]) @ _linear(colours[f"series-{n}"])) for n in range(5)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK])
def test_text_can_be_read_on_its_paper(colours: dict[str, str]) -> None:
    roles = ["ink", "muted", *(f"series-{n}" for n in range(theme.SERIES))]
    assert min(_contrast(colours[role], colours["paper"]) for role in roles) >= 4.5


def test_the_readme_gets_its_picture(tmp_path: Path) -> None:
    results = fabricate(tmp_path, seeds=1)
    figure_for_readme(results, tmp_path / "a.svg")
    figure_for_readme(results, tmp_path / "a.png")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    text = "".join(root.itertext())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in text
    assert "rnnsearch" in text
    assert "source length" in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"expected a name that ends in \.svg or \.png"):
        figure_for_readme(results, tmp_path / "a.pdf")


def test_the_readme_picture_needs_buckets(tmp_path: Path) -> None:
    results = fabricate(tmp_path, seeds=1)
    for run in results["runs"]:
        run["by_length"] = []
    with pytest.raises(InputError, match="by_length is empty"):
        figure_for_readme(results, tmp_path / "a.svg")


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    results = fabricate(tmp_path, {"[bold]odd": 12.0, "rnnsearch": 14.0}, seeds=2)
    print_table(results, Console(file=stream, width=80))
    text = stream.getvalue()
    value = results["runs"][2]["test"]["phoneme_error_rate"]
    other = results["runs"][3]["test"]["phoneme_error_rate"]
    assert f"{(value + other) / 2:.1f}%" in text
    assert "[bold]odd" in text
    assert "phoneme error rate: free-running, greedy." in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
