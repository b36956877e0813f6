# SPDX-License-Identifier: Apache-2.0
"""Real containers under a containerd of the test's own, and upstream's shim with the deadlock.

Everything is apart from the host's: folders and socket below a scratch folder, a containerd namespace of this
run, shims under names of their own so that an agent under test can be told to look at them alone. All of it is
taken away at the end, also after a failure.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

from faults import end_process, process_state, run, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOCKETS = pathlib.Path("/run/containerd/s")
RUNC_STATE = pathlib.Path("/run/containerd/runc")

# What a detector is told so that it looks at the shims of these tests and at no other on the node: the second is
# nobody's name but theirs, and the first is that of Docker up to 18.06, with which no test begins.
OWN_SHIMS = ["docker-containerd-shim", "containerd-shim-lb-v2"]

# Children that the shim inherits: without a pid namespace of the container they are orphans of its own.
MANY = """#!/bin/sh
i=0
while [ $i -lt 300 ]; do (sleep 1000 &); i=$((i+1)); done
exec sleep 1000
"""
MANY_COUNT = 300

BUSYBOX_COMMANDS = ("sh", "sleep", "echo", "true")


class Unavailable(Exception):
    """The machine lacks what a real fault needs; the message says what."""


def missing_for_containers():
    """Why no container can be run here, or None."""
    for command, package in (("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc"),
                             ("containerd-shim-runc-v2", "containerd")):
        if not shutil.which(command):
            return f"{command} is not installed: package {package} (scripts/install-deps)"
    return None if static_busybox() else "no static busybox: package busybox-static (scripts/install-deps)"


def static_busybox():
    path = shutil.which("busybox")
    if not path:
        return None
    # A program that needs a loader says so in a PT_INTERP segment, whose content is the loader's path.
    with open(path, "rb") as file:
        begin = file.read(4096)
    return None if b"/ld-linux" in begin or b"/ld-musl" in begin else path


def go_program():
    for path in (shutil.which("go"), "/usr/local/go/bin/go"):
        if path and os.access(path, os.X_OK):
            return path
    return None


def buggy_shim_path():
    """In the build folder, beside the program under test."""
    return pathlib.Path(os.environ.get("LIFEBOAT", ROOT / "build/lifeboat")).parent / "shim/containerd-shim"


def buggy_shim():
    """Upstream's containerd-shim 1.2.0, built from tests/shim once a build folder."""
    program = buggy_shim_path()
    if program.exists():
        return program
    go = go_program()
    if not go:
        raise Unavailable("no go to build upstream's containerd-shim 1.2.0: package golang-go (scripts/install-deps)")
    program.parent.mkdir(parents=True, exist_ok=True)
    partial = program.with_name(f"containerd-shim.{os.getpid()}")
    # A person's GOFLAGS do not decide how this module is built; go.sum pins what is fetched.
    environment = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=readonly", GO111MODULE="on", GOTOOLCHAIN="local",
                       GOWORK="off")
    environment.setdefault("HOME", "/root")
    try:
        done = subprocess.run([go, "build", "-o", str(partial.resolve()),
                               "github.com/containerd/containerd/cmd/containerd-shim"], cwd=ROOT / "tests/shim",
                              env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=580)
        if done.returncode == 0:
            partial.rename(program)
            return program
    finally:
        partial.unlink(missing_ok=True)
    if any(word in done.stdout for word in ("dial tcp", "lookup ", "i/o timeout", "module lookup disabled",
                                            "connection refused", "TLS handshake", "502 ", "503 ")):
        raise Unavailable("upstream's containerd-shim 1.2.0 is not in Go's module cache and no module proxy is "
                          f"reachable: {done.stdout.strip().splitlines()[-1]}")
    raise RuntimeError(f"tests/shim does not build:\n{done.stdout}")


def start_time(pid):
    """Field 22 of proc_pid_stat(5), or None when the process is gone."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def children(pid):
    """(pid, state) of each child."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found.append((int(entry.name), fields[0]))
    return found


def processes_called(*names):
    """Pids by comm, which the kernel cuts at 15 characters."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if (entry / "comm").read_text().strip() in names and process_state(entry.name) != "Z":
                    found.append(int(entry.name))
    return found


class Shim:
    """One process, which stays itself: pid and start time."""

    def __init__(self, pid):
        self.pid, self.start_time = pid, start_time(pid)

    def alive(self):
        return self.start_time is not None and start_time(self.pid) == self.start_time and self.state() != "Z"

    def state(self):
        return process_state(self.pid)

    def zombies(self):
        return sum(state == "Z" for _, state in children(self.pid))

    def tracer(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("TracerPid:")[2].split()[0])

    def signal(self, number):
        """By pidfd: a number that has become somebody else's is never hit."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.start_time is not None and start_time(self.pid) == self.start_time:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def stop(self):
        self.signal(signal.SIGSTOP)
        wait_for(lambda: self.state() == "T", 10, f"shim {self.pid} is stopped", self.state)

    def __str__(self):
        return f"shim {self.pid} (state {self.state()}, {self.zombies()} zombies)"


