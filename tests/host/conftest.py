# SPDX-License-Identifier: Apache-2.0
"""An agent with scratch state for each test, and the command line as a user would type it."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
from containers import Containerd, Unavailable
from faults import bpf_file_system, end_process, wait_for

LIFEBOAT = os.environ.get("LIFEBOAT", str(pathlib.Path(__file__).parents[2] / "build/lifeboat"))


@pytest.fixture(scope="session", autouse=True)
def pinned_beyond_the_agent():
    with bpf_file_system() if os.geteuid() == 0 else contextlib.nullcontext():
        yield


def pytest_collection_modifyitems(items):
    if os.geteuid() == 0:
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason="makes real faults: run as root"))


class Agent:
    """One agent process; `configuration` is the file's content as a dict."""

    def __init__(self, folder, configuration=None, arguments=()):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "lifeboat.sock"
        self.state = self.folder / "state"
        self.log = self.folder / "agent.log"
        self.config = self.folder / "lifeboat.yaml"
        for kind in ("collectors.d", "diagnosers.d", "recoverers.d"):
            (self.folder / kind).mkdir(exist_ok=True, mode=0o755)
        self.arguments = list(arguments)
        self.process = None
        self.configure(configuration or {})

    def configure(self, configuration):
        whole = {"apiVersion": "lifeboat.dev/v1alpha1", "kind": "Configuration",
                 "folders": {kind: str(self.folder / f"{kind}.d")
                             for kind in ("collectors", "diagnosers", "recoverers")}}
        whole.update(configuration)
        self.config.write_text(json.dumps(whole, indent=1))

    def spawn(self, environment=None):
        command = [LIFEBOAT, "agent", "--config", self.config, "--state-dir", self.state,
                   "--socket", self.socket, "--bpffs", self.bpffs(), "--node-name", "node-under-test"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in command + self.arguments],
                                            stdout=log, stderr=log, env=environment)

    def start(self, wait=True):
        self.spawn()
        if wait:
            wait_for(lambda: self.ready() or self.process.poll() is not None, 30, "the agent is ready",
                     self.log.read_text)
            assert self.process.poll() is None, f"the agent ended:\n{self.log.read_text()}"
        return self

    def detach(self):
        """Removes what the agent left in the kernel; it must have ended."""
        return subprocess.run([LIFEBOAT, "agent", "--detach", "--config", self.config, "--bpffs", self.bpffs()],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)

    def bpffs(self):
        # Pins have no dots in their names.
        return pathlib.Path("/sys/fs/bpf") / f"{self.folder.parent.name}-{self.folder.name}".replace(".", "_")

    def ready(self):
        return self.cli("get", "detectors", check=False).returncode == 0

    def cli(self, *arguments, check=True, **options):
        done = subprocess.run([LIFEBOAT, *map(str, arguments), "--socket", str(self.socket)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **options)
        if check:
            assert done.returncode == 0, (f"lifeboat {' '.join(map(str, arguments))}: exit {done.returncode}\n"
                                          f"{done.stdout}{done.stderr}")
        return done

    def story(self, abnormal):
        """What `describe` tells, in one line, as where lines are broken depends on its numbers."""
        return " ".join(self.cli("describe", "abnormal", abnormal["metadata"]["name"]).stdout.split())

    def abnormals(self, detector=None):
        items = json.loads(self.cli("get", "abnormals", "-A", "-o", "json").stdout)["items"]
        if detector:
            items = [item for item in items
                     if item["spec"].get("kernelEvent", {}).get("detector") == detector]
        return items

    def wait_abnormal(self, condition, seconds=30, what="the Abnormal"):
        """The first Abnormal for which CONDITION holds."""
        return wait_for(lambda: next((item for item in self.abnormals() if condition(item)), None), seconds,
                        what, lambda: json.dumps(self.abnormals(), indent=1) + "\n" + self.log.read_text())

    def wait_ended(self, detector, seconds=40):
        return self.wait_abnormal(
            lambda item: item["spec"].get("kernelEvent", {}).get("detector") == detector
            and item.get("status", {}).get("phase") in ("Succeeded", "Failed"),
            seconds, f"an Abnormal of {detector} ends")

    def kill(self):
        """kill -9, as the OOM killer or an impatient person would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            end_process(self.process)


@pytest.fixture
def scratch():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lifeboat-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def containerd_of_the_module():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lifeboat-test-"))
    try:
        with Containerd(folder, buggy=True) as started:
            yield started
    except Unavailable as reason:
        pytest.skip(str(reason))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def containerd(containerd_of_the_module):
    """A containerd without containers; it knows the buggy shim too, and has it as it is by default: shim_debug off."""
    yield containerd_of_the_module
    containerd_of_the_module.clear()


@pytest.fixture
def agent(scratch):
    """A factory: agent(configuration, *arguments) gives a running agent."""
    agents = []

    def start(configuration=None, *arguments, folder="agent", wait=True):
        home = scratch / folder
        home.mkdir(exist_ok=True)
        agents.append(Agent(home, configuration, arguments))
        return agents[-1].start(wait)

    yield start
    for each in agents:
        each.stop()
        if each.bpffs().exists():
            done = each.detach()
            assert done.returncode == 0 and not each.bpffs().exists(), done.stdout
        text = each.log.read_text(errors="replace")
        assert "ERROR: AddressSanitizer" not in text and "runtime error:" not in text, text
