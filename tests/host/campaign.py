# SPDX-License-Identifier: Apache-2.0
"""The agent is killed again and again at random instants while faults of all kinds are made, and then counted.

Each fault has an identity that is found again in what the agent tells, and each maker of faults is a process of its
own, which does not know whether an agent runs. What is exact is held to be exact: see Verdict.
"""
import collections
import contextlib
import ctypes
import faulthandler
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import signal
import socket
import sqlite3
import sys
import time

from conftest import LIFEBOAT, Agent
from faults import MemoryGroup, bpf_file_system, end_process, only_detector, wait_for
from test_kernel_log import log, unlimited

CUSTOM = """
apiVersion: lifeboat.dev/v1alpha1
kind: Abnormal
metadata: {name: %s}
spec: {source: Custom}
"""

# The recovery is not idempotent: it adds a line to a file of the Abnormal's own. It is proven by that line.
RECOVERER = """#!/bin/sh
# lifeboat: sources=Custom plan=yes verify=yes disturbs=none verifyWithin=20s cooldown=0s
name=$(tr ',' '\\n' | sed -n 's/.*"name":"\\(job-[0-9]*\\)".*/\\1/p' | head -n 1)
[ -n "$name" ] || exit 1
case $1 in
recover) echo done >> %(folder)s/deeds/$name ;;
verify) [ -s %(folder)s/deeds/$name ] || exit 2 ;;
esac
"""
READER = "#!/bin/sh\n# lifeboat: sources=Custom\ncat > /dev/null\nexit 0\n"

REPEATED = 2  # groups in which several processes are killed for memory
REST_EVERY = 25  # kills; then the agent may work off what has come together
BACKLOG = 30
PATIENCE = 60  # seconds in which at least one Abnormal must end
# What the kernel's log holds back is told ten seconds later.
LINGER = 15


def is_store(name):
    return name == "lifeboat-store"


