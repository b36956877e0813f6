# SPDX-License-Identifier: Apache-2.0
"""Containers that containerd has lost while their processes go on, beside others that only look like that.

That nothing is told of a container is told by a canary: another one that is left over for certain, and for less long.
"""
import contextlib
import json
import pathlib
import signal
import subprocess
import sys

import pytest
from containers import Containerd, Shim, Unavailable, cgroup_hierarchies, remove_groups, start_time
from faults import Filesystem, end_process, only_detector, process_state, wait_for

SEVERAL = ["/bin/sh", "-c", "sleep 1001 & sleep 1002 & (sleep 1003 &) ; exec sleep 1004"]
# By such an id a container is known without its bundle, and by the path of its control group alone.
ID = "1f" * 32


@pytest.fixture(scope="module")
def containerd_of_these(tmp_path_factory):
    try:
        with Containerd(tmp_path_factory.mktemp("lifeboat-test-leftover")) as started:
            yield started
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def containerd(containerd_of_these):
    yield containerd_of_these
    if containerd_of_these.process.poll() is not None:
        containerd_of_these.launch()
    containerd_of_these.clear()


def settings(kill=False, threshold="2s", **others):
    faults = {"frozen": {"enabled": False}, "pids": {"enabled": False}, "throttled": {"enabled": False},
              "leftover": {"threshold": threshold}}
    whole = {"detectors": only_detector("cgroup", faults)}
    if kill:
        whole["recoverers"] = {"kill-leftover": {"enabled": True, "cooldown": "1s", **others}}
    return whole


def run_several(containerd, name):
    shim = containerd.run_container(name, SEVERAL)
    wait_for(lambda: names_of(containerd.processes(name)) == ["sleep"] * 4, 10,
             f"container {name} has its four processes", lambda: names_of(containerd.processes(name)))
    return shim


def names_of(pids):
    names = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append(pathlib.Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def identities(pids):
    return {(pid, start_time(pid)) for pid in pids}


def alive(processes):
    return {(pid, start) for pid, start in processes if start_time(pid) == start and process_state(pid) != "Z"}


def is_about(item, containerd, name):
    return item["spec"]["kernelEvent"]["details"]["cgroup"]["path"] == f"/{containerd.namespace}/{name}"


def wait_told(agent, containerd, name, seconds=120):
    return agent.wait_abnormal(lambda item: item["spec"].get("kernelEvent", {}).get("detector") == "cgroup"
                               and is_about(item, containerd, name)
                               and item["status"].get("phase") in ("Succeeded", "Failed"),
                               seconds, f"an Abnormal of container {name} ends")


def looks(agent):
    items = json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
    return next(item["looks"] for item in items if item["name"] == "cgroup")


def wait_looked(agent, count=3):
    """Where the machine is busy a round costs more, and the next one comes later."""
    before = looks(agent)
    wait_for(lambda: looks(agent) >= before + count, 120, "the agent has looked at all control groups")


def test_what_containerd_left_behind_is_told_killed_and_its_groups_removed(agent, containerd):
    run_several(containerd, ID)
    shim = run_several(containerd, "2e" * 32)
    beside = identities(containerd.processes("2e" * 32))
    agent = agent(settings(kill=True))
    wait_looked(agent)
    left = identities(containerd.processes(ID))
    containerd.leave_behind(ID)
    assert alive(left) == left, "they are the same processes, and nothing has ended them"
    item = wait_told(agent, containerd, ID)
    event, status = item["spec"]["kernelEvent"], item["status"]
    details = event["details"]
    assert event["type"] == "LeftoverContainer" and event["container"]["id"] == ID, event
    assert details["exact"] is True and details["knownBy"] == "bundle-seen", details
    assert details["bundle"].endswith(f"/{containerd.namespace}/{ID}") and details["seconds"] >= 2, details
    assert details["members"]["processes"] == 4 and details["members"]["families"][0]["comm"] == "sleep", details
    assert status["reason"] == "LeftoverContainer" and status["phase"] == "Succeeded", status
    action = status["actions"][-1]
    assert action["recoverer"] == "kill-leftover" and "killed 4 processes" in action["message"], status
    assert not alive(left)
    assert not containerd.groups(ID), "its control groups are removed in every hierarchy"
    # containerd has forgotten the one beside it as well, but not killed its shim.
    assert alive(beside) == beside and shim.alive()
    items = [item for item in agent.abnormals("cgroup") if not is_about(item, containerd, ID)]
    assert not items, json.dumps(items, indent=1)


def test_what_was_left_behind_before_the_agent_came_is_known_by_what_runc_wrote_down(agent, containerd):
    run_several(containerd, ID)
    containerd.leave_behind(ID)
    left = identities(containerd.processes(ID))
    agent = agent(settings())
    item = wait_told(agent, containerd, ID)
    details, status = item["spec"]["kernelEvent"]["details"], item["status"]
    assert details["exact"] is True and details["knownBy"] == "runtime-state", details
    # The recoverer is off by default.
    assert status["phase"] == "Failed" and status["reason"] == "LeftoverContainer", status
    assert "was removed, and 4 of its processes go on" in status["message"], status
    text = agent.story(item)
    assert "nobody has had its processes for" in text and "names a bundle that is gone" in text, text
    assert alive(left) == left


def test_a_container_is_known_by_its_name_when_its_bundle_is_gone(agent, containerd):
    annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-name": "cart-1",
                   "io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.container-name": "web"}
    containerd.run_container("own", annotations=annotations)
    # Its control group is of a name that tells nothing: by this one the agent learns where its bundle lies.
    containerd.run_container("2e" * 32)
    agent = agent(settings(kill=True))
    wait_looked(agent)
    left = identities(containerd.processes("own"))
    containerd.leave_behind("own")
    item = wait_told(agent, containerd, "own")
    container, status = item["spec"]["kernelEvent"]["container"], item["status"]
    assert (container["namespace"], container["pod"], container["name"]) == ("shop", "cart-1", "web"), container
    assert status["message"].startswith("container web of pod shop/cart-1 was removed"), status
    assert status["phase"] == "Succeeded", status
    assert not alive(left) and not containerd.groups("own")