def specification(rootfs, group, arguments, pid_namespace=True, annotations=None):
    """An OCI runtime configuration (opencontainers/runtime-spec, config.md) for busybox."""
    capabilities = ["CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT"]
    kinds = ["ipc", "uts", "mount", "network"] + (["pid"] if pid_namespace else [])
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": arguments, "env": ["PATH=/bin"],
                    "capabilities": {kind: capabilities for kind in ("bounding", "effective", "permitted")},
                    "noNewPrivileges": True},
        "root": {"path": str(rootfs), "readonly": False},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}],
        "linux": {"cgroupsPath": group, "namespaces": [{"type": kind} for kind in kinds],
                  "resources": {"devices": [{"allow": False, "access": "rwm"}]}},
        "annotations": annotations or {},
    }


def cgroup_hierarchies():
    folders = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ")[0] in ("cgroup", "cgroup2"):
            folders.append(pathlib.Path(fields.split(" ")[4]))
    return folders


def group_folders(group):
    """The cgroups of path GROUP in every hierarchy, and those below them, which come first."""
    return [pathlib.Path(folder) for top in cgroup_hierarchies()
            for folder, _, _ in os.walk(top / group, topdown=False)]  # what vanishes meanwhile is no error


def end_processes(group):
    """SIGKILL to all that is in these cgroups and below."""
    for folder in group_folders(group):
        # A frozen task takes no signal until it is thawed.
        for file, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            with contextlib.suppress(OSError):
                if (folder / file).exists():
                    (folder / file).write_text(word)
        with contextlib.suppress(OSError):
            for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                Shim(pid).signal(signal.SIGKILL)


def remove_groups(group):
    """Ends what is in these cgroups and removes them; false if some are still there."""
    end_processes(group)
    for folder in group_folders(group):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not group_folders(group)


