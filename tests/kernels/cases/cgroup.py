# SPDX-License-Identifier: Apache-2.0
"""cgroup: control groups (v2) that keep their processes from work."""
from verdict import case, cleared, details, ending, event

DETECTOR = "cgroup"
SETTINGS = {"frozen": {"threshold": "2s"}, "throttled": {"threshold": "2s"}}


def group(told, path):
    item = told.find("cgroup", lambda each: each["details"]["cgroup"]["path"] == path)
    return item, {"type": event(item)["type"], "version": details(item)["cgroup"]["version"],
                  "processes": details(item)["members"]["processes"], **ending(item)}


@case("frozen, then killed", "group_frozen",
      {"type": "CgroupFrozen", "version": 2, "processes": 1, "state": "frozen", "reason": "CgroupFrozen",
       "phase": "Failed", "cleared": True})
def frozen(told):
    item, seen = group(told, "/frozen")
    return {**seen, "state": details(item)["state"], "cleared": cleared(item)}


@case("pids.max reached", "group_pids",
      {"type": "PidsLimit", "version": 2, "processes": 4, "limit": 5, "reason": "PidsLimitReached", "phase": "Failed"})
def pids(told):
    item, seen = group(told, "/few")
    return {**seen, "limit": details(item)["limit"]}


@case("CPU quota used up", "group_throttled",
      {"type": "CPUThrottled", "version": 2, "processes": 1, "quota": 0.1, "reason": "CPUThrottled", "phase": "Failed"},
      quick=False)
def throttled(told):
    item, seen = group(told, "/slow")
    return {**seen, "quota": details(item)["quotaCPUs"]}
