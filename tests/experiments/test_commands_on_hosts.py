"""Commands given to several hosts, processes here: they leave what one process leaves."""

import json
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

from experiments.faults import processes

DEVICES = 2
CONTEST = "compare --task copy --models seq2seq rnnsearch --examples 256 --batch-size 32 --items 40"
TOY = "ablate tests.experiments.ablations.toy_suite"


def one_of(words, says, hosts, number):
    from experiments.cli import main

    processes.prepare(DEVICES // len(hosts) if hosts else DEVICES)
    with open(says, "w") as file, redirect_stdout(file), redirect_stderr(file):
        code = main([*words, *(hosts[number] if hosts else ())])
    sys.exit(code)


def on_hosts(count, words, says):
    """What each of so many processes says to a command given to all."""
    hosts = []
    if count > 1:
        with socket.socket() as found:
            found.bind(("localhost", 0))
            where = f"localhost:{found.getsockname()[1]}"
        base = ["--hosts.coordinator", where, "--hosts.count", str(count), "--hosts.index"]
        hosts = [[*base, str(number)] for number in range(count)]
    paths = [says.with_name(f"{says.name}-{number}.txt") for number in range(count)]
    running = [processes.start(one_of, words, path, hosts, n) for n, path in enumerate(paths)]
    for process, path in zip(running, paths, strict=True):
        process.join(300)
        assert process.exitcode == 0, path.read_text()
    return [path.read_text() for path in paths]


@pytest.fixture(scope="module")
def contests(tmp_path_factory):
    place = tmp_path_factory.mktemp("contests")
    said = {}
    for count in (1, 2):
        words = f"{CONTEST} --folder {place / str(count)} --data-dir {place / 'data'}".split()
        said[count] = on_hosts(count, words, place / f"compare-{count}")
    return place, said


@pytest.mark.slow
def test_a_comparison_on_two_hosts_is_that_of_one(contests):
    place, said = contests
    assert "report:" in said[2][0]
    assert said[2][1] == ""
    one, two = (json.loads((place / n / "results.json").read_text()) for n in ("1", "2"))
    for alone, shared in zip(one["runs"], two["runs"], strict=True):
        assert alone["tokens_seen"] == shared["tokens_seen"]
        assert alone["test"] == pytest.approx(shared["test"], rel=1e-3, abs=1e-3)
    assert (place / "2" / "report.html").exists()


@pytest.mark.slow
def test_two_hosts_evaluate_a_run_as_one_does(contests):
    place, _ = contests
    words = ["eval", str(place / "1" / "seq2seq-seed0"), "--split", "validation"]
    (alone,) = on_hosts(1, words, place / "eval-1")
    first, other = on_hosts(2, words, place / "eval-2")
    assert first == alone
    assert "validation split" in alone
    assert other == ""


@pytest.mark.slow
def test_an_ablation_on_two_hosts_is_that_of_one(tmp_path):
    results = {}
    for count in (1, 2):
        words = f"{TOY} --folder {tmp_path / str(count)}".split()
        said = on_hosts(count, words, tmp_path / f"ablate-{count}")
        results[count] = json.loads((tmp_path / str(count) / "toy-cpu/results.json").read_text())
    assert "not reproduced" in said[0]
    assert said[1] == ""
    one, two = (results[count]["variants"] for count in (1, 2))
    for alone, shared in zip(one, two, strict=True):
        assert alone["name"] == shared["name"]
        np.testing.assert_allclose(
            alone["quantities"]["nll"]["by_seed"], shared["quantities"]["nll"]["by_seed"], rtol=1e-3
        )


def test_jobs_from_several_hosts_are_refused(tmp_path, monkeypatch, capsys):
    from experiments.cli import main

    monkeypatch.setattr("jax.process_count", lambda: 2)
    assert main([*TOY.split(), "--folder", str(tmp_path), "--jobs", "2"]) == 2
    assert "jobs: got 2 on local from each of 2 hosts" in capsys.readouterr().err
