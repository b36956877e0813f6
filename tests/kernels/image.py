# SPDX-License-Identifier: Apache-2.0
"""What a guest boots: an initramfs with busybox, lifeboat, the faults, and the modules that they take."""
import lzma
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ["loop", "dm-mod", "dm-delay", "null_blk", "fuse", "nfsv4", "nfsd"]
# Programs of this host that busybox has no applet for.
TOOLS = ["dmsetup"]
# Programs of programs/, and the names that processes of theirs are known by.
PROGRAMS = {"crash": ["crash", "crash-again"], "create": ["create-frozen", "create-stuck", "create-behind"],
            "read": ["read-buffered", "read-direct", "read-fuse", "read-nfs"],
            "containerd-shim": ["containerd-shim"], "debugger": ["debugger"], "silent-fuse": ["silent-fuse"],
            "thrash": ["thrash"]}


def libraries(program):
    """What the dynamic loader would load, itself included."""
    listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            check=False).stdout
    return re.findall(r"(/\S+) \(0x", listed)


class Modules:
    """Those of one kernel's package."""

    def __init__(self, vmlinuz):
        version = vmlinuz.name.removeprefix("vmlinuz-")
        folders = [vmlinuz.parent, vmlinuz.parent.parent / "lib/modules" / version,
                   vmlinuz.parent.parent / "usr/lib/modules" / version]
        folder = next((each for each in folders if (each / "kernel").is_dir()), None)
        self.files, self.builtin = {}, set()
        if folder:
            self.files = {key(path.name): path for path in folder.glob("kernel/**/*.ko*")}
            self.builtin = {key(pathlib.Path(line).name)
                            for line in (folder / "modules.builtin").read_text().splitlines()}

    def load(self, name):
        """Module NAME unpacked."""
        path = self.files[key(name)]
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data

    def needed(self, name):
        """{module: its bytes} that NAME takes, in the order in which they are loaded."""
        data = self.load(name)
        depends = re.search(rb"\0depends=([^\0]*)\0", b"\0" + data)
        ordered = {}
        for each in depends.group(1).decode().split(",") if depends and depends.group(1) else []:
            ordered.update(self.needed(each))
        ordered[key(name)] = data
        return ordered

    def install(self, root):
        """/modules/NAME lists the files of each of MODULES; an empty list is a kernel that has it built in."""
        (root / "modules").mkdir()
        for name in MODULES:
            if key(name) in self.builtin:
                (root / "modules" / name).touch()
            elif key(name) in self.files:
                ordered = self.needed(name)
                for each, data in ordered.items():
                    (root / "modules" / f"{each}.ko").write_bytes(data)
                (root / "modules" / name).write_text("".join(f"/modules/{each}.ko\n" for each in ordered))


def key(name):
    return name.partition(".ko")[0].replace("-", "_")


def install_program(program, target, root):
    shutil.copy(program, target)
    for library in libraries(program):
        copy = root / library.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copy(library, copy)


def make_programs(folder):
    """Compiled once for all guests."""
    run = {"check": True, "cwd": folder}
    for name in PROGRAMS:
        subprocess.run(["gcc", "-O1", "-static", "-o", folder / name, HERE / "programs" / f"{name}.c"], **run)
    subprocess.run(["gcc", "-O1", "-o", folder / "busy-kernel", HERE / "programs/busy-kernel.c", "-lbpf"], **run)
    multiarch = subprocess.run(["gcc", "-print-multiarch"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    subprocess.run(["clang", "-g", "-O2", "-target", "bpf", f"-I/usr/include/{multiarch}", "-c", "-o",
                    folder / "busy-kernel.bpf.o", HERE / "programs/busy-kernel.bpf.c"], **run)
    # A shim in Go that writes its goroutines on SIGUSR1: that of the unit tests.
    subprocess.run(["go", "build", "-o", folder / "go-shim", HERE.parent / "unit/host/goroutines.go"],
                   env=os.environ | {"CGO_ENABLED": "0", "GO111MODULE": "off"}, **run)


def make(folder, programs, lifeboat, vmlinuz, rounds):
    """The initramfs, in FOLDER. ROUNDS: [(configuration as YAML or JSON, names of faults)]."""
    root = folder / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp", "run", "etc", "go", "lib", "cases", "rounds"):
        (root / name).mkdir(parents=True)
    shutil.copy(HERE / "guest", root / "init")
    (root / "init").chmod(0o755)
    for cases in HERE.glob("cases/*.sh"):
        shutil.copy(cases, root / "cases")
    for number, (configuration, faults) in enumerate(rounds):
        (root / "rounds" / str(number)).mkdir()
        (root / "rounds" / str(number) / "config").write_text(configuration)
        (root / "rounds" / str(number) / "faults").write_text("".join(f"{each}\n" for each in faults))
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    install_program(lifeboat, root / "bin/lifeboat", root)
    for tool in TOOLS:
        install_program(shutil.which(tool), root / "bin" / tool, root)
    install_program(programs / "busy-kernel", root / "bin/busy-kernel", root)
    shutil.copy(programs / "busy-kernel.bpf.o", root / "lib")
    shutil.copy(programs / "go-shim", root / "go/containerd-shim")
    for name, names in PROGRAMS.items():
        for each in names:
            shutil.copy(programs / name, root / "bin" / each)
    Modules(vmlinuz).install(root)
    with open(root / "image", "wb") as image:
        image.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", root / "image"], check=True)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = folder / "initramfs"
    with open(archive, "wb") as out:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"], input=names.encode(), stdout=out,
                       stderr=subprocess.DEVNULL, cwd=root, check=True)
    return archive