class Campaign:
    """KILLS kills, fewer if SECONDS are over; what happens is chosen by SEED, when it happens also by the machine."""

    def __init__(self, folder, kills, seed, seconds=float("inf"), tell=print):
        self.folder = pathlib.Path(folder)
        self.kills, self.seed, self.seconds, self.tell = kills, seed, seconds, tell
        self.chance = random.Random(seed)
        # In the names of all that is made: a node may have more than one campaign.
        self.marker = f"k9-{os.getpid()}"
        self.looping, self.crashing = f"k9l{os.getpid()}", f"k9c{os.getpid()}-"
        self.killed = collections.Counter()
        self.problems = []
        self.lost_by_detectors = 0
        self.makers = {}
        self.notified = None
        (self.folder / "agent").mkdir()
        self.agent = Agent(self.folder / "agent", self.configuration())
        self.scripts()

    def configuration(self):
        rule = {"name": "disk", "pattern": f"{self.marker}: disk {{}} is broken*", "type": "BrokenDisk"}
        detectors = {**only_detector("oom"), "process_crash": {}, "kernel_log": {"builtin": False, "rules": [rule]}}
        # The groups are gone at once: whether their processes stay below the limit cannot be seen for long.
        return {"detectors": detectors, "pipeline": {"parallel": 4, "liveMaximum": 10000},
                "recoverers": {"oom-settled": {"verifyWithin": "1s"}}, "store": {"retentionCount": 1000000}}

    def scripts(self):
        folder = self.agent.folder
        (folder / "deeds").mkdir()
        for kind, text in (("collectors", READER), ("diagnosers", READER), ("recoverers", RECOVERER)):
            path = folder / f"{kind}.d" / "step"
            path.write_text(text % {"folder": folder} if kind == "recoverers" else text)
            path.chmod(0o755)

    # --- The agent ---

    def spawn(self):
        # The service manager's socket tells the instant of readiness, and asks the agent for nothing.
        self.drain_notifications()
        self.agent.spawn(dict(os.environ, NOTIFY_SOCKET=self.notified.getsockname()))

    def drain_notifications(self):
        self.notified.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notified.recv(4096)

    def wait_ready(self):
        deadline = time.monotonic() + 60
        self.notified.settimeout(0.5)
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self.notified.recv(4096):
                    return True
            if self.agent.process.poll() is not None:
                break
        self.problems.append(f"an agent did not become ready (ended with {self.agent.process.poll()})")
        return False

    def kill_agent(self, what):
        ended = self.agent.process.poll()
        if ended is not None:
            self.problems.append(f"an agent ended by itself with {ended}")
            return
        self.agent.kill()
        self.killed[what] += 1
        if self.agent.process.returncode != -signal.SIGKILL:
            self.problems.append(f"an agent ended with {self.agent.process.returncode}")

    def children(self):
        """{pid: name} of the agent's children: each is a pid only for as long as it is not waited for."""
        found, agent = {}, self.agent.process.pid
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                name, _, rest = path.read_text().partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if int(parent) == agent and state != "Z":
                    found[int(path.parent.name)] = name
        return found

    @contextlib.contextmanager
    def child(self, wanted):
        """A pidfd of one of the agent's children whose name is WANTED, if there is one within half a second."""
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            pids = sorted(pid for pid, name in self.children().items() if wanted(name))
            if not pids:
                time.sleep(0.01)
                continue
            pid = self.chance.choice(pids)
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                yield fd if pid in self.children() else None
            finally:
                os.close(fd)
            return
        yield None

    def kill_child(self, what, wanted):
        with self.child(wanted) as child, contextlib.suppress(ProcessLookupError):
            if child is not None:
                signal.pidfd_send_signal(child, signal.SIGKILL)
                self.killed[what] += 1

    def kill_over_held_store(self, what):
        """What the agent takes up while its store is stopped is not on disk when both are killed."""
        with self.child(is_store) as store, contextlib.suppress(ProcessLookupError):
            if store is not None:
                signal.pidfd_send_signal(store, signal.SIGSTOP)
                self.grant(least=1)
                time.sleep(self.chance.random() * 0.6)
                # Either it never gets to what it was sent, or the agent does not hear that it has. Not after the
                # kill: LeakSanitizer stops the ending worker, and a SIGCONT in between leaves it stopped for ever.
                signal.pidfd_send_signal(store, self.chance.choice([signal.SIGKILL, signal.SIGCONT]))
        self.kill_agent(what)

    def one_kill(self):
        self.spawn()
        where = self.chance.choices(["agent", "agent at its start", "agent over a held store", "store worker",
                                     "plug-in supervisor"], [50, 20, 20, 5, 5])[0]
        if where == "agent at its start":
            time.sleep(self.chance.random() * 0.5)
            self.kill_agent(where)
            return
        if not self.wait_ready():
            return
        if where == "agent over a held store":
            self.kill_over_held_store(where)
            return
        time.sleep(self.chance.random() * 0.3)
        if where == "store worker":
            self.kill_child(where, is_store)
        elif where == "plug-in supervisor":
            self.kill_child(where, lambda name: name not in ("lifeboat-store", "lifeboat-log"))
        if where != "agent":
            time.sleep(self.chance.random() * 0.3)
        self.kill_agent("agent")

    # --- What the agent says of itself ---

    def ask(self, path):
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.agent.socket))
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def metrics(self):
        return {name: float(value) for name, value in re.findall(r"^(\w\S*) (\S+)$", self.ask("/metrics"), re.M)}

    def look_after(self):
        """What must hold whenever an agent has come to rest."""
        metrics = self.metrics()
        lost = sum(value for name, value in metrics.items() if name.startswith("lifeboat_detector_lost_total"))
        self.lost_by_detectors = max(self.lost_by_detectors, lost)
        if metrics.get("lifeboat_ring_malformed_total"):
            self.problems.append("records of the ring were refused")
        refused = metrics.get('lifeboat_sightings_total{result="refused"}', 0)
        if refused:
            self.problems.append(f"{refused:.0f} sightings were refused")
        generations = collections.defaultdict(set)
        for path in (self.agent.bpffs() / "links").glob("*/*"):
            generations[path.parent.name].add(path.name.rpartition("@")[2])
        for detector, found in generations.items():
            if len(found) > 1:
                self.problems.append(f"programs of {detector} are pinned in generations {sorted(found)}")
        return metrics["lifeboat_abnormals_live"]

    def wait_worked_off(self, backlog):
        """Until at most BACKLOG Abnormals are live: patient for as long as they become fewer."""
        least, since = self.look_after(), time.monotonic()
        while least > backlog:
            time.sleep(0.2)
            live = self.metrics()["lifeboat_abnormals_live"]
            if live < least:
                least, since = live, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                self.problems.append(f"{live:.0f} Abnormals do not end")
                return

    def rest(self):
        self.spawn()
        if self.wait_ready():
            self.wait_worked_off(BACKLOG)
            self.look_after()
            self.kill_agent("agent")

    # --- The whole ---

    def grant(self, least=0):
        """Lets each maker make some faults: at once, and at an instant that it chooses itself."""
        for maker in self.makers.values():
            for _ in range(max(least, self.chance.choice([0, 0, 1, 1, 1]))):
                maker.tickets.release()

    def run(self):
        try:
            with bpf_file_system(), unlimited(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as self.notified:
                self.notified.bind(str(self.folder / "notify"))
                return self.run_inside()
        finally:
            self.agent.stop()
            if self.agent.bpffs().exists():
                self.agent.detach()

    def run_inside(self):
        self.spawn()  # the first one: before it nothing is seen
        self.wait_ready()
        for make in (make_custom, make_oom, make_repeated_oom, make_crash, make_loop, make_line):
            self.makers[make.__name__] = Maker(self, make)
        began, rests = time.monotonic(), 0
        self.kill_agent("agent")
        try:
            while sum(self.killed.values()) < self.kills and time.monotonic() - began < self.seconds:
                self.grant()
                self.one_kill()
                done = sum(self.killed.values())
                if done // REST_EVERY > rests:
                    rests = done // REST_EVERY
                    self.rest()
                    self.tell(f"{done} kills in {time.monotonic() - began:.0f} s, {len(self.problems)} problems",
                              flush=True)
            # The last of all are made while none runs.
            self.grant(least=1)
            self.spawn()
            self.wait_ready()
        finally:
            for maker in self.makers.values():
                maker.end()
        verdict = self.wait_told()
        self.look_after()
        self.check_end()
        return verdict

    def wait_told(self):
        self.wait_worked_off(0)
        faults = {name: maker.faults() for name, maker in self.makers.items()}
        deadline = time.monotonic() + LINGER
        while True:
            self.wait_worked_off(0)
            verdict = Verdict(self, faults, json.loads(self.ask("/api/v1/abnormals"))["items"])
            if not verdict.lost or time.monotonic() > deadline:
                return verdict
            time.sleep(0.5)

    def check_end(self):
        self.agent.stop()
        database = sqlite3.connect(next(self.agent.state.glob("*.db")))
        with contextlib.closing(database):
            answer = database.execute("PRAGMA integrity_check").fetchall()
        if answer != [("ok",)]:
            self.problems.append(f"the database: {answer}")
        done = self.agent.detach()
        if done.returncode or self.agent.bpffs().exists():
            self.problems.append(f"detaching: {done.stdout}")
        try:
            wait_for(lambda: not self.left_processes(), 10, "no process is left")
        except AssertionError:
            self.problems.append(f"processes are left: {self.left_processes()}")

    def left_processes(self):
        found, mine = {}, str(self.agent.folder).encode()
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes()
                if mine in line:
                    found[path.parent.name] = line.replace(b"\0", b" ").decode(errors="replace")[:80]
        return found

    def warnings(self):
        """The kinds of warnings and errors in the agents' logs, with their numbers."""
        kinds = collections.Counter()
        for line in self.agent.log.read_text(errors="replace").splitlines():
            found = re.search(r"\b(warning|error)\b[:\s]+(.*)", line, re.I)
            if found:
                kinds[re.sub(r"\S*\d\S*", "N", found.group(2))[:150]] += 1
        return kinds


# --- Makers of faults ---


class Maker:
    """A process that makes one fault for each ticket, and writes each one down that has happened."""

    def __init__(self, campaign, make):
        self.journal = campaign.folder / make.__name__
        self.make, self.campaign = make, campaign
        context = multiprocessing.get_context("fork")
        self.tickets, self.ending = context.Semaphore(0), context.Event()
        self.process = context.Process(target=self.work, daemon=True)
        self.process.start()

    def work(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Crashes are meant to: without a core, and without the words of pytest's handler.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()
        chance = random.Random(f"{self.campaign.seed} {self.make.__name__}")
        with open(self.journal, "w") as journal, contextlib.ExitStack() as stack:
            made = self.make(self.campaign, chance, stack)
            while True:
                # All tickets that were given are used, also those from before the end.
                if not self.tickets.acquire(timeout=0.1):
                    if self.ending.is_set():
                        return
                    continue
                time.sleep(chance.random() * 0.3)
                journal.write(json.dumps(next(made)) + "\n")
                journal.flush()

    def end(self):
        self.ending.set()
        self.process.join(120)
        if self.process.exitcode != 0:
            self.campaign.problems.append(f"{self.make.__name__} ended with {self.process.exitcode}")
            self.process.kill()

    def faults(self):
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


def forked(work):
    """Waits for a child that does WORK; the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def make_custom(campaign, chance, _):
    """Applied by the command line: most until that is acknowledged, some once, whatever is answered."""
    number = 0
    while True:
        name = f"job-{number}"
        number += 1
        once = chance.random() < 0.2
        deadline = time.monotonic() + 120
        while True:
            answer = campaign.agent.cli("apply", "-f", "-", check=False, input=CUSTOM % name)
            if answer.returncode == 0 or once:
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is not taken: {answer.stderr}")
            time.sleep(0.02)
        yield {"name": name, "acknowledged": answer.returncode == 0}


def hog(group):
    def work():
        (group.folder / "cgroup.procs").write_text(str(os.getpid()))
        return b"x" * (64 << 20)
    assert forked(work) == signal.SIGKILL, "the kernel has not killed the hog"


def make_oom(campaign, *_):
    """Each in a group of its own, which is gone when that is told."""
    number = 0
    while True:
        with MemoryGroup(f"{campaign.marker}-oom-{number}", 4) as group:
            number += 1
            hog(group)
        yield {"group": group.path}


def make_repeated_oom(campaign, chance, stack):
    groups = [stack.enter_context(MemoryGroup(f"{campaign.marker}-again-{number}", 4)) for number in range(REPEATED)]
    while True:
        group = chance.choice(groups)
        hog(group)
        yield {"group": group.path}


def crash(name):
    libc = ctypes.CDLL(None)

    def work():
        libc.prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME
        ctypes.string_at(0)
    assert forked(work) == signal.SIGSEGV


def make_crash(campaign, *_):
    number = 0
    while True:
        name = f"{campaign.crashing}{number}"
        number += 1
        crash(name)
        yield {"program": name}


def make_loop(campaign, *_):
    while True:
        crash(campaign.looping)
        yield {"program": campaign.looping}


def make_line(campaign, *_):
    number = 0
    while True:
        device = f"d{number}"
        number += 1
        log(f"{campaign.marker}: disk {device} is broken")
        yield {"device": device}


# --- Counting ---


def detector_of(item):
    return item["spec"].get("kernelEvent", {}).get("detector")


def details_of(item):
    return item["spec"]["kernelEvent"].get("details", {})


class Verdict:
    """
    What was made against what is told:
      lost    a fault without an Abnormal, or an acknowledged one that is not there
      deeds   a recovery that was done more than once
      twice   a fault that is counted more often than it happened
    """

    def __init__(self, campaign, faults, items):
        self.campaign, self.faults, self.items = campaign, faults, items
        self.lost, self.deeds, self.twice, self.untold = [], [], [], []
        self.custom()
        self.count("oom", "make_oom", "group", lambda item: item["spec"]["kernelEvent"]["container"]["cgroupPath"])
        self.count("oom", "make_repeated_oom", "group",
                   lambda item: item["spec"]["kernelEvent"]["container"]["cgroupPath"])
        self.count("process_crash", "make_crash", "program", lambda item: details_of(item)["program"].split()[0])
        self.count("kernel_log", "make_line", "device", lambda item: details_of(item).get("device"))
        self.loop()
        self.others()

    def custom(self):
        there = {item["metadata"]["name"]: item for item in self.items if item["spec"]["source"] == "Custom"}
        names = {fault["name"] for fault in self.faults["make_custom"]}
        self.lost += [fault["name"] for fault in self.faults["make_custom"]
                      if fault["acknowledged"] and fault["name"] not in there]
        self.twice += sorted(set(there) - names)
        folder = self.campaign.agent.folder / "deeds"
        done = {path.name: len(path.read_text().split()) for path in folder.iterdir()}
        self.deeds += [name for name, times in done.items() if times > 1]
        for name, item in there.items():
            phase, actions = item["status"].get("phase"), item["status"].get("actions", [])
            if phase == "Succeeded" and not done.get(name):
                self.untold.append(f"{name} succeeded though nothing was done")
            # A recovery whose supervisor alone was killed is told as one that failed.
            if phase == "Failed" and done.get(name) and not any(each["outcome"] == "Failed" for each in actions):
                self.untold.append(f"{name} was done and is not told so: {item['status'].get('message')}")

    def count(self, detector, maker, key, identity):
        made = collections.Counter(fault[key] for fault in self.faults[maker])
        told = collections.Counter()
        for item in self.items:
            if detector_of(item) == detector:
                told[identity(item)] += item["status"]["occurrences"]["count"]
        for name, times in made.items():
            if told[name] < times:
                self.lost.append(f"{name}: {times} made, {told[name]} told")
            if told[name] > times:
                self.twice.append(f"{name}: {times} made, {told[name]} told")

    def loop(self):
        """A crash in a loop is counted alone, in the loop, or in both: at least once."""
        made, looping = len(self.faults["make_loop"]), self.campaign.looping
        told = sum(item["status"]["occurrences"]["count"] for item in self.items
                   if detector_of(item) == "process_crash" and details_of(item)["program"].split()[0] == looping)
        if told < made:
            self.lost.append(f"{looping}: {made} made, {told} told")

    def others(self):
        """No process of the agent's own has crashed, its store worker and supervisors included."""
        own = ("lifeboat", pathlib.Path(LIFEBOAT).name)
        self.untold += [f"{details_of(item)['program']} crashed" for item in self.items
                        if detector_of(item) == "process_crash" and details_of(item)["program"].startswith(own)]

    def made(self):
        return sum(len(faults) for faults in self.faults.values())

    def problems(self):
        lost = self.campaign.lost_by_detectors
        return (self.campaign.problems + self.untold
                + ([f"detectors lost {lost:.0f} events"] if lost else []))

    def good(self):
        return not (self.lost or self.deeds or self.twice or self.problems())

    def report(self):
        campaign = self.campaign
        lines = [f"kills of the {what}: {number}" for what, number in sorted(campaign.killed.items())]
        lines += [f"faults by {name}: {len(faults)}" for name, faults in self.faults.items()]
        ends = collections.Counter(f"{item['status'].get('phase')} {item['status'].get('reason', '')}"
                                   for item in self.items)
        lines += [f"{number} Abnormals ended {how}" for how, number in sorted(ends.items())]
        lines += [f"in the log, {number} times: {kind}" for kind, number in campaign.warnings().most_common(12)]
        for what, found in (("lost", self.lost), ("done twice", self.deeds), ("told twice", self.twice),
                            ("problem", self.problems())):
            lines += [f"{what}: {each}" for each in found[:20]]
        lines.append(f"{sum(campaign.killed.values()):,} kills over {self.made():,} faults: {len(self.lost)} lost, "
                     f"{len(self.deeds)} done twice, {len(self.twice)} told twice"
                     + (f", {len(self.problems())} problems" if self.problems() else ""))
        return "\n".join(lines)
