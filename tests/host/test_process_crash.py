# SPDX-License-Identifier: Apache-2.0
"""Real processes that crash, each in its own way."""
import json
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from faults import MemoryGroup, end_process, memory_hierarchy, only_detector, run, wait_for

ONLY_CRASHES = {"detectors": only_detector("process_crash")}

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back;
static const char constant[4096] = "constant";
static void on_signal(int number) { siglongjmp(back, number); }
__attribute__((noinline)) int read_through(volatile int *pointer) { return *pointer; }
__attribute__((noinline)) int recurse(volatile int depth)
{
	volatile char frame[512];
	frame[0] = (char)depth;
	return recurse(depth + 1) + frame[0];
}
static void *in_thread(void *unused) { read_through(NULL); return unused; }

static void truncated(void)
{
	char path[] = "/tmp/lifeboat-test-XXXXXX";
	int fd = mkstemp(path);
	unlink(path);
	if (ftruncate(fd, 8192)) exit(9);
	char *mapped = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	if (ftruncate(fd, 0)) exit(9);
	exit(mapped[4096]);
}

static void forbidden(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, rules};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) exit(9);
	syscall(SYS_getppid);
}

static void *in_race(void *barrier) { pthread_barrier_wait(barrier); raise(SIGSEGV); return barrier; }

/* One thread crashes while another ends the process, and sometimes is faster. */
static void overtaken(int times)
{
	for (int i = 0; i < times; i++) {
		if (!fork()) {
			pthread_barrier_t barrier;
			pthread_t thread;
			pthread_barrier_init(&barrier, NULL, 2);
			pthread_create(&thread, NULL, in_race, &barrier);
			pthread_barrier_wait(&barrier);
			for (volatile int wait = 0; wait < i % 400 * 20; wait++);
			_exit(0);
		}
		wait(NULL);
	}
	exit(0);
}

