import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.ablations.page import render, summarize, write_pages
from experiments.ablations.results import validate
from experiments.errors import InputError
from tests.experiments.ablations.fabricate import VARIANTS, fabricate, presentation
from tests.experiments.reports.reading import Page


@pytest.fixture(scope="module")
def text() -> str:
    return render(validate(fabricate()), presentation())


def test_the_page_stands_alone(text: str) -> None:
    page = Page(text)
    assert "http" not in text
    assert not any(tag in ("link", "iframe", "object", "script", "img") for tag, _ in page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert all(a.get("role") == "img" and a["aria-label"] for t, a in page.tags if t == "svg")
    assert text.count("@media (prefers-color-scheme: dark)") == 2


def test_the_page_tells_the_whole_story(text: str) -> None:
    page = Page(text)
    for expected in (
        "A fixed vector decays with length, attention does not",
        "Of 2 contrasts, 1 holds, 1 is missing.",
        "3 variants, 3 seeds, 2,000 resamples",
        "decay with a fixed vector",
        "Falsified if the interval holds 0",
        "0.314",
        "[0.114, 0.514]",
        "< 0.001",
        "✓ holds",
        "– missing",
        "loss is nan at step 7",
        "26.75 against 17.82 BLEU",
        "On <nothing>, Table 1",
        "from memory, not checked",
        "python -m experiments ablate length_bottleneck --budget cpu",
        "5.2 minutes",
        "processor: Abacus",
        "flax 0.0.1",
        "0123456789ab",
        "9-14",
        *VARIANTS,
    ):
        assert page.has(expected), expected
    assert {"wide", "narrow"} <= {
        kind for tag, a in page.tags if tag == "figure" for kind in a["class"].split()
    }


def test_a_picture_that_lacks_a_variant_costs_only_the_picture() -> None:
    shown = replace(presentation(), figure=lambda results: [results.variant("gone")])
    page = Page(render(validate(fabricate()), shown))
    assert page.has("The picture could not be drawn: variant is 'gone'")
    assert not any(tag == "svg" for tag, _ in page.tags)
    assert page.has("decay with a fixed vector")


def test_many_quantities_stand_in_rows() -> None:
    results = fabricate()
    for variant in results["variants"]:
        variant["quantities"] |= {
            f"without encoder 0.{n}": variant["quantities"]["nll"] for n in range(9)
        }
    markdown = summarize(validate(results), presentation())
    assert "\n| without encoder 0.8 | 0.400 [0.300, 0.500] | 0.900 " in markdown


def test_the_summary_is_good_markdown() -> None:
    markdown = summarize(validate(fabricate()), presentation())
    assert markdown.startswith("# length_bottleneck: inconclusive\n")
    assert "attention \\| stays flat (Falsified if the interval holds 0) | – |" in markdown
    assert "| search-50: 26.75; encdec-50: 17.82 |" in markdown
    assert "On &lt;nothing&gt;" in markdown
    assert "\n| attention | 0.400 [0.300, 0.500] | 0.560 " in markdown
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 6
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1


def test_pages_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(fabricate()))
    assert write_pages(tmp_path, presentation()) == tmp_path / "report.html"
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["report.html", "results.json", "summary.md"]
    before = (tmp_path / "report.html").read_text()
    (tmp_path / "results.json").write_text(json.dumps(fabricate() | {"seconds": "long"}))
    with pytest.raises(InputError, match=r"results\.json: results\.seconds is 'long'"):
        write_pages(tmp_path, presentation())
    assert (tmp_path / "report.html").read_text() == before
