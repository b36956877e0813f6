# SPDX-License-Identifier: Apache-2.0
"""Lines of the kernel's log: what is told, what is not, and a storm of a hundred thousand.

Tests write to /dev/kmsg under a name of their own, which only their own agents' rules look for: what a program writes
there is no fault for a built-in rule. One real fault, that a filesystem on a loop device tells of itself, is one for
every agent on the host.
"""
import contextlib
import json
import os
import pathlib
import re

import pytest
from faults import Filesystem, only_detector, wait_for

LIMIT = pathlib.Path("/proc/sys/kernel/printk_devkmsg")
HOOKS = ["tp_btf/console", "poll/kmsg"]


@pytest.fixture
def marker():
    return f"lifeboat-test-{os.getpid()}"


def configuration(marker, hook=None, **settings):
    own = {"rules": [{"name": "disk", "pattern": f"{marker}: *disk {{}} is broken*", "type": "BrokenDisk"}], **settings}
    if hook:
        own["hook"] = hook
    return {"detectors": only_detector("kernel_log", own)}


def log(*lines):
    """As debug messages, which no console shows."""
    kmsg = os.open("/dev/kmsg", os.O_WRONLY)
    try:
        for line in lines:
            os.write(kmsg, f"<7>{line}\n".encode())
    finally:
        os.close(kmsg)


@contextlib.contextmanager
def unlimited():
    """The kernel takes ten lines in five seconds of one writer, unless it is told otherwise."""
    before = LIMIT.read_text().strip()
    if before == "off":
        pytest.skip("this kernel takes no lines of programs: needs a boot without printk.devkmsg=off")
    try:
        LIMIT.write_text("on\n")
    except OSError as error:
        pytest.skip(f"cannot lift the limit of /dev/kmsg ({error}): needs a boot without printk.devkmsg=")
    try:
        yield
    finally:
        LIMIT.write_text(before + "\n")


def told(agent, marker, device):
    """Abnormals of this test's about DEVICE: other tests may break real things meanwhile."""
    return [item for item in agent.abnormals("kernel_log")
            if marker in details(item)["line"] and details(item).get("device") == device]


def details(item):
    return item["spec"]["kernelEvent"]["details"]


def wait_told(agent, marker, device):
    return wait_for(lambda: told(agent, marker, device), 20, f"a line about {device} is told", agent.log.read_text)[0]


def detector(agent):
    items = json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
    return next(item for item in items if item["name"] == "kernel_log")


def offered(agent, hook):
    """Skips where this kernel has no such hook."""
    found = detector(agent)
    if found["status"] == "unsupported":
        pytest.skip(f"{hook} cannot be used here: {found['reason']}")
    assert found["hook"] == hook, found


@pytest.mark.parametrize("hook", HOOKS)
def test_a_line_is_told_with_its_device_by_each_rung(agent, marker, hook):
    log(f"{marker}: the disk before is broken")
    agent = agent(configuration(marker, hook))
    offered(agent, hook)
    log(f"{marker}: the disk sdz is whole", f"{marker}: the disk sdz is broken, it seems")
    item = wait_told(agent, marker, "sdz")
    assert item["spec"]["kernelEvent"]["type"] == "BrokenDisk", item["spec"]
    assert details(item)["line"] == f"{marker}: the disk sdz is broken, it seems"
    assert details(item)["writer"] == "program" or hook == HOOKS[0] and hidden_addresses(), item["spec"]
    text = agent.story(item)
    assert f"logged: {marker}: the disk sdz is broken, it seems found by rule disk" in text, text
    # What was logged before the agent started is not told.
    assert told(agent, marker, "before") == []


def hidden_addresses():
    with open("/proc/kallsyms", encoding="utf-8") as symbols:
        return symbols.readline().startswith("0000000000000000 ") and \
            symbols.readline().startswith("0000000000000000 ")


@pytest.mark.parametrize("hook", HOOKS)
def test_what_a_program_writes_is_not_the_kernels_word(agent, marker, hook):
    if hook == HOOKS[0] and hidden_addresses():
        pytest.skip("the kernel hides its addresses: needs kernel.kptr_restrict below 2")
    agent = agent(configuration(marker, hook))
    offered(agent, hook)
    log(f"BUG: {marker}", f"Buffer I/O error on dev {marker}, logical block 1", f"{marker}: the disk sdy is broken")
    wait_told(agent, marker, "sdy")  # what comes last is seen, so whatever came before would have been
    lines = [details(item)["line"] for item in agent.abnormals("kernel_log")]
    assert [line for line in lines if marker in line] == [f"{marker}: the disk sdy is broken"], lines


@pytest.mark.parametrize("hook", HOOKS)
def test_in_a_storm_every_line_that_matters_is_seen_or_its_loss_is_counted(agent, marker, hook):
    everything, matter = 100_000, 100
    agent = agent(configuration(marker, hook, rules=[
        {"name": "kill", "pattern": f"{marker}: Out of memory: Killed process *", "type": "StormKill"}]))
    offered(agent, hook)
    kill = f"<7>{marker}: Out of memory: Killed process 4711 (java) total-vm:876840kB, anon-rss:875628kB\n".encode()
    noise = f"<7>{marker}: a driver that repeats itself: register 0x%08x has an unexpected value\n".encode()
    kmsg = os.open("/dev/kmsg", os.O_WRONLY)
    try:
        with unlimited():
            for number in range(everything):
                os.write(kmsg, noise % number if number % (everything // matter) else kill)
    finally:
        os.close(kmsg)

    def counted():
        items = [item for item in agent.abnormals("kernel_log") if marker in details(item)["line"]]
        seen = items[0]["status"]["occurrences"]["count"] if items else 0
        lost = detector(agent)["lost"]
        return (seen, lost) if seen + lost >= matter else None
    seen, lost = wait_for(counted, 40, f"{matter} lines are seen or counted as lost",
                          lambda: json.dumps([agent.abnormals(), detector(agent)], indent=1))
    print(f"{hook}: {seen} of {matter} seen, {lost} of {everything} lost")
    assert seen <= matter
    if hook == HOOKS[0]:
        assert (seen, lost) == (matter, 0)


def test_a_damaged_filesystem_tells_its_own_fault(agent, marker, scratch):
    agent = agent(configuration(marker))
    with Filesystem(scratch) as filesystem:
        name = pathlib.Path(filesystem.device).name
        trigger = pathlib.Path(f"/sys/fs/ext4/{name}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip(f"{trigger} is missing: needs ext4")
        trigger.write_text(f"{marker}\n")
        item = agent.wait_abnormal(
            lambda item: item["spec"]["kernelEvent"]["details"].get("device") == name
            and item.get("status", {}).get("phase") == "Failed", 30, f"the fault of {name} is told")
    assert item["status"]["reason"] == "FilesystemError", item["status"]
    assert re.search(rf"EXT4-fs error \(device {name}\): .*{marker}", details(item)["line"]), item["spec"]
    assert details(item).get("writer", "kernel") == "kernel"
    assert f"The filesystem on {name} found itself damaged" in item["status"]["message"], item["status"]
