# SPDX-License-Identifier: Apache-2.0
"""shim_stall: shims that no longer do their work, by which of their containers; and what a Go one is doing."""
from verdict import case, details, ending, event, verified

DETECTOR = "shim_stall"
SETTINGS = {"threshold": "2s"}


def collectors(number):
    """Each round dumps goroutines by another of the hooks for that."""
    return {"goroutines": {"hook": ("tp_btf" if number == 0 else "raw_tp") + "/sys_enter", "timeout": "2m"}}


def of_container(told, container):
    item = told.find("shim_stall", lambda each: each["details"]["shim"].get("id") == container)
    shim = details(item)["shim"]
    return item, {"kind": shim["kind"], "namespace": shim["namespace"], "type": event(item)["type"],
                  "findings": details(item)["findings"], **ending(item)}


def verdict(kind, *findings, **more):
    return {"kind": "containerd-v1", "namespace": "guest", "type": kind, "findings": list(findings), **more}


@case("stopped", "shims", verdict("ShimStopped", "stopped", reason="ShimStopped", phase="Succeeded", continued=True,
                                  tracer=None))
def stopped(told):
    item, seen = of_container(told, "stopped")
    return {**seen, "continued": verified(item, "continue-shim"), "tracer": details(item)["stopped"].get("tracer")}


@case("stopped by a debugger", "shims", verdict("ShimStopped", "stopped", phase="Failed", actions=0, tracer="debugger"))
def traced(told):
    item, seen = of_container(told, "traced")
    return {**seen, "actions": len(item["status"].get("actions", [])),
            "tracer": details(item)["stopped"].get("tracer", {}).get("comm")}


@case("child that is not reaped", "shims",
      verdict("ShimUnreapedChild", "unreaped-child", reason="ShimStalled", children=["sleep"]))
def unreaped(told):
    item, seen = of_container(told, "unreaped")
    return {**seen, "children": [each["comm"] for each in details(item)["unreaped"]["children"]]}


@case("its goroutines", "shims", {"whole": True, "main": "main.main", "alike": 5})
def goroutines(told):
    item, _ = of_container(told, "unreaped")
    dump = item["status"]["context"]["goroutines"]
    main = dump["summary"]["main"]
    return {"whole": not dump["truncated"] and dump["lost"] == 0, "hook": dump["hook"],
            "main": main["frames"][-1]["function"] if main["id"] == 1 else None,
            "alike": dump["summary"]["groups"][0]["count"]}


def held(item):
    one, = details(item)["initHeld"]
    return {"init": one["comm"], "container": one["container"], "by": one["heldBy"], "remaining": one["remaining"],
            "holders": [[each["comm"], each["state"]] for each in one["holders"]]}


HELD = {"init": "sleep", "remaining": 1, "holders": [["sleep", "Z"]]}


@case("init held by its shim", "shims",
      verdict("ContainerInitHeld", "init-held", "unreaped-child", reason="ShimStalled", container="held", by="shim",
              **HELD))
def held_by_the_shim(told):
    item, seen = of_container(told, "held")
    return {**seen, **held(item)}


@case("init held by another", "shims",
      verdict("ContainerInitHeld", "init-held", reason="NotIdentified", container="held-outside", by="unknown", **HELD))
def held_by_another(told):
    item, seen = of_container(told, "held-outside")
    return {**seen, **held(item)}
