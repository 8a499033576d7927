"""The scripts for Cloud TPU, run against a stand-in for gcloud that checks what it is given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "tpu_setup"
HERE = Path(__file__).parent
TARGET = ("first", "--zone", "us-west4-a")
RUN = ("--run", "base", "--", "train", "pronunciation-transformer", "--train.seed", "7")


@pytest.fixture
def script(tmp_path):
    """Runs a script; `.calls` are those to gcloud."""

    def run(name, *arguments, states="", codes="", full=False, path=None):
        (tmp_path / "states").write_text(states)
        (tmp_path / "codes").write_text(codes)
        (tmp_path / "calls").unlink(missing_ok=True)
        (tmp_path / "full").unlink(missing_ok=True)
        if full:
            (tmp_path / "full").touch()
        environment = {
            **os.environ,
            "PATH": path or f"{HERE}:{os.environ['PATH']}",
            "STUB": str(tmp_path),
            "ATTN_POLL_SECONDS": "0",
        }
        done = subprocess.run(
            [SETUP / name, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        calls = tmp_path / "calls"
        done.calls = calls.read_text().splitlines() if calls.exists() else []
        return done

    return run


def golden(text):
    return text.replace(str(ROOT), "ROOT")


def test_scripts_are_clean():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = [*SETUP.glob("*.sh"), SETUP / "slurm.sbatch"]
    done = subprocess.run(
        ["shellcheck", "-x", "-P", SETUP, *scripts], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


GCLOUD = "gcloud compute tpus"
WHERE = "--zone=us-west4-a"
SSH = (
    f"{GCLOUD} tpu-vm ssh first --worker=all "
    "--command=bash\\ attn/tpu_setup/on_worker.sh\\ run\\ base\\ .venv/bin/python\\ -m"
    "\\ experiments\\ train\\ pronunciation-transformer\\ --train.seed\\ 7"
    f'\\ --folder\\ \\"\\$HOME/attn-runs/base\\" {WHERE}\n'
)
CREATE = (
    f"{GCLOUD} queued-resources create first --node-id=first --accelerator-type=v5litepod-16 "
    f"--runtime-version=v2-alpha-tpuv5-lite --spot {WHERE}\n"
    f"{GCLOUD} queued-resources describe first --format=value\\(state.state\\) {WHERE}\n"
)
INSTALL = (
    "git -C ROOT archive --format=tar.gz --output=attn.tar.gz HEAD\n"
    f"{GCLOUD} tpu-vm scp attn.tar.gz ROOT/tpu_setup/on_worker.sh first: --worker=all {WHERE}\n"
    f"{GCLOUD} tpu-vm ssh first --worker=all "
    f"--command=bash\\ on_worker.sh\\ install\\ 10.0.0.2:/runs {WHERE}\n"
)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("create.sh", (*TARGET, "--type", "v5e-16", "--spot"), CREATE),
        ("setup_vm.sh", (*TARGET, "--share", "10.0.0.2:/runs"), INSTALL),
        ("run.sh", (*TARGET, *RUN), SSH),
        (
            "babysit.sh",
            (*TARGET, "--type", "v5e-16", "--spot", "--share", "10.0.0.2:/runs", *RUN),
            CREATE + INSTALL + SSH,
        ),
        (
            "delete.sh",
            (*TARGET, "--project", "mine"),
            f"{GCLOUD} queued-resources delete first --force --quiet {WHERE} --project=mine\n",
        ),
    ],
)
def test_a_dry_run_prints_the_commands_and_runs_none(script, name, arguments, expected):
    # --dry-run before the other flags: what comes after -- belongs to the run.
    done = script(name, "--dry-run", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert golden(done.stdout) == expected
    assert done.calls == []


@pytest.mark.parametrize(
    ("type_", "accelerator", "software"),
    [
        ("v4-8", "v4-8", "tpu-ubuntu2204-base"),
        ("v5e-4", "v5litepod-4", "v2-alpha-tpuv5-lite"),
        ("v5p-8", "v5p-8", "v2-alpha-tpuv5"),
        ("v6e-8", "v6e-8", "v2-alpha-tpuv6e"),
    ],
)
def test_every_generation_is_asked_for_and_waited_for(script, type_, accelerator, software):
    states = "WAITING_FOR_RESOURCES\nPROVISIONING\nACTIVE\n"
    done = script("create.sh", *TARGET, "--type", type_, states=states)
    assert done.returncode == 0, done.stderr
    assert f"--accelerator-type={accelerator} --runtime-version={software}" in done.calls[0]
    assert len(done.calls) == 4


def test_a_request_that_fails_is_told(script):
    done = script("create.sh", *TARGET, "--type", "v4-8", states="WAITING\nFAILED\n")
    assert done.returncode == 1
    assert "first: FAILED" in done.stderr


@pytest.mark.parametrize(
    ("codes", "expected"),
    [("0 0\n", 0), ("42 42\n", 42), ("0 3\n", 3), ("42 1\n", 1), ("0 0 0 137\n", 137)],
)
def test_a_run_exits_as_its_workers_do(script, codes, expected):
    assert script("run.sh", *TARGET, *RUN, codes=codes).returncode == expected


def test_a_babysitter_makes_the_tpu_again_until_the_run_is_done(script):
    done = script(
        "babysit.sh",
        *TARGET,
        *("--type", "v5e-16", "--spot"),
        *RUN,
        # There is none; made; taken away; swept; made again; and the run is done.
        states="GONE\nACTIVE\nSUSPENDED\nSUSPENDED\nACTIVE\n",
        codes="42 42\n0 0\n",
    )
    assert done.returncode == 0, done.stderr
    verbs = [" ".join(call.split()[2:4]) for call in done.calls]
    assert verbs.count("queued-resources create") == 2
    assert verbs.count("queued-resources delete") == 2
    assert verbs[-1] == "queued-resources delete"
    runs = [call for call in done.calls if "on_worker.sh run base" in call]
    assert len(runs) == 2
    assert runs[0] == runs[1], "the same run, by the same name"


def test_a_babysitter_leaves_a_run_that_fails_as_it_is(script):
    done = script("babysit.sh", *TARGET, "--type", "v4-8", *RUN, codes="3 3\n")
    assert done.returncode == 3
    assert not any("delete" in call for call in done.calls)


def test_a_babysitter_gives_up(script):
    done = script(
        "babysit.sh", *TARGET, "--type", "v4-8", "--tries", "2", *RUN, states="GONE\n", full=True
    )
    assert done.returncode == 42
    assert "gave up after 2 tries" in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("create.sh", ("First", "--zone", "us-west4-a", "--type", "v4-8"), "NAME is 'First'"),
        ("create.sh", (*TARGET, "--type", "v3-8"), "--type is 'v3-8'"),
        ("create.sh", (*TARGET, "--type", "v4-x"), "expected a size"),
        ("create.sh", (*TARGET, "--type", "tpu7x-8"), "through GKE alone"),
        ("create.sh", ("first", "--zone", "here", "--type", "v4-8"), "--zone is 'here'"),
        ("create.sh", (*TARGET, "--type"), "--type needs a value"),
        ("delete.sh", (*TARGET, "--all"), "unknown flag --all"),
        ("setup_vm.sh", (*TARGET, "--share", "x; rm -rf /"), "--share is 'x; rm"),
        ("run.sh", (*TARGET, "--run", "../up", "--", "train", "x"), "--run is '../up'"),
        ("run.sh", (*TARGET, "--run", "x"), "no arguments after --"),
        ("babysit.sh", (*TARGET, "--tries", "0", *RUN), "--tries is '0'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(script, name, arguments, message):
    done = script(name, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.calls == []


def test_slurm_prints_its_command(tmp_path):
    done = subprocess.run(
        ["bash", SETUP / "slurm.sbatch", "train", "x", "--folder", "a b"],
        env={**os.environ, "ATTN_DRY_RUN": "1"},
        capture_output=True,
        text=True,
    )
    expected = "srun --kill-on-bad-exit=0 .venv/bin/python -m experiments train x --folder a\\ b\n"
    assert done.stdout == expected


def test_devices_are_checked():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tpu_setup.check_devices", "--local", "--seconds", "0.01"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "8 devices: cpu" in done.stdout
    assert "they work; no sheet for cpu" in done.stdout
