# SPDX-License-Identifier: Apache-2.0
"""oom: who was killed, and whose limit it was."""
from verdict import case, details, ending, event, subject

DETECTOR = "oom"
SETTINGS = {"pollInterval": "1s"}
LIMIT = 20 << 20
NOT_WHO = "tells the cgroup; not who was killed, nor the usage at that instant"


def of_group(path):
    return lambda each: each["details"].get("limitCgroup", {}).get("path") == path


def common(item):
    limit = details(item).get("limitCgroup", {})
    return {"type": event(item)["type"], "scope": details(item)["scope"], "limit": limit.get("path"),
            "full": abs(limit.get("usageBytes", 0) - LIMIT) < 1 << 20 and limit.get("limitBytes") == LIMIT,
            **ending(item)}


@case("kill at a cgroup's limit", "oom_limit",
      {"type": "OOMKill", "scope": "cgroup", "limit": "/pod/limited", "reason": "ContainerOutOfMemory",
       "phase": "Succeeded", "full": True, "victim": "dd", "victim's cgroup": "/pod/limited"},
      lacks={"poll/vmstat": (("full", "victim", "victim's cgroup"), NOT_WHO)})
def at_a_limit(told):
    item = told.find("oom", of_group("/pod/limited"))
    return {**common(item), "victim": event(item).get("process", {}).get("comm"),
            "victim's cgroup": event(item).get("container", {}).get("cgroupPath") if "process" in event(item) else None}


@case("group killed together", "oom_group",
      {"type": "OOMKill", "scope": "cgroup", "limit": "/together", "reason": "ContainerOutOfMemory",
       "full": True, "victims": ["dd", "sleep", "sleep"]},
      lacks={"poll/vmstat": (("full", "victims"), NOT_WHO)})
def together(told):
    item = told.find("oom", of_group("/together"))
    return {**common(item), "victims": sorted(each["comm"] for each in details(item).get("victims", []))}


@case("kill while no agent runs", "oom_without_agent",
      {"type": "OOMKill", "scope": "cgroup", "limit": "/alone", "full": True, "victim": "dd", "count": 1,
       "reason": "ContainerOutOfMemory"},
      unseen={"poll/vmstat": "attaches nothing that could outlive the agent"})
def without_agent(told):
    item = told.find("oom", of_group("/alone"))
    return {**common(item), "victim": event(item)["process"]["comm"], "count": item["status"]["occurrences"]["count"]}


@case("kill on the node", "oom_node",
      {"type": "OOMKill", "scope": "node", "subject": "node", "reason": "NodeOutOfMemory", "victim": "dd"},
      lacks={"poll/vmstat": (("victim", "scope", "subject", "reason"),
                             "tells that something was killed; not who, nor whether for a group or the node")})
def on_the_node(told):
    item = told.find("oom", lambda each: each["details"]["scope"] != "cgroup")
    return {"type": event(item)["type"], "scope": details(item)["scope"], "subject": subject(item), **ending(item),
            "victim": event(item).get("process", {}).get("comm")}
