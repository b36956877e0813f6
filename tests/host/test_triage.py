# SPDX-License-Identifier: Apache-2.0
"""Real faults looked at by `cat` and bpftool alone, on a node whose agent has been killed."""
import itertools
import json
import os
import signal
import subprocess
import sys

import pytest
from faults import (Filesystem, MemoryGroup, end_process, memory_hierarchy, only_detector, process_state, run,
                    wait_for)


@pytest.fixture
def dead(agent):
    """Starts an agent with these detectors, kills it, and gives what it has left in the BPF file system."""
    def start(detectors=None, before=None):
        home = agent({"detectors": detectors or only_detector("oom")})
        if before:
            before(home)
        home.kill()
        return home.bpffs()
    return start


def table(path):
    return path.read_text().splitlines()


def rows_of(path, pid):
    return [line for line in table(path) if str(pid) in line.split()]


def test_hung_tasks_are_listed_with_state_and_stack(dead, scratch):
    pins = dead()
    with Filesystem(scratch / "disk") as disk:
        disk.freeze()
        writer = disk.hanging_writer()
        assert table(pins / "hung_tasks")[0].split()[:4] == ["TID", "PID", "COMMAND", "SECONDS"]

        def listed():
            """The row and the stack of the writer, once it sleeps where it is to hang."""
            lines = table(pins / "hung_tasks")
            at = next((index for index, line in enumerate(lines) if str(writer.pid) in line.split()), None)
            below = [] if at is None else lines[at + 1:]
            stack = list(itertools.takewhile(lambda line: line.startswith(" "), below))
            return lines[at] if any("percpu_rwsem_wait" in line or "mnt_want_write" in line for line in stack) else None
        row = wait_for(listed, 10, "the writer is listed with its stack", lambda: "\n".join(table(pins / "hung_tasks")))
        assert row.split()[4].startswith("D"), row
        # Whoever looks again learns how long at least.
        wait_for(lambda: float(rows_of(pins / "hung_tasks", writer.pid)[0].split()[3]) >= 0.5, 10, "its wait gets older",
                 lambda: "\n".join(table(pins / "hung_tasks")))


def test_a_wait_that_the_agent_saw_keeps_its_age(dead, scratch):
    with Filesystem(scratch / "disk") as disk:
        disk.freeze()
        writer = disk.hanging_writer()

        def seen(home):
            def entry():
                dump = json.loads(run("bpftool", "-j", "map", "dump", "pinned", home.bpffs() / "blocked_tasks"))
                return next((item["formatted"] for item in dump if item["formatted"]["key"] == writer.pid), None)
            value = wait_for(entry, 15, "the agent has seen the writer")["value"]
            assert value["comm"].startswith("python3") and value["since_boot_ns"] > 0, value
        pins = dead(only_detector("hung_task", {"threshold": "1h"}), seen)
        wait_for(lambda: float(rows_of(pins / "hung_tasks", writer.pid)[0].split()[3]) >= 2, 15, "its age goes on")


def test_zombies_are_listed_with_who_should_reap_them(dead):
    pins = dead()
    script = "import os, signal\nchild = os.fork()\nif not child: os._exit(7)\nprint(child, flush=True)\nsignal.pause()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        child = int(parent.stdout.readline())
        wait_for(lambda: process_state(child) == "Z", 10, "the child is a zombie")
        wait_for(lambda: process_state(parent.pid) == "S", 10, "the parent has come to rest")
        (row,) = rows_of(pins / "zombies", child)
        words = row.split()
        assert words[0] == str(child) and words[2] == "7" and words[4] == str(parent.pid) and words[6] == "S", row
    finally:
        end_process(parent)


def test_shims_are_listed_with_their_children(dead, containerd):
    pins = dead()
    shim = containerd.run_container("triage")
    rows = rows_of(pins / "shims", shim.pid)
    own = [row.split() for row in rows if row.split()[1] == str(shim.pid)]
    below = [row.split() for row in rows if row.split()[1] != str(shim.pid)]
    assert len(own) == 1 and own[0][3] == "S", rows
    assert below and all(row[0] == str(shim.pid) for row in below), rows
    shim.stop()
    try:
        wait_for(lambda: any(row.split()[1:4:2] == [str(shim.pid), "T"] for row in rows_of(pins / "shims", shim.pid)), 10,
                 "the stopped shim is shown so", lambda: "\n".join(table(pins / "shims")))
    finally:
        os.kill(shim.pid, signal.SIGCONT)


@pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")
def test_control_groups_are_listed_with_what_happened_to_them(dead):
    pins = dead({**only_detector("oom"), "process_crash": {}})
    with MemoryGroup("lifeboat-test-triage") as group:
        group.sleeper()
        group.hog()
        crashed = group.spawn("import ctypes; ctypes.string_at(0)")
        crashed.wait(20)
        assert crashed.returncode == -signal.SIGSEGV
        rows = [line.split() for line in table(pins / "cgroups") if line.endswith(group.path)]
        assert len(rows) == 1, table(pins / "cgroups")
        assert rows[0][1] == str(group.limit >> 20) and rows[0][2] == rows[0][4] == "1", rows
        # And in the map, by the group's name, counted by programs whose agent is dead.
        counted = [item["formatted"]["value"] for item in json.loads(run("bpftool", "-j", "map", "dump", "pinned",
                                                                         pins / "cgroup_counters"))]
        (own,) = [value for value in counted if value["name"] == group.path.strip("/")]
        assert own["oom_kills"] == own["crashes"] == 1 and own["last_oom_kill_ns"] > 0, own


def test_maps_are_readable_without_the_agent(dead):
    pins = dead()
    (record,) = json.loads(run("bpftool", "-j", "map", "dump", "pinned", pins / "agent"))
    assert record["formatted"]["value"]["pid"] > 0 and record["formatted"]["value"]["version"] > 0
    for name in ("lost", "generations"):
        assert json.loads(run("bpftool", "-j", "map", "dump", "pinned", pins / name))
    links = [path for path in (pins / "links").glob("*/*")]
    assert links
    for path in links:
        shown = json.loads(run("bpftool", "-j", "link", "show", "pinned", path))
        assert shown["prog_id"] > 0, shown


def test_the_tables_are_the_last_agents(agent):
    """A second agent replaces them; a reader of the old ones is not disturbed."""
    home = agent({"detectors": only_detector("oom")})
    with open(home.bpffs() / "zombies", encoding="utf-8") as opened:
        home.kill()
        home.start()
        assert opened.readline().startswith("PID")
    for name in ("hung_tasks", "zombies", "shims", "cgroups"):
        assert table(home.bpffs() / name), name
    assert not list(home.bpffs().glob("*@new"))
