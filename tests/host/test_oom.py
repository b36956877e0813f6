# SPDX-License-Identifier: Apache-2.0
"""Real OOM kills in a real memory cgroup."""
import contextlib
import json
import pathlib
import shutil
import signal

import pytest
from containers import missing_for_containers
from faults import MemoryGroup, memory_hierarchy, only_detector

pytestmark = pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")

ONLY_OOM = {"detectors": only_detector("oom")}


def wait_kill_in(agent, path):
    """The ended Abnormal of the kill in control group PATH: the agent sees those of the whole node, too."""
    return agent.wait_abnormal(
        lambda item: item["spec"].get("kernelEvent", {}).get("container", {}).get("cgroupPath") == path
        and item.get("status", {}).get("phase") in ("Succeeded", "Failed"), 40, f"the OOM kill in {path} has ended")


def test_an_oom_kill_names_victim_limit_usage_and_trigger(agent):
    agent = agent(ONLY_OOM)
    with MemoryGroup("lifeboat-test-oom") as group:
        victim = group.hog()
        ended = wait_kill_in(agent, group.path)
        event, status = ended["spec"]["kernelEvent"], ended["status"]
        assert event["type"] == "OOMKill"
        assert event["process"]["pid"] == victim.pid
        details = event["details"]
        assert details["scope"] == "cgroup"
        limit = details["limitCgroup"]
        assert limit["path"] == group.path and limit["limitBytes"] == group.limit, limit
        assert limit["usageBytes"] > group.limit * 0.9, limit
        assert details["victim"]["anonBytes"] > group.limit * 0.4, details
        assert details["trigger"]["pid"] == victim.pid
        assert event["container"]["cgroupPath"] == group.path
        assert (status["reason"], status["phase"]) == ("ContainerOutOfMemory", "Succeeded"), status
        assert "20 MiB" in status["message"] or "20.0 MiB" in status["message"], status["message"]
        assert status["diagnoser"]["name"] == "oom"


def test_repeats_fold_into_one_abnormal(agent):
    agent = agent(ONLY_OOM)
    with MemoryGroup("lifeboat-test-oom-repeats") as group:
        for _ in range(4):
            group.hog()
        counted = agent.wait_abnormal(
            lambda item: item["status"].get("occurrences", {}).get("count") == 4
            and item["spec"]["kernelEvent"]["container"]["cgroupPath"] == group.path, 30, "four kills are counted")
        assert len([item for item in agent.abnormals("oom")
                    if item["spec"]["kernelEvent"]["container"]["cgroupPath"] == group.path]) == 1
        assert counted["status"]["occurrences"]["firstTime"] < counted["status"]["occurrences"]["lastTime"]


def test_the_group_may_be_gone_before_anybody_looks(agent):
    agent = agent(ONLY_OOM)
    pod = "lifeboat-test-kubepods"
    with MemoryGroup(pod, megabytes=512) as outer:
        identity = "0123456789abcdef" * 4
        name = f"{pod}/pod11111111-2222-3333-4444-555555555555"
        with MemoryGroup(name, megabytes=512):
            with MemoryGroup(f"{name}/{identity}") as group:
                group.hog()
        del outer
    container = wait_kill_in(agent, f"/{name}/{identity}")["spec"]["kernelEvent"]["container"]
    assert container["id"] == identity, container
    assert container["podUid"] == "11111111-2222-3333-4444-555555555555", container


@pytest.mark.skipif(missing_for_containers() is not None, reason=f"{missing_for_containers()}")
def test_a_container_that_is_gone_when_its_kill_is_read_is_still_told_by_its_pod(agent, containerd):
    containerd.run_container("eater", annotations={
        "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "server",
        "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop"})
    # Where a node's containerd has it; that of the tests keeps apart from there.
    known = pathlib.Path("/run/containerd/io.containerd.runtime.v2.task") / containerd.namespace
    path = f"/{containerd.namespace}/eater"
    try:
        shutil.copytree(containerd.bundle("eater"), known / "eater", ignore=lambda *_: ["rootfs", "work", "log"])
        running = agent(ONLY_OOM)
        group = MemoryGroup(path[1:])
        limit = "memory.limit_in_bytes" if group.version == 1 else "memory.max"
        (group.folder / limit).write_text(str(group.limit))
        running.process.send_signal(signal.SIGSTOP)
        group.hog()
        containerd.remove("eater")
        shutil.rmtree(known)
        assert not group.folder.exists()
        running.process.send_signal(signal.SIGCONT)
        container = wait_kill_in(running, path)["spec"]["kernelEvent"]["container"]
    finally:
        shutil.rmtree(known, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are in there, or it has never been made
            known.parent.rmdir()
    expected = {"runtime": "containerd", "id": "eater", "pod": "web-0", "namespace": "shop", "name": "server"}
    assert {key: container.get(key) for key in expected} == expected, container


@pytest.mark.parametrize("hook", ["tp_btf/mark_victim", "poll/vmstat"])
def test_each_rung_sees_the_kill(agent, hook):
    agent = agent({"detectors": {**ONLY_OOM["detectors"], "oom": {"hook": hook}}})
    detector = next(item for item in json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
                    if item["name"] == "oom")
    assert detector["hook"] == hook and detector["status"] in ("active", "degraded"), detector
    with MemoryGroup("lifeboat-test-oom-rung") as group:
        group.hog()
        ended = wait_kill_in(agent, group.path)
        assert ended["status"]["reason"] in ("ContainerOutOfMemory", "NodeOutOfMemory"), ended["status"]
        assert group.path in json.dumps(ended["spec"]), ended["spec"]


def test_a_rung_that_this_kernel_lacks_says_so_and_harms_nothing(agent):
    agent = agent({"detectors": {"hung_task": {"enabled": True}, "oom": {"hook": "kprobe/__oom_kill_process"}}})
    detectors = {item["name"]: item for item in json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]}
    if detectors["oom"]["status"] == "active":
        pytest.skip("this kernel has kprobes, so the rung works here")
    assert detectors["oom"]["status"] == "unsupported" and detectors["oom"]["reason"], detectors["oom"]
    assert detectors["hung_task"]["status"] == "active"
