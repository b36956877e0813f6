# SPDX-License-Identifier: Apache-2.0
"""Real OOM kills in a real memory cgroup."""
import json

import pytest
from faults import MemoryGroup, memory_hierarchy

pytestmark = pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")

ONLY_OOM = {"detectors": {"hung_task": {"enabled": False}}}


def test_an_oom_kill_names_victim_limit_usage_and_trigger(agent):
    agent = agent(ONLY_OOM)
    with MemoryGroup("lifeboat-test-oom") as group:
        victim = group.hog()
        ended = agent.wait_ended("oom")
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
            lambda item: item["status"].get("occurrences", {}).get("count") == 4, 30, "four kills are counted")
        assert len(agent.abnormals("oom")) == 1
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
    ended = agent.wait_ended("oom")
    container = ended["spec"]["kernelEvent"]["container"]
    assert container["id"] == identity, container
    assert container["cgroupPath"].endswith(identity)


@pytest.mark.parametrize("hook", ["tp_btf/mark_victim", "poll/vmstat"])
def test_each_rung_sees_the_kill(agent, hook):
    agent = agent({"detectors": {"hung_task": {"enabled": False}, "oom": {"hook": hook}}})
    detector = next(item for item in json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
                    if item["name"] == "oom")
    assert detector["hook"] == hook and detector["status"] in ("active", "degraded"), detector
    with MemoryGroup("lifeboat-test-oom-rung") as group:
        group.hog()
        ended = agent.wait_ended("oom")
        assert ended["status"]["reason"] in ("ContainerOutOfMemory", "NodeOutOfMemory"), ended["status"]
        assert group.path in json.dumps(ended["spec"]), ended["spec"]


def test_a_rung_that_this_kernel_lacks_says_so_and_harms_nothing(agent):
    agent = agent({"detectors": {"hung_task": {"enabled": True}, "oom": {"hook": "kprobe/__oom_kill_process"}}})
    detectors = {item["name"]: item for item in json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]}
    if detectors["oom"]["status"] == "active":
        pytest.skip("this kernel has kprobes, so the rung works here")
    assert detectors["oom"]["status"] == "unsupported" and detectors["oom"]["reason"], detectors["oom"]
    assert detectors["hung_task"]["status"] == "active"
