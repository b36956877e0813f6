# SPDX-License-Identifier: Apache-2.0
"""Hung tasks behind real frozen filesystems, real lock owners, real silent FUSE servers."""
import json
import re
import subprocess
import sys
import time

import pytest
from faults import Filesystem, end_process, only_detector, process_state, wait_for

FAST = {"detectors": only_detector("hung_task", {"threshold": "1s"})}


def with_thaw(extra=None):
    settings = {"enabled": True, "cooldown": "1s"}
    settings.update(extra or {})
    return {**FAST, "recoverers": {"thaw-filesystem": settings}}


def test_a_writer_behind_a_frozen_filesystem_is_found_diagnosed_thawed_and_proven(agent, scratch):
    agent = agent(with_thaw())
    with Filesystem(scratch / "fs") as filesystem:
        filesystem.freeze()
        writer = filesystem.hanging_writer()
        ended = agent.wait_ended("hung_task")
        status = ended["status"]
        assert (status["phase"], status["reason"]) == ("Succeeded", "FilesystemFrozen"), status
        assert str(filesystem.mount) in status["message"], status["message"]
        assert status["recoverer"]["name"] == "thaw-filesystem"
        action = status["actions"][-1]
        assert (action["outcome"], action["verification"]) == ("Done", "Verified"), action
        assert writer.wait(10) == 0
        assert (filesystem.mount / "file").read_text() == "hello"
        event = ended["spec"]["kernelEvent"]
        assert event["process"]["pid"] == writer.pid
        assert event["details"]["kind"] == "frozen-filesystem"
        assert any("percpu_rwsem_wait" in frame or "sb_start_write" in frame or "freeze" in frame
                   for frame in event["stack"]["kernel"]), event["stack"]
        story = agent.story(ended)
        for word in ("FilesystemFrozen", "thaw-filesystem", str(filesystem.mount)):
            assert word in story, story


def test_all_tasks_behind_one_frozen_filesystem_are_one_abnormal(agent, scratch):
    agent = agent(FAST)
    with Filesystem(scratch / "fs") as filesystem:
        filesystem.freeze()
        writers = [filesystem.hanging_writer(f"file{i}") for i in range(5)]
        agent.wait_ended("hung_task")
        items = agent.abnormals("hung_task")
        assert len(items) == 1, json.dumps(items, indent=1)
        waiting = {waiter["pid"] for waiter in items[0]["spec"]["kernelEvent"]["details"]["waiters"]}
        assert waiting & {writer.pid for writer in writers}


