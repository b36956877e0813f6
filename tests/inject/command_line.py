# SPDX-License-Identifier: Apache-2.0
"""The command line, with each of its calls failed in turn, against an agent that nothing is done to.

What a command prints is either what it prints otherwise, and its status 0, or it says on standard error what is wrong
and its status is not 0: less than everything is never given out as all there is.
"""
import contextlib
import json
import os
import re
import select
import signal
import subprocess

SECONDS = 20
QUIET_SECONDS = 0.5  # what goes on has told what there is when nothing came for this long
# Ages, and numbers that the agent counts, are not the same twice.
CHANGING = re.compile(r"\d+(?:\.\d+)?(?:ms|[smhd])?(?:\d+[smhd])*")
EVENT = {
    "apiVersion": "lifeboat.dev/v1alpha1", "kind": "Abnormal", "metadata": {"name": "told"},
    "spec": {"source": "KernelEvent", "kernelEvent": {
        "detector": "oom", "type": "OOMKill", "time": "2026-11-27T15:57:38.458582697Z", "cpu": 1,
        "process": {"pid": 4711, "tgid": 4711, "startTime": 76420, "comm": "eater", "uid": 0,
                    "parent": {"pid": 1, "tgid": 1, "comm": "init"}},
        "container": {"cgroupPath": "/nowhere/at-all", "cgroupId": 999999999},
        "stack": {"kernel": ["schedule+0x5a", "io_schedule+0x46"]},
        "details": {"scope": "cgroup", "victim": {"anonBytes": 10997760},
                    "limitCgroup": {"path": "/nowhere/at-all", "limitBytes": 4194304, "usageBytes": 4194304}}}}}


def commands(folder):
    """Those that answer the same whenever they are asked."""
    applied = folder / "again.json"
    applied.write_text(json.dumps(EVENT))
    return [["get", "abnormals"], ["get", "abnormals", "-o", "wide"], ["get", "abnormals", "-A", "-o", "yaml"],
            ["get", "abnormal", "told", "-o", "json"], ["get", "abnormals", "-o", "name"],
            ["get", "abnormals", "-l", "lifeboat.dev/fingerprint!=x"],
            ["describe", "abnormal", "told"], ["describe", "abnormal", "job-1"], ["events"], ["events", "-o", "json"],
            ["get", "detectors"], ["get", "recoverers", "-o", "wide"], ["describe", "recoverer", "injected"],
            *(["get", "abnormals", "--watch", "-o", output] for output in ("wide", "json", "yaml", "name")), ["top", "--once"],
            ["apply", "-f", str(applied)], ["diagnose", "oom", "--abnormal", "told"],
            ["recover", "injected", "--abnormal", "nobody", "--dry-run"], ["collect", "injected", "-f", str(applied)],
            ["doctor"], ["doctor", "-o", "json"], ["version"], ["help"], ["help", "get"], ["completion", "bash"]]


class CommandLine:
    def __init__(self, options, agent):
        self.options, self.agent = options, agent

    def run(self, words, expected=None, **environment):
        """What WORDS print; of those that go on for ever, what comes until it is as much as EXPECTED, if that is known."""
        whole = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "MALLOC_PERTURB_": "165",
                 "LIFEBOAT_SOCKET": str(self.agent.socket), "LD_PRELOAD": str(self.options.shim), **environment}
        with subprocess.Popen([self.options.lifeboat, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=whole) as process:
            try:
                shown, ended = b"", False
                if "--watch" in words:
                    shown, ended = watch(process, expected and expected.stdout.count("\n"))
                rest, said = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        status = 0 if ended and process.returncode == -signal.SIGTERM else process.returncode
        return subprocess.CompletedProcess(words, status, (shown + rest).decode(errors="replace"),
                                           said.decode(errors="replace"))

    def record(self, words):
        """What WORDS print, and the lines of the sites that they pass."""
        sites = self.agent.folder / "sites"
        sites.unlink(missing_ok=True)
        done = self.run(words, LIFEBOAT_INJECT_RECORD=str(sites))
        return done, (sites.read_text().splitlines() if sites.exists() else [])

    def fail(self, words, expected, site, mode):
        """(how it went, what is to be told)"""
        reached = self.agent.folder / f"failed-{words[0]}-{site.name}-{mode}"
        try:
            done = self.run(words, expected, LIFEBOAT_INJECT=f"cli:{site.kind}:{site.name}:{mode}",
                            LIFEBOAT_INJECT_LOG=str(reached))
        except subprocess.TimeoutExpired:
            return "hung", f"lifeboat {' '.join(words)}: after {SECONDS} s"
        said = f"lifeboat {' '.join(words)}: status {done.returncode}, {done.stderr.strip()[:300]!r}"
        if done.returncode < 0:
            return "crashed", f"{said}, by {signal.Signals(-done.returncode).name}"
        if not reached.exists():
            return "not reached", said
        if done.returncode == expected.returncode:
            if settled(done.stdout) == settled(expected.stdout) or told_in_top(words, expected.stdout, done.stdout):
                return "went on", said
            return "silent", f"{said}\n{difference(expected.stdout, done.stdout)}"
        # The doctor tells what is wrong where it tells everything.
        explained = done.stderr.strip() or (words[0] == "doctor" and "missing" in done.stdout)
        if not explained:
            return "silent", f"{said}: it said nothing"
        if site.kind == "alloc" and words[0] != "doctor" and "memory" not in done.stderr:
            return "silent", f"{said}: it does not say that memory was short"
        return "refused", said


def watch(process, lines):
    """(what PROCESS printed, whether it was ended for that): LINES of it, or without a number what there is."""
    shown = b""
    while not lines or shown.count(b"\n") < lines:
        patience = SECONDS if lines or not shown else QUIET_SECONDS
        if not select.select([process.stdout], [], [], patience)[0]:
            if patience == SECONDS:
                raise subprocess.TimeoutExpired(process.args, SECONDS)
            break
        more = os.read(process.stdout.fileno(), 1 << 16)
        if not more:
            return shown, False
        shown += more
    process.terminate()
    return shown, True


def told_in_top(words, expected, found):
    """Whether FOUND is `top`'s picture, which says on its line about pressure that some or all of it is not known."""
    def rest(text):
        return [line for line in settled(text) if not line.startswith("pressure")]
    pressure = [line for line in found.splitlines() if line.startswith("pressure")]
    return words[0] == "top" and len(pressure) == 1 and "not known" in pressure[0] and rest(found) == rest(expected)


def settled(text):
    return [" ".join(CHANGING.sub("N", line).split()) for line in text.splitlines()]


def difference(expected, found):
    expected, found = settled(expected), settled(found)
    return "\n".join([f"    - {line}" for line in expected if line not in found][:4]
                     + [f"    + {line}" for line in found if line not in expected][:4])


@contextlib.contextmanager
def told(agent, wait_until, seconds):
    """AGENT (a Round) runs, and what the commands look at has ended."""
    try:
        agent.start()
        wait_until(agent.ready, seconds, "the agent answers")
        agent.apply("job-1")
        agent.ask("POST", "/api/v1/abnormals", EVENT)
        wait_until(lambda: agent.phases() and all(phase in ("Succeeded", "Failed") for phase in agent.phases().values()),
                   seconds, "the Abnormals end")
        yield agent
        agent.stop()
    finally:
        agent.close()
