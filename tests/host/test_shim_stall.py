# SPDX-License-Identifier: Apache-2.0
"""Upstream's containerd-shim 1.2.0, deadlocked for real under the distribution's containerd: found and repaired."""
import json
import pathlib

import pytest
from containers import OWN_SHIMS, processes_called
from faults import only_detector, wait_for

POD = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "server",
       "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop",
       "io.kubernetes.cri.sandbox-uid": "6b1c7f3e-0c59-4d2e-9a52-0f6f5a1d2c3b",
       "io.kubernetes.cri.image-name": "registry.example/shop/web:1.4"}


def settings(enabled=True, shims=OWN_SHIMS, **extra):
    own = {"enabled": enabled, "threshold": "3s", "shims": shims}
    return {"detectors": only_detector("shim_stall", own), **extra}


def condition(abnormal, kind):
    return next((each["status"] for each in abnormal["status"]["conditions"] if each["type"] == kind), None)


def assert_cured(agent, containerd, name, shim, ended):
    """What a user sees after the repair of container NAME: the story, and that the container is gone."""
    whole = json.dumps(ended, indent=1)
    status = ended["status"]
    assert (status["phase"], status["reason"]) == ("Succeeded", "ShimDeadlock"), whole
    assert condition(ended, "Recovered") == "True", whole
    assert status["diagnoser"]["name"] == "shim-deadlock" and status["recoverer"]["name"] == "kill-shim", whole
    assert len(status["actions"]) == 1, whole
    action = status["actions"][0]
    assert (action["recoverer"], action["outcome"], action["verification"]) == ("kill-shim", "Done", "Verified"), whole
    assert name in json.dumps(action), "the action tells which containers it affected"
    assert not shim.alive()
    assert name not in containerd.task_ls()
    assert not containerd.groups(name)
    story = agent.story(ended)
    for word in ("ShimDeadlock", "kill-shim", str(shim.pid), name):
        assert word in story, story


def artifacts(abnormal):
    return {artifact["name"]: pathlib.Path(artifact["path"]) for information in abnormal["status"]["information"]
            for artifact in information.get("artifacts", [])}


def test_a_deadlocked_shim_is_found_diagnosed_killed_and_its_task_is_gone(agent, containerd):
    agent = agent(settings())
    shim = containerd.wedge("web", annotations=POD)
    ended = agent.wait_ended("shim_stall", 60)
    assert_cured(agent, containerd, "web", shim, ended)
    event = ended["spec"]["kernelEvent"]
    assert event["type"] in ("ShimUnresponsive", "ShimUnreapedChild"), event
    assert event["process"]["pid"] == shim.pid and event["process"]["startTime"] == shim.start_time, event
    expected = {"runtime": "containerd", "id": "web", "pod": "web-0", "namespace": "shop", "name": "server",
                "podUid": POD["io.kubernetes.cri.sandbox-uid"], "image": "registry.example/shop/web:1.4"}
    assert {key: event["container"].get(key) for key in expected} == expected, event["container"]
    dump = artifacts(ended)["goroutines.txt"].read_text()
    assert "goroutine 1 [chan send" in dump and "Reap" in dump, dump[:2000]
    assert len(agent.abnormals("shim_stall")) == 1
    assert not containerd.log_says("goroutine 1"), "shim_debug was on: the dump need not have been caught"


def test_a_dry_run_only_tells_and_an_agent_started_after_the_deadlock_repairs_it(agent, containerd):
    shim = containerd.wedge("late")
    careful = agent(settings(), "--dry-run", folder="dry")
    status = careful.wait_ended("shim_stall", 60)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "ShimDeadlock"), status
    assert [action["outcome"] for action in status["actions"]] == ["DryRun"], status
    assert "late" in json.dumps(status["actions"]), status
    careful.stop()
    assert shim.alive() and containerd.task_ls()["late"][1] == "UNKNOWN"
    # With the detector's own defaults, unless that would have it look at containers of this node.
    late = settings()
    if not processes_called("containerd-shim", "conmon"):
        del late["detectors"]["shim_stall"]["shims"]
    home = agent(late)
    assert_cured(home, containerd, "late", shim, home.wait_ended("shim_stall", 60))


def test_killed_between_diagnosis_and_repair_the_agent_goes_on_and_kills_the_shim_once(agent, containerd):
    agent = agent(settings())
    shim = containerd.wedge("kill9")
    agent.wait_abnormal(lambda item: item["status"].get("reason") == "ShimDeadlock", 60, "the diagnosis")
    agent.kill()
    agent.start()
    assert_cured(agent, containerd, "kill9", shim, agent.wait_ended("shim_stall", 60))


@pytest.mark.parametrize("context", [{"container": {"id": "stuck"}},
                                     {"pod": {"namespace": "shop", "name": "web-0"}}], ids=["container", "pod"])
def test_an_abnormal_of_another_source_that_names_the_container_is_repaired(agent, containerd, context):
    agent = agent(settings(enabled=False))
    shim = containerd.wedge("stuck", annotations=POD)
    agent.cli("apply", "-f", "-", input=json.dumps({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "Abnormal", "metadata": {"name": "pod-is-stuck"},
        "spec": {"source": "Custom", "context": context, "assignedDiagnosers": [{"name": "shim-deadlock"}]}}))
    ended = agent.wait_abnormal(lambda item: item["status"].get("phase") in ("Succeeded", "Failed"), 60, "it ends")
    assert_cured(agent, containerd, "stuck", shim, ended)
    assert [item["metadata"]["name"] for item in agent.abnormals()] == ["pod-is-stuck"]


def test_a_healthy_shim_named_by_another_source_is_left_alone(agent, containerd):
    agent = agent(settings(enabled=False))
    shim = containerd.run_container("healthy", runtime="v1-buggy")
    agent.cli("apply", "-f", "-", input=json.dumps({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "Abnormal", "metadata": {"name": "wrong-guess"},
        "spec": {"source": "Custom", "context": {"container": {"id": "healthy"}},
                 "assignedDiagnosers": [{"name": "shim-deadlock"}]}}))
    ended = agent.wait_abnormal(lambda item: item["status"].get("phase") in ("Succeeded", "Failed"), 60, "it ends")
    assert ended["status"]["phase"] == "Failed" and not ended["status"].get("actions"), json.dumps(ended, indent=1)
    assert shim.alive() and containerd.answers("healthy")
    containerd.remove("healthy")
    wait_for(lambda: not shim.alive(), 10, "the shim of a removed container ends by itself")