def test_containers_whose_shim_is_alive_are_left_alone_whatever_their_runtime_does(agent, containerd, scratch):
    canary, restarted, other_id, paused = ID, "2e" * 32, "3d" * 32, "4c" * 32
    with Containerd(scratch / "other") as other:
        for owner, name in ((containerd, restarted), (containerd, canary), (containerd, paused), (other, other_id)):
            run_several(owner, name)
        containerd.pause(paused)
        agent = agent(settings(kill=True, threshold="2s"))
        wait_looked(agent)
        # A runtime that is down, and whose folder is taken away as by a reinstallation: its shim is there.
        end_process(other.process)
        bundle = other.bundle(other_id)
        bundle.rename(bundle.with_name("away"))
        well = {(owner, name): identities(owner.processes(name)) for owner, name in
                ((containerd, restarted), (containerd, paused), (other, other_id))}
        wait_looked(agent, 4)
        containerd.leave_behind(canary)  # which restarts containerd
        wait_told(agent, containerd, canary)
        wait_looked(agent)
        items = [item for item in agent.abnormals("cgroup") if not is_about(item, containerd, canary)]
        assert not items, json.dumps(items, indent=1)
        for (owner, name), processes in well.items():
            assert alive(processes) == processes, name
        bundle.with_name("away").rename(bundle)
        other.launch()
        wait_for(lambda: other.process.poll() is not None or other.answers(other_id), 30, "the other is back",
                 other.tail)


