"""Two hosts (processes here) with two devices each end where one with four does."""

import socket

import numpy as np
import pytest

from tests.experiments.training import processes
from tests.experiments.training.toy_run import outcome, toy_run

CHANGES = {"train": {"examples": 8 * 12, "save_every": 4, "evaluate_every": 6}}


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def one_host(folder, changes):
    processes.prepare(4)
    toy_run(folder, changes)


def host(folder, changes, port, number):
    import jax

    processes.prepare(2)
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=number)
    assert len(jax.devices()) == 4
    toy_run(folder, changes, says=f"{folder.name}-{number}.txt")


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["pmap", "jit"])
def test_two_hosts_are_as_good_as_one(tmp_path, parallel):
    changes = {"train": {**CHANGES["train"], "parallel": parallel}}
    alone = processes.start(one_host, tmp_path / "alone", changes)
    alone.join(240)
    assert alone.exitcode == 0, (tmp_path / "alone.txt").read_text()
    port = free_port()
    both = [processes.start(host, tmp_path / "both", changes, port, number) for number in range(2)]
    for number, process in enumerate(both):
        process.join(240)
        assert process.exitcode == 0, (tmp_path / f"both-{number}.txt").read_text()
    one, two = outcome(tmp_path / "alone"), outcome(tmp_path / "both")
    assert one["summary"] == two["summary"]
    assert one["state"].keys() == two["state"].keys()
    for name, data in one["state"].items():
        kind = np.int32 if name.endswith(("step", "count")) else np.float32
        np.testing.assert_allclose(
            np.frombuffer(data, kind), np.frombuffer(two["state"][name], kind), atol=2e-4
        )
