# SPDX-License-Identifier: Apache-2.0
"""Real control groups in trouble, v1 and v2, whichever this host has.

That nothing happens to a group is told by a canary: another one that is in trouble for certain, and for less long.
"""
import contextlib
import json
import pathlib
import subprocess
import sys

import pytest
from containers import Unavailable
from faults import ControlGroup, only_detector, process_state, wait_for


def hierarchy(controller, version):
    """Folder of the hierarchy with CONTROLLER in that version, or None."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        folder = pathlib.Path(fields.split(" ")[4])
        if version == 1 and kind == "cgroup" and controller in options.split(" ")[-1].split(","):
            return folder
        if version == 2 and kind == "cgroup2":
            controllers = (folder / "cgroup.controllers").read_text().split()
            if controller == "freezer" or controller in controllers:
                return folder
    return None


class Group(ControlGroup):
    """That can be frozen."""

    def freeze(self):
        if self.version == 1:
            (self.folder / "freezer.state").write_text("FROZEN")
        else:
            (self.folder / "cgroup.freeze").write_text("1")
        wait_for(self.frozen, 10, f"{self.folder} is frozen")

    def thaw(self):
        if self.version == 1:
            (self.folder / "freezer.state").write_text("THAWED")
        else:
            (self.folder / "cgroup.freeze").write_text("0")

    def frozen(self):
        if self.version == 1:
            return (self.folder / "freezer.state").read_text().strip() == "FROZEN"
        return "frozen 1" in (self.folder / "cgroup.events").read_text()

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.thaw()
        super().__exit__()


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def freezer(request):
    """(folder, version) of a hierarchy whose groups can be frozen."""
    folder = hierarchy("freezer", request.param)
    if folder is None:
        pytest.skip(f"no hierarchy with freezers of v{request.param} is mounted")
    return folder, request.param


def settings(faults=None, **recoverer):
    whole = {"detectors": only_detector("cgroup", faults or {"frozen": {"threshold": "1s"}})}
    if recoverer:
        whole["recoverers"] = {"thaw-cgroup": {"enabled": True, **recoverer}}
    return whole


def about(item, path):
    return item["spec"]["kernelEvent"]["details"]["cgroup"]["path"] == path


def wait_group(agent, path, seconds=40):
    return agent.wait_abnormal(lambda item: item["spec"].get("kernelEvent", {}).get("detector") == "cgroup"
                               and about(item, path) and item["status"].get("phase") in ("Succeeded", "Failed"),
                               seconds, f"an Abnormal of {path} ends")


def moves(process):
    """Whether the process has run since the last look, as its switches tell."""
    def switches():
        text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return text[text.index("voluntary_ctxt_switches"):]
    before = switches()
    return lambda: switches() != before


# --- Frozen --------------------------------------------------------------------------------------


def test_a_frozen_group_is_told_and_left_as_it_is_where_nobody_knows_why(agent, freezer):
    root, version = freezer
    agent = agent(settings(cooldown="1s"))
    with Group(root, "lifeboat-test-frozen", version) as group:
        process = group.sleeper()
        group.freeze()
        item = wait_group(agent, group.path)
        event, status = item["spec"]["kernelEvent"], item["status"]
        assert event["type"] == "CgroupFrozen" and event["container"]["cgroupPath"] == group.path, event
        details = event["details"]
        assert details["state"] == ("FROZEN" if version == 1 else "frozen") and details["seconds"] >= 1, details
        assert details["cgroup"]["version"] == version and details["cgroup"]["id"] == group.folder.stat().st_ino
        assert details["members"]["processes"] == 1 and details["members"]["families"], details
        assert "state" not in details["runtime"] and "no container" in details["runtime"]["unknown"], details
        assert status["reason"] == "CgroupFrozen" and "cannot be told" in status["message"], status
        assert status["phase"] == "Failed" and group.frozen(), status
        text = agent.story(item)
        assert group.path in text and "whether it is on purpose is not known" in text, text
        assert process.poll() is None


def test_a_frozen_group_of_nobody_is_thawed_where_the_operator_says_so(agent, freezer):
    root, version = freezer
    agent = agent(settings(unowned=True))
    with Group(root, "lifeboat-test-thawed", version) as group:
        process = group.sleeper()
        group.freeze()
        moved = moves(process)
        item = wait_group(agent, group.path)
        assert item["status"]["phase"] == "Succeeded", item["status"]
        assert "its processes run again" in item["status"]["message"], item["status"]
        assert not group.frozen()
        wait_for(moved, 10, "the process runs", lambda: process_state(process.pid))


def test_what_is_empty_or_thawed_in_time_is_not_told(agent, freezer):
    root, version = freezer
    agent = agent(settings())
    with Group(root, "lifeboat-test-empty", version) as empty, Group(root, "lifeboat-test-short", version) as short, \
         Group(root, "lifeboat-test-canary", version) as canary:
        for group in (short, canary):
            group.sleeper()
        empty.freeze()
        short.freeze()
        short.thaw()
        canary.freeze()
        wait_group(agent, canary.path)
        items = [item for item in agent.abnormals("cgroup") if not about(item, canary.path)]
        assert not items, json.dumps(items, indent=1)


@pytest.fixture(scope="module")
def plain_containerd(tmp_path_factory):
    from containers import Containerd
    try:
        with Containerd(tmp_path_factory.mktemp("lifeboat-test-cgroup")) as started:
            yield started
    except Unavailable as reason:
        pytest.skip(str(reason))


def container_freezer(containerd, name):
    """The group of the container in which its runtime freezes it."""
    for version, file in ((1, "freezer.state"), (2, "cgroup.freeze")):
        for folder in containerd.groups(name):
            if (folder / file).exists():
                group = Group(folder.parent, folder.name, version)
                group.path = f"/{containerd.namespace}/{name}"
                return group
    pytest.skip(f"container {name} has no group with a freezer")


def test_a_paused_container_is_left_alone_and_one_that_was_frozen_by_hand_is_thawed(agent, plain_containerd):
    containerd = plain_containerd
    containerd.run_container("paused")
    containerd.run_container("frozen")
    paused, frozen = container_freezer(containerd, "paused"), container_freezer(containerd, "frozen")
    try:
        containerd.pause("paused")
        agent = agent(settings(unowned=True))
        frozen.freeze()
        item = wait_group(agent, frozen.path)
        runtime = item["spec"]["kernelEvent"]["details"]["runtime"]
        assert runtime["state"] == "running" and runtime["container"] == "frozen", runtime
        assert item["spec"]["kernelEvent"]["container"]["id"] == "frozen", item["spec"]["kernelEvent"]
        assert "did not pause it" in item["status"]["message"], item["status"]
        assert item["status"]["phase"] == "Succeeded", item["status"]
        assert containerd.answers("frozen")
        # The other was frozen before, and all this time.
        assert paused.frozen()
        items = [item for item in agent.abnormals("cgroup") if about(item, paused.path)]
        assert not items, json.dumps(items, indent=1)
        assert containerd.task_ls()["paused"][1] == "PAUSED"
    finally:
        frozen.thaw()
        containerd.ctr("task", "resume", "paused", check=False)
        containerd.clear()


# --- Limits of pids --------------------------------------------------------------------------------


@pytest.fixture
def pids_hierarchy():
    for version in (1, 2):
        folder = hierarchy("pids", version)
        if folder is not None and (version == 1
                                   or "pids" in (folder / "cgroup.subtree_control").read_text().split()):
            return folder, version
    return pytest.skip("no hierarchy with the pids controller is mounted, or it is not given to groups below its root")


FORKS = """
import os, sys, time
children = []
def fork():
    try:
        pid = os.fork()
    except BlockingIOError:
        return False
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    children.append(pid)
    return True
