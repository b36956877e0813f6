# SPDX-License-Identifier: Apache-2.0
"""Real control groups at their limit of memory: those that do not get on, and those that do.

That nothing is told of a group is proven by a canary: another one that is told, and began later.
"""
import json
import os
import pathlib

import pytest
from faults import Filesystem, MemoryGroup, memory_hierarchy, only_detector, process_state, run, wait_for

pytestmark = pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")

RUNGS = ("tp_btf/mm_vmscan_memcg_reclaim_begin", "raw_tp/mm_vmscan_memcg_reclaim_begin")

# Uses pages of a mapped file here and there, which the limit has no room for: each use reads it again.
THRASH = """
import mmap, random, sys
with open(sys.argv[1], "rb") as file:
    pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
size = len(pages)
while True: pages[random.randrange(size)]
"""

# Reads a file that is so large that nothing of it is read twice.
STREAM = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
buffer = bytearray(1 << 18)
while os.readv(file, [buffer]): pass
"""

# Writes a large file anew, again and again.
WRITE = """
import os, sys
block = bytes(1 << 18)
while True:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for _ in range(4 * 128): os.write(file, block)
    os.close(file)
"""


def settings(**own):
    return {"detectors": only_detector("memory_stall", {"threshold": "5s", "percent": 20, **own})}


def about(item, group):
    event = item["spec"].get("kernelEvent", {})
    return event.get("detector") == "memory_stall" and event["details"]["cgroup"]["path"] == group.path


def wait_stall(agent, group, seconds=60):
    return agent.wait_abnormal(lambda item: about(item, group) and item["status"].get("phase") == "Failed", seconds,
                               f"the stall of {group.path} is told and diagnosed")


def counters(agent, group):
    """The entry of the group in the map for people."""
    entries = json.loads(run("bpftool", "-j", "map", "dump", "pinned", agent.bpffs() / "cgroup_counters"))
    found = [entry["formatted"]["value"] for entry in entries
             if entry["formatted"]["key"]["cgroup_id"] == group.folder.stat().st_ino]
    assert found, f"{group.path} is not in {entries}"
    return found[0]


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory):
    """On a loop device, with a file of 64 MiB."""
    with Filesystem(tmp_path_factory.mktemp("lifeboat-test-stall"), megabytes=640) as made:
        (made.mount / "large").write_bytes(os.urandom(1 << 20) * 64)
        yield made


@pytest.fixture
def files(filesystem):
    """The same, with nothing of the file in memory: what is there already is charged to nobody who reads it."""
    with open(filesystem.mount / "large", "rb") as large:
        os.fsync(large.fileno())
        os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return filesystem


@pytest.mark.parametrize("hook", RUNGS)
def test_a_group_whose_files_do_not_fit_is_told_with_what_it_costs_until_it_is_over(agent, files, hook):
    agent = agent(settings(hook=hook))
    detector = next(item for item in json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
                    if item["name"] == "memory_stall")
    assert (detector["hook"], detector["status"]) == (hook, "active"), detector
    with MemoryGroup("lifeboat-test-stall") as group:
        tasks = [group.spawn(THRASH, files.mount / "large") for _ in range(4)]
        item = wait_stall(agent, group)
        event, status = item["spec"]["kernelEvent"], item["status"]
        details = event["details"]
        assert event["type"] == "MemoryStall" and event["container"]["cgroupPath"] == group.path, event
        assert details["cgroup"]["id"] == group.folder.stat().st_ino, details
        assert details["limitBytes"] == group.limit and details["usageBytes"] > group.limit * 0.7, details
        assert details["stallPercent"] >= 20 and details["reclaims"] > 100 and details["limitHits"] > 100, details
        assert details["refaults"]["returnedPercent"] >= 25 and details["refaults"]["fileBytes"] > 0, details
        pids = {task.pid for task in tasks}
        assert event["process"]["pid"] in pids and {task["pid"] for task in details["tasks"]} <= pids, event
        assert details["tasks"][0]["reclaimSeconds"] >= details["tasks"][-1]["reclaimSeconds"] > 0, details
        assert status["reason"] == "MemoryStall" and "20 MiB of its limit" in status["message"], status
        assert "do not fit" in status["message"], status
        text = agent.story(item)
        assert group.path in text and "came back" in text and "in reclaim:" in text, text
        entry = counters(agent, group)
        assert entry["name"] == "lifeboat-test-stall" and entry["reclaims"] > 100 and entry["reclaim_ns"] > 0, entry
        for task in tasks:
            task.kill()
            task.wait(10)
        agent.wait_abnormal(lambda item: about(item, group) and "cleared" in item["status"].get("context", {}),
                            30, "the end of the stall is told")
        assert len([item for item in agent.abnormals("memory_stall") if about(item, group)]) == 1


def test_the_limit_of_a_parent_is_the_subject_where_the_group_has_none(agent, files):
    agent = agent(settings())
    with MemoryGroup("lifeboat-test-pod") as pod:
        with MemoryGroup("lifeboat-test-pod/container", megabytes=512) as container:
            for _ in range(4):
                container.spawn(THRASH, files.mount / "large")
            item = wait_stall(agent, pod)
            assert item["spec"]["kernelEvent"]["details"]["limitBytes"] == pod.limit
            assert not [item for item in agent.abnormals("memory_stall") if about(item, container)]


def test_short_processes_that_come_and_go_are_told_together(agent, files):
    agent = agent(settings())
    with MemoryGroup("lifeboat-test-short") as group:
        group.spawn("""
