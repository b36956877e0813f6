# SPDX-License-Identifier: Apache-2.0
"""process_crash: a program that uses a null pointer, once and again and again."""
from verdict import case, details, ending, event

DETECTOR = "process_crash"
SETTINGS = {}


@case("null pointer", "crash_once",
      {"type": "ProcessCrash", "signal": ["SIGSEGV", "SEGV_MAPERR", "0x10"], "frame": True, "build ID": 40,
       "cgroup": "/crashing", "reason": "ProcessCrashed", "phase": "Succeeded"})
def once(told):
    item = told.find("process_crash", lambda each: each["details"]["exe"] == "crash")
    fault = details(item)
    return {"type": event(item)["type"], "signal": [fault["signal"], fault["code"], fault.get("address")],
            "frame": event(item)["stack"]["user"][0].startswith("crash+0x"), "build ID": len(fault.get("buildId", "")),
            "cgroup": event(item)["container"]["cgroupPath"], **ending(item)}


@case("crash loop", "crash_again",
      {"program": "crash-again", "reason": "CrashLoop", "phase": "Failed", "crashes": 4})
def again(told):
    item = told.find("process_crash", lambda each: each["type"] == "CrashLoop")
    return {"program": details(item)["exe"], "crashes": item["status"]["occurrences"]["count"], **ending(item)}
