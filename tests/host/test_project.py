# SPDX-License-Identifier: Apache-2.0
"""What a user of the project does besides running the agent: installing it, reading its documents."""
import os
import pathlib
import re
import subprocess

import pytest
from conftest import LIFEBOAT
from faults import run

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(LIFEBOAT).parent


def test_install_puts_everything_in_place_and_uninstall_takes_it_away(scratch):
    def make(target):
        # The sanitizer build is installed with the flags it was built with.
        sanitize = ["SANITIZE=address,undefined"] if BUILD.name == "asan" else []
        return run("make", "-C", ROOT, f"O={BUILD}", "PREFIX=/usr", f"DESTDIR={scratch}", *sanitize, target)
    make("install")
    for path in ("usr/sbin/lifeboat", "usr/share/man/man8/lifeboat.8", "usr/lib/systemd/system/lifeboat.service",
                 "usr/share/bash-completion/completions/lifeboat", "usr/share/zsh/site-functions/_lifeboat",
                 "etc/lifeboat/lifeboat.yaml", "etc/lifeboat/diagnosers.d"):
        assert (scratch / path).exists(), path
    unit = (scratch / "usr/lib/systemd/system/lifeboat.service").read_text()
    assert "ExecStart=/usr/sbin/lifeboat agent" in unit and "Type=notify" in unit and "WatchdogSec=" in unit
    run("bash", "-n", scratch / "usr/share/bash-completion/completions/lifeboat")
    make("uninstall")
    left = [path for path in scratch.rglob("*") if path.is_file()]
    assert left == [scratch / "etc/lifeboat/lifeboat.yaml"], left


def test_the_example_plugin_in_contributing_compiles(scratch):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    examples = re.findall(r"```c\n(.*?)```", text, re.S)
    assert examples
    for number, example in enumerate(examples):
        source = scratch / f"example{number}.c"
        source.write_text(example)
        run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
            f"-I{ROOT}/user", f"-I{BUILD}/include", "-include",
            ROOT / "user/base/banned.h", "-c", "-o", scratch / "example.o", source)


def test_the_program_tells_its_version_and_lists_its_commands():
    assert re.match(r"lifeboat \S+", run(LIFEBOAT, "version"))
    text = run(LIFEBOAT, "help")
    for command in ("agent", "get", "describe", "apply", "delete", "events", "collect", "diagnose", "recover", "doctor",
                    "top", "version", "completion"):
        assert re.search(rf"^\s+{command}\b", text, re.M), f"{command} is missing in:\n{text}"


def test_links_between_the_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document, kind", [
    ("docs/detectors.md", "detectors"), ("docs/diagnosers.md", "diagnosers"),
    ("docs/plugins.md", "collectors"), ("docs/plugins.md", "recoverers")])
def test_every_part_is_documented(agent, document, kind):
    home = agent()
    names = home.cli("get", kind, "-o", "name").stdout.split()
    text = (ROOT / document).read_text()
    assert names
    for name in names:
        assert name.rpartition("/")[2] in text, f"{name} is not in {document}"


# CamelCase words of diagnosers that are no reasons: types of kernel events that they match.
EVENT_TYPES = {"HungTask", "HungKernelThread", "OOMKill", "PidsLimit", "ProcessCrash"}


def test_every_reason_that_a_diagnoser_gives_is_in_the_table():
    def reasons(document):
        section = (ROOT / document).read_text().split("## Reasons")[1].split("\n## ")[0]
        return set(re.findall(r"^\| `(\w+)` \|", section, re.M))

    given = set()
    for source in (ROOT / "diagnosers").glob("*.c"):
        given |= set(re.findall(r'"([A-Z]+[a-z]+(?:[A-Z]+[a-z]*)+|[A-Z]{2,}[a-z]+(?:[A-Z]+[a-z]*)*)"', source.read_text()))
    assert {"ShimDeadlock", "ShimStopped", "ShimStalled", "BlockedOnIO", "NFSServerNotResponding"} <= given
    given -= EVENT_TYPES
    table = reasons("docs/diagnosers.md")
    assert given == table, f"not in docs/diagnosers.md: {given - table}; there, but given by none: {table - given}"
    missing = given - reasons("docs/operations.md")
    assert not missing, f"not in docs/operations.md: {missing}"


def test_the_custom_abnormal_of_the_documents_reaches_the_diagnoser_which_tells_why_it_declines(agent):
    home = agent({"detectors": {"shim_stall": {"enabled": False}}})
    example = re.search(r"^```yaml\n(.*?)^```", (ROOT / "docs/diagnosers.md").read_text(), re.M | re.S)[1]
    file = pathlib.Path(home.socket).parent / "stuck.yaml"
    file.write_text(example)
    declined = home.cli("diagnose", "shim-deadlock", "-f", str(file)).stdout
    assert "does not recognise this fault:" in declined and "serves pod shop/cart-7d9f" in " ".join(declined.split()), declined


def test_the_agent_idles_lightly(agent):
    """Not a benchmark: a guard against something grossly heavier than promised."""
    if BUILD.name == "asan":
        pytest.skip("a sanitizer build has a shadow memory of its own; needs the plain build")
    home = agent()
    status = pathlib.Path(f"/proc/{home.process.pid}/status").read_text()
    rss = {key: int(value) for key, value in re.findall(r"(VmRSS|RssAnon):\s+(\d+)", status)}
    assert rss["VmRSS"] < 16 << 10 and rss["RssAnon"] < 5 << 10, rss
    assert os.path.exists(home.socket)
