# SPDX-License-Identifier: Apache-2.0
"""What outlives the agent: real faults while none runs, a killed one's records, and who may take over."""
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import pytest
from conftest import LIFEBOAT
from faults import Filesystem, MemoryGroup, memory_hierarchy, only_detector, run, wait_for

pytestmark = pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")

WATCHED = {**only_detector("oom"), "process_crash": {}}


def when(text):
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def crash(name, folder):
    """A process called NAME that a null pointer ends."""
    path = folder / name
    if not path.exists():
        path.symlink_to(sys.executable)
    done = subprocess.run([path, "-c", "import ctypes; ctypes.string_at(0)"])
    assert done.returncode == -signal.SIGSEGV


def of_group(agent, group):
    return [item for item in agent.abnormals("oom")
            if item["spec"]["kernelEvent"]["container"]["cgroupPath"] == group.path]


def of_program(agent, name):
    return [item for item in agent.abnormals("process_crash")
            if name in json.dumps(item["spec"]["kernelEvent"].get("details", {}))]


def attached(agent):
    """The programs that the agent's pins hold, by their names without generation."""
    return sorted(path.name.partition("@")[0] for path in (agent.bpffs() / "links").glob("*/*"))


@contextlib.contextmanager
def open_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def opened_by(process):
    paths = []
    for path in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            paths.append(os.readlink(path))
    return paths


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_fault_while_no_agent_runs_is_told_once_with_its_true_time(agent, scratch, end):
    agent = agent({"detectors": WATCHED})
    before = attached(agent)
    with MemoryGroup(f"lifeboat-test-down-{end}") as group:
        getattr(agent, end)()
        assert attached(agent) == before, "the programs stay attached"
        began = time.time()
        group.hog()
        crash(f"down{end}", scratch)
        ended = time.time()
        time.sleep(1)  # so that a wrong time would show
        agent.start()
        wait_for(lambda: of_group(agent, group) and of_program(agent, f"down{end}"), 20, "both are told",
                 agent.log.read_text)
        for items in (of_group(agent, group), of_program(agent, f"down{end}")):
            (item,) = items
            assert item["status"]["occurrences"]["count"] == 1, item["status"]
            assert began - 0.1 <= when(item["spec"]["kernelEvent"]["time"]) <= ended + 0.1, item["spec"]
        assert "came while no agent ran" in agent.log.read_text()
    assert attached(agent) == before, "each program is attached once"


def test_what_was_told_is_not_told_again(agent):
    agent = agent({"detectors": WATCHED})
    with MemoryGroup("lifeboat-test-told") as group:
        group.hog()
        wait_for(lambda: of_group(agent, group), 20, "the kill is told", agent.log.read_text)
        for end in (agent.kill, agent.stop, agent.kill):
            end()
            agent.start()
        # What comes after is told: so everything before it has been read.
        group.hog()
        wait_for(lambda: of_group(agent, group)[0]["status"]["occurrences"]["count"] >= 2, 20, "the second one is told",
                 agent.log.read_text)
        assert of_group(agent, group)[0]["status"]["occurrences"]["count"] == 2


def test_killed_at_random_instants_every_kill_is_counted_once(agent):
    """The agent is killed while OOM kills are on their way through ring, pipeline and store."""
    agent = agent({"detectors": only_detector("oom")})
    rounds = 12
    with MemoryGroup("lifeboat-test-random") as group:
        for number in range(rounds):
            hog = group.spawn("b = bytearray()\nwhile True: b += bytearray(b'x' * (1 << 20))")
            hog.wait(30)
            time.sleep(0.004 * number)  # up to what a commit takes
            agent.kill()
            agent.start()

        def count():
            return sum(item["status"]["occurrences"]["count"] for item in of_group(agent, group))
        wait_for(lambda: count() >= rounds, 20, "all are counted", lambda: f"{count()}\n{agent.log.read_text()}")
        group.hog()
        wait_for(lambda: count() >= rounds + 1, 20, "one more is counted")
        assert count() == rounds + 1


def test_what_the_store_had_not_written_when_the_agent_was_killed_is_read_again(agent, scratch):
    """The disk under the store is frozen, so that the kill is read from the ring and cannot become durable."""
    with Filesystem(scratch / "disk") as disk, MemoryGroup("lifeboat-test-unwritten") as group:
        home = agent({"detectors": only_detector("oom")}, "--state-dir", str(disk.mount / "state"))

        def taken_up():
            listed = json.loads(home.cli("get", "detectors", "-o", "json").stdout)["items"]
            return next(item["events"] for item in listed if item["name"] == "oom") > 0
        disk.freeze()
        group.hog()
        wait_for(taken_up, 10, "the agent has read the record")
        home.kill()
        disk.thaw()
        home.start()
        (item,) = wait_for(lambda: of_group(home, group), 20, "the kill is told", home.log.read_text)
        assert item["status"]["occurrences"]["count"] == 1
        # And is not told again.
        home.kill()
        home.start()
        group.hog()
        wait_for(lambda: of_group(home, group)[0]["status"]["occurrences"]["count"] == 2, 20, "the next one is told")
        home.stop()


