import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from experiments.errors import InputError
from experiments.reports import theme, write_report
from experiments.reports.heads import read_heads
from experiments.reports.heads_page import describe, picture, write_heads
from tests.experiments.reports.fabricate import fabricate
from tests.experiments.reports.fabricate_heads import fabricate_heads
from tests.experiments.reports.reading import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fabricate_heads(folder, layers=2, heads=4, items=2)
    write_heads(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page((run / "heads.html").read_text())


def _decoded(address: str) -> np.ndarray:
    kind, content = address.split(",")
    assert kind == "data:image/png;base64"
    return imread(io.BytesIO(base64.b64decode(content)))


def test_every_head_of_every_layer_has_its_map(run: Path, page: Page) -> None:
    images = [attributes for tag, attributes in page.tags if tag == "img" and "src" in attributes]
    assert len(images) == 3 * 2 * 2 * 4
    heads = read_heads(run)
    assert heads is not None
    for kind, place, layer, head, at in (("encoder", 0, 0, 0, 0), ("cross", 1, 1, 3, 47)):
        weights = heads.items[place].maps[kind][layer, head] / 255
        found = _decoded(images[at]["src"])
        assert images[at]["alt"] == f"{kind}, layer and head {layer + 1}.{head + 1}"
        np.testing.assert_allclose(found[..., 3] ** 2, weights, atol=0.005)


def test_a_picture_is_the_colour_of_the_theme_laid_on_as_thick_as_the_weight() -> None:
    found = _decoded(picture(np.array([[0, 64, 255]], np.uint8)))
    np.testing.assert_allclose(found[0, :, 3], [0, 0.5, 1], atol=0.003)
    heat = [int(theme.LIGHT["heat"][at : at + 2], 16) / 255 for at in (1, 3, 5)]
    np.testing.assert_allclose(found[0, 2, :3], heat, atol=0.003)


def test_the_page_stands_alone_and_escapes_tokens(run: Path, page: Page) -> None:
    text = (run / "heads.html").read_text()
    assert "http" not in text
    assert "<b> tags" not in text
    links = [a.get("href") or a.get("src") for _, a in page.tags if a.get("href") or a.get("src")]
    assert all(link.startswith("data:") for link in links)
    assert text.count("@media (prefers-color-scheme: dark)") == 3
    grids = [a for tag, a in page.tags if tag == "div" and "data-rows" in a]
    (item, *_) = json.loads((run / "heads.json").read_text())["items"]
    assert json.loads(grids[0]["data-rows"])[:2] == ["a", "very"]
    assert len(json.loads(grids[0]["data-columns"])) == len(item["source"])
    assert "<b>" in json.loads(grids[0]["data-rows"])


def test_the_page_can_be_read_without_its_script(page: Page) -> None:
    """Statistics stand under the maps; what needs the script is hidden until it runs."""
    assert page.has("1.1 0.00 −1 1.00 / .00 / .00")
    (hint,) = [a for tag, a in page.tags if a.get("class") == "scripted"]
    assert "hidden" in hint
    assert not any(tag == "dialog" and "open" in a for tag, a in page.tags)


def test_positional_heads_are_marked_and_ranked(run: Path, page: Page) -> None:
    marked = [a for t, a in page.tags if t == "figure" and a["class"] == "head positional"]
    assert len(marked) == 2 * 2 * 2  # layers, items, kinds of self-attention
    heads = read_heads(run)
    assert heads is not None
    assert describe(heads) == (
        "encoder: 2 × 4 heads, 2 positional; decoder: 2 × 4 heads, 2 positional; cross: 2 × 4 heads"
    )
    texts = " ".join(" ".join(page.texts).split())
    ranked = texts.split("By the share of their largest weights at one offset")[1]
    assert ranked.index("1.1 positional") < ranked.index("2.1 positional") < ranked.index("1.2")
    sharp = texts.split("By entropy, the sharpest first")[-1]
    assert sharp.index("1.1") < sharp.index("1.3")
    assert sharp.rindex("2.70") > sharp.rindex("1.3")  # the even heads come last


def test_a_report_links_the_pages_of_its_runs(tmp_path: Path) -> None:
    fabricate(tmp_path, {"rnnsearch": 14.0, "transformer": 16.0}, seeds=1, maps=1)
    fabricate_heads(tmp_path / "transformer-seed0")
    write_report(tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    links = [a["href"] for tag, a in page.tags if tag == "a" and not a["href"].startswith("#")]
    assert links == ["transformer-seed0/heads.html"]
    assert (tmp_path / links[0]).exists()
    assert page.has("transformer-seed0 : encoder: 2 × 4 heads, 2 positional")
    assert not (tmp_path / "rnnsearch-seed0" / "heads.html").exists()

    one = tmp_path / "transformer-seed0"
    write_report(one)
    page = Page((one / "report.html").read_text())
    assert [a["href"] for tag, a in page.tags if tag == "a" and "heads" in a["href"]] == [
        "heads.html"
    ]


def test_a_model_that_attends_within_what_it_reads_is_no_fixed_vector(tmp_path: Path) -> None:
    fabricate(tmp_path, {"seq2seq": 24.0, "lstmn-lm": 16.0}, seeds=1, maps=1)
    results = json.loads((tmp_path / "results.json").read_text())
    (run,) = (run for run in results["runs"] if run["model"] == "lstmn-lm")
    del run["attends"]
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "lstmn-lm-seed0" / "alignments.json").unlink()
    fabricate_heads(tmp_path / "lstmn-lm-seed0", layers=1, heads=1)
    write_report(tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    assert page.has("lstmn-lm has the best phoneme error rate")
    assert page.has("seq2seq: no attention, so nothing to draw")
    assert page.has("lstmn-lm-seed0 : encoder: one head, 1 positional")
    assert not page.has("Missing")

    write_report(tmp_path / "lstmn-lm-seed0")
    page = Page((tmp_path / "lstmn-lm-seed0" / "report.html").read_text())
    assert page.has("What every head looks at")
    assert not page.has("Where the models look")
    assert not page.has("fixed vector")


def test_eight_layers_of_eight_heads_stay_small(tmp_path: Path) -> None:
    fabricate_heads(tmp_path, layers=8, heads=8, items=3)
    write_heads(tmp_path)
    assert (tmp_path / "heads.html").stat().st_size < 1_500_000
    assert (tmp_path / "heads.npz").stat().st_size < 500_000


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda found: found.pop("offsets"), r"heads\.json\.offsets is missing"),
        (lambda found: found["items"][0].pop("source"), r"items\[0\]\.source is missing"),
        (lambda found: found["kinds"].update(both={}), r"kind of .*heads\.json: 'both'; nearest"),
        (
            lambda found: found["items"][0]["source"].append("x"),
            r"items\[0\]: the encoder maps are \(2, 4, 22, 22\); expected \(2, 4, 23, 23\)",
        ),
        (
            lambda found: found["kinds"]["encoder"]["weight"].pop(),
            r"kinds\.encoder has not the same layers and heads throughout",
        ),
        (lambda found: found["items"].append(found["items"][0]), r"heads\.npz: cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, break_, message: str) -> None:
    found = fabricate_heads(tmp_path)
    break_(found)
    (tmp_path / "heads.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=message):
        write_heads(tmp_path)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    fabricate_heads(tmp_path)
    (tmp_path / "heads.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"heads\.npz: cannot be read"):
        write_heads(tmp_path)
    (tmp_path / "heads.npz").unlink()
    with pytest.raises(InputError, match=r"heads\.npz: cannot be read"):
        write_heads(tmp_path)
