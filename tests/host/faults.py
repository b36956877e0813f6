# SPDX-License-Identifier: Apache-2.0
"""Real faults, each a context manager that puts everything back, also after a failure."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def wait_for(condition, seconds, what, seen=None):
    """Polls CONDITION until it gives something true; says what was SEEN when time runs out."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            detail = f"\nseen:\n{seen() if callable(seen) else seen}" if seen else ""
            raise AssertionError(f"after {seconds} s still not: {what}{detail}")
        time.sleep(0.05)


def only_detector(name, settings=None):
    """Configuration `detectors` in which NAME alone is on: what else happens on this host is not the test's."""
    sources = pathlib.Path(__file__).parents[2].glob("user/detect/*.c")
    names = {each for source in sources
             for each in re.findall(r"^DETECTOR\((\w+)\)", source.read_text(encoding="utf-8"), re.M)}
    assert name in names, f"there is no detector {name}, but {sorted(names)}"
    return {**{each: {"enabled": False} for each in names}, name: settings or {}}


def process_state(pid):
    """The letter of proc_pid_stat(5), or None when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def end_process(process):
    """Ends a child that this test started; one stuck in the kernel is left to its fault's cleanup."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


class Filesystem:
    """An ext4 on a loop device, mounted below FOLDER, that can be frozen."""

    def __init__(self, folder, megabytes=32):
        self.image = pathlib.Path(folder) / "image"
        self.mount = pathlib.Path(folder) / "mnt"
        self.megabytes = megabytes
        self.frozen = False
        self.device = None
        self.processes = []

    def __enter__(self):
        self.mount.mkdir(parents=True)
        with open(self.image, "wb") as image:
            image.truncate(self.megabytes << 20)
        run("mkfs.ext4", "-q", "-F", self.image)
        try:
            self.device = run("losetup", "--find", "--show", self.image).strip()
            run("mount", self.device, self.mount)
        except BaseException:
            self.__exit__()
            raise
        return self

    def freeze(self):
        run("fsfreeze", "--freeze", self.mount)
        self.frozen = True

    def thaw(self):
        # Somebody else, the agent perhaps, may have thawed it already.
        run("fsfreeze", "--unfreeze", self.mount, check=False)
        self.frozen = False

    def writer(self, name="file", data="hello"):
        """A process that writes to the filesystem: on a frozen one it hangs in D."""
        script = f"import sys; open(sys.argv[1], 'w').write({data!r})"
        process = subprocess.Popen([sys.executable, "-c", script, str(self.mount / name)])
        self.processes.append(process)
        return process

    def hanging_writer(self, name="file", data="hello"):
        process = self.writer(name, data)
        wait_for(lambda: process_state(process.pid) == "D", 10, f"writer {process.pid} in state D",
                 lambda: process_state(process.pid))
        return process

    def __exit__(self, *_):
        if self.frozen:
            self.thaw()
        for process in self.processes:
            end_process(process)
        if os.path.ismount(self.mount):
            run("umount", self.mount, check=False)
        if os.path.ismount(self.mount):
            run("umount", "--lazy", self.mount, check=False)
        if self.device:
            run("losetup", "--detach", self.device, check=False)


@contextlib.contextmanager
def bpf_file_system():
    """Where the agent pins what outlives it: mounted meanwhile, where it is not anyway."""
    if os.path.ismount("/sys/fs/bpf"):
        yield
        return
    run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    try:
        yield
    finally:
        run("umount", "/sys/fs/bpf")


def memory_hierarchy():
    """(folder, version) of the memory controller, or (None, reason)."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        folder = pathlib.Path(fields.split(" ")[4])
        if kind == "cgroup" and "memory" in options.split(" ")[-1].split(","):
            return folder, 1
        if kind == "cgroup2" and "memory" in (folder / "cgroup.controllers").read_text().split():
            return folder, 2
    return None, "no memory controller is mounted"


class ControlGroup:
    """A control group of its own in the hierarchy at ROOT, with processes that end with it."""

    def __init__(self, root, name, version):
        self.version, self.path, self.folder = version, f"/{name}", root / name
        self.processes = []

    def __enter__(self):
        self.folder.mkdir()
        return self

    def spawn(self, script, *arguments):
        """A Python process that has joined the group before SCRIPT runs."""
        join = f"import os; open({str(self.folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        process = subprocess.Popen([sys.executable, "-c", join + script, *map(str, arguments)])
        self.processes.append(process)
        return process

    def sleeper(self):
        """Sleeps, and wakes up all the time: whether it may run can be told."""
        process = self.spawn("import time\nwhile True: time.sleep(0.01)")
        wait_for(lambda: str(process.pid) in (self.folder / "cgroup.procs").read_text().split(), 10,
                 "the sleeper has joined its group")
        return process

    def __exit__(self, *_):
        for process in self.processes:
            end_process(process)
        wait_for(self._remove, 10, f"{self.folder} can be removed")

    def _remove(self):
        try:
            self.folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True


class MemoryGroup(ControlGroup):
    """With a limit of its memory, v1 or v2, whichever this host has."""

    def __init__(self, name, megabytes=20):
        root, version = memory_hierarchy()
        super().__init__(root, name, version)
        self.limit = megabytes << 20

    def __enter__(self):
        super().__enter__()
        try:
            if self.version == 1:
                (self.folder / "memory.limit_in_bytes").write_text(str(self.limit))
            else:
                (self.folder / "memory.max").write_text(str(self.limit))
                (self.folder / "memory.swap.max").write_text("0")
        except BaseException:
            self.__exit__()
            raise
        return self

    def hog(self, megabytes=64):
        """Takes more memory than the limit; returns once the kernel has killed it."""
        process = self.spawn("b = bytearray()\n"
                             f"for i in range({megabytes}): b += bytearray(b'x' * (1 << 20))")
        process.wait(30)
        assert process.returncode == -signal.SIGKILL, f"the hog ended with {process.returncode}"
        return process
