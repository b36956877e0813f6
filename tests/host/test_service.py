# SPDX-License-Identifier: Apache-2.0
"""The agent as a service: readiness, watchdog, reload and end, as Type=notify asks for."""
import os
import signal
import socket
import subprocess

from conftest import LIFEBOAT
from faults import end_process


def test_the_service_manager_is_told_of_readiness_life_reload_and_end(scratch):
    """This test plays the service manager: it holds the notify socket."""
    config = scratch / "lifeboat.yaml"
    config.write_text("apiVersion: lifeboat.dev/v1alpha1\nkind: Configuration\n")
    pins = f"/sys/fs/bpf/{scratch.name}"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(scratch / "notify"))
    manager.settimeout(20)
    environment = dict(os.environ, NOTIFY_SOCKET=str(scratch / "notify"), WATCHDOG_USEC="1000000")
    agent = subprocess.Popen([LIFEBOAT, "agent", "--config", str(config), "--state-dir", str(scratch / "state"),
                              "--socket", str(scratch / "socket"), "--bpffs", pins], env=environment, stderr=subprocess.DEVNULL)

    def wait_message(word):
        seen = []
        while True:
            seen.append(manager.recv(4096).decode())
            if word in seen[-1]:
                return seen
    try:
        wait_message("READY=1")
        wait_message("WATCHDOG=1")
        agent.send_signal(signal.SIGHUP)
        wait_message("RELOADING=1")
        wait_message("READY=1")
        agent.terminate()
        wait_message("STOPPING=1")
        assert agent.wait(20) == 0
        assert not (scratch / "socket").exists(), "the socket goes with the agent"
    finally:
        end_process(agent)
        subprocess.run([LIFEBOAT, "agent", "--detach", "--config", str(config), "--bpffs", pins], check=True)
        manager.close()
