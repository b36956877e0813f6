# SPDX-License-Identifier: Apache-2.0
"""hung_task: who waits, and for what."""
from verdict import case, details, ending, event, verified

DETECTOR = "hung_task"
SETTINGS = {"threshold": "2s"}


def of_task(comm):
    return lambda each: any(waiter["comm"] == comm for waiter in each["details"].get("waiters", []))


def waits(told, comm):
    item = told.find("hung_task", of_task(comm))
    waiter = next(each for each in details(item)["waiters"] if each["comm"] == comm)
    return item, {"type": event(item)["type"], "kind": details(item)["kind"], "who": waiter["comm"],
                  "function": bool(waiter.get("function")), **ending(item)}


def by_function(*fields, kind=True):
    """What poll/proc lacks: FIELDS; and the kind of the wait, where it cannot be told by the function, or where the
    kernel does not even tell that (5.10)."""
    def lacks(seen):
        missing = [*fields, *(() if kind and seen["function"] else ("kind", "reason"))]
        if seen["function"]:
            return missing, "tells the function that the task sleeps in, not what it waits for"
        return missing, "this kernel tells /proc no function: told after 30 s, as unknown"
    return {"poll/proc": lacks}


@case("frozen filesystem", "hung_frozen",
      {"type": "HungTask", "kind": "frozen-filesystem", "who": "create-frozen", "reason": "FilesystemFrozen",
       "filesystem": ["ext4", 4], "syscall": "openat", "phase": "Succeeded", "thawed": True},
      lacks=by_function("filesystem", "syscall", "phase", "thawed"))
def frozen(told):
    item, seen = waits(told, "create-frozen")
    filesystem = details(item).get("filesystem", {})
    return {**seen, "filesystem": [filesystem.get("type"), filesystem.get("freezeLevel")],
            "syscall": details(item)["waiters"][0].get("syscall"), "thawed": verified(item, "thaw-filesystem")}


@case("suspended disk", "hung_suspended",
      {"type": "HungTask", "kind": "io", "who": "create-stuck", "reason": "BlockedOnIO", "device": "dm",
       "suspended": True},
      lacks=by_function("device", "suspended", kind=False))
def suspended(told):
    item, seen = waits(told, "create-stuck")
    device = details(item).get("device", {})
    return {**seen, "device": device.get("name", "").rstrip("0123456789-"), "suspended": device.get("suspended")}


@case("lock of who waits for it", "hung_suspended",
      {"type": "HungTask", "who": "create-behind", "same finding": True},
      lacks=by_function("same finding"))
def behind(told):
    item, seen = waits(told, "create-behind")
    # Where no function is known all waits are one finding, which tells nothing.
    return {**seen, "same finding": seen["function"] and of_task("create-stuck")(event(item))}


@case("buffered read of a slow disk", "hung_reads",
      {"type": "HungTask", "kind": "io", "who": "read-buffered", "reason": "BlockedOnIO", "device": "dm",
       "completing": False},
      lacks=by_function("device", "completing"))
def buffered(told):
    return read("read-buffered", told)


@case("direct read of a slow disk", "hung_reads",
      {"type": "HungTask", "kind": "io", "who": "read-direct", "reason": "BlockedOnIO", "device": "dm",
       "completing": False},
      lacks=by_function("device", "completing"))
def direct(told):
    return read("read-direct", told)


def read(comm, told):
    item, seen = waits(told, comm)
    device = details(item).get("device", {})
    return {**seen, "device": device.get("name", "").rstrip("0123456789-"), "completing": device.get("completing")}


@case("silent FUSE server", "hung_fuse",
      {"type": "HungTask", "kind": "fuse", "who": "read-fuse", "reason": "BlockedOnFUSE"},
      unseen={"poll/proc": "who waits for a FUSE server sleeps interruptibly, which /proc does not tell apart"})
def fuse(told):
    return waits(told, "read-fuse")[1]


@case("silent NFS server", "nfs_silent",
      {"type": "HungTask", "kind": "nfs", "who": "read-nfs", "reason": "BlockedOnNFS"},
      lacks=by_function())
def nfs(told):
    return waits(told, "read-nfs")[1]
