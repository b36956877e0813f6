# SPDX-License-Identifier: Apache-2.0
"""kernel_log: which line told it, of what, and who wrote it."""
from verdict import Wrong, case, cleared, details, ending, event, subject

DETECTOR = "kernel_log"
SETTINGS = {"rules": [{"name": "guest", "type": "BrokenDisk", "pattern": "guest: *disk {} is broken"}]}


def line(told, kind, device=""):
    item = told.find("kernel_log", lambda each: each["type"] == kind and
                     each["details"].get("device", "").startswith(device))
    return item, {"type": event(item)["type"], "rule": details(item)["rule"], "writer": details(item).get("writer"),
                  "device": details(item).get("device", "").rstrip("0123456789-"), **ending(item)}


@case("error of an ext4", "log_filesystem",
      {"type": "FilesystemError", "rule": "ext4-error", "writer": "kernel", "device": "loop",
       "reason": "FilesystemError", "phase": "Failed"})
def filesystem(told):
    return line(told, "FilesystemError")[1]


@case("line of a program", "log_filesystem",
      {"type": "BrokenDisk", "rule": "guest", "writer": "program", "device": "sdz", "no word of the kernel": True})
def program(told):
    wrong = [subject(item) for item in told.abnormals if event(item)["type"] == "KernelBug"]
    return {**line(told, "BrokenDisk")[1], "no word of the kernel": not wrong}


@case("I/O error of device mapper", "log_disk",
      {"type": "DiskIOError", "rule": "buffer-io-error", "writer": "kernel", "device": "dm", "reason": "DiskIOError"})
def disk(told):
    return line(told, "DiskIOError", "dm-")[1]


@case("bad blocks", "log_blocks", {"type": "DiskIOError", "writer": "kernel", "null_blk": True, "reason": "DiskIOError"})
def blocks(told):
    # It is named after its folder from Linux 6.1 on.
    for device in ("nullb", "bad"):
        try:
            return {**line(told, "DiskIOError", device)[1], "null_blk": True}
        except Wrong as wrong:
            last = wrong
    raise last


@case("soft lockup", "log_lockup",
      {"type": "CPULockup", "rule": "soft-lockup", "writer": "kernel", "reason": "CPULockup"}, quick=False)
def lockup(told):
    return line(told, "CPULockup")[1]


@case("stall of RCU", "log_lockup", {"type": "RCUStall", "writer": "kernel", "reason": "RCUStall"},
      quick=False)
def stall(told):
    return line(told, "RCUStall")[1]


@case("silent NFS server", "nfs_silent",
      {"type": "NFSServerNotResponding", "rule": "nfs-not-responding", "writer": "kernel", "server": "127.0.0.1",
       "cleared": True})
def server(told):
    item, seen = line(told, "NFSServerNotResponding")
    return {**seen, "server": details(item).get("device"), "cleared": cleared(item)}
