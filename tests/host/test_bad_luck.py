# SPDX-License-Identifier: Apache-2.0
"""Bad input and bad luck: each gets one clear message with the next step, and the rest goes on."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from conftest import LIFEBOAT
from faults import MemoryGroup, end_process, memory_hierarchy, only_detector, process_state, run, wait_for

NO_AGENT = 69  # the exit status EXIT_NO_AGENT of user/cli/command.h
CUSTOM = """
apiVersion: lifeboat.dev/v1alpha1
kind: Abnormal
metadata: {name: %s}
spec: {source: Custom, context: {note: made by hand}}
"""


def apply(agent, text, check=True):
    return agent.cli("apply", "-f", "-", check=check, input=text)


def script(agent, kind, name, text, mode=0o755):
    path = agent.folder / f"{kind}.d" / name
    path.write_text(text)
    path.chmod(mode)
    return path


def start_expecting_failure(*arguments, environment=None, prefix=()):
    done = subprocess.run([*prefix, LIFEBOAT, "agent", *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, env=environment)
    return done


def test_a_second_agent_on_the_same_socket_is_refused_and_the_first_goes_on(agent):
    first = agent()
    done = start_expecting_failure("--socket", first.socket, "--state-dir", first.folder / "other")
    assert done.returncode != 0
    assert str(first.socket) in done.stdout and str(first.process.pid) in done.stdout, done.stdout
    assert first.ready()


@contextlib.contextmanager
def watch(agent, output):
    """`get --watch` writing to the file OUTPUT; gives the process and the file of what it complains of."""
    errors = agent.folder / "watch.errors"
    with open(output, "w") as out, open(errors, "w") as err:
        watcher = subprocess.Popen([LIFEBOAT, "get", "abnormals", "--watch", "-o", "name", "--socket", str(agent.socket)],
                                   stdout=out, stderr=err)
    try:
        yield watcher, errors
    finally:
        end_process(watcher)


def test_a_watch_that_cannot_be_written_ends_and_says_why(agent):
    watched = agent()
    with watch(watched, "/dev/full") as (watcher, errors):
        apply(watched, CUSTOM % "seen-by-nobody")
        assert watcher.wait(10) == 1
        assert "standard output: No space left on device" in errors.read_text()


def test_a_watch_tells_that_its_agent_has_ended(agent):
    watched = agent()
    seen = watched.folder / "watch.seen"
    apply(watched, CUSTOM % "seen")
    with watch(watched, seen) as (watcher, errors):
        wait_for(lambda: seen.read_text().startswith("abnormal.lifeboat.dev/seen\n"), 10, "the watch shows the Abnormal")
        watched.kill()
        assert watcher.wait(10) == NO_AGENT
        assert "the agent has ended" in errors.read_text()


@pytest.mark.parametrize("text, field", [
    ("detectors: {hung_task: {treshold: 1s}}", "detectors.hung_task.treshold"),
    ("detectors: {hung_task: {threshold: fast}}", "detectors.hung_task.threshold"),
    ("detectors: {no_such: {}}", "detectors.no_such"),
    ("recoverers: {thaw-filesystem: {enabled: perhaps}}", "recoverers.thaw-filesystem.enabled"),
    ("dryrun: true", "dryrun"),
    ("pipeline: {cooldown: [1]}", "pipeline.cooldown"),
    ("kind: [", "line"),
])
def test_a_bad_configuration_is_refused_naming_the_field(scratch, text, field):
    config = scratch / "lifeboat.yaml"
    config.write_text("apiVersion: lifeboat.dev/v1alpha1\n" + ("" if text.startswith("kind") else "kind: Configuration\n")
                      + text + "\n")
    done = start_expecting_failure("--config", config, "--state-dir", scratch / "state", "--socket",
                                   scratch / "socket")
    assert done.returncode != 0 and field in done.stdout, done.stdout
    assert str(config) in done.stdout


def test_a_configuration_that_others_can_write_is_refused(scratch):
    config = scratch / "lifeboat.yaml"
    config.write_text("apiVersion: lifeboat.dev/v1alpha1\nkind: Configuration\n")
    config.chmod(0o666)
    done = start_expecting_failure("--config", config, "--state-dir", scratch / "state", "--socket",
                                   scratch / "socket")
    assert done.returncode != 0 and str(config) in done.stdout and "chmod go-w" in done.stdout, done.stdout


def test_a_bad_reload_keeps_the_old_configuration_and_a_good_one_takes_effect(agent):
    agent = agent({"detectors": {"oom": {"enabled": True}}})
    agent.config.write_text("kind: [")
    agent.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration" in agent.log.read_text(), 10, "the bad reload is told", agent.log.read_text)
    assert agent.ready()
    agent.configure({"detectors": {"oom": {"enabled": False}}})
    agent.process.send_signal(signal.SIGHUP)

    def status():
        items = json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
        return {item["name"]: item["status"] for item in items}
    wait_for(lambda: status()["oom"] == "disabled", 10, "the oom detector is off", status)


def test_not_being_root_is_told_with_the_next_step(scratch):
    scratch.chmod(0o777)
    binary = scratch / "lifeboat"
    binary.write_bytes(pathlib.Path(LIFEBOAT).read_bytes())
    binary.chmod(0o755)
    done = subprocess.Popen([str(binary), "agent", "--state-dir", str(scratch / "state"), "--socket",
                             str(scratch / "socket")], user=65534, group=65534, extra_groups=[],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output = done.communicate(timeout=5)[0]
    except subprocess.TimeoutExpired:
        done.terminate()
        output = done.communicate(timeout=10)[0]
    assert "root" in output, output


def test_a_kernel_without_btf_and_without_bpffs_still_gets_a_working_agent(agent, scratch):
    """The files are hidden in a mount namespace of the agent's own."""
    home = scratch / "agent"
    home.mkdir()
    empty = scratch / "empty"
    empty.mkdir()
    wrapper = scratch / "hidden"
    wrapper.write_text(f"#!/bin/sh\nmount --bind {empty} /sys/kernel/btf && mount --bind {empty} /sys/fs/bpf && "
                       f"exec {LIFEBOAT} \"$@\"\n")
    wrapper.chmod(0o755)
    log = open(home / "agent.log", "ab")
    process = subprocess.Popen(["unshare", "--mount", str(wrapper), "agent", "--socket", str(home / "s"),
                                "--state-dir", str(home / "state")], stdout=log, stderr=log)
    try:
        def detectors():
            done = subprocess.run([LIFEBOAT, "get", "detectors", "-o", "json", "--socket", str(home / "s")],
                                  stdout=subprocess.PIPE, text=True)
            return done.returncode == 0 and json.loads(done.stdout)["items"]
        items = wait_for(detectors, 20, "the agent answers", (home / "agent.log").read_text)
        for item in items:
            hooks = [hook["name"] for hook in item["hooks"]]
            if hooks[0].startswith("poll/"):
                assert item["status"] == "active", item
                continue
            assert "BTF" in item["reason"], item
            # The pressure of control groups is of v2 alone.
            without_pressure = hooks[-1] == "poll/pressure" and memory_hierarchy()[1] != 2
            if hooks[-1].startswith("poll/") and not without_pressure:
                assert item["status"] == "degraded" and item["hook"] == hooks[-1], item
            else:
                assert item["status"] == "unsupported", item
        assert {"degraded", "unsupported"} <= {item["status"] for item in items}
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def test_a_full_disk_is_told_and_the_agent_goes_on_in_memory_and_comes_back(agent, scratch):
    small = scratch / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "lifeboat-test", small)
    try:
        home = agent(None, "--state-dir", str(small / "state"))
        apply(home, CUSTOM % "before")
        with open(small / "ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
        for i in range(20):
            apply(home, CUSTOM % f"during-{i}" + f"  # {i}\n")
        wait_for(lambda: "memory" in home.cli("doctor", check=False).stdout, 20, "doctor tells of it",
                 lambda: home.cli("doctor", check=False).stdout + home.log.read_text())
        names = {item["metadata"]["name"] for item in home.abnormals()}
        assert {f"during-{i}" for i in range(20)} <= names, names
        (small / "ballast").unlink()
        wait_for(lambda: "on disk again" in home.log.read_text() or
                 '"medium":"disk"' in home.cli("doctor", "-o", "json", check=False).stdout.replace(" ", ""), 60,
                 "the store is on disk again", home.log.read_text)
        names = {item["metadata"]["name"] for item in home.abnormals()}
        assert {"before"} | {f"during-{i}" for i in range(20)} <= names, names
    finally:
        run("umount", "--lazy", small)


def test_a_corrupt_database_is_set_aside_and_told(agent):
    first = agent()
    first.stop()
    (first.state / "lifeboat.db").write_bytes(b"this is no database" * 1000)
    for leftover in ("lifeboat.db-wal", "lifeboat.db-shm"):
        (first.state / leftover).unlink(missing_ok=True)
    first.start()
    assert any("corrupt" in path.name for path in first.state.iterdir()), list(first.state.iterdir())
    assert "corrupt" in first.log.read_text()
    apply(first, CUSTOM % "after")


def test_a_script_that_hangs_floods_forks_or_prints_garbage_is_an_error_of_that_script_alone(agent):
    agent = agent()
    script(agent, "diagnosers", "10-hangs", "#!/bin/sh\n# lifeboat: order=10 timeout=1s\nsleep 600 & sleep 600\n")
    script(agent, "diagnosers", "20-floods", "#!/bin/sh\n# lifeboat: order=20 timeout=5s\nyes\n")
    marker = agent.folder / "daemon-pid"
    script(agent, "diagnosers", "30-forks", f"#!/bin/sh\n# lifeboat: order=30\nsetsid sh -c 'echo $$ > {marker}; exec sleep 600' "
           f"</dev/null >/dev/null 2>&1 &\nwhile [ ! -s {marker} ]; do :; done\nexit 2\n")
    script(agent, "diagnosers", "40-garbage", "#!/bin/sh\n# lifeboat: order=40\necho 'this is not JSON'\n")
    script(agent, "diagnosers", "50-writable", "#!/bin/sh\nexit 0\n", mode=0o777)
    script(agent, "diagnosers", "60-good", "#!/bin/sh\n# lifeboat: order=60\nprintf '%s' "
           "\"$(cat)\" | sed 's/\"status\":{/\"status\":{\"reason\":\"FoundByScript\",/'\n")
    wait_for(lambda: "60-good" in agent.cli("get", "diagnosers").stdout, 10, "the scripts are in the chain")
    listed = json.loads(agent.cli("get", "diagnosers", "-o", "json").stdout)["items"]
    refused = next(item for item in listed if item["name"] == "50-writable")
    assert "writ" in refused["refusal"], refused
    apply(agent, CUSTOM % "tried")
    ended = agent.wait_abnormal(lambda item: item["metadata"]["name"] == "tried"
                                and item["status"].get("phase") in ("Succeeded", "Failed"), 60, "tried ends")
    assert ended["status"].get("diagnoser", {}).get("name") == "60-good", ended
    told = agent.log.read_text() + json.dumps(ended)
    for name in ("10-hangs", "20-floods", "40-garbage", "50-writable"):
        assert name in told, f"{name} is not told of in:\n{told}"
    daemon = int(marker.read_text())
    assert process_state(daemon) in (None, "Z"), "what a script leaves behind ends with it"


def test_a_bad_abnormal_is_refused_naming_file_and_field(agent):
    agent = agent()
    done = apply(agent, "apiVersion: lifeboat.dev/v1alpha1\nkind: Abnormal\nmetadata: {name: bad}\n"
                        "spec: {source: Log, log: {filePath: relative, logEntry: x}}\n", check=False)
    assert done.returncode == 1 and "spec.log.filePath" in done.stderr, done.stderr
    done = apply(agent, "kind: [", check=False)
    assert done.returncode == 1 and "line" in done.stderr, done.stderr
    assert agent.abnormals() == []


def test_the_socket_is_closed_to_other_users(agent):
    agent = agent()
    agent.folder.chmod(0o755)
    agent.socket.chmod(0o777)  # so that only the credentials decide
    probe = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
             "s.sendall(b'GET /api/v1/abnormals HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(len(s.recv(100)))")
    done = subprocess.run([sys.executable, "-c", probe, str(agent.socket)], user=65534, group=65534, extra_groups=[],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=10)
    assert done.stdout.strip() in ("0", ""), f"an unknown user was answered: {done}"
    assert agent.ready()


def test_no_agent_is_told_with_the_next_step(scratch):
    done = subprocess.run([LIFEBOAT, "get", "abnormals", "--socket", str(scratch / "nothing")],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 69
    assert str(scratch / "nothing") in done.stderr and "lifeboat agent" in done.stderr, done.stderr


def test_a_hung_state_disk_does_not_hang_the_agent(agent, scratch):
    """The agent's own state lies on the filesystem that freezes; the agent still diagnoses and thaws it."""
    from faults import Filesystem
    with Filesystem(scratch / "fs") as filesystem:
        home = agent({"detectors": only_detector("hung_task", {"threshold": "1s"}),
                      "recoverers": {"thaw-filesystem": {"enabled": True}}},
                     "--state-dir", str(filesystem.mount / "state"))
        filesystem.freeze()
        writer = filesystem.hanging_writer()
        assert writer.wait(90) == 0, "thawed by the agent"
        # Both the agent's own store and the writer hung; the Abnormal must not be lost over it.
        ended = home.wait_ended("hung_task", seconds=60)
        assert ended["status"]["phase"] == "Succeeded", ended["status"]
        home.stop()