class Containerd:
    """A containerd with its containers below FOLDER; with Containerd(…) as containerd: …"""

    serial = 0

    def __init__(self, folder, buggy=False, debug=False):
        Containerd.serial += 1
        self.namespace = f"lb{os.getpid()}-{Containerd.serial}"
        self.folder = pathlib.Path(folder) / "c"
        self.socket = self.folder / "c.sock"
        self.log = self.folder / "containerd.log"
        self.rootfs = self.folder / "rootfs"
        self.buggy, self.debug = buggy, debug
        self.process = None
        self.children = []
        self.sockets = set()
        self.made = []  # folders of the host that were not there before

    def __enter__(self):
        reason = missing_for_containers()
        if reason:
            raise Unavailable(reason)
        if self.buggy and processes_called("docker-containe"):
            raise Unavailable("this node runs docker-containerd-shim, which the buggy one is called here: needs a node "
                              "without an old Docker")
        shim = buggy_shim() if self.buggy else None
        try:
            self._start(shim)
            if shim and "io.containerd.runtime.v1" not in self.ctr("plugins", "ls").stdout:
                raise Unavailable("this containerd has no runtime v1, which is gone since 2.0: needs a containerd 1.x")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, shim):
        for folder in (pathlib.Path("/run/containerd"), SOCKETS, RUNC_STATE, RUNC_STATE / self.namespace):
            if not folder.exists():
                self.made.append(folder)
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        # Under names of their own; containerd finds io.containerd.lb.v2 in PATH as containerd-shim-lb-v2.
        shutil.copy(shutil.which("containerd-shim-runc-v2"), programs / "containerd-shim-lb-v2")
        if shim:
            shutil.copy(shim, programs / "docker-containerd-shim")
        for folder in ("bin", "dev", "proc", "tmp"):
            (self.rootfs / folder).mkdir(parents=True)
        shutil.copy(static_busybox(), self.rootfs / "bin/busybox")
        for command in BUSYBOX_COMMANDS:
            (self.rootfs / "bin" / command).symlink_to("busybox")
        (self.rootfs / "many.sh").write_text(MANY)
        config = self.folder / "config.toml"
        config.write_text(f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
                          'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                          f'[grpc]\n  address = "{self.socket}"\n'
                          '[plugins."io.containerd.runtime.v1.linux"]\n'
                          f'  shim = "{programs}/docker-containerd-shim"\n  runtime = "runc"\n'
                          + ("  shim_debug = true\n" if self.debug else ""))
        self.launch()

    def launch(self):
        """Starts containerd itself, which finds the containers that are there."""
        environment = dict(os.environ, PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        environment.pop("NOTIFY_SOCKET", None)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["containerd", "--config", str(self.folder / "config.toml")], stdout=log,
                                            stderr=log, env=environment, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or self._answers(), 30, "containerd answers", self.tail)
        if self.process.poll() is not None:
            raise RuntimeError(f"containerd ended with {self.process.returncode}:\n{self.tail()}")

    def _answers(self):
        return self.socket.exists() and self.ctr("version", check=False, timeout=5).returncode == 0

    def tail(self):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-30:])

    def log_says(self, text):
        return text in self.log.read_text(errors="replace")

    def command(self, *arguments):
        return ["ctr", "-a", str(self.socket), "-n", self.namespace, *map(str, arguments)]

    def ctr(self, *arguments, check=True, timeout=30):
        """The finished process of ctr; one that does not end within TIMEOUT has the return code None."""
        command = self.command(*arguments)
        try:
            done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            if check:
                raise AssertionError(f"{' '.join(command)}: no end after {timeout} s\n{self.tail()}") from None
            return subprocess.CompletedProcess(command, None, (expired.stdout or b"").decode(errors="replace"))
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{self.tail()}")
        return done

    # --- Containers --------------------------------------------------------------------------------

    def run_container(self, name, arguments=("sleep", "1000"), runtime="v2", pid_namespace=True, annotations=None):
        """Runs NAME, a container id, by "v2", Debian's shim, or "v1-buggy"; gives its shim."""
        self.ctr("container", "delete", name, check=False)  # what a killed shim leaves: a record without a task
        spec = self.folder / f"{name}.json"
        spec.write_text(json.dumps(specification(self.rootfs, f"/{self.namespace}/{name}", list(arguments),
                                                 pid_namespace, annotations)))
        runtimes = {"v2": "io.containerd.lb.v2", "v1-buggy": "io.containerd.runtime.v1.linux"}
        self.ctr("run", "-d", "--null-io", "--runtime", runtimes[runtime], "--config", spec, name, timeout=60)
        address = self.bundle(name) / "address"
        if address.exists():
            self.sockets.add(address.read_text().strip().removeprefix("unix://"))
        return self.shim(name)

    def bundle(self, name):
        for kind in ("io.containerd.runtime.v1.linux", "io.containerd.runtime.v2.task"):
            folder = self.folder / "state" / kind / self.namespace / name
            if folder.exists():
                return folder
        raise AssertionError(f"container {name} has no bundle below {self.folder}/state")

    def shims(self):
        """Every shim of this namespace, by its arguments: -namespace NAMESPACE."""
        found = []
        for pid in processes_called("containerd-shim", "docker-containe"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"-namespace" in words and self.namespace.encode() in words:
                    found.append(Shim(pid))
        return [shim for shim in found if shim.start_time]

    def shim(self, name):
        bundle = self.bundle(name)
        for shim in self.shims():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if os.readlink(f"/proc/{shim.pid}/cwd") == str(bundle):
                    return shim
        raise AssertionError(f"container {name} has no shim")

    def task_ls(self, timeout=30):
        """{container: (pid, status)} as `ctr task ls` prints it."""
        lines = self.ctr("task", "ls", timeout=timeout).stdout.splitlines()[1:]
        rows = [line.split() for line in lines]
        return {row[0]: (int(row[1]), row[2]) for row in rows if len(row) >= 3}

    def kill(self, name, signal_name="KILL", everything=False, timeout=10, check=True):
        return self.ctr("task", "kill", *(["--all"] if everything else []), "-s", signal_name, name, timeout=timeout,
                        check=check)

    def exec(self, name, *arguments, timeout=30, check=True):
        """Runs ARGUMENTS in the container; its output."""
        Containerd.serial += 1
        return self.ctr("task", "exec", "--fifo-dir", self.folder / "fifo", "--exec-id", f"e{Containerd.serial}", name,
                        *arguments, timeout=timeout, check=check)

    def answers(self, name):
        return "still here" in self.exec(name, "echo", "still here", check=False).stdout

    def pause(self, name):
        self.ctr("task", "pause", name)

    def resume(self, name):
        self.ctr("task", "resume", name)

    def init_pid(self, name):
        return int((self.bundle(name) / "init.pid").read_text())

    def groups(self, name=None):
        """The cgroups of container NAME, or of all containers of this run, in every hierarchy."""
        below = self.namespace if name is None else f"{self.namespace}/{name}"
        return [folder / below for folder in cgroup_hierarchies() if (folder / below).exists()]

    def processes(self, name):
        pids = set()
        for group in self.groups(name):
            with contextlib.suppress(FileNotFoundError, OSError):
                pids.update(map(int, (group / "cgroup.procs").read_text().split()))
        return pids

    # --- The fault ---------------------------------------------------------------------------------

    def wedge(self, name, annotations=None, told=lambda shim: None):
        """A container whose shim has deadlocked, proven to be so; gives the shim, TOLD of it when it is to happen.

        The race is won nearly always; where it is lost the container just ends, and another is tried. To be made
        before other containers: a new attempt begins with none.
        """
        seen = []
        for attempt in range(4):
            shim = self.run_container(name, ["/bin/sh", "/many.sh"], "v1-buggy", pid_namespace=False,
                                      annotations=annotations)
            wait_for(lambda shim=shim: len(children(shim.pid)) > MANY_COUNT, 30,
                     f"the shim has inherited {MANY_COUNT} children", lambda shim=shim: len(children(shim.pid)))
            told(shim)
            killed = self.kill(name, everything=True, timeout=2, check=False)
            seen.append(f"attempt {attempt + 1}: kill ended with {killed.returncode}")
            if self._is_wedged(name, shim, seen):
                return shim
            self.clear()
        raise AssertionError("the shim did not deadlock:\n" + "\n".join(seen))

    def _is_wedged(self, name, shim, seen):
        """It does not answer within the two seconds that containerd gives it, nor does it reap meanwhile."""
        init = self.init_pid(name)
        for _ in range(5):
            looks = [(shim.alive(), shim.state(), shim.zombies(), process_state(init))]
            status = self.task_ls().get(name, (0, "gone"))[1]
            looks.append((shim.alive(), shim.state(), shim.zombies(), process_state(init)))
            seen.append(f"{status}: alive, state, zombies, state of init: {looks[0]}, then {looks[1]}")
            if status != "UNKNOWN":
                return False
            if looks[0] == looks[1] and looks[0][:2] == (True, "S") and looks[0][3] in (None, "Z"):
                return True
        return False

    def leave_behind(self, name):
        """Container NAME is gone and its processes are not, by nothing but what containerd does itself.

        Its shim is killed while containerd is down, and the shim's program is not there when it comes back, as
        during an upgrade: containerd cannot clean up, forgets all its containers, and removes their bundles.
        """
        shim, bundle, program = self.shim(name), self.bundle(name), self.folder / "bin/containerd-shim-lb-v2"
        end_process(self.process)
        shim.signal(signal.SIGKILL)
        wait_for(lambda: not shim.alive(), 10, f"{shim} is gone")
        away = program.rename(program.with_name("away"))
        try:
            self.launch()
            wait_for(lambda: not bundle.exists(), 20, "containerd has removed the bundle", self.tail)
        finally:
            away.rename(program)
        self.ctr("container", "delete", name)

    # --- The end -----------------------------------------------------------------------------------

    def remove(self, name):
        """Ends container NAME as a person would, who asks its shim to."""
        self.ctr("task", "delete", "--force", name)
        self.ctr("container", "delete", name)

    def clear(self):
        """No container is left, nor a shim; containerd itself stays."""
        for shim in self.shims():
            shim.signal(signal.SIGKILL)
        end_processes(self.namespace)
        # containerd cleans up after shims that are gone: bundles, runc's state, cgroups, sockets.
        wait_for(lambda: not self.ctr("task", "ls", "-q", timeout=10).stdout.strip(), 30, "no task is left",
                 lambda: self.ctr("task", "ls").stdout + self.tail())
        for name in self.ctr("container", "ls", "-q").stdout.split():
            self.ctr("container", "delete", name)
        wait_for(lambda: remove_groups(self.namespace), 20, f"the cgroups of {self.namespace} can be removed",
                 lambda: [str(group) for group in self.groups()])
        # What runc wrote down of containers that containerd has forgotten.
        for state in (RUNC_STATE / self.namespace).glob("*"):
            shutil.rmtree(state, ignore_errors=True)

    def __exit__(self, *_):
        try:
            if self.process and self.process.poll() is None:
                self.clear()
        finally:
            self._end()

    def _end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process:
            end_process(self.process)
        for shim in self.shims():
            shim.signal(signal.SIGKILL)
        wait_for(lambda: remove_groups(self.namespace), 20, f"the cgroups of {self.namespace} can be removed",
                 lambda: [str(group) for group in self.groups()])
        for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
            mount = line.split(" ")[4]
            if mount.startswith(f"{self.folder}/"):
                run("umount", "--lazy", mount, check=False)
        for path in self.sockets:
            pathlib.Path(path).unlink(missing_ok=True)
        shutil.rmtree(RUNC_STATE / self.namespace, ignore_errors=True)
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty
        shutil.rmtree(self.folder, ignore_errors=True)
