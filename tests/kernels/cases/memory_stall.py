# SPDX-License-Identifier: Apache-2.0
"""memory_stall: groups at their limit (v2) whose tasks spend their time on making room."""
from verdict import case, details, ending, event

DETECTOR = "memory_stall"
# A guest is slow, and of its time little is lost to reclaim.
SETTINGS = {"threshold": "5s", "percent": 10}


@case("thrash at a limit", "memory_stalled",
      {"type": "MemoryStall", "cgroup": "/stalled", "limit": "memory.max", "limitBytes": 3 << 20, "stalled": True,
       "comes back": True, "reason": "MemoryStall", "who": ["thrash"]},
      lacks={"poll/pressure": (("who",), "tells the group; not which of its tasks reclaim")}, quick=False)
def stalled(told):
    item = told.find("memory_stall", lambda each: each["details"]["cgroup"]["path"] == "/stalled")
    seen = details(item)
    return {"type": event(item)["type"], "cgroup": seen["cgroup"]["path"], "limit": seen["limit"],
            "limitBytes": seen["limitBytes"], "stalled": seen["stallPercent"] >= 10,
            "comes back": seen["refaults"]["returnedPercent"] >= 25, "reason": ending(item)["reason"],
            "who": sorted({each["comm"] for each in seen.get("tasks", [])})}
