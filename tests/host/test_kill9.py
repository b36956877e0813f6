# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the agent at every point: no Abnormal lost, no recovery done twice."""
import json
import os
import signal

import pytest
from campaign import Campaign
from faults import memory_hierarchy, wait_for

ABNORMAL = """
apiVersion: lifeboat.dev/v1alpha1
kind: Abnormal
metadata: {name: %s}
spec: {source: Custom}
"""

# Each step's script kills the agent the first time it is called for an Abnormal, at its begin or at its end: the
# agent is the supervisor's parent. What it did is written down before, so that doing it twice shows.
STEP = """#!/bin/sh
# lifeboat: %(header)s
cat > /dev/null
%(guard)s
echo "$1" >> %(folder)s/%(kind)s-done
kill_agent() {
	[ -e %(folder)s/killed-%(kind)s-%(point)s-"$1" ] && return
	: > %(folder)s/killed-%(kind)s-%(point)s-"$1"
	kill -9 "$(cat %(folder)s/agent-pid)"
	sleep 5
}
%(begin)s
%(work)s
%(end)s
exit 0
"""


def install_step(agent, kind, header, point, step, work=":", guard=""):
    folder = agent.folder
    kill = f'[ "$1" = {step} ] && kill_agent {step}'
    text = STEP % {"header": header, "folder": folder, "kind": kind, "point": point, "guard": guard, "work": work,
                   "begin": kill if point == "begin" else ":", "end": kill if point == "end" else ":"}
    path = folder / f"{kind}s.d" / "step"
    path.write_text(text)
    path.chmod(0o755)


def lines(path):
    return path.read_text().split() if path.exists() else []


POINTS = [(kind, step, point) for kind, step in (("collector", "collect"), ("diagnoser", "diagnose"),
                                                 ("recoverer", "plan"), ("recoverer", "recover"),
                                                 ("recoverer", "verify"))
          for point in ("begin", "end")]


@pytest.mark.parametrize("kind, step, point", POINTS)
def test_killed_inside_a_plugin_call_the_agent_goes_on_and_does_nothing_twice(agent, kind, step, point):
    agent = agent()
    folder = agent.folder
    everything = {"collector": "timeout=10s", "diagnoser": "timeout=10s",
                  "recoverer": "timeout=10s plan=yes verify=yes disturbs=process verifyWithin=5s"}
    for each, header in everything.items():
        work = ":"
        if each == "recoverer":
            # The action is real, if small: it creates a file, and it is proven by that file.
            work = (f'case $1 in\nrecover) mkdir {folder}/acted || echo twice >> {folder}/twice ;;\n'
                    f'verify) [ -d {folder}/acted ] || exit 2 ;;\nesac')
        install_step(agent, each, header, point if each == kind else "never", step, work)
    (folder / "agent-pid").write_text(str(agent.process.pid))
    for each in everything:
        wait_for(lambda each=each: f"{each}.lifeboat.dev/step" in agent.cli("get", f"{each}s", "-o", "name").stdout, 10,
                 f"the {each} is in its chain", lambda each=each: agent.cli("get", f"{each}s", "-o", "wide").stdout)
    agent.cli("apply", "-f", "-", input=ABNORMAL % "survivor")
    agent.process.wait(30)
    assert agent.process.returncode == -signal.SIGKILL
    agent.start()
    (folder / "agent-pid").write_text("0")
    ended = agent.wait_abnormal(lambda item: item["status"].get("phase") in ("Succeeded", "Failed"), 40, "it ends")
    assert ended["metadata"]["name"] == "survivor"
    assert not (folder / "twice").exists(), "the recovery was done twice"
    done = lines(folder / "recoverer-done")
    if (step, point) == ("recover", "begin"):
        # Killed after the intent and before the deed: it is not idempotent, so it is not run again, and
        # the outcome that nobody knows is told.
        assert ended["status"]["phase"] == "Failed", ended["status"]
        assert done.count("recover") == 1
        assert ended["status"]["actions"][0]["outcome"] == "Unknown", ended["status"]
    else:
        assert ended["status"]["phase"] == "Succeeded", json.dumps(ended["status"], indent=1) + agent.log.read_text()
        assert done.count("recover") == 1, done


@pytest.mark.skipif(memory_hierarchy()[0] is None, reason=f"{memory_hierarchy()[1]}")
def test_killed_at_random_instants_nothing_is_lost_told_or_done_twice(scratch):
    """A short one of what `make kill9` does, shorter on a slow machine."""
    campaign = Campaign(scratch, kills=int(os.environ.get("LIFEBOAT_KILLS", "60")),
                        seed=int(os.environ.get("LIFEBOAT_SEED", "9")), seconds=90)
    verdict = campaign.run()
    print(verdict.report())
    assert verdict.good(), verdict.report()
    assert sum(campaign.killed.values()) > 5 and verdict.made() > 5, verdict.report()
