"""slurm.sbatch on a real Slurm: two tasks on this machine, its one node."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
MinJobAge=3600
KillWait=60
ReturnToService=2
SwitchType=switch/none
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment that talks to it."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs Slurm and Munge, run by root; missing: {missing or 'root'}")
    folder = tmp_path_factory.mktemp("slurm")
    host = socket.gethostname().split(".")[0]
    for name in ("state", f"spool-{host}"):
        (folder / name).mkdir()
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=host, folder=folder, ports=free_ports(2)))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(config), "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen(command, env=environment)
        for command in (
            [
                *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket"),
                *(f"--key-file={key}", f"--pid-file={folder}/munge.pid"),
                *(f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"),
            ],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D"],
        )
        if time.sleep(1) is None
    ]
    try:
        wait(lambda: "idle" in told(environment, "sinfo", "-h", "-o", "%t %D"), 60)
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def told(environment, *command):
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stdout.strip() + done.stderr.strip()


def wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.5)


def submit(environment, folder):
    """A small run in two tasks; returns the job's number."""
    arguments = [
        *("train", "copy-seq2seq", "--folder", str(folder), "--parameters", "20000"),
        *("--train.examples", "12800", "--train.save-every", "10", "--train.evaluate-every", "50"),
        *("--train.log-every", "5", "--search.items", "50", "--task.buckets", "1"),
    ]
    return told(
        {**environment, "ATTN_PYTHON": sys.executable},
        *("sbatch", "--parsable", "--ntasks-per-node=2", f"--output={folder.parent}/%j.log"),
        *("--chdir", str(ROOT), str(ROOT / "tpu_setup" / "slurm.sbatch"), *arguments),
    )


def state(environment, job):
    return told(environment, "scontrol", "show", "job", job)


def finished(environment, job):
    found = state(environment, job)
    assert "JobState=FAILED" not in found, found
    return "JobState=COMPLETED" in found


def last_parameters(folder):
    from experiments.training.restore import load_best

    return load_best(folder, *sizes(folder)).params


def sizes(folder):
    from experiments import tasks
    from experiments.training import folder as files

    task = tasks.load(files.read_config(folder).task, folder)
    return task.source.size, task.target.size


@pytest.mark.slow
def test_a_job_that_is_stopped_queues_again_and_ends_in_the_same_bits(cluster, tmp_path):
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    job = submit(cluster, undisturbed)
    wait(lambda: finished(cluster, job), 400)

    job = submit(cluster, stopped)
    wait(lambda: any((stopped / "checkpoints").glob("[0-9]*")), 200)
    told(cluster, "scancel", "--signal=TERM", job)  # to the steps, as at the end of its time
    wait(lambda: "Restarts=1" in state(cluster, job), 120)
    log = tmp_path / f"{job}.log"
    assert "queues again" in log.read_text("utf-8")
    # A requeued job waits two minutes, or until it is told that it may begin.
    told(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now")
    wait(lambda: finished(cluster, job), 400)
    assert "goes on from step" in log.read_text("utf-8")

    steps = [
        json.loads((run / "summary.json").read_text())["steps"] for run in (undisturbed, stopped)
    ]
    assert steps[0] == steps[1] == 200
    ours, theirs = last_parameters(stopped), last_parameters(undisturbed)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
