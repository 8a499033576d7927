import json
import shutil
from pathlib import Path

import pytest

from experiments.errors import InputError
from experiments.reports import theme, write_report
from experiments.reports.evidence import read_evidence
from tests.experiments.reports.fabricate import MODELS, fabricate
from tests.experiments.reports.reading import Page


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    fabricate(folder, seeds=2)
    write_report(folder)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two models, one seed, to be damaged."""
    fabricate(tmp_path, {"seq2seq": 18.0, "rnnsearch": 14.0}, seeds=1, maps=1)
    return tmp_path


def _read(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


def test_the_page_stands_alone(comparison: Path) -> None:
    text = (comparison / "report.html").read_text()
    assert len(text) < 3_000_000
    assert "http" not in text
    assert "<script" not in text
    page = Page(text)
    links = [attributes.get("href") or attributes.get("src") for _, attributes in page.tags]
    assert all(link[0] == "#" or link.startswith("data:") for link in links if link)
    assert not any(tag in ("link", "iframe", "object") for tag, _ in page.tags)


def test_the_page_can_be_read_by_those_who_do_not_see_it(comparison: Path) -> None:
    page = _read(comparison)
    assert len(page.ids) == len(set(page.ids))
    assert all(a.get("role") == "img" and a["aria-label"] for t, a in page.tags if t == "svg")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables == sum(tag == "caption" for tag, _ in page.tags) > 5
    targets = [a["href"][1:] for tag, a in page.tags if tag in ("use", "a") and "href" in a]
    assert targets
    assert set(targets) <= set(page.ids)


def test_the_page_follows_the_colour_scheme(comparison: Path) -> None:
    text = (comparison / "report.html").read_text()
    assert text.count("@media (prefers-color-scheme: dark)") == 2
    assert "stroke: var(--series-4)" in text
    drawings = text[text.index("</head>") :]
    assert theme.LIGHT["series-0"] not in drawings


def test_the_page_tells_the_whole_story(comparison: Path) -> None:
    page = _read(comparison)
    results = json.loads((comparison / "results.json").read_text())
    for model in MODELS:
        assert page.has(model)
    assert page.maps() == 4 * 4
    for text in (
        "With attention, phoneme error rate on sources of 11–16 letters is",
        "their 95% intervals do not overlap",
        "seq2seq: no attention, so nothing to draw",
        "layer 3 of 3, mean of 4 heads",
        "free-running, greedy",
        "teacher-forced",
        "optimizer.learning_rate",
        results["command"].split("  #")[0],
        "synthetic: made up by a test, no machine ran this",
        "jax 0.0.0",
        "0.60%",  # waiting for data
        "8.3%",  # padding
        "rhythm",
        "P R OW0 N AH2 N S IY0 EY1 SH AH0 N",
    ):
        assert page.has(text), text
    assert not page.has("Not everything was there")
    seeds = [results["runs"][n]["test"]["phoneme_error_rate"] for n in (2, 3)]
    assert page.has(f"{sum(seeds) / 2:.1f}%")
    assert page.has(f"{min(seeds):.1f}–{max(seeds):.1f}")


def test_settings_that_differ_are_apart_from_those_that_do_not(comparison: Path) -> None:
    text = (comparison / "report.html").read_text()
    different, shared = text.split("Differences between the models")[1].split("Settings that all")
    assert "model.width" in different
    assert "seconds of training" in different
    assert "train.batch_size" not in different
    assert "train.batch_size" in shared
    assert "model.width" not in shared


def test_texts_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = '<b onclick="x">&$x_1$'
    results = fabricate(tmp_path, {"seq2seq": 18.0, "rnnsearch": 14.0}, seeds=1, maps=1)
    text = json.dumps(results).replace('"rnnsearch"', json.dumps(evil))
    text = text.replace('"pronunciation"', json.dumps("</title><i>"))
    (tmp_path / "results.json").write_text(text)
    run = tmp_path / "rnnsearch-seed0"
    maps = (run / "alignments.json").read_text().replace('"</s>"', json.dumps(evil))
    (run / "alignments.json").write_text(maps)
    for place in (run, tmp_path / "seq2seq-seed0"):
        test = json.loads((place / "test.json").read_text())
        for item in test["items"]:
            item["source"], item["hypothesis"] = "<img src=a>", "</td><script>"
        (place / "test.json").write_text(json.dumps(test))
    write_report(tmp_path)
    page = _read(tmp_path)
    assert page.has(evil)
    assert page.has("<img src=a>")
    assert page.has("</td><script>")
    assert not {"b", "i", "img", "script"} & {tag for tag, _ in page.tags}


@pytest.mark.parametrize("name", ["alignments.json", "metrics.jsonl", "config.json", "test.json"])
def test_a_missing_file_is_found_out(small: Path, name: str) -> None:
    assert read_evidence(small).missing == ()
    (small / "rnnsearch-seed0" / name).unlink()
    assert read_evidence(small).missing == (f"rnnsearch-seed0/{name}",)


def test_a_page_of_results_alone(small: Path) -> None:
    for run in ("seq2seq-seed0", "rnnsearch-seed0"):
        shutil.rmtree(small / run)
    write_report(small)
    page = _read(small)
    assert page.has("Not everything was there to show. Missing: seq2seq-seed0/config.json ,")
    assert page.has("there are no training curves")
    assert page.has("No run left attention maps")
    assert page.has("No run left outputs")
    assert page.has("With attention, phoneme error rate on sources of 11–16 tokens")


def test_attention_is_told_from_the_maps_where_the_results_do_not_say(small: Path) -> None:
    results = json.loads((small / "results.json").read_text())
    for run in results["runs"]:
        del run["attends"]
    (small / "results.json").write_text(json.dumps(results))
    assert [run.attends for run in read_evidence(small).results.runs] == [None, True]
    (small / "seq2seq-seed0" / "alignments.json").write_text("[]")
    assert [run.attends for run in read_evidence(small).results.runs] == [False, True]


def test_no_buckets_no_pairs(small: Path) -> None:
    results = json.loads((small / "results.json").read_text())
    results["paired"] = []
    for run in results["runs"]:
        run["by_length"] = []
    (small / "results.json").write_text(json.dumps(results))
    write_report(small)
    page = _read(small)
    assert page.has("rnnsearch has the best phoneme error rate")
    assert not page.has("Score by source length")
    assert not page.has("item by item")


def test_of_texts_without_a_source_there_are_no_lengths_and_no_outputs(small: Path) -> None:
    run = small / "rnnsearch-seed0"
    test = json.loads((run / "test.json").read_text())
    test["by_length"] = test["by_length"][:1]
    for item in test["items"]:
        item["hypothesis"] = ""
    (run / "test.json").write_text(json.dumps(test))
    write_report(run)
    page = _read(run)
    assert page.has("Results on the test split")
    for left_out in ("Score by source length", "What they write", "No run left outputs"):
        assert not page.has(left_out)


def test_a_single_run(small: Path) -> None:
    run = small / "rnnsearch-seed0"
    assert write_report(run) == run / "report.html"
    page = _read(run)
    assert page.has("rnnsearch on pronunciation: phoneme error rate")
    assert page.maps() == 1
    assert page.has("not recorded in a run's folder")
    assert not page.has("What else differed")


def test_a_single_run_tells_of_its_launches(small: Path) -> None:
    run = small / "rnnsearch-seed0"
    for day, cores in (("2026-01-01", "2"), ("2026-01-03", "8")):
        with open(run / "launches.jsonl", "a") as file:
            launch = {
                "time": f"{day}T10:00:00.000+00:00",
                "command": "python -m experiments train <b>",
                "hardware": {"cores": cores},
                "versions": {"jax": "0.10.2"},
            }
            file.write(json.dumps(launch) + "\n")
    page = _read(write_report(run).parent)
    assert not page.has("not recorded in a run's folder")
    assert page.has("python -m experiments train <b>")  # as text: it is escaped
    assert page.has("2026-01-01 to 2026-01-03")
    assert page.has("cores: 2, then 8")
    assert page.has("jax 0.10.2")


def test_a_step_logged_twice_counts_once_and_pages_repeat_exactly(small: Path) -> None:
    before = write_report(small).read_text()
    path = small / "rnnsearch-seed0" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    wrong = json.dumps(json.loads(lines[4]) | {"loss": 77.0}) + "\n"
    path.write_text("".join([*lines[:4], wrong, *lines[4:]]))
    assert write_report(small).read_text() == before


def test_a_folder_that_is_neither(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no results\.json .* and no config\.json"):
        write_report(tmp_path)


def test_a_run_that_is_not_evaluated(small: Path) -> None:
    run = small / "rnnsearch-seed0"
    (run / "test.json").unlink()
    with pytest.raises(InputError, match=r"test\.json is missing: a run is reported once"):
        write_report(run)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", '{"task": ', r"results\.json:1: not JSON"),
        ("results.json", "[]", r"results\.json is \[\]; expected an object"),
        ("rnnsearch-seed0/metrics.jsonl", '{}\n{"kind"\n', r"metrics\.jsonl:2: not JSON"),
        (
            "rnnsearch-seed0/metrics.jsonl",
            '{"kind": "train", "step": 1, "examples": 2, "seconds": 1}',
            r"metrics\.jsonl: train line\.loss is missing",
        ),
        (
            "rnnsearch-seed0/alignments.json",
            '[{"source": ["a"], "target": ["b"], "weights": [[1, 2]]}]',
            r"alignments\.json: \[0\]\.weights is not 1 rows \(target\) of 1 \(source\)",
        ),
        (
            "rnnsearch-seed0/test.json",
            '{"items": [{"index": 0}]}',
            r"test\.json: items\[0\]\.source is missing",
        ),
    ],
)
def test_a_damaged_file_is_named(small: Path, name: str, content: str, message: str) -> None:
    (small / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write_report(small)


def test_a_page_that_cannot_be_written(small: Path) -> None:
    (small / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html: cannot be written"):
        write_report(small)