int main(int argc, char **argv)
{
	const char *how = argv[1];
	volatile int zero = 0;
	pthread_t thread;

	if (!strcmp(how, "null")) return read_through(NULL);
	if (!strcmp(how, "member")) return read_through((int *)0x1230);
	if (!strcmp(how, "wild")) return read_through((int *)0x123456789000);
	if (!strcmp(how, "call")) ((void (*)(void))(long)zero)();
	if (!strcmp(how, "stack")) return recurse(0);
	if (!strcmp(how, "constant")) *(volatile char *)constant = 'x';
	if (!strcmp(how, "abort")) abort();
	if (!strcmp(how, "truncated")) truncated();
	if (!strcmp(how, "divide")) return 100 / zero;
	if (!strcmp(how, "trap")) __builtin_trap();
	if (!strcmp(how, "forbidden")) forbidden();
	if (!strcmp(how, "thread")) {
		pthread_create(&thread, NULL, in_thread, NULL);
		pthread_join(thread, NULL);
	}
	if (!strcmp(how, "overtaken")) overtaken(1000);
	if (!strcmp(how, "handled")) {
		signal(SIGSEGV, on_signal);
		signal(SIGABRT, on_signal);
		for (int i = 0; i < 3; i++)
			if (!sigsetjmp(back, 1))
				read_through(NULL);
		if (!sigsetjmp(back, 1))
			raise(SIGABRT);
		return 0;
	}
	if (!strcmp(how, "sleep")) for (;;) pause();
	return 7;
}
"""

# How, signal, code, and what the diagnoser makes of it.
FAULTS = [
    ("null", "SIGSEGV", "SEGV_MAPERR", "used a null pointer"),
    ("member", "SIGSEGV", "SEGV_MAPERR", "at a null pointer"),
    ("wild", "SIGSEGV", "SEGV_MAPERR", "where nothing is mapped"),
    ("call", "SIGSEGV", "SEGV_MAPERR", "called a function through a null pointer"),
    ("stack", "SIGSEGV", "SEGV_", "ran out of stack"),
    ("constant", "SIGSEGV", "SEGV_ACCERR", "writing to a constant"),
    ("abort", "SIGABRT", "SI_TKILL", "gave up by itself"),
    ("truncated", "SIGBUS", "BUS_ADRERR", "the file was truncated"),
    ("divide", "SIGFPE", "FPE_INTDIV", "divided an integer by zero"),
    ("trap", "SIGILL", "ILL_ILLOPN", "executed an instruction"),
    ("forbidden", "SIGSYS", "SYS_SECCOMP", "seccomp profile does not allow"),
    ("thread", "SIGSEGV", "SEGV_MAPERR", "used a null pointer"),
]


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Under nohup, or in the background of a shell, these come ignored.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def core():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "crash.c").write_text(SOURCE)
    run("gcc", "-O0", "-g", "-fno-omit-frame-pointer", "-w", "-pthread", "-o", folder / "crash", folder / "crash.c")
    yield folder / "crash"
    shutil.rmtree(folder, ignore_errors=True)


def crash(program, how, name=None, **options):
    """Runs the program under a name of its own, which makes it a subject of its own."""
    own = program.parent / (name or f"crash-{how}")
    if not own.exists():
        own.hardlink_to(program)
    options.setdefault("preexec_fn", no_core)
    return subprocess.Popen([own, how], cwd=program.parent, **options)


def details(item):
    return item["spec"]["kernelEvent"]["details"]


def of_program(agent, name, kind="ProcessCrash"):
    return next((item for item in agent.abnormals("process_crash") if details(item)["exe"] == name
                 and item["spec"]["kernelEvent"]["type"] == kind), None)


def wait_program(agent, name, kind="ProcessCrash", until=lambda item: True):
    def found():
        item = of_program(agent, name, kind)
        return item if item and until(item) else None
    return wait_for(found, 60, f"an Abnormal of {name}", lambda: json.dumps(agent.abnormals(), indent=1))


def ended(item):
    return item["status"].get("phase") in ("Succeeded", "Failed")


def test_each_way_to_crash_is_told_with_its_cause(agent, program):
    agent = agent(ONLY_CRASHES)
    processes = {how: crash(program, how) for how, *_ in FAULTS}
    for how, name, code, cause in FAULTS:
        process = processes[how]
        process.wait(30)
        assert process.returncode == -signal.Signals[name], (how, process.returncode)
        item = wait_program(agent, f"crash-{how}", until=ended)
        event, status = item["spec"]["kernelEvent"], item["status"]
        seen = details(item)
        assert event["process"]["tgid"] == process.pid and event["process"]["parent"]["comm"], event
        assert seen["signal"] == name and seen["code"].startswith(code), (how, seen)
        assert status["reason"] == "ProcessCrashed" and cause in status["message"], (how, status)
        assert seen["core"]["dumped"] is False
        assert event["stack"]["user"], event
        # The processes of this test go on in the same group, so a single crash is no reason to call anybody.
        assert status["phase"] == "Succeeded", (how, status)
    null = of_program(agent, "crash-null")
    assert details(null)["address"] == "0x0"
    assert null["spec"]["kernelEvent"]["stack"]["user"][0].startswith("crash-null+0x"), null["spec"]
    # While the kernel holds the signal's locks, one program alone can read build IDs.
    if run("bpftool", "prog", "show").count("name crash_signal_") == 1:
        assert len(details(null)["buildId"]) == 40
    thread = of_program(agent, "crash-thread")["spec"]["kernelEvent"]["process"]
    assert thread["pid"] != thread["tgid"], thread
    assert details(of_program(agent, "crash-forbidden"))["syscall"] > 0
    assert details(of_program(agent, "crash-abort"))["sender"]["self"] is True
    assert len(agent.abnormals()) == len(FAULTS)


def test_who_handles_the_signal_or_ends_otherwise_is_not_reported(agent, program):
    agent = agent(ONLY_CRASHES)
    handled = crash(program, "handled")
    assert handled.wait(10) == 0
    assert crash(program, "unknown").wait(10) == 7
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = crash(program, "sleep")
        process.send_signal(number)
        process.wait(10)
    # What comes last is seen, so whatever came before would have been.
    crash(program, "null").wait(10)
    wait_program(agent, "crash-null")
    assert len(agent.abnormals()) == 1, agent.abnormals()


def test_a_signal_from_outside_names_its_sender(agent, program):
    agent = agent(ONLY_CRASHES)
    process = crash(program, "sleep", "crash-sent")
    sender = subprocess.Popen([sys.executable, "-c",
                               f"import os, time; os.kill({process.pid}, 11); print(flush=True); time.sleep(60)"],
                              stdout=subprocess.PIPE)
    try:
        sender.stdout.readline()
        process.wait(10)
        item = wait_program(agent, "crash-sent", until=ended)
        assert details(item)["sender"] == {"pid": sender.pid, "uid": 0, "self": False}, details(item)
        assert "address" not in details(item)
        assert "by another process" in item["status"]["message"], item["status"]
    finally:
        end_process(sender)
        sender.stdout.close()


@pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")
def test_a_crash_names_its_cgroup_even_when_that_is_gone(agent):
    agent = agent(ONLY_CRASHES)
    identity = "fedcba9876543210" * 4
    pod = "lifeboat-test-kubepods-crash"
    with MemoryGroup(pod, megabytes=512):
        name = f"{pod}/pod11111111-2222-3333-4444-666666666666"
        with MemoryGroup(name, megabytes=512):
            with MemoryGroup(f"{name}/{identity}", megabytes=512) as group:
                process = group.spawn("import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
                                      "import os; os.abort()")
                assert process.wait(20) == -signal.SIGABRT
    item = agent.wait_ended("process_crash")
    container = item["spec"]["kernelEvent"]["container"]
    assert container["id"] == identity and container["cgroupPath"].endswith(identity), container
    # A job that gave up: reported once, and nobody is called.
    assert item["status"]["phase"] == "Succeeded", item["status"]
    assert "gave up by itself, as a job may" in item["status"]["message"], item["status"]


def test_a_loop_is_one_abnormal_with_its_rate(agent, program):
    agent = agent(ONLY_CRASHES)
    for _ in range(20):
        crash(program, "null", "crash-loop").wait(10)
        time.sleep(0.05)  # a program that is restarted, not a storm
    loop = wait_program(agent, "crash-loop", "CrashLoop",
                        lambda item: ended(item) and item["status"]["occurrences"]["count"] == 20)
    assert loop["status"]["phase"] == "Failed" and loop["status"]["reason"] == "CrashLoop", loop["status"]
    assert "again and again" in loop["status"]["message"]
    assert details(loop)["ratePerMinute"] > 3 and details(loop)["intervals"], details(loop)
    single = of_program(agent, "crash-loop")
    assert single["status"]["occurrences"]["count"] == 2, single["status"]
    assert len(agent.abnormals()) == 2


def test_a_burst_is_counted_to_the_last_though_most_of_it_has_no_record(agent):
    """The kernel sends four records of a program in a second, and only counts the others."""
    agent = agent(ONLY_CRASHES)
    burst = 40
    script = ("import os, resource\n"
              "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
              f"for i in range({burst}):\n"
              "    child = os.fork()\n"
              "    if child == 0: os.abort()\n"
              "    os.waitpid(child, 0)\n")
    run(sys.executable, "-c", script)

    def counted():
        return {item["spec"]["kernelEvent"]["type"]: item["status"]["occurrences"]["count"]
                for item in agent.abnormals("process_crash")}
    wait_for(lambda: counted().get("CrashLoop") == burst, 30, f"{burst} crashes are counted", lambda: str(counted()))


def test_in_a_storm_every_crash_is_counted_once_and_few_are_told(agent):
    agent = agent(ONLY_CRASHES)
    storm = 2000
    script = ("import os, resource\n"
              "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
              f"for i in range({storm}):\n"
              "    child = os.fork()\n"
              "    if child == 0: os.abort()\n"
              "    os.waitpid(child, 0)\n")
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

    def detector():
        items = json.loads(agent.cli("get", "detectors", "-o", "json").stdout)["items"]
        return next(item for item in items if item["name"] == "process_crash")

    def counted():
        loops = [item for item in agent.abnormals("process_crash")
                 if item["spec"]["kernelEvent"]["type"] == "CrashLoop"]
        return loops and loops[0]["status"]["occurrences"]["count"] + detector()["lost"] >= storm and loops[0]
    loop = wait_for(counted, 60, f"{storm} crashes are counted",
                    lambda: json.dumps([agent.abnormals(), detector()], indent=1))
    assert loop["status"]["occurrences"]["count"] + detector()["lost"] == storm, loop["status"]
    assert detector()["events"] < 100, detector()
    assert len(agent.abnormals()) == 2


def test_a_crash_that_another_end_overtakes_leaves_nothing_behind(agent, program):
    def tables():
        return {each["id"] for each in json.loads(run("bpftool", "-j", "map", "list"))
                if each.get("name") == "dying_processes"}
    before = tables()
    agent = agent(ONLY_CRASHES)
    own = tables() - before
    assert len(own) == 1
    crash(program, "overtaken").wait(60)
    crash(program, "null", "crash-after").wait(10)
    wait_program(agent, "crash-after")
    left = json.loads(run("bpftool", "-j", "map", "dump", "id", own.pop()))
    assert len(left) < 10, f"{len(left)} entries of processes that ended otherwise"


def test_a_core_is_told_when_one_was_written(agent, program):
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")) or not pattern:
        pytest.skip(f"cores of this host go to {pattern or 'nowhere'}: needs a relative kernel.core_pattern")
    agent = agent(ONLY_CRASHES)
    process = crash(program, "null", "crash-core", preexec_fn=core)
    process.wait(30)
    item = wait_program(agent, "crash-core", until=ended)
    assert list(program.parent.glob("core*")), "the kernel wrote no core"
    assert details(item)["core"] == {"dumped": True, "pattern": pattern}, details(item)
    assert "A core was written" in item["status"]["message"]


@pytest.mark.parametrize("hook", ["tp_btf/signal_deliver", "raw_tp/signal_deliver"])
def test_each_rung_sees_the_crash(agent, program, hook):
    agent = agent({"detectors": only_detector("process_crash", {"hook": hook})})
    crash(program, "truncated", "crash-rung").wait(10)
    item = wait_program(agent, "crash-rung", until=ended)
    assert details(item)["code"] == "BUS_ADRERR" and details(item)["address"] != "0x0", details(item)
    assert item["spec"]["kernelEvent"]["stack"]["user"][0].startswith("crash-rung"), item["spec"]
