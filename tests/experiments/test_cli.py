"""The command line, from a comparison to a report, and what it says to bad input."""

import io
import json
from pathlib import Path

import pytest

from experiments.cli import main
from experiments.reports import validate

TINY = "--examples 512 --batch-size 64 --parameters 100000 --items 96 --buckets 1 --limit 2000"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def contest(tmp_path_factory, data):
    """A comparison of a model without and one with attention, small enough for a test."""
    folder = tmp_path_factory.mktemp("runs") / "contest"
    flags = f"compare --models seq2seq rnnsearch {TINY} --folder {folder} --data-dir {data}"
    assert main(flags.split()) == 0
    return folder, flags


def test_compare_leaves_results_runs_and_a_report(contest):
    folder, _ = contest
    results = json.loads((folder / "results.json").read_text())
    checked = validate(results)
    assert [run.model for run in checked.runs] == ["seq2seq", "rnnsearch"]
    assert [run.attends for run in checked.runs] == [False, True]
    for run in checked.runs:
        assert run.examples_seen == 512
        assert abs(run.parameters - 100_000) <= 5_000
        assert sum(bucket.n for bucket in run.by_length) == 96
    (pair,) = checked.paired
    assert {pair.a, pair.b} == {"seq2seq", "rnnsearch"}
    page = (folder / "report.html").read_text()
    assert "rnnsearch" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_same_command_again_does_nothing_twice(contest, capsys):
    folder, flags = contest
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/*")}
    assert main(flags.split()) == 0
    assert "step" not in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/*")}


def test_another_setting_in_the_same_folder_is_refused(contest, capsys):
    _, flags = contest
    assert main([*flags.split(), "--learning-rate", "0.5"]) == 2
    said = capsys.readouterr().err
    assert "learning_rate" in said
    assert "0.5 now" in said


def test_eval_scores_a_split(contest, capsys):
    folder, _ = contest
    run = str(folder / "rnnsearch-seed0")
    assert main(["eval", run, "--split", "validation", "--items", "64", "--beam", "2"]) == 0
    said = capsys.readouterr().out
    assert "validation split, 64 items, beam 2" in said
    assert "phoneme error rate" in said


def test_translate_prints_n_best_and_draws(contest, capsys, monkeypatch):
    folder, _ = contest
    run = folder / "rnnsearch-seed0"
    assert main(["translate", str(run), "attention", "--beam", "3"]) == 0
    *outputs, picture = capsys.readouterr().out.splitlines()
    scores = [float(line.split()[0]) for line in outputs]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    assert Path(picture.strip()).read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\n"))
    assert main(["translate", str(run), "--beam", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.strip()).name for line in lines if line.endswith(".png")] == [
        "one.png",
        "two.png",
    ]


def test_report_is_written_anew(contest, capsys):
    folder, _ = contest
    for where in (folder, folder / "seq2seq-seed0"):
        (where / "report.html").unlink(missing_ok=True)
        assert main(["report", str(where)]) == 0
        assert (where / "report.html").exists()


def test_text_without_a_known_character_is_refused(contest, capsys):
    folder, _ = contest
    assert main(["translate", str(folder / "rnnsearch-seed0"), "123"]) == 2
    assert "'123' has no character" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("compere", "unknown command 'compere'; nearest: compare"),
        ("compare --models rnsearch", "unknown model 'rnsearch'; nearest: rnnsearch"),
        ("compare --models seq2seq seq2seq", "models: got seq2seq seq2seq"),
        ("compare --seeds", "seeds: got none"),
        ("compare --task pronounciation", "pronunciation"),
        ("compare --limit 0", "limit is 0"),
        ("train verses-rnsearch", "nearest: verses-rnnsearch"),
        ("train verses-rnnsearch --search.beam 0", "search.beam is 0; expected at least 1"),
        ("train verses-rnnsearch --train.keep 0", "train.keep is 0; expected at least 1"),
        ("bench trian", "unknown bench 'trian'; nearest: train"),
        ("eval /nowhere", "no run's folder"),
        ("report /nowhere", "/nowhere"),
        ("compare --batch-size 0 --examples 9", "batch_size is 0"),
    ],
)
def test_bad_input_is_named_and_ends_with_2(arguments, said, data, tmp_path, capsys):
    arguments = arguments.split()
    if arguments[0] == "compare":
        arguments += ["--folder", str(tmp_path / "new"), "--data-dir", data]
    assert main(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train verses-rnnsearch --model.widht 3", "--model.width"),
        ("train verses-rnnsearch --model.width wide", "model.width"),
        ("compare --exampels 3", "--examples"),
    ],
)
def test_unknown_fields_and_wrong_types_end_with_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_help_names_every_command_and_config(capsys):
    for arguments, said in (("--help", "compare"), ("train --help", "verses-transformer")):
        with pytest.raises(SystemExit) as stopped:
            main(arguments.split())
        assert stopped.value.code == 0
        assert said in capsys.readouterr().out
