"""Several hosts, processes here, end where one with as many devices does, whatever befalls them."""

import os
import signal
import socket
import time

import numpy as np
import pytest

from experiments.faults import processes
from experiments.faults.outcome import outcome
from tests.experiments.training.toy_run import INTERRUPTED, toy_run

DEVICES = 4
TRAIN = {"examples": 8 * 12, "save_every": 4, "evaluate_every": 6}
LONG = {"train": {"examples": 8 * 4000, "save_every": 4, "evaluate_every": 2000, "keep": 2}}


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def host(folder, changes, port, count, number):
    import jax

    from experiments.hosts import Hosts, join

    processes.prepare(DEVICES // count)
    join(Hosts(f"localhost:{port}", count, number))
    assert (len(jax.devices()), jax.process_count()) == (DEVICES, count)
    toy_run(folder, changes, says=f"{folder.name}-{number}.txt")


def alone(folder, changes):
    processes.prepare(DEVICES)
    toy_run(folder, changes, says=f"{folder.name}-0.txt")


def launch(folder, changes, count):
    if count == 1:
        return [processes.start(alone, folder, changes)]
    port = free_port()
    return [processes.start(host, folder, changes, port, count, n) for n in range(count)]


def said(folder, number):
    return folder.with_name(f"{folder.name}-{number}.txt").read_text()


def finish(folder, changes, count):
    for number, process in enumerate(launch(folder, changes, count)):
        process.join(240)
        assert process.exitcode == 0, said(folder, number)
    return outcome(folder)


def wait_for_checkpoint(folder, step):
    until = time.monotonic() + 120
    while not any(int(p.name) >= step for p in (folder / "checkpoints").glob("[0-9]*[0-9]")):
        assert time.monotonic() < until, "no checkpoint was written"
        time.sleep(0.02)


def agree(one, other):
    assert one["summary"] == other["summary"]
    assert one["state"].keys() == other["state"].keys()
    for name, data in one["state"].items():
        kind = np.int32 if name.endswith(("step", "count")) else np.float32
        np.testing.assert_allclose(
            np.frombuffer(data, kind), np.frombuffer(other["state"][name], kind), atol=2e-4
        )


def test_two_hosts_learn_what_one_does(tmp_path):
    changes = {"train": {**TRAIN, "examples": 8 * 4}}
    agree(finish(tmp_path / "one", changes, 1), finish(tmp_path / "two", changes, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine", [{"parallel": "pmap"}, {"parallel": "jit"}, {"parallel": "jit", "fsdp": DEVICES}],
    ids=["pmap", "jit", "fsdp"],
)  # fmt: skip
def test_two_and_four_hosts_are_as_good_as_one(tmp_path, machine):
    changes = {"train": {**TRAIN, **machine}}
    one, two, four = (finish(tmp_path / f"of-{n}", changes, n) for n in (1, 2, 4))
    agree(one, two)
    agree(one, four)


@pytest.mark.slow
@pytest.mark.parametrize("later", [1, 4])
def test_other_hosts_go_on_from_the_checkpoint(tmp_path, later):
    changes = {"train": {**TRAIN, "examples": 8 * 40, "save_every": 1}}
    whole = finish(tmp_path / "whole", changes, 1)
    folder = tmp_path / "handed-on"
    first = launch(folder, changes, 2)
    wait_for_checkpoint(folder, 2)
    os.kill(first[1].pid, signal.SIGTERM)
    for process in first:
        process.join(60)
    assert [process.exitcode for process in first] == [INTERRUPTED] * 2, said(folder, 0)
    agree(whole, finish(folder, changes, later))
    assert "goes on from step" in said(folder, 0)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_host_dies_the_others_end_and_all_go_on_later(tmp_path, victim):
    changes = {"train": {**TRAIN, "examples": 8 * 40, "save_every": 2}}
    undisturbed = finish(tmp_path / "undisturbed", changes, 2)
    folder = tmp_path / "disturbed"
    both = launch(folder, changes, 2)
    wait_for_checkpoint(folder, 4)
    os.kill(both[victim].pid, signal.SIGKILL)
    began = time.monotonic()
    for process in both:
        process.join(90)
    assert both[1 - victim].exitcode not in (None, 0), "the other host hangs"
    assert time.monotonic() - began < 60
    assert finish(folder, changes, 2) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_sigterm_to_one_host_stops_all_after_the_same_step(tmp_path, number):
    folder = tmp_path / "run"
    both = launch(folder, LONG, 2)
    wait_for_checkpoint(folder, 4)
    os.kill(both[number].pid, signal.SIGTERM)
    began = time.monotonic()
    for process in both:
        process.join(60)
    assert time.monotonic() - began < 30
    assert [process.exitcode for process in both] == [INTERRUPTED] * 2
    lines = [said(folder, n).strip().splitlines()[-1] for n in range(2)]
    assert lines[0] == lines[1]
    assert lines[0].startswith("Interrupted stopped by SIGTERM after step")
