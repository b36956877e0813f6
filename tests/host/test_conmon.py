# SPDX-License-Identifier: Apache-2.0
"""Podman's shim, conmon: a real one that is stopped, named with its container."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from containers import Shim, cgroup_hierarchies, remove_groups, static_busybox
from faults import wait_for
from test_shim_stall import settings

NAME = f"lb{os.getpid()}"


class Podman:
    """Containers of Podman with storage, state and cgroups of their own; no network, no image: --rootfs."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / "podman"
        self.rootfs = self.folder / "rootfs"
        self.shims = []
        self.runtime = None

    def __enter__(self):
        for command in ("podman", "conmon"):
            if not shutil.which(command):
                pytest.skip(f"{command} is not installed (scripts/install-deps)")
        if not static_busybox():
            pytest.skip("no static busybox: package busybox-static (scripts/install-deps)")
        for folder in ("bin", "dev", "proc", "sys", "tmp", "etc", "run", "var"):
            (self.rootfs / folder).mkdir(parents=True)
        shutil.copy(static_busybox(), self.rootfs / "bin/busybox")
        for command in ("sh", "sleep", "echo"):
            (self.rootfs / "bin" / command).symlink_to("busybox")
        return self

    def podman(self, *arguments, timeout=60):
        command = ["podman", "--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--tmpdir",
                   f"{self.folder}/tmp", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
                   "--storage-driver", "vfs", *(["--runtime", self.runtime] if self.runtime else [])]
        return subprocess.run([*command, *map(str, arguments)], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout)

    def run_container(self, name):
        """Starts NAME with whichever of crun and runc works on this kernel's cgroups; gives its id and its conmon."""
        refusals = []
        for self.runtime in filter(shutil.which, ("crun", "runc")):
            # The limits are given, as Podman's own are above what a restricted root may set.
            done = self.podman("run", "-d", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit",
                               "nproc=1024:1024", "--cgroup-parent", f"/{NAME}", "--name", name, "--rootfs",
                               self.rootfs, "/bin/sleep", "1000")
            if done.returncode == 0:
                identity = done.stdout.strip()
                inspected = json.loads(self.podman("inspect", name).stdout)[0]
                self.shims.append(Shim(int(pathlib.Path(inspected["ConmonPidFile"]).read_text())))
                return identity, self.shims[-1]
            refusals.append(f"{self.runtime}: {done.stderr.strip().splitlines()[-1]}")
            self.podman("rm", "--force", "--time", "0", name)
        pytest.skip(f"Podman runs no container on this machine: {'; '.join(refusals) or 'neither crun nor runc'}")

    def __exit__(self, *_):
        for shim in self.shims:
            shim.signal(signal.SIGCONT)
        if self.folder.joinpath("root").exists():
            self.podman("rm", "--all", "--force", "--time", "0")
        for shim in self.shims:
            with contextlib.suppress(AssertionError):
                wait_for(lambda shim=shim: not shim.alive(), 10, "conmon ends with its container")
            shim.signal(signal.SIGKILL)
        wait_for(lambda: remove_groups(NAME), 20, f"the cgroups of {NAME} can be removed",
                 lambda: [str(folder / NAME) for folder in cgroup_hierarchies()])


@pytest.fixture
def podman(scratch):
    with Podman(scratch) as started:
        yield started


def test_a_stopped_conmon_is_reported_with_its_container_and_left_to_a_person(agent, podman):
    identity, shim = podman.run_container("till")
    agent = agent(settings(shims=["conmon"]))
    shim.stop()
    ended = agent.wait_abnormal(lambda item: item["spec"]["kernelEvent"]["process"]["pid"] == shim.pid
                                and item["status"].get("phase") in ("Succeeded", "Failed"), 40, "conmon is reported")
    status, event = ended["status"], ended["spec"]["kernelEvent"]
    whole = json.dumps(ended, indent=1)
    assert (status["phase"], status["reason"]) == ("Failed", "ShimStopped"), whole
    assert not status.get("actions"), whole
    assert event["type"] == "ShimStopped" and event["process"]["comm"] == "conmon", whole
    assert event["details"]["shim"]["kind"] == "conmon", whole
    # Not its name: Podman keeps that below --root, which is a folder of this test's own.
    assert (event["container"]["runtime"], event["container"]["id"]) == ("podman", identity), whole
    assert shim.state() == "T"
    shim.signal(signal.SIGCONT)
    assert "still here" in podman.podman("exec", "till", "echo", "still here").stdout
