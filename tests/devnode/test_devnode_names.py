"""No system call makes, changes or removes a name where nodes are, and nodes are not mapped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from devnode_world import PRELUDE, ROOT, run_python

from transports.devnode.syscalls import ARCHITECTURES

CREATES = (
    "os.open('{}', os.O_CREAT | os.O_WRONLY)", "os.open('{}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)", "os.mkdir('{}')",
    "os.mknod('{}', 0o20600, os.makedev(21, 9))", "os.mknod('{}')", "os.symlink('/tmp', '{}')",
    "os.link('/etc/hostname', '{}')", "os.rename('/tmp/probe', '{}')", "os.mkfifo('{}')", "bind('{}')",
    "os.open('{}', os.O_TMPFILE | os.O_RDWR)",
)


def test_names_creates_nothing() -> None:
    """No system call makes a name where nodes are: not at ours, not at those that we have not, and not by a link."""
    before = sorted(os.listdir("/dev"))
    text = run_python(f"STATEMENTS = {CREATES!r}\n" + """
import socket, tempfile
folder = tempfile.mkdtemp()
os.symlink("/dev/sg8", folder + "/link")
open("/tmp/probe", "w").close()
def bind(path):
    with socket.socket(socket.AF_UNIX) as end: end.bind(path)
made = []
for path in ("/dev/sg0", "/dev/sg7", "/dev/bsg/7:0:0:0", "/sys/class/scsi_generic/sg7", folder + "/link"):
    for statement in STATEMENTS:
        if "rename" in statement and path.startswith(folder): continue      # takes the place of the link itself
        try: eval(statement.format(path))
        except OSError: continue
        if not (path == "/dev/sg0" and "os.open" in statement): made.append((path, statement))
os.unlink("/tmp/probe"); os.unlink(folder + "/link"); os.rmdir(folder)
print(made)
libc = ctypes.CDLL(None)
print(libc.syscall(85, b"/dev/sg7", 0o600), libc.creat(b"/dev/sg7", 0o600))
""")

    assert text.splitlines()[:2] == ["[]", "-1 -1"]
    assert sorted(os.listdir("/dev")) == before


# Each call of the table by its number, with a name that is not there: the names of those that succeed.
RAW = """
import shutil, socket
from transports.devnode.syscalls import ARCHITECTURES, PATH_CALLS, Role
libc = ctypes.CDLL(None, use_errno=True)
numbers = ARCHITECTURES[os.uname().machine].numbers
keep = []
def pointer(raw):
    keep.append(ctypes.create_string_buffer(raw, max(len(raw) + 1, 512)))
    return ctypes.addressof(keep[-1])
def arguments(call, path, other):
    words = [0o600 | os.O_CREAT] * 6
    words[call.path] = pointer(path)
    if call.directory is not None: words[call.directory] = -100
    if call.second:
        words[3:5] = 0, 0
        words[call.second[0]] = pointer(other)
        if call.second[1] is not None: words[call.second[1]] = -100
    if call.role == Role.BIND:
        words = [socket.socket(socket.AF_UNIX).detach(), pointer(b"\\1\\0" + path), 110]
    if call.name == "openat2":
        words[2:4] = pointer(struct.pack("=QQQ", os.O_CREAT | os.O_RDWR, 0o600, 0)), 24
    if call.name.startswith("symlink"): words[0] = pointer(b"/tmp")
    if call.name.startswith("mknod"): words[call.path + 1] = 0o100600
    return words
def run(call, path, other):
    result = libc.syscall(numbers[call.name], *(ctypes.c_long(word) for word in arguments(call, path, other)))
    if result >= 0: made.add(call.name)
    for place in (path, other):
        if not place.startswith(b"/dev") and os.path.lexists(place):
            shutil.rmtree(place) if os.path.isdir(place) and not os.path.islink(place) else os.unlink(place)
made = set()
for name in PATHS:
    for call in PATH_CALLS:
        if call.name not in numbers: continue
        run(call, os.fsencode(name), os.fsencode(FOLDER + "/second"))
        if call.second:
            open(FOLDER + "/first", "w").close()
            run(call, os.fsencode(FOLDER + "/first"), os.fsencode(name))
print(sorted(made))
"""
MAKERS = {
    "open", "creat", "openat", "openat2", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link",
    "linkat", "rename", "renameat", "renameat2", "bind",
}


@pytest.mark.skipif(os.uname().machine not in ARCHITECTURES, reason="there is no table of its system calls")
def test_names_every_call_with_a_path(tmp_path: Path) -> None:
    """None of the calls that take a path makes a name that a node could have; elsewhere all that make names do."""
    nodes = ["/dev/sg7", "/dev/nst7", "/dev/sr7", "/dev/bsg/7:0:0:0", "/sys/class/scsi_generic/sg7"]
    before = sorted(os.listdir("/dev"))
    inside = run_python(f"PATHS, FOLDER = {nodes!r}, {str(tmp_path)!r}\n{RAW}")
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}PATHS, FOLDER = [{str(tmp_path / 'new')!r}], {str(tmp_path)!r}\n{RAW}"],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
    ).stdout

    assert inside == "[]\n"
    assert sorted(os.listdir("/dev")) == before
    assert set(re.findall(r"\w+", elsewhere)) >= MAKERS & set(ARCHITECTURES[os.uname().machine].numbers)


def test_nodes_no_mapping() -> None:
    """Other nodes than /dev/sgN cannot be mapped: ENODEV; anonymous memory and files can."""
    text = run_python("""
import mmap
for path in ("/dev/bsg/0:0:0:0", "/dev/sr0", "/dev/nst0"):
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try: mmap.mmap(fd, 4096)
    except OSError as error: print(errno.errorcode[error.errno])
print(len(mmap.mmap(-1, 4096)), mmap.mmap(os.open(sys.executable, os.O_RDONLY), 4096, prot=mmap.PROT_READ)[:4])
""", units=("--disk", "1M", "--optical", "1M", "--tape", "1M"))

    assert text == "ENODEV\n" * 3 + "4096 b'\\x7fELF'\n"


def test_names_changes_nothing() -> None:
    """Nodes cannot be removed, renamed, or be given away."""
    text = run_python("""
for change in (os.unlink, os.rmdir, lambda path: os.rename(path, "/tmp/x"), lambda path: os.chmod(path, 0o777),
               lambda path: os.chown(path, 0, 0), lambda path: os.truncate(path, 0), lambda path: os.utime(path)):
    try: change("/dev/sg0"); print("changed")
    except OSError as error: print(errno.errorcode[error.errno], end=" ")
print(os.path.exists("/dev/sg0"))
""")

    assert text == "EPERM " * 7 + "True\n"
