# SPDX-License-Identifier: Apache-2.0
"""Real shims that are healthy, slow, paused, stopped or watched: none of them is killed.

That nothing happens is told by a canary: a shim that is stopped once the thing in question is there. When the
agent has found the canary, it has looked at everything else for at least as long.
"""
import contextlib
import json
import shutil
import signal
import subprocess
import threading

import pytest
from containers import MANY_COUNT, Shim, children
from faults import end_process, wait_for
from test_shim_stall import settings

CONTINUE = {"recoverers": {"continue-shim": {"enabled": True, "cooldown": "1s"}}}


def about(abnormal, shim):
    return abnormal["spec"]["kernelEvent"]["process"]["pid"] == shim.pid


def assert_left_alone(agent, containerd, name, shim, canary_ends="Failed"):
    """Once the agent has found a canary: no Abnormal is about SHIM, which still is the process it was."""
    before = (shim.pid, shim.start_time)
    canary = containerd.run_container("canary")
    canary.stop()
    agent.wait_abnormal(lambda item: about(item, canary) and item["status"].get("phase") == canary_ends, 40,
                        "the canary is found")
    items = [item for item in agent.abnormals("shim_stall") if about(item, shim)]
    assert not items, json.dumps(items, indent=1)
    now = containerd.shim(name)
    assert (now.pid, now.start_time) == before and now.alive()


@contextlib.contextmanager
def execs_in_flight(containerd, name, parallel=2):
    over = threading.Event()
    answers = [[] for _ in range(parallel)]

    def keep_asking(mine):
        while not over.is_set():
            mine.append(containerd.answers(name))

    threads = [threading.Thread(target=keep_asking, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert all(mine and all(mine) for mine in answers), f"execs in {name} failed: {answers}"


def test_the_buggy_shim_is_left_alone_while_it_is_healthy_with_execs_in_flight(agent, containerd):
    agent = agent(settings())
    shim = containerd.run_container("busy", runtime="v1-buggy")
    with execs_in_flight(containerd, "busy"):
        assert_left_alone(agent, containerd, "busy", shim)
    assert containerd.answers("busy")


def test_a_shim_that_reaps_300_exits_at_once_is_left_alone(agent, containerd):
    agent = agent(settings())
    shim = containerd.run_container("mass", ["/bin/sh", "/many.sh"], pid_namespace=False)
    wait_for(lambda: len(children(shim.pid)) > MANY_COUNT, 30, f"the shim has inherited {MANY_COUNT} children")
    init, processes = containerd.init_pid("mass"), containerd.processes("mass")
    for pid, _ in children(shim.pid):
        if pid != init and pid in processes:
            Shim(pid).signal(signal.SIGKILL)
    assert_left_alone(agent, containerd, "mass", shim)
    assert [pid for pid, _ in children(shim.pid)] == [init], "it has reaped them all"
    assert containerd.answers("mass")


def test_the_shim_of_a_paused_container_is_left_alone(agent, containerd):
    agent = agent(settings())
    shim = containerd.run_container("paused")
    containerd.pause("paused")
    assert containerd.task_ls()["paused"][1] == "PAUSED"
    assert_left_alone(agent, containerd, "paused", shim)
    containerd.resume("paused")
    assert containerd.answers("paused")


def test_the_shim_of_a_container_that_ignores_sigterm_is_left_alone(agent, containerd):
    agent = agent(settings())
    shim = containerd.run_container("deaf", ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    containerd.kill("deaf", "TERM")
    assert_left_alone(agent, containerd, "deaf", shim)
    assert containerd.task_ls()["deaf"][1] == "RUNNING"
    assert containerd.answers("deaf")


@contextlib.contextmanager
def strace(shim):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (scripts/install-deps)")
    process = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(shim.pid)])
    try:
        wait_for(lambda: shim.tracer() == process.pid, 20, "strace is attached")
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        end_process(process)


@pytest.mark.parametrize("runtime", ["v2", "v1-buggy"])
def test_a_shim_under_strace_is_left_alone(agent, containerd, runtime):
    agent = agent(settings(**CONTINUE))
    shim = containerd.run_container("traced", runtime=runtime)
    with strace(shim):
        assert containerd.answers("traced")
        assert_left_alone(agent, containerd, "traced", shim, canary_ends="Succeeded")
    assert containerd.answers("traced")


def test_a_stopped_shim_is_reported_with_advice_and_continued_only_if_that_is_turned_on(agent, containerd):
    home = agent(settings())
    shim = containerd.run_container("stopped")
    shim.stop()
    ended = home.wait_ended("shim_stall")
    status = ended["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "ShimStopped"), status
    assert f"kill -CONT {shim.pid}" in status["message"], status["message"]
    assert not status.get("actions"), status
    event = ended["spec"]["kernelEvent"]
    assert event["type"] == "ShimStopped" and event["process"]["pid"] == shim.pid, event
    assert event["container"]["id"] == "stopped", event["container"]
    home.stop()
    assert shim.state() == "T"

    home = agent(settings(**CONTINUE), folder="continues")
    ended = home.wait_ended("shim_stall")
    whole = json.dumps(ended, indent=1)
    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Succeeded", "ShimStopped"), whole
    assert ended["status"]["recoverer"]["name"] == "continue-shim", whole
    action = ended["status"]["actions"][-1]
    assert (action["outcome"], action["verification"]) == ("Done", "Verified"), whole
    assert shim.alive() and shim.state() != "T"
    assert containerd.answers("stopped")


def test_a_stopped_shim_with_a_debugger_attached_is_not_continued(agent, containerd):
    agent = agent(settings(**CONTINUE))
    shim = containerd.run_container("debugged")
    shim.stop()
    with strace(shim) as debugger:
        wait_for(lambda: shim.state() in "tT", 10, "the shim stands still", shim.state)
        ended = agent.wait_ended("shim_stall")
        whole = json.dumps(ended, indent=1)
        assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Failed", "ShimStopped"), whole
        assert not [action for action in ended["status"].get("actions", []) if action["outcome"] == "Done"], whole
        tracer = ended["spec"]["kernelEvent"]["details"]["stopped"]["tracer"]
        assert (tracer["pid"], tracer["comm"]) == (debugger.pid, "strace"), tracer
        assert shim.state() in "tT" and shim.alive()
    shim.signal(signal.SIGCONT)
    assert containerd.answers("debugged")
