"""The files for Kubernetes and SkyPilot say what their readers understand."""

from pathlib import Path

import pytest
import yaml

SETUP = Path(__file__).parents[2] / "tpu_setup"
JOBSETS = list(yaml.safe_load_all((SETUP / "jobset.yaml").read_text("utf-8")))
REASONS = {
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
}


@pytest.mark.parametrize("jobset", JOBSETS, ids=lambda jobset: jobset["metadata"]["name"])
def test_a_jobset_is_one_by_the_published_schema(jobset):
    """Models made of it check types, and leave out fields that they do not know."""
    models = pytest.importorskip(
        "kubeflow_trainer_api.models", reason="needs the extra `launch-test`"
    )
    assert models.JobsetV1alpha2JobSet.from_dict(jobset).to_dict() == jobset


@pytest.mark.parametrize("jobset", JOBSETS, ids=lambda jobset: jobset["metadata"]["name"])
def test_a_jobset_says_what_a_run_needs(jobset):
    """The fields of JobSet v1alpha2 and Job v1 that we use, with their values."""
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = jobset["spec"]
    assert spec.keys() <= {"failurePolicy", "network", "replicatedJobs"}
    restart, fail = spec["failurePolicy"]["rules"]
    assert restart["action"] == "RestartJobSet"
    assert set(restart["onJobFailureReasons"]) <= REASONS
    assert fail == {"name": "failed", "action": "FailJobSet"}
    assert isinstance(spec["failurePolicy"]["maxRestarts"], int)

    (job,) = spec["replicatedJobs"]
    assert job.keys() == {"name", "replicas", "template"}
    inner = job["template"]["spec"]
    assert inner["completionMode"] == "Indexed"
    assert inner["parallelism"] == inner["completions"]
    assert inner["backoffLimit"] == 0, "one pod alone cannot go on: all begin again"
    codes, disruption = inner["podFailurePolicy"]["rules"]
    assert codes["action"] == disruption["action"] == "FailJob"
    assert 42 in codes["onExitCodes"]["values"], "a run that was told to stop goes on"

    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "a Job with a failure policy knows no other"
    assert pod["terminationGracePeriodSeconds"] >= 30, "time to save"
    (container,) = pod["containers"]
    assert container["name"] == codes["onExitCodes"]["containerName"]
    assert all(isinstance(word, str) for word in container["command"] + container["args"])
    claims = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == claims


def test_gpu_pods_are_told_where_they_are_and_tpu_pods_are_not():
    tpu, gpu = (
        jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
        for jobset in JOBSETS
    )
    assert "--hosts.index" not in tpu["args"]
    flags = dict(zip(gpu["args"], gpu["args"][1:], strict=False))
    count = JOBSETS[1]["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"]
    assert flags["--hosts.count"] == str(count)
    assert flags["--hosts.index"] == "$(JOB_COMPLETION_INDEX)"
    host, _, port = flags["--hosts.coordinator"].partition(":")
    assert host == "attn-gpu-workers-0-0.attn-gpu"
    assert port.isdigit()


def test_skypilot_reads_its_file():
    sky = pytest.importorskip("sky", reason="needs the extra `launch-test`")
    task = sky.Task.from_yaml(str(SETUP / "skypilot.yaml"))
    assert task.num_nodes == 1
    assert {name for each in task.resources for name in each.accelerators} >= {"H100"}
    assert all(each.use_spot for each in task.resources)
    assert "/attn-runs" in task.storage_mounts