while fork(): pass
print("refused", flush=True)
sys.stdin.readline()
for _ in range(4): fork()
print("again", flush=True)
sys.stdin.readline()
for child in children: os.kill(child, 9)
"""


def test_forks_that_a_limit_refuses_are_told_with_the_limit_and_who_used_it_up(agent, pids_hierarchy):
    root, version = pids_hierarchy
    agent = agent(settings({"pids": {"clearAfter": "6s"}}))
    wait_for(lambda: looks(agent) >= 2, 20, "the agent has seen the counters before the fault")
    with Group(root, "lifeboat-test-pids", version) as group:
        (group.folder / "pids.max").write_text("12")
        join = f"import os; open({str(group.folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        process = subprocess.Popen([sys.executable, "-c", join + FORKS], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        group.processes.append(process)
        try:
            assert process.stdout.readline() == "refused\n"
            item = wait_group(agent, group.path)
            event, status = item["spec"]["kernelEvent"], item["status"]
            details = event["details"]
            assert event["type"] == "PidsLimit" and details["limit"] == 12 and details["current"] == 12, details
            assert details["refused"] == 1 and details["members"]["processes"] == 12, details
            assert details["members"]["families"][0]["processes"] == 12, details
            assert status["reason"] == "PidsLimitReached" and status["phase"] == "Failed", status
            assert "use it up (12" in status["message"], status
            text = agent.story(item)
            assert "1 fork refused, at 12 of 12 pids" in text, text
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "again\n"
            # None is lost, and it is one fault.
            agent.wait_abnormal(lambda item: about(item, group.path)
                                and item["status"]["occurrences"]["count"] == 5, 40, "all five forks are counted")
            assert len(agent.abnormals("cgroup")) == 1
        finally:
            with contextlib.suppress(OSError):
                process.stdin.write("\n")
                process.stdin.flush()
            process.wait(20)
            process.stdin.close()
            process.stdout.close()


def looks(agent):
    items = json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
    return next(item["looks"] for item in items if item["name"] == "cgroup")


# --- CPU quotas ------------------------------------------------------------------------------------


def test_a_group_that_wants_far_more_than_its_quota_is_told_and_one_that_is_idle_is_not(agent):
    root, version = hierarchy("cpu", 1), 1
    if root is None:
        root, version = hierarchy("cpu", 2), 2
    if root is None or (version == 2 and "cpu" not in (root / "cgroup.subtree_control").read_text().split()):
        pytest.skip("no hierarchy with the cpu controller is mounted, or it is not given to groups below its root")
    agent = agent(settings({"throttled": {"threshold": "2s"}}))
    with Group(root, "lifeboat-test-cpu", version) as group, Group(root, "lifeboat-test-idle", version) as idle:
        for each in (idle, group):
            if not (each.folder / ("cpu.cfs_quota_us" if version == 1 else "cpu.max")).exists():
                pytest.skip("this kernel has no CPU quotas (CONFIG_CFS_BANDWIDTH)")
            if version == 1:
                (each.folder / "cpu.cfs_quota_us").write_text("10000")
            else:
                (each.folder / "cpu.max").write_text("10000 100000")
        idle.sleeper()
        group.spawn("while True: pass")
        item = wait_group(agent, group.path, 60)
        details, status = item["spec"]["kernelEvent"]["details"], item["status"]
        assert details["quotaCPUs"] == 0.1 and details["throttledPercent"] >= 80, details
        assert details["members"]["processes"] == 1, details
        assert status["reason"] == "CPUThrottled" and status["phase"] == "Failed", status
        text = agent.story(item)
        assert "its quota is 0.1 CPUs" in text, text
        assert not [item for item in agent.abnormals("cgroup") if about(item, idle.path)]
