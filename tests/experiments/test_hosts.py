"""Who is one of several processes, and what is said where that cannot be."""

import pytest

from experiments import hosts
from experiments.errors import InputError
from experiments.hosts import Hosts, join, scheduler

STEP = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *a, **k: found.append((a, k)))
    return found


@pytest.fixture
def environment(monkeypatch):
    """Of no scheduler."""
    for name in ("SLURM_STEP_NUM_TASKS", "TPU_WORKER_HOSTNAMES", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hosts, "_has_tpu", lambda: False)
    return monkeypatch


def test_alone_nothing_is_called(environment, calls):
    join(Hosts())
    join(Hosts(count=1))
    assert calls == []


@pytest.mark.parametrize(
    ("variables", "by"),
    [
        ({**STEP, "SLURM_STEP_NUM_TASKS": "2"}, "Slurm"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, None),
        (STEP, None),  # the batch script of two tasks, or a shell in an allocation
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "Cloud TPU"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}, "Kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
    ],
)
def test_a_scheduler_is_known_by_what_it_says(environment, variables, by):
    assert scheduler(variables) == by


def test_a_tpu_is_joined_unless_another_platform_is_asked_for(environment):
    environment.setattr(hosts, "_has_tpu", lambda: True)
    assert scheduler({}) == "Cloud TPU"
    assert scheduler({"JAX_PLATFORMS": "tpu,cpu"}) == "Cloud TPU"
    assert scheduler({"JAX_PLATFORMS": "cpu"}) is None


def test_a_scheduler_needs_no_arguments(environment, calls):
    environment.setenv("SLURM_STEP_NUM_TASKS", "4")
    join(Hosts())
    (arguments, settings), *rest = calls
    assert rest == []
    assert arguments == (None, None, None)
    assert settings["cluster_detection_method"] is None
    join(Hosts(count=1))  # this one alone, whatever Slurm says
    assert len(calls) == 1


def test_flags_count_before_a_scheduler(environment, calls):
    environment.setenv("SLURM_STEP_NUM_TASKS", "4")
    join(Hosts("there:99", 2, 1))
    ((arguments, settings),) = calls
    assert arguments == ("there:99", 2, 1)
    assert settings["cluster_detection_method"] == "deactivate"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Hosts(count=2), "--hosts.coordinator and --hosts.index not given; expected all three"),
        (Hosts("there:99"), "--hosts.count and --hosts.index not given"),
        (Hosts("there", 2, 0), "hosts.coordinator is 'there'; expected HOST:PORT"),
        (Hosts("there:99", 2, 2), "hosts.index is 2; expected at least 0 and less than the 2"),
        (Hosts("there:99", 0, 0), "hosts.count is 0; expected at least 1"),
    ],
)
def test_flags_that_cannot_be(environment, calls, given, says):
    with pytest.raises(InputError, match=says):
        join(given)
    assert calls == []


def test_a_scheduler_that_jax_does_not_find(environment):
    environment.setenv("SLURM_STEP_NUM_TASKS", "2")  # and none of what JAX reads

    def nobody(*arguments, **settings):
        raise ValueError("coordinator_address should be defined.")

    environment.setattr("jax.distributed.initialize", nobody)
    with pytest.raises(InputError, match=r"(?s)by Slurm this is one of several.*--hosts\.count 1"):
        join(Hosts())
