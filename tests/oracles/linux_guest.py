"""A guest with Debian's kernel in QEMU, as a judge: its drivers, and programs of this machine on their nodes.

The kernel's package, busybox and open-iscsi are downloaded and unpacked by .ci/oracles, never installed. The initramfs
is made on the spot: busybox for the shell, the modules asked for, programs of the host with their libraries. The guest
runs one script, in which `step NAME COMMAND...` is shown to the test as a `Step`; what the kernel said is the
step `dmesg`.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from missing_judge import missing_judge

__all__ = ["Step", "boot", "packages"]

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scsiemu" / "linux-guest"

# Commands under emulation are slow, but none of them takes a minute: a timeout would be an error of ours.
SECONDS = 150

# A busy machine gives an emulated one too little time for the check of its timer: it panics. There are no secrets to be
# kept in there. The firmware does no more than to start the kernel: another one looks for disks to boot from.
OPTIONS = "console=ttyS0 loglevel=1 panic=-1 nokaslr no_timer_check mitigations=off"
_PAYLOAD = struct.Struct("<II")         # payload_offset and payload_length, Documentation/arch/x86/boot.rst

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/host:/bin LC_ALL=C LD_LIBRARY_PATH=/libraries
mkdir -p /proc /sys /dev /tmp /run /mnt
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
stty -onlcr -F /dev/ttyS0
ulimit -c 0
step() {
    name=$1; shift
    echo "=== step $name"
    "$@" 2>&1
    echo "=== code $?"
}
# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    left=${1}0; shift
    until "$@" >/dev/null 2>&1; do
        [ $left -gt 0 ] || return 1
        left=$((left - 1)); sleep 0.1
    done
}
# Look for units of the first target alone, where the module scsi_mod was told not to look for others.
scan_hosts() { for host in /sys/class/scsi_host/*; do echo "0 0 -" >$host/scan; done; }
echo
. /programs.sh
. /modules.sh
. /script.sh
step dmesg dmesg
echo "=== end"
stty onlcr -F /dev/ttyS0        # which waits until all was sent
poweroff -f
"""


@dataclass(frozen=True)
class Step:
    """What one command of the guest printed, errors too, and its exit code."""

    text: str
    code: int


def packages() -> Path:
    """Where the packages of the guest are unpacked. Without them the test is skipped, but in CI (CI=true) it fails."""
    if not FOLDER.is_dir():
        message = "linux-image-amd64, busybox-static and open-iscsi are not unpacked (.ci/oracles): they judge here"
        missing_judge(message)
    return FOLDER


def boot(
    machine: list[str],
    script: str,
    folder: Path,
    *,
    modules: Mapping[str, str],
    programs: list[str],
    files: Mapping[str, bytes] | None = None,
    wanted: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, Step]:
    """Run the script in a guest; its steps by name.

    Args:
        machine: the words that start QEMU, with its memory and devices.
        script: of busybox's shell, with `step` and `wait_for`.
        folder: for the initramfs and the log of the console.
        modules: of the kernel to load, in this order after those that they depend on, with their parameters.
        programs: of this machine, or of the unpacked packages, for /host in the guest.
        files: others, by their paths in the guest.
        wanted: what to do on this side when the guest prints `=== want NAME`.
    """
    root = packages()
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    image = folder / "vmlinux"
    image.write_bytes(_uncompressed(kernel.read_bytes()))
    initramfs = folder / "initramfs"
    content = {
        "bin/busybox": (root / "bin/busybox").read_bytes(), "init": INIT.encode(), "script.sh": script.encode(),
        # The shell would take its own tar and mt before any in the path.
        "programs.sh": "".join(
            f'{name}() {{ /host/{name} "$@"; }}\n' for name in programs if name.isidentifier()
        ).encode(),
        **_modules(root, modules), **_programs(root, programs), **(files or {}),
    }
    initramfs.write_bytes(b"".join(_newc(content)))
    words = [
        *machine, "-accel", "tcg", "-smp", "1", "-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot",
        "-bios", "qboot.rom", "-kernel", str(image), "-initrd", str(initramfs), "-append", OPTIONS,
    ]
    return _run(words, folder / "console", wanted or {})


def _run(words: list[str], log: Path, wanted: Mapping[str, Callable[[], object]]) -> dict[str, Step]:
    """The steps that the machine prints until it ends, each line read as it comes."""
    steps: dict[str, Step] = {}
    name, lines, ended = "", [], False
    killer = ["timeout", "--signal=KILL", str(SECONDS), "nice", *words]
    with log.open("w") as console, subprocess.Popen(
        killer, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n")
            console.write(line + "\n")
            console.flush()
            mark = re.fullmatch(r"=== (\w+) ?(.*)", line)
            if mark is None:
                lines.append(line)
            elif mark[1] == "step":
                name, lines = mark[2], []
            elif mark[1] == "code":
                steps[name] = Step("\n".join(lines), int(mark[2]))
            elif mark[1] == "want":
                wanted[mark[2]]()
            else:
                ended = True
    assert ended, f"the guest ended early in step {name}: " + "\n".join(log.read_text().splitlines()[-30:])
    return steps


def _uncompressed(image: bytes) -> bytes:
    """The kernel in a bzImage, which QEMU starts as it is (PVH): emulated, it takes seconds to uncompress itself."""
    offset, length = _PAYLOAD.unpack_from(image, 0x248)
    start = (image[0x1F1] + 1) * 512 + offset
    return lzma.decompress(image[start : start + length - 4])         # behind it is the length of the kernel


def _modules(root: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The files of modules and of what they depend on, and the script that loads them."""
    paths = {path.name.partition(".")[0].replace("-", "_"): path for path in (root / "lib/modules").rglob("*.ko")}
    content, script = {}, []

    def add(name: str) -> None:
        if f"modules/{name}.ko" in content:
            return
        data = content[f"modules/{name}.ko"] = paths[name].read_bytes()
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in found[1].decode().split(",") if found is not None and found[1] else ():
            add(other.replace("-", "_"))
        script.append(f"insmod /modules/{name}.ko {wanted.get(name, '')} || echo {name} is not loaded")

    for name in wanted:
        add(name)
    return {**content, "modules.sh": "\n".join(script).encode()}


def _programs(root: Path, names: list[str]) -> dict[str, bytes]:
    """Programs and their shared libraries, the loader at its own path."""
    libraries = [path.parent for path in (root / "usr/lib").rglob("*.so*")] + [root / "usr/lib"]
    search = ":".join(sorted({str(path) for path in libraries}))
    content = {}
    for name in names:
        path = shutil.which(name, path=f"{os.environ['PATH']}:/sbin:/usr/sbin:{root}/sbin:{root}/bin")
        assert path is not None, name
        content[f"host/{name}"] = Path(path).read_bytes()
        told = subprocess.run(
            ["ldd", path], capture_output=True, text=True, check=False, env={"LD_LIBRARY_PATH": search, "LC_ALL": "C"},
        ).stdout
        assert "not found" not in told, told
        for library, loader in re.findall(r"=> (/\S+)|^\s*(/\S+) \(", told, re.MULTILINE):
            place = loader.lstrip("/") or f"libraries/{Path(library).name}"
            content[place] = Path(library or loader).read_bytes()
    return content


def _newc(content: Mapping[str, bytes]) -> Iterator[bytes]:
    """A cpio archive (format newc, Documentation/driver-api/early-userspace/buffer-format.rst) of executable files."""
    folders = {str(parent) for name in content for parent in Path(name).parents} - {"."}
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in sorted(folders)]
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in content.items()]
    entries.append(("dev", stat.S_IFDIR | 0o755, b""))
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        yield head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
