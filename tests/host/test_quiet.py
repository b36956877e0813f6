# SPDX-License-Identifier: Apache-2.0
"""What is merely busy is not a fault."""
import os
import pathlib
import shutil
import subprocess

import pytest
from faults import end_process

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 60


def busy(scratch):
    """A parallel build, disk stress with flushes, and fork stress, each ended by the caller."""
    writer = ("while :; do dd if=/dev/zero of={0} bs=64k count=512 conv=fsync status=none; "
              "dd if={0} of=/dev/null iflag=direct bs=4k count=2000 status=none; done")
    commands = [["sh", "-c", writer.format(scratch / f"written{i}")] for i in range(3)]
    commands.append(["sh", "-c", f"while :; do make -s -C {ROOT} -j4 O={scratch}/build unit-tests >/dev/null; "
                                 f"rm -rf {scratch}/build; done"])
    if shutil.which("stress-ng"):
        commands.append(["stress-ng", "--quiet", "--temp-path", str(scratch), "--fork", "2", "--hdd", "1",
                         "--hdd-bytes", "64m", "--timeout", str(SECONDS)])
    else:
        commands.append(["sh", "-c", "while :; do /bin/true; done"])
    return [subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for command in commands]


def end_all(processes):
    for process in processes:
        try:
            os.killpg(process.pid, 9)  # each is the leader of a session of its own
        except ProcessLookupError:
            pass
        end_process(process)


@pytest.mark.parametrize("threshold", [None, "1s"], ids=["default thresholds", "threshold of 1s"])
def test_a_minute_of_build_disk_and_fork_stress_makes_no_abnormal(agent, scratch, threshold):
    settings = {"threshold": threshold} if threshold else {}
    agent = agent({"detectors": {"hung_task": settings}})
    processes = busy(scratch)
    try:
        stress = processes[-1]
        try:
            stress.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass
    finally:
        end_all(processes)
    assert agent.abnormals() == []
    detectors = agent.cli("get", "detectors").stdout
    assert detectors.count("active") >= 2, detectors