def test_nothing_is_thawed_unless_the_operator_turned_it_on(agent, scratch):
    agent = agent(FAST)
    with Filesystem(scratch / "fs") as filesystem:
        filesystem.freeze()
        writer = filesystem.hanging_writer()
        status = agent.wait_ended("hung_task")["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "FilesystemFrozen"), status
        assert "fsfreeze" in status["message"] and str(filesystem.mount) in status["message"]
        assert status["information"], "the evidence is attached"
        assert not status.get("actions")
        assert process_state(writer.pid) == "D"


def test_a_dry_run_says_what_it_would_do_and_does_nothing(agent, scratch):
    agent = agent(with_thaw({"dryRun": True}), "--dry-run")
    with Filesystem(scratch / "fs") as filesystem:
        filesystem.freeze()
        writer = filesystem.hanging_writer()
        status = agent.wait_ended("hung_task")["status"]
        action = status["actions"][-1]
        assert status["phase"] == "Failed" and action["outcome"] == "DryRun", status
        assert str(filesystem.mount) in action["target"], action
        assert process_state(writer.pid) == "D"

        name = agent.abnormals()[0]["metadata"]["name"]
        by_hand = agent.cli("recover", "thaw-filesystem", "--abnormal", name, "--yes", check=False)
        assert by_hand.returncode == 1 and "nothing was done: dryRun is set" in by_hand.stderr, by_hand
        assert process_state(writer.pid) == "D"
        listed = agent.cli("get", "recoverers").stdout
        assert re.search(r"^thaw-filesystem +dry run ", listed, re.M), listed


def test_a_hang_that_ends_by_itself_is_told_as_cleared(agent, scratch):
    agent = agent(FAST)
    events = subprocess.Popen([agent.cli("version").args[0], "events", "-f", "-o", "json", "--socket",
                               str(agent.socket)], stdout=subprocess.PIPE, text=True)
    try:
        with Filesystem(scratch / "fs") as filesystem:
            filesystem.freeze()
            writer = filesystem.hanging_writer()
            ended = agent.wait_ended("hung_task")
            filesystem.thaw()
            assert writer.wait(10) == 0
            name = ended["metadata"]["name"]
            cleared = agent.wait_abnormal(
                lambda item: item["metadata"]["name"] == name
                and "cleared" in item["status"].get("context", {}), 20, "the Abnormal tells that it cleared")
            assert cleared["status"]["phase"] == "Failed", "an end is an end"
        time.sleep(0.2)
    finally:
        events.terminate()
    seen = events.communicate(timeout=10)[0]
    assert "HungTask" in seen and "Cleared" in seen, seen


def test_the_poll_rung_gives_the_same_verdict(agent, scratch):
    configuration = with_thaw()
    configuration["detectors"] = only_detector("hung_task", {"threshold": "1s", "hook": "poll/proc"})
    agent = agent(configuration)
    detectors = json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
    hung = next(item for item in detectors if item["name"] == "hung_task")
    assert (hung["status"], hung["hook"]) == ("degraded", "poll/proc"), hung
    with Filesystem(scratch / "fs") as filesystem:
        filesystem.freeze()
        writer = filesystem.hanging_writer()
        ended = agent.wait_ended("hung_task")
        assert ended["spec"]["kernelEvent"]["process"]["pid"] == writer.pid
        assert "percpu_rwsem" in json.dumps(ended["spec"]["kernelEvent"]["details"]), ended


SILENT_FUSE = """
import os, struct, sys, ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"silent", sys.argv[1].encode(), b"fuse", 6, options):
    sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
while True:
    request = os.read(fd, 1 << 17)
    length, opcode, unique, node = struct.unpack("<IIQQ", request[:24])
    if opcode == 26:  # FUSE_INIT is answered; nothing else ever is
        body = struct.pack("<IIIIHHIIHHIIII", 7, 31, 65536, 0, 12, 9, 65536, 1, 32, 0, 0, 0, 0, 0)
        body = body.ljust(64, b"\\0")
        os.write(fd, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
        print("ready", flush=True)
"""


def test_a_fuse_server_that_never_answers_is_seen_although_khungtaskd_is_blind_to_it(agent, scratch):
    agent = agent(FAST)
    mount = scratch / "fuse"
    mount.mkdir()
    server = subprocess.Popen([sys.executable, "-c", SILENT_FUSE, str(mount)], stdout=subprocess.PIPE, text=True)
    reader = None
    try:
        assert server.stdout.readline() == "ready\n"
        reader = subprocess.Popen([sys.executable, "-c", "import os, sys; os.stat(sys.argv[1])", str(mount / "x")])
        ended = agent.wait_ended("hung_task")
        assert ended["spec"]["kernelEvent"]["details"]["kind"] == "fuse", ended["spec"]
        assert ended["spec"]["kernelEvent"]["process"]["pid"] == reader.pid
        assert ended["status"]["reason"] == "BlockedOnFUSE", ended["status"]
    finally:
        end_process(server)  # the kernel ends all requests of a server that is gone
        if reader:
            reader.wait(10)
        subprocess.run(["umount", "--lazy", str(mount)], check=False)


def test_block_io_that_never_completes_is_told_with_its_device(agent, scratch):
    """A loop device whose backing file lies on a frozen filesystem: its writes hang for real."""
    agent = agent(FAST)
    with Filesystem(scratch / "outer", megabytes=96) as outer:
        inner_folder = scratch / "inner"
        inner_folder.mkdir()
        image = outer.mount / "image"
        with open(image, "wb") as file:
            file.write(bytes(16 << 20))
        subprocess.run(["sync", "-f", str(outer.mount)], check=True)
        device = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip()
        writer = None
        try:
            outer.freeze()
            writer = subprocess.Popen([sys.executable, "-c",
                                       "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); "
                                       "os.write(fd, b'x' * 4096); os.fsync(fd)", device])
            wait_for(lambda: process_state(writer.pid) == "D", 10, "the writer hangs")
            found = agent.wait_abnormal(
                lambda item: writer.pid in [waiter["pid"] for waiter in item["spec"]["kernelEvent"]["details"]
                                            .get("waiters", [])], 30, "an Abnormal names the writer")
            details = found["spec"]["kernelEvent"]["details"]
            assert details["kind"] == "io", details
            assert details["device"]["name"] == device.removeprefix("/dev/"), details
        finally:
            outer.thaw()
            if writer:
                end_process(writer)
            subprocess.run(["losetup", "--detach", device], check=False)