def test_a_hung_task_is_as_old_as_the_first_agent_saw_it(agent, scratch):
    agent = agent({"detectors": only_detector("hung_task", {"threshold": "4s"})})
    with Filesystem(scratch / "disk") as disk:
        disk.freeze()
        writer = disk.hanging_writer()
        time.sleep(2.5)  # of its four seconds
        agent.kill()
        began = time.monotonic()
        agent.start()
        told = agent.wait_abnormal(lambda item: item["spec"].get("kernelEvent", {}).get("detector") == "hung_task",
                                   20, "the hung task is told")
        tasks = json.dumps(told["spec"]["kernelEvent"])
        assert str(writer.pid) in tasks
        # Not a measurement: the second agent alone would have needed its own four seconds.
        assert time.monotonic() - began < 3.9, tasks
        assert "frozen filesystem" in told["metadata"]["annotations"]["lifeboat.dev/subject"]


def test_two_agents_do_not_share_a_folder_of_pins(agent, scratch):
    first = agent({"detectors": WATCHED})
    second = agent({"detectors": WATCHED}, "--bpffs", str(first.bpffs()), folder="second", wait=False)
    second.process.wait(20)
    text = second.log.read_text()
    assert second.process.returncode != 0
    assert f"another agent (pid {first.process.pid}) has {first.bpffs()}" in text and "--bpffs" in text, text
    assert first.cli("get", "detectors").returncode == 0
    refused = first.detach()
    assert refused.returncode == 1 and f"pid {first.process.pid}" in refused.stdout, refused.stdout
    assert attached(first)


def test_what_a_killed_agent_leaves_locked_for_a_moment_is_waited_for(agent):
    """A child that it forked just then has its locks until it executes."""
    first = agent({"detectors": WATCHED})
    first.kill()
    with open_folder(first.bpffs()) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = first.start(wait=False)
        wait_for(lambda: str(first.bpffs()) in opened_by(second.process), 20, "the next one is at the lock",
                 second.log.read_text)
    wait_for(second.ready, 20, "it goes on", second.log.read_text)
    assert attached(second)


def test_detach_leaves_nothing_in_the_kernel(agent):
    agent = agent({"detectors": WATCHED})
    ids = {item["id"] for item in json.loads(run("bpftool", "-j", "link", "show"))
           if any(str(agent.bpffs()) in path for path in item.get("pinned", []))}
    programs = attached(agent)
    assert programs
    agent.stop()
    done = agent.detach()
    assert done.returncode == 0 and "Detached" in done.stdout, done.stdout
    assert not agent.bpffs().exists()
    assert ids.isdisjoint(item["id"] for item in json.loads(run("bpftool", "-j", "link", "show")))
    again = agent.detach()
    assert again.returncode == 0 and "Nothing is pinned" in again.stdout, again.stdout


def test_detach_removes_no_pins_of_others(agent, scratch):
    agent = agent({"detectors": WATCHED})
    agent.stop()
    for folder in ("/sys/fs/bpf", str(scratch)):
        done = subprocess.run([LIFEBOAT, "agent", "--detach", "--bpffs", folder], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30)
        assert done.returncode == 1, done.stdout
    assert attached(agent)


def test_another_format_is_replaced_and_what_cannot_be_read_is_told(agent, scratch):
    agent = agent({"detectors": WATCHED})
    agent.kill()
    # What an agent of another version would have left: the first number of its record is its format's.
    record = agent.bpffs() / "agent"
    value = json.loads(run("bpftool", "-j", "map", "dump", "pinned", record))[0]["value"]
    data = bytes(int(byte, 16) for byte in value)
    data = struct.pack("=I", 4711) + data[4:]
    run("bpftool", "map", "update", "pinned", record, "key", "0", "0", "0", "0", "value", *map(str, data))
    with MemoryGroup("lifeboat-test-format") as group:
        group.hog()
        crash("format", scratch)
        agent.start()
        text = agent.log.read_text()
        assert "format 4711" in text and "1 oom_kill" in text and "1 process_crash" in text, text
        assert not of_group(agent, group)
        group.hog()
        wait_for(lambda: of_group(agent, group), 20, "the new programs see", agent.log.read_text)
        assert of_group(agent, group)[0]["status"]["occurrences"]["count"] == 1


def test_changed_settings_leave_each_program_attached_once(agent):
    agent = agent({"detectors": WATCHED})
    before = attached(agent)
    agent.configure({"detectors": {**WATCHED, "process_crash": {"loopCrashes": 5}, "oom": {"enabled": False}}})
    agent.process.send_signal(signal.SIGHUP)
    wait_for(lambda: not any(name.startswith("oom") for name in attached(agent)), 10, "oom is detached",
             lambda: str(attached(agent)))
    assert attached(agent) == [name for name in before if not name.startswith("oom")]
