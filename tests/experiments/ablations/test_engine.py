import json
import os
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from experiments.ablations import engine, spread, work
from experiments.ablations.engine import Launch, ablate
from experiments.ablations.results import validate
from experiments.ablations.spread import Order, run_groups
from experiments.cli import main
from experiments.errors import InputError

TOY, UNLUCKY = "tests.experiments.ablations.toy_suite", "tests.experiments.ablations.unlucky_suite"
QUIET = Console(quiet=True)


def order(folder, suite=TOY):
    return Order(suite, "cpu", (0, 1, 2), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, ablate(Launch(order(folder), "python -m experiments ablate toy"), QUIET)


def measured(results):
    return {v["name"]: v["quantities"] for v in results["variants"]}, results["contrasts"]


def test_a_suite_ends_in_a_verdict(finished):
    folder, results = finished
    assert json.loads((folder / "results.json").read_text()) == results
    checked = validate(results)
    assert [v.name for v in checked.variants] == ["last, 10", "last, 12"]
    assert checked.verdict == "not reproduced"  # nothing is learned in 5 steps that 5 nats need
    assert (checked.failed, checked.seeds) == ((), (0, 1, 2))
    assert checked.variant("last, 10").quantity("nll").items == 40


def test_finished_runs_are_never_repeated(finished, monkeypatch):
    folder, results = finished
    monkeypatch.setattr(work, "train_together", None)
    again = ablate(Launch(order(folder), "again"), QUIET)
    assert measured(again) == measured(results)


def test_the_result_does_not_depend_on_who_works(finished, tmp_path, monkeypatch):
    def backwards(order, groups, jobs, cluster, settings):
        for share in (groups[1::2], groups[0::2]):
            run_groups(order, share[::-1])

    monkeypatch.setattr(engine, "spread", backwards)
    spread_out = ablate(Launch(order(tmp_path), "spread", jobs=2), QUIET)
    assert measured(spread_out) == measured(finished[1])
    for group in order(tmp_path).plan().groups:
        arrays = [
            np.load(folder / "groups" / group.name / work.STATISTICS)["nll"]
            for folder in (finished[0], tmp_path)
        ]
        np.testing.assert_array_equal(*arrays)


@pytest.mark.slow
def test_processes_beside_each_other_find_the_same(finished, tmp_path, monkeypatch):
    # In processes of their own, where types are not checked: the numbers are the same.
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    found = ablate(Launch(order(tmp_path), "jobs", jobs=2), QUIET)
    assert measured(found) == measured(finished[1])


def test_a_run_that_fails_sinks_nothing(tmp_path):
    results = ablate(Launch(order(tmp_path, UNLUCKY), "x"), QUIET)
    assert {f["variant"] for f in results["failed"]} == {"last, 13"}
    assert results["failed"][0]["error"] == "RuntimeError: thirteen is unlucky"
    assert [v["name"] for v in results["variants"]] == ["last, 10"]
    assert (results["contrasts"][0]["outcome"], results["verdict"]) == ("missing", "inconclusive")
    validate(results)


def test_what_cannot_be_set_side_by_side_ends_a_suite_at_once(tmp_path):
    uneven = order(tmp_path, "tests.experiments.ablations.uneven_suite")
    with pytest.raises(InputError, match=r"'nll' of 'last, 14'.*\[39, 2\]; expected .*\[40, 2\]"):
        ablate(Launch(uneven, "x"), QUIET)
    done = [work.folder_of(uneven.plan(), group).exists() for group in uneven.plan().groups]
    assert done == [True, True, False]


def test_a_job_that_dies_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "spread", lambda *arguments: None)
    results = ablate(Launch(order(tmp_path), "x", jobs=2), QUIET)
    assert len(results["failed"]) == 6
    assert "its process ended early" in results["failed"][0]["error"]


def test_results_of_other_code_are_refused(finished, monkeypatch):
    monkeypatch.setattr(engine, "code_version", lambda suite: "0" * 12)
    for jobs in (1, 2):
        with pytest.raises(InputError, match=r"is of code version [0-9a-f]{12}, and this is 0{12}"):
            ablate(Launch(order(finished[0]), "x", jobs), QUIET)


def test_seeds_too_few_are_refused_before_anything_is_done(tmp_path):
    with pytest.raises(InputError, match="seeds: got 0; expected at least 3"):
        ablate(Launch(replace(order(tmp_path / "new"), seeds=(0,)), "x"), QUIET)
    assert not (tmp_path / "new").exists()


def test_jobs_and_clusters_that_cannot_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm, whatever this machine has
    with pytest.raises(InputError, match="jobs is 0; expected at least 1"):
        spread.spread(order(tmp_path), [0], 0, "local")
    with pytest.raises(InputError, match="cluster is 'slurm'"):
        spread.spread(order(tmp_path), [0], 1, "slurm")
    with pytest.raises(InputError, match="settings holds 'gpus'; expected name=value"):
        spread.spread(order(tmp_path), [0], 1, "local", ["gpus"])
    with pytest.raises(InputError, match="gpu_per_node"):
        spread.spread(order(tmp_path), [0], 1, "local", ["gpu_per_node=1"])


def test_what_a_cluster_refuses_is_told_in_its_words(tmp_path, monkeypatch):
    for name in ("srun", "sbatch"):
        command = tmp_path / name
        command.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError, match=r"cluster is 'slurm'.*invalid partition"):
        spread.spread(order(tmp_path), [0], 1, "slurm")


def test_the_command_writes_pages_and_says_the_verdict(finished, capsys):
    folder = finished[0].parent / "toy-cpu"
    finished[0].rename(folder)
    try:
        assert main(["ablate", TOY, "--folder", str(folder.parent)]) == 0
    finally:
        folder.rename(finished[0])
    said = capsys.readouterr().out
    assert "not reproduced" in said
    assert (finished[0] / "report.html").exists()
    assert "long minus short" in (finished[0] / "summary.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "got neither suites nor --all"),
        ("heads_dk --all", "got --all and suites"),
        ("head_dk", "unknown suite 'head_dk'; nearest: heads_dk"),
        ("gradient_path --budget paper", "gradient_path has no 'paper'; expected one of cpu, gpu"),
        ("heads_dk --seeds 0", "seeds: got 0; expected at least 3"),
        ("heads_dk --settings a=1", "got a=1; expected none, for there are no jobs"),
        (f"{TOY} --publish", "expected suites of this code base"),
    ],
)
def test_bad_commands_are_refused(arguments, message, capsys, tmp_path):
    assert main(["ablate", *arguments.split(), "--folder", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())
