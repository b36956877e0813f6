# SPDX-License-Identifier: Apache-2.0
"""Kernels from Debian's packages, whichever Debian or archive of it this machine's apt knows.

Nothing is installed: apt works in a folder of its own, with lists of its own, and what it downloads is unpacked there
and kept. Where the archive lies is taken from this machine's sources; only the names of Debian's suites are known here.
"""
import pathlib
import re
import subprocess
import time

# (label of the archive, suite): each is asked; that some no longer have one, or are gone, does no harm.
SUITES = [("Debian", "bullseye"), ("Debian-Security", "bullseye-security"),
          ("Debian", "bookworm"), ("Debian-Security", "bookworm-security"), ("Debian", "bookworm-backports"),
          ("Debian", "sid")]
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FLAVOUR = "cloud-amd64"
LISTS_SECONDS = 24 * 3600


class Unavailable(Exception):
    """Why there is no such kernel."""


class Packages:
    def __init__(self, folder):
        self.folder = folder.resolve()
        self.problem = None  # why apt cannot be asked
        self.known = None  # {upstream version: (package, version of the package)}

    def unpacked(self, version):
        return self.folder / version

    def vmlinuz(self, wanted):
        """The newest kernel that WANTED names ("6.1", "5.10.218"), unpacked; raises Unavailable."""
        if self.known is None:
            self.look()
        versions = [each for each in self.known if matches(each, wanted)]
        if not versions:
            # Without the archive what was unpacked before is good enough.
            versions = [each.name for each in self.folder.glob("*") if (each / "complete").exists()
                        and matches(each.name, wanted)]
        if not versions:
            raise Unavailable(self.problem or f"none of Debian's suites {', '.join(suite for _, suite in SUITES)} "
                              f"has a kernel {wanted} for {FLAVOUR}")
        version = max(versions, key=number)
        folder = self.unpacked(version)
        if not (folder / "complete").exists():
            self.unpack(*self.known[version], folder)
        return next(each for pattern in ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", "lib/modules/*/vmlinuz")
                    for each in folder.glob(pattern))

    # --- apt ---

    def look(self):
        """What the archive has, as of today."""
        self.known = {}
        lists = self.folder / "apt/lists"
        try:
            if time.time() - (lists.stat().st_mtime if lists.exists() else 0) > LISTS_SECONDS:
                self.update(lists)
        except (Unavailable, OSError) as problem:
            self.problem = str(problem)
            return
        # Names of metapackages have no third number.
        names = [each for each in self.apt("apt-cache", "pkgnames", "linux-image-").split()
                 if re.fullmatch(rf"linux-image-\d+\.\d+\.\d.*-{FLAVOUR}", each)]
        for paragraph in self.apt("apt-cache", "show", *names).split("\n\n") if names else []:
            fields = dict(re.findall(r"^(Package|Version): (.*)$", paragraph, re.M))
            if "Version" in fields:
                self.known[fields["Version"].partition("-")[0]] = fields["Package"], fields["Version"]

    def update(self, lists):
        archives = self.archives()
        signed = f"[signed-by={KEYRING} target=Packages] " if KEYRING.exists() else "[target=Packages] "
        (self.folder / "apt").mkdir(parents=True, exist_ok=True)
        (self.folder / "apt/sources.list").write_text("".join(
            f"deb {signed}{archives[label]} {suite} main\n" for label, suite in SUITES if label in archives))
        print("asking Debian's archive for kernels", flush=True)
        # A suite that is gone is an error to apt, but the others are there.
        self.apt("apt-get", "update", check=False)
        if not any(lists.glob("*Packages*")):
            raise Unavailable("Debian's archive cannot be reached")
        lists.touch()

    def archives(self):
        """{label: address} of Debian's archives in this machine's sources."""
        form = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
        own = f"Dir::State::lists={self.folder}/apt/lists-of-machine/"
        for attempt in ("as it is", "updated"):
            command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
            if attempt == "updated":
                (self.folder / "apt/lists-of-machine/partial").mkdir(parents=True, exist_ok=True)
                subprocess.run(["apt-get", "-qq", "-o", own, "update"], check=False, stdout=subprocess.DEVNULL)
                command[1:1] = ["-o", own]
            try:
                listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            except FileNotFoundError:
                raise Unavailable("kernels come from Debian's packages, and this machine has no apt") from None
            found = {label: address for origin, label, address in
                     (line.split("|") for line in listed.splitlines()) if origin == "Debian"}
            if found:
                return found
        raise Unavailable("kernels come from Debian's packages, and no source of this machine's apt is Debian's archive")

    def apt(self, program, *arguments, check=True, cwd=None):
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / "apt" / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "apt/status").touch()
        options = {"Dir::State": self.folder / "apt", "Dir::State::status": self.folder / "apt/status",
                   "Dir::Cache": self.folder / "apt/cache", "Dir::Etc::sourcelist": self.folder / "apt/sources.list",
                   "Dir::Etc::sourceparts": "/dev/null", "Acquire::Languages": "none", "APT::Architecture": "amd64",
                   "APT::Sandbox::User": "root"}
        command = [program, *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        if program == "apt-get":
            command.append("-qq")
        done = subprocess.run(command + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, cwd=cwd)
        if check and done.returncode:
            raise Unavailable(f"{program} {arguments[0]}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def unpack(self, package, version, folder):
        """The package and, from Linux 7 on, those that it consists of."""
        print(f"downloading {package} {version}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        depends = "".join(re.findall(r"^Depends: (.*)$", self.apt("apt-cache", "show", f"{package}={version}"), re.M))
        parts = re.findall(r"\b(linux-(?:base|binary|modules)-\d\S+)", depends)
        self.apt("apt-get", "download", *(f"{each}={version}" for each in [package, *parts]), cwd=folder)
        for each in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", each, folder], check=True)
            each.unlink()
        (folder / "complete").touch()


def number(version):
    return [int(each) for each in re.findall(r"\d+", version)]


def matches(version, wanted):
    return version == wanted or version.startswith(wanted + ".")