def test_without_a_shim_it_is_left_alone_while_its_bundle_is_there(agent, containerd):
    """As conmon, or a shim, that the OOM killer took: the runtime knows the container, and may come back to it."""
    run_several(containerd, "5b" * 32)
    run_several(containerd, ID)
    agent = agent(settings(kill=True))
    wait_looked(agent)
    kept, processes = containerd.bundle("5b" * 32), identities(containerd.processes("5b" * 32))
    shim = containerd.shim("5b" * 32)
    end_process(containerd.process)
    shim.signal(signal.SIGKILL)
    wait_for(lambda: not shim.alive(), 10, "the shim is gone")
    wait_looked(agent, 4)
    assert kept.exists()
    orphan, orphan_bundle = containerd.shim(ID), containerd.bundle(ID)
    orphan.signal(signal.SIGKILL)
    subprocess.run(["umount", "--lazy", str(orphan_bundle / "rootfs")], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-r", str(orphan_bundle)], check=True)
    wait_told(agent, containerd, ID)
    items = [item for item in agent.abnormals("cgroup") if not is_about(item, containerd, ID)]
    assert not items, json.dumps(items, indent=1)
    assert alive(processes) == processes


def test_a_process_that_sigkill_does_not_end_is_not_called_ended(agent, containerd, scratch):
    run_several(containerd, ID)
    agent = agent(settings(kill=True, verifyWithin="1s"))
    wait_looked(agent)
    writer = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('x')"]
    with Filesystem(scratch / "fs") as filesystem:
        containerd.leave_behind(ID)
        filesystem.freeze()
        command = [*writer, str(filesystem.mount / "file")]
        subprocess.run(["setsid", "--fork", *command], check=True)
        stuck = wait_for(lambda: next(iter(orphans(*command)), None), 10, "a writer that is init's child")
        start = start_time(stuck)
        wait_for(lambda: process_state(stuck) == "D", 10, "it hangs", lambda: process_state(stuck))
        for group in containerd.groups(ID):
            (group / "cgroup.procs").write_text(str(stuck))
        item = wait_told(agent, containerd, ID)
        status = item["status"]
        action = status["actions"][-1]
        assert status["phase"] == "Failed" and action["recoverer"] == "kill-leftover", status
        assert f"(pid {stuck})" in status["message"] and "uninterruptible sleep" in status["message"], status
        assert containerd.processes(ID) == {stuck} and start_time(stuck) == start, "all but that one have ended"
        filesystem.thaw()
        wait_for(lambda: start_time(stuck) != start, 10, "it has ended", lambda: process_state(stuck))


def test_what_nothing_is_known_of_is_told_as_not_certain_and_never_killed(agent, containerd):
    """Neither was its bundle ever seen, nor did runc write anything down: its name alone speaks for it."""
    tasks = pathlib.Path("/run/containerd/io.containerd.runtime.v2.task")
    made = [folder for folder in (tasks.parent, tasks) if not folder.exists()]
    tasks.mkdir(parents=True, exist_ok=True)
    path = f"/docker/{ID}"
    specification_group = f"docker/{ID}"
    process = None
    folders = []
    try:
        process = subprocess.Popen(["setsid", "--fork", "sleep", "1007"])
        process.wait(10)
        pid = wait_for(lambda: next((pid for pid in orphans("sleep", "1007")), None), 10, "an orphan of init")
        orphan = Shim(pid)
        for top in cgroup_hierarchies():
            folder = top / specification_group
            if top.name in ("cpuset", "unified") or folder.exists():
                continue
            folder.mkdir(parents=True)
            folders.append(folder)
            (folder / "cgroup.procs").write_text(str(pid))
        agent = agent(settings(kill=True))
        item = agent.wait_abnormal(lambda item: item["spec"].get("kernelEvent", {}).get("details", {})
                                   .get("cgroup", {}).get("path") == path
                                   and item["status"].get("phase") in ("Succeeded", "Failed"), 120, "it is told")
        details, status = item["spec"]["kernelEvent"]["details"], item["status"]
        assert details["exact"] is False and details["knownBy"] == "path", details
        assert status["phase"] == "Failed" and "seems to have been removed" in status["message"], status
        assert "not certain" in status["message"] and not [a for a in status.get("actions", []) if a["outcome"] == "Done"]
        assert orphan.alive()
    finally:
        for pid in orphans("sleep", "1007"):
            Shim(pid).signal(signal.SIGKILL)
        wait_for(lambda: remove_groups(specification_group), 10, "its groups can be removed")
        for folder in folders:
            remove_if_empty(folder.parent)
        for folder in reversed(made):
            remove_if_empty(folder)


def remove_if_empty(folder):
    with contextlib.suppress(OSError):
        folder.rmdir()


def orphans(*arguments):
    """Children of init with these arguments."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words == [word.encode() for word in arguments] and parent == "1":
                found.append(int(entry.name))
    return found