import os, sys
def work():
    if os.fork() == 0:
        import mmap, random, time
        end = time.monotonic() + 0.5
        with open(sys.argv[1], "rb") as file:
            pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        while time.monotonic() < end: pages[random.randrange(len(pages))]
        os._exit(0)
for _ in range(4): work()
while True:
    os.wait()
    work()
""", files.mount / "large")
        details = wait_stall(agent, group)["spec"]["kernelEvent"]["details"]
        assert details["stallPercent"] >= 20, details


def test_a_reader_and_a_writer_of_large_files_at_the_limit_are_not_told(agent, files):
    """Both make room for page after page, and none of those is needed again: their share alone would be told."""
    agent = agent(settings(percent=5))
    sparse = files.mount / "sparse"
    with open(sparse, "wb") as file:
        file.truncate(1 << 40)
    with MemoryGroup("lifeboat-test-reader") as reader, MemoryGroup("lifeboat-test-writer") as writer, \
         MemoryGroup("lifeboat-test-canary") as canary:
        reader.spawn(STREAM, sparse)
        writer.spawn(WRITE, files.mount / "written")

        def failures(group):
            name = "memory.failcnt" if group.version == 1 else "memory.events"
            return (group.folder / name).read_text()

        before = failures(reader), failures(writer)
        wait_for(lambda: failures(reader) != before[0] and failures(writer) != before[1], 20,
                 "reader and writer have met their limits")
        for _ in range(4):
            canary.spawn(THRASH, files.mount / "large")
        wait_stall(agent, canary)
        items = [item for item in agent.abnormals("memory_stall") if not about(item, canary)]
        assert not items, json.dumps(items, indent=1)


@pytest.mark.skipif(memory_hierarchy()[1] == 2, reason="on v2 the writer is put to sleep before it reclaims")
def test_a_reclaim_that_never_ends_is_told_while_it_lasts(agent, scratch):
    """Its pages are to be written to a disk whose own file lies on a frozen file system."""
    agent = agent(settings())
    with Filesystem(scratch / "outer", megabytes=400) as outer, \
         Filesystem(outer.mount / "inner", megabytes=256) as inner, MemoryGroup("lifeboat-test-stuck") as group:
        outer.freeze()
        try:
            writer = group.spawn(WRITE, inner.mount / "written")
            item = wait_stall(agent, group)
            details, message = item["spec"]["kernelEvent"]["details"], item["status"]["message"]
            task, = details["tasks"]
            assert task["pid"] == writer.pid and task["inReclaimSeconds"] >= 5, details
            assert process_state(writer.pid) == "D"
            assert "a task has been in one reclaim for" in message and "look at the disk" in message, message
        finally:
            outer.thaw()
        writer.kill()
        writer.wait(20)
        agent.wait_abnormal(lambda item: about(item, group) and "cleared" in item["status"].get("context", {}), 30,
                            "the end is told")


def test_a_rung_that_this_node_lacks_says_why(agent):
    agent = agent(settings(hook="poll/pressure"))
    detector = next(item for item in json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
                    if item["name"] == "memory_stall")
    if memory_hierarchy()[1] == 2 and pathlib.Path("/proc/pressure/memory").exists():
        assert detector["status"] == "degraded", detector
    else:
        assert detector["status"] == "unsupported" and "poll/pressure" in detector["reason"], detector
