# SPDX-License-Identifier: Apache-2.0
"""What a case is: a real fault, and what lifeboat must say of it by whichever hook it saw it.

cases/NAME.sh makes faults in the guest; cases/NAME.py says what must come of them, for one detector:

    DETECTOR = "oom"
    SETTINGS = {...}                      of the detector, in all rounds
    def collectors(number): ...           optional: settings of collectors, in round NUMBER

    @case("kill at a limit", "oom_limit", {"scope": "cgroup", ...}, lacks={"poll/vmstat": (("victim",), "why")})
    def at_a_limit(told):
        return {"scope": ..., "victim": ...}

The function gives what the agent said, or raises Wrong. It is held against the verdict, field by field, so that every
hook says the same. What a hook cannot tell is named in `lacks`, with the reason, and must not be told by it either.
"""
import json


class Wrong(Exception):
    """What the agent said is not what it should have."""


class Case:
    def __init__(self, what, fault, verdict, lacks, unseen, quick, seen):
        self.what, self.fault, self.verdict, self.quick, self.seen = what, fault, verdict, quick, seen
        self.lacks, self.unseen = lacks or {}, unseen or {}

    def judge(self, told, hook):
        """None, or what this hook does not tell; raises Wrong."""
        seen = self.seen(told)
        lacks = self.lacks.get(hook)
        # What is lacking may depend on the kernel: then it is a function of what was seen.
        missing, reason = (lacks(seen) if callable(lacks) else lacks) or ((), None)
        for field, value in self.verdict.items():
            if field in missing and seen.get(field) == value:
                raise Wrong(f"{hook} is said not to tell {field}, but does: {json.dumps(seen)}")
            if field not in missing and seen.get(field) != value:
                raise Wrong(f"{field} is not {json.dumps(value)}; seen: {json.dumps(seen)}")
        return reason


def case(what, fault, verdict, lacks=None, unseen=None, quick=True):
    """UNSEEN: hooks that do not see this fault at all, with the reason. QUICK: made with --quick, too."""
    def decorate(seen):
        return Case(what, fault, verdict, lacks, unseen, quick, seen)
    return decorate


class Told:
    """What the agent of one round said."""

    def __init__(self, parts, number):
        try:
            self.detectors = {item["name"]: item for item in json.loads(parts[f"{number}.detectors"])["items"]}
            self.abnormals = json.loads(parts[f"{number}.abnormals"])["items"]
            self.awaited = [json.loads(line) for line in parts[f"{number}.awaited"].splitlines()]
        except (KeyError, ValueError) as error:
            raise Wrong(f"the agent of round {number} did not answer: {error}") from error

    def find(self, detector, condition=lambda event: True):
        """The one Abnormal of DETECTOR whose kernel event meets the condition; as it was when the fault was told, if
        another fault of the same subject came after it."""
        def of_detector(items):
            return [item for item in items if item["spec"].get("kernelEvent", {}).get("detector") == detector]

        candidates = of_detector(self.abnormals)
        found = [item for item in candidates if condition(item["spec"]["kernelEvent"])]
        if not found:
            found = [item for item in of_detector(self.awaited) if condition(item["spec"]["kernelEvent"])][-1:]
        if len(found) != 1:
            brief = [(subject(item), item["spec"]["kernelEvent"]["type"]) for item in candidates]
            raise Wrong(f"not one Abnormal of this fault, but {len(found)}; of {detector} there are {json.dumps(brief)}")
        return found[0]


def subject(item):
    return item["metadata"].get("annotations", {}).get("lifeboat.dev/subject")


def event(item):
    return item["spec"]["kernelEvent"]


def details(item):
    return event(item).get("details", {})


def ending(item):
    """How it ended, as the verdicts have it."""
    return {"reason": item["status"].get("reason"), "phase": item["status"].get("phase")}


def verified(item, recoverer):
    """Whether that recoverer repaired it, and the repair was proven."""
    return any(action["recoverer"] == recoverer and action.get("verification") == "Verified"
               for action in item["status"].get("actions", []))


def cleared(item):
    return "cleared" in item["status"].get("context", {})
