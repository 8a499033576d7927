import copy
from pathlib import Path

import pytest

from experiments.errors import InputError
from experiments.reports.results import Estimate, validate
from experiments.reports.summary import summarize
from tests.experiments.reports.fabricate import fabricate


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return fabricate(tmp_path_factory.mktemp("results"))


def test_what_a_comparison_writes_is_read(results: dict) -> None:
    checked = validate(results)
    assert [run.model for run in checked.runs[:3]] == ["seq2seq", "seq2seq", "rnnsearch"]
    assert checked.runs[0].attends is False
    assert checked.runs[2].attends is True
    assert checked.runs[0].by_length[-1].label == "11–16"
    names = [metric.name for metric in checked.metrics]
    assert names == ["phoneme_error_rate", "word_error_rate", "nll", "perplexity"]


def test_hardware_may_be_text_and_attends_may_be_absent(results: dict) -> None:
    changed = copy.deepcopy(results)
    changed["hardware"] = "two cores"
    del changed["runs"][0]["attends"]
    checked = validate(changed)
    assert checked.hardware == {"hardware": "two cores"}
    assert checked.runs[0].attends is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["task"], 3, r"results\.task is 3; expected text"),
        (["runs"], [], r"results\.runs is empty"),
        (["runs", 1, "seed"], "0", r"results\.runs\[1\]\.seed is '0'; expected a whole number"),
        (["runs", 1, "parameters"], True, r"runs\[1\]\.parameters is True; expected a whole"),
        (["runs", 0, "train_seconds"], float("nan"), r"runs\[0\]\.train_seconds is nan"),
        (["runs", 0, "attends"], "yes", r"runs\[0\]\.attends is 'yes'; expected true or false"),
        (["runs", 0, "test"], {}, r"runs\[0\]\.test is empty"),
        (["runs", 0, "test", "nll"], "low", r"runs\[0\]\.test\.nll is 'low'; expected a number"),
        (["runs", 0, "test", "rouge"], 1.0, r"has 'rouge'; expected one of phoneme_error_rate"),
        (["runs", 0, "intervals", "nll"], [2, 1], r"intervals\.nll is \[2, 1\].*low <= high"),
        (["runs", 0, "intervals", "nll"], [1], r"intervals\.nll has 1 elements"),
        (["runs", 2, "by_length", 1, "n"], 7, r"runs\[2\]\.by_length differs in from, to or n"),
        (["runs", 1, "seed"], 0, r"runs\[1\] repeats model 'seq2seq', seed 0"),
        (["paired", 4, "metric"], "rouge", r"paired\[4\]\.metric is 'rouge'"),
    ],
)
def test_a_wrong_field_is_named(results: dict, path: list, value: object, message: str) -> None:
    changed = copy.deepcopy(results)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message):
        validate(changed)


@pytest.mark.parametrize(
    "path", [["date"], ["runs", 3, "tokens_seen"], ["runs", 0, "by_length", 2, "interval"]]
)
def test_a_missing_field_is_named(results: dict, path: list) -> None:
    changed = copy.deepcopy(results)
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    with pytest.raises(InputError, match=rf"{path[-1]} is missing; expected"):
        validate(changed)


def test_runs_must_share_their_metrics(results: dict) -> None:
    changed = copy.deepcopy(results)
    del changed["runs"][4]["test"]["nll"]
    with pytest.raises(InputError, match=r"runs\[4\]\.test has .*expected those of runs\[0\]"):
        validate(changed)
    changed = copy.deepcopy(results)
    del changed["runs"][4]["by_length"][1]["nll"]
    with pytest.raises(InputError, match=r"runs\[4\]\.by_length\[1\] has metrics"):
        validate(changed)


def test_seeds_are_pooled_to_the_mean_and_the_widest_interval(tmp_path: Path) -> None:
    results = fabricate(tmp_path, {"a": 10.0, "b": 12.0}, seeds=2)
    for run, (value, low, high) in zip(
        results["runs"], [(10, 9, 11), (12, 11.5, 12.5), (5, 4, 6), (7, 3, 9)], strict=True
    ):
        run["test"]["nll"], run["intervals"]["nll"] = value, [low, high]
    first, second = summarize(validate(results))
    assert first.test["nll"] == Estimate(11.0, (9.0, 12.5))
    assert second.test["nll"] == Estimate(6.0, (3.0, 9.0))
    assert first.spread("nll") == (10.0, 12.0)


def test_overlap_counts_a_shared_bound() -> None:
    one = Estimate(1.0, (0.5, 1.5))
    assert one.overlaps(Estimate(2.0, (1.5, 2.5))) is True
    assert one.overlaps(Estimate(2.0, (1.6, 2.5))) is False
    assert one.overlaps(Estimate(2.0, None)) is None
