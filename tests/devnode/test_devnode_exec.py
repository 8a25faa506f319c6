"""Whole commands under `scsiemu exec`: what an unmodified program meets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from devnode_world import PRELUDE, ROOT, needs_nodes, run_exec, run_python

from scsiemu.testing.served import IscsiTarget

OPEN = "fd = os.open('/dev/sg0', os.O_RDWR)\n"
INQUIRY = """
data, sense = ctypes.create_string_buffer(96), ctypes.create_string_buffer(32)
hdr = header(bytes.fromhex("120000006000"), 96, -3, ctypes.addressof(data), ctypes.addressof(sense), 32)
"""


def test_exec_exit_code() -> None:
    """The exit code is the command's; 128 and the number for a signal; 127 where there is no command."""
    assert run_exec("sh", "-c", "exit 3").returncode == 3
    assert run_exec("sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert run_exec("/nonexistent/command").returncode == 127


def test_exec_usage() -> None:
    """Without a unit, or without a command, it is a mistake of the command line."""
    assert run_exec("true", units=()).returncode == 2
    done = subprocess.run([sys.executable, "-m", "scsiemu.app.main", "exec", "--disk", "1M"], cwd=ROOT, check=False,
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


def test_exec_cannot_nest() -> None:
    """Where the kernel does not let us: exit code 3 and one sentence."""
    done = run_exec(sys.executable, "-m", "scsiemu.app.main", "exec", "--disk", "1M", "--", "true")

    assert done.returncode == 3
    assert done.stderr.decode().count("\n") == 1
    assert "listener" in done.stderr.decode()


def test_exec_sg_io_version_3() -> None:
    """INQUIRY by SG_IO; too short a buffer has the rest missing, a longer one a residual."""
    text = run_python(OPEN + INQUIRY + """
print(sg_io(fd, hdr), result(hdr)["resid"], data.raw[8:16])
data = ctypes.create_string_buffer(200)
hdr = header(bytes.fromhex("12000000ff00"), 200, -3, ctypes.addressof(data))
print(sg_io(fd, hdr), result(hdr)["resid"])
hdr = header(bytes(6) , 0)
print(sg_io(fd, hdr), result(hdr)["status"])
""")

    assert text.splitlines() == ["ok 0 b'SCSIEMU '", "ok 104", "ok 0"]


def test_exec_sg_io_sense() -> None:
    """CHECK CONDITION with sense: status, masked status, driver status, info."""
    text = run_python(OPEN + """
sense = ctypes.create_string_buffer(32)
hdr = header(b"\\xee" + bytes(5), 0, -1, 0, ctypes.addressof(sense), 32)
print(sg_io(fd, hdr), sorted(result(hdr).items()), sense.raw[:3].hex(), sense.raw[12:14].hex())
""")

    assert text.splitlines() == [
        "ok [('driver', 8), ('host', 0), ('info', 1), ('masked', 1), ('resid', 0), ('sense', 18), ('status', 2)] "
        "700005 2000"
    ]


def test_exec_bad_pointers() -> None:
    """Every pointer that is wrong is EFAULT, and the nodes go on working."""
    text = run_python(OPEN + INQUIRY + """
import resource
libc = ctypes.CDLL(None, use_errno=True)
for bad in (0, 8, 1 << 46, (1 << 64) - 8):
    print(libc.ioctl(fd, ctypes.c_ulong(0x2285), ctypes.c_void_p(bad)), ctypes.get_errno(), end=" ")
print()
for at in (16, 24, 32):
    hdr = header(bytes.fromhex("120000006000") if at != 32 else b"\\xee" + bytes(5), 96, -3, ctypes.addressof(data),
                 ctypes.addressof(sense), 32)
    struct.pack_into("=Q", hdr, at, 8)
    print(sg_io(fd, hdr))
hdr = header(bytes.fromhex("120000006000"), 96, -3, 8, iovecs=4)
print(sg_io(fd, hdr))
hdr = header(bytes.fromhex("120000006000"), 96, -3, ctypes.addressof(data), iovecs=2000)
print(sg_io(fd, hdr))
print(sg_io(fd, header(bytes(6))))
""")

    assert text.splitlines() == ["-1 14 " * 4, *["EFAULT"] * 4, "EINVAL", "ok"]


def test_exec_cdb_elsewhere() -> None:
    """The CDB of the next SG_IO is read where its structure says, whatever has become of the place of the last one."""
    assert run_python(OPEN + """
import mmap
def at(place, cdb):
    ctypes.memmove(place, cdb, len(cdb)); hdr = header(bytes(6)); hdr[8] = len(cdb)
    hdr[24:32] = place.to_bytes(8, "little"); return sg_io(fd, hdr), result(hdr)["status"]
libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
page = libc.mmap(None, 8192, 3, 0x22, -1, 0); other = ctypes.create_string_buffer(64)
print(at(page, bytes(6)), at(page, b"\\xee" + bytes(5)), at(page, b"\\xee" + bytes(9)), at(page, bytes(6)))
libc.munmap(page, 4096)
place = ctypes.addressof(other)
print(at(page + 4096, bytes(6)), at(place, b"\\xee" + bytes(5)), at(place + 1, bytes(6)))
gone = header(bytes(6)); gone[24:32] = page.to_bytes(8, "little"); print(sg_io(fd, gone))
""") == "('ok', 0) ('ok', 2) ('ok', 2) ('ok', 0)\n('ok', 0) ('ok', 2) ('ok', 0)\nEFAULT\n"


def test_exec_large_transfer() -> None:
    """8 MiB in one command, there and back; more than 32 MiB is EINVAL."""
    text = run_python(OPEN + """
size = 8 << 20
out = ctypes.create_string_buffer(os.urandom(size), size)
back = ctypes.create_string_buffer(size)
def cdb(code): return bytes((code, 0)) + bytes(8) + (size // 512).to_bytes(4, "big") + bytes(2)
w = header(cdb(0x8a), size, -2, ctypes.addressof(out))
r = header(cdb(0x88), size, -3, ctypes.addressof(back), flags=1)
print(sg_io(fd, w), result(w)["status"], sg_io(fd, r), result(r)["status"], result(r)["info"], out.raw == back.raw)
print(sg_io(fd, header(cdb(0x88), (32 << 20) + 1, -3, ctypes.addressof(back))))
""")

    assert text.splitlines() == ["ok 0 ok 0 0 True", "EINVAL"]


def test_exec_version_4_on_both_nodes() -> None:
    """struct sg_io_v4 on /dev/bsg and on /dev/sgN."""
    text = run_python("""
for path in ("/dev/bsg/0:0:0:0", "/dev/sg0"):
    fd = os.open(path, os.O_RDWR)
    cdb, data = ctypes.create_string_buffer(bytes.fromhex("120000006000"), 6), ctypes.create_string_buffer(200)
    raw = bytearray(160)
    struct.pack_into("=iIIIQ", raw, 0, 0x51, 0, 0, 6, ctypes.addressof(cdb))
    struct.pack_into("=I", raw, 68, 200)
    struct.pack_into("=Q", raw, 80, ctypes.addressof(data))
    print(sg_io(fd, raw), struct.unpack_from("=i", raw, 136)[0], data.raw[8:15])
    os.close(fd)
""")

    assert text.splitlines() == ["ok 104 b'SCSIEMU'"] * 2


def test_exec_asynchronous_interface() -> None:
    """write(2) queues, poll(2) and read(2) fetch; EAGAIN when there is nothing; pack_id comes back."""
    text = run_python("""
import select
fd = os.open("/dev/sg0", os.O_RDWR | os.O_NONBLOCK)
poll = select.poll(); poll.register(fd, select.POLLIN)
print(poll.poll(0))
try: os.read(fd, 88)
except BlockingIOError: print("EAGAIN")
datas = [ctypes.create_string_buffer(96) for _ in range(3)]
keep = [header(bytes.fromhex("120000006000"), 96, -3, ctypes.addressof(data), pack=number + 10)
        for number, data in enumerate(datas)]
print([os.write(fd, hdr) for hdr in keep])
print(bool(poll.poll(1000)), struct.unpack("=i", fcntl.ioctl(fd, 0x227d, bytes(4))))
for _ in keep:
    hdr = os.read(fd, 88)
    print(struct.unpack_from("=i", hdr, 48), len(hdr))
print(poll.poll(0), [data.raw[8:15] for data in datas])
""")

    lines = text.splitlines()
    assert lines[:4] == ["[]", "EAGAIN", "[88, 88, 88]", "True (3,)"]
    assert lines[4:7] == ["(10,) 88", "(11,) 88", "(12,) 88"]
    assert lines[7] == "[] [b'SCSIEMU', b'SCSIEMU', b'SCSIEMU']"


def test_exec_blocking_read_waits() -> None:
    """A read(2) that comes before the request has ended waits for it, in another thread."""
    text = run_python(OPEN + """
import threading, time
got = []
def reader(): got.append(struct.unpack_from("=i", os.read(fd, 88), 48)[0])
thread = threading.Thread(target=reader); thread.start()
time.sleep(0.2)
os.write(fd, header(bytes(6), pack=77))
thread.join(5)
print(got)
""")

    assert text == "[77]\n"


def test_exec_duplicates_forks_and_exec() -> None:
    """A descriptor works after dup, dup2 to low numbers, fcntl, fork and exec, until the last copy is closed.

    By its name in /dev/fd the node is opened anew.
    """
    text = run_python(OPEN + """
copies = [os.dup(fd), fcntl.fcntl(fd, fcntl.F_DUPFD, 3)]
os.dup2(fd, 5); copies.append(5)
os.dup2(fd, 0); copies.append(0)
os.close(fd)
print([sg_io(copy, header(bytes(6))) for copy in copies], os.fstat(0).st_rdev == os.makedev(21, 0))
pid = os.fork()
if not pid:
    os._exit(0 if sg_io(5, header(bytes(6))) == "ok" else 1)
print(os.waitpid(pid, 0)[1])
os.set_inheritable(5, True)
os.execvp("sh", ["sh", "-c", "readlink /proc/self/fd/5; test -c /proc/self/fd/5 && echo node; sg=/dev/fd/5;"
           " test -c $sg && exec 6<>$sg && readlink /proc/self/fd/6"])
""")

    assert text.splitlines() == ["['ok', 'ok', 'ok', 'ok'] True", "0", "/dev/sg0", "node", "/dev/sg0"]


def test_exec_threads_at_once() -> None:
    """Many threads, each with its own file: every answer is its own."""
    text = run_python("""
import threading
wrong = []
def work(number):
    fd = os.open(f"/dev/sg{number % 2}", os.O_RDWR)
    data = ctypes.create_string_buffer(96)
    for _ in range(50):
        hdr = header(bytes.fromhex("120180006000"), 96, -3, ctypes.addressof(data))
        if sg_io(fd, hdr) != "ok" or result(hdr)["status"] or not data.raw[4:].startswith(b"UNIT%d" % (number % 2)):
            wrong.append(number)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(wrong)
""", units=("--disk", "1M,serial=UNIT0", "--disk", "1M,serial=UNIT1"))

    assert text == "[]\n"


def test_exec_exclusive_open() -> None:
    """O_EXCL as sg has it: EBUSY at once with O_NONBLOCK, EPERM read-only, and waiting else."""
    text = run_python("""
import threading, time
def attempt(flags):
    try: return os.open("/dev/sg0", flags)
    except OSError as error: return errno.errorcode[error.errno]
first = attempt(os.O_RDWR)
print(attempt(os.O_RDONLY | os.O_EXCL), attempt(os.O_RDWR | os.O_EXCL | os.O_NONBLOCK))
got = []
thread = threading.Thread(target=lambda: got.append(attempt(os.O_RDWR | os.O_EXCL))); thread.start()
time.sleep(0.2); print(got)
os.close(first); thread.join(5)
print(len(got), attempt(os.O_RDWR | os.O_NONBLOCK))
""")

    assert text.splitlines() == ["EPERM EBUSY", "[]", "1 EBUSY"]


def test_exec_paths_of_every_kind() -> None:
    """Relative paths, links, working directories that are ours, listings, /dev/fd."""
    text = run_python("""
import tempfile
folder = tempfile.mkdtemp()
os.symlink("/dev/sg0", folder + "/node"); os.symlink("/dev", folder + "/dev")
names = [folder + "/node", folder + "/dev/sg0", "/dev/../dev/./sg0", "/proc/self/root/dev/sg0"]
os.chdir("/dev"); names.append("sg0")
print([os.stat(name).st_rdev == os.makedev(21, 0) for name in names])
os.chdir("bsg"); print(os.getcwd(), os.listdir("."), os.path.exists("../sg0"), os.path.exists("../null"))
directory = os.open("/sys/class/scsi_generic", os.O_RDONLY)
print(os.listdir(directory), os.readlink("sg0", dir_fd=directory)[:14], open(f"sg0/dev", opener=lambda path, flags:
      os.open(path, flags, dir_fd=directory)).read())
os.fchdir(directory); print(os.getcwd(), open("sg0/device/vendor").read().strip())
os.chdir("/"); print(os.getcwd(), {"sg0", "bsg", "null"} <= set(os.listdir("/dev")))
os.unlink(folder + "/node"); os.unlink(folder + "/dev"); os.rmdir(folder)
""")

    assert text.splitlines() == [
        "[True, True, True, True, True]", "/dev/bsg ['0:0:0:0'] True True", "['sg0'] ../../../sys/d 21:0", "",
        "/sys/class/scsi_generic SCSIEMU", "/ True",
    ]


AS_NOBODY = """
import ctypes, os, sys
from scsiemu.testing.served import ScsiTarget
from transports.devnode.device_nodes import DeviceNodes
import codecs; codecs.lookup('ascii')          # while the library can be read
here, nodes = ScsiTarget("--disk", "1M", "--tape", "8M"), DeviceNodes()
nodes.add_target(here.target, here.stores)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)              # PR_SET_DUMPABLE, which setuid(2) has taken away
script = "id -u; test -c /dev/sg0 && test -w /dev/sg0 && ls /dev/bsg; exec 5</dev/nst0; read -u 5; exec 5<&-"
sys.exit(nodes.run(["bash", "-c", script], dict(os.environ)))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else; others run all tests as themselves")
def test_exec_ordinary_user() -> None:
    """Without any privilege: user nobody, no capability. A low descriptor, too."""
    needs_nodes()
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], cwd=ROOT, capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stdout.split()) == (0, [b"65534", b"0:0:0:0", b"0:0:0:1"]), done.stderr
    assert b"read error: 5: Input/output error" in done.stderr         # by ptrace, of a tape without data


STATIC = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <scsi/sg.h>
int main(void) {
    unsigned char cdb[6] = {0x12, 0, 0, 0, 36, 0}, data[36] = {0};
    struct sg_io_hdr hdr = {.interface_id = 'S', .dxfer_direction = SG_DXFER_FROM_DEV, .cmd_len = 6, .cmdp = cdb,
                            .dxfer_len = 36, .dxferp = data, .timeout = 1000};
    int fd = open("/dev/sg0", O_RDWR);
    if (fd < 0 || ioctl(fd, SG_IO, &hdr)) { perror("sg"); return 1; }
    printf("%.8s\n", (char *)data + 8);
    return 0;
}
"""


def test_exec_static_program(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """A static program, which no preloaded library could reach, and which uses the C structure itself."""
    source, program = tmp_path / "static.c", tmp_path / "static"
    source.write_text(STATIC)
    built = subprocess.run([require_tool("gcc"), "-static", "-o", program, source], capture_output=True, check=False)
    if built.returncode:
        pytest.skip("there is no static libc to link with")

    assert run_exec(str(program)).stdout == b"SCSIEMU \n"


def test_exec_pipeline(require_tool: Callable[[str], str]) -> None:
    """Programs joined by a pipe, redirected from a node by the shell."""
    require_tool("sg_dd")
    done = run_exec(
        "sh", "-c", "head -c 65536 /dev/urandom > /tmp/node-$$; "
        "sg_dd if=/tmp/node-$$ of=/dev/sg0 bs=512 2>/dev/null && "
        "sg_dd if=/dev/sg0 of=- bs=512 count=128 2>/dev/null | cat | cmp - /tmp/node-$$; code=$?; rm /tmp/node-$$; "
        "exit $code",
    )

    assert done.returncode == 0, done



def start_exec(program: str, units: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start a Python program under the nodes."""
    needs_nodes()
    return subprocess.Popen(
        [sys.executable, "-m", "scsiemu.app.main", "exec", *units, "--", sys.executable, "-c", PRELUDE + program],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def children_of(pid: int) -> list[int]:
    """Processes whose parent it is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


# A command with a child and an orphan that has a session of its own and does not mind SIGTERM; the pids of all three.
FAMILY = OPEN + """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    middle = os.fork()
    if not middle:
        os.setsid()
        orphan = os.fork()
        if orphan: print(os.getppid(), child, orphan, flush=True); os._exit(0)
    else:
        os.waitpid(middle, 0)
time.sleep(60)
"""


def traces() -> tuple[object, ...]:
    """What could be left of a run: nodes and files."""
    files = [name for name in os.listdir("/tmp") if "scsiemu" in name]
    return sorted(os.listdir("/dev")), files, os.listdir("/dev/shm")


@pytest.mark.parametrize("victim", ["supervisor", "guard", "command"])
def test_exec_nothing_is_left(victim: str) -> None:
    """After SIGKILL of the program, of the guard or of the command all three and what they started are gone."""
    before = traces()
    process = start_exec(FAMILY, ("--disk", "1M"))
    assert process.stdout is not None
    family = [int(word) for word in process.stdout.readline().split()]
    (guard,) = children_of(process.pid)
    assert family[0] in children_of(guard)
    os.kill({"supervisor": process.pid, "guard": guard, "command": family[0]}[victim], signal.SIGKILL)

    code = process.wait(20)
    assert code == (-signal.SIGKILL if victim == "supervisor" else 128 + signal.SIGKILL)
    assert [gone(pid) for pid in (guard, *family)] == [True] * 4
    process.communicate()
    assert traces() == before


def test_exec_leftovers_end() -> None:
    """What the command left in the background does not outlive it."""
    done = run_exec("sh", "-c", "(trap '' TERM; sleep 60) >/dev/null 2>&1 & echo $!")

    assert done.returncode == 0
    assert gone(int(done.stdout))


def test_exec_sigterm_ends_the_command() -> None:
    """SIGTERM goes to the command, whose end is then ours."""
    process = start_exec("print('up', flush=True)\nimport time; time.sleep(60)", ("--disk", "1M"))
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()

    assert process.wait(20) == 128 + signal.SIGTERM
    process.communicate()


def test_exec_url(require_tool: Callable[[str], str]) -> None:
    """A unit of a running target elsewhere, beside one of our own."""
    require_tool("sg_inq")
    with IscsiTarget("--disk", "4M,serial=ELSEWHERE") as there:
        done = run_exec(
            "sh", "-c", "sg_inq /dev/sg1 | grep serial; sg_inq /dev/sg0 | grep serial; cat /proc/scsi/sg/devices",
            units=("--disk", "1M,serial=HERE", "--url", there.url),
        )

    assert [line.split()[-1] for line in done.stdout.decode().splitlines()[:2]] == ["ELSEWHERE", "HERE"], done.stderr
    assert done.stdout.decode().splitlines()[3].startswith("1\t0\t0\t0")


def test_exec_url_that_is_not_there() -> None:
    """No connection is exit code 5."""
    done = run_exec("true", units=("--url", "iscsi://127.0.0.1:1/iqn.2026-11.example:x/0"))

    assert (done.returncode, done.stderr.count(b"\n")) == (5, 1)


def test_exec_strace(require_tool: Callable[[str], str]) -> None:
    """strace over the command shows the ioctls as those of sg."""
    done = run_exec(require_tool("strace"), "-e", "trace=ioctl", require_tool("sg_turs"), "/dev/sg0")

    assert b"SG_IO, {interface_id='S'" in done.stderr


def test_exec_documented_commands(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Every command that docs/device-nodes.md shows works."""
    require_tool("sg_inq")
    require_tool("sdparm")
    needs_nodes()
    text = (ROOT / "docs" / "device-nodes.md").read_text()
    commands = [line[2:] for line in text.splitlines() if line.startswith("$ scsiemu exec")]
    (tmp_path / "img.raw").write_bytes(bytes(1 << 20))
    (tmp_path / "scsiemu").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scsiemu.app.main "$@"\n')
    (tmp_path / "scsiemu").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    failed = [
        (command, done.stderr) for command in commands
        if (done := subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, check=False,
                                   timeout=60)).returncode
    ]
    assert len(commands) >= 4
    assert failed == []


def test_exec_url_long_bidirectional_command() -> None:
    """A CDB of 236 bytes with data both ways reaches a unit elsewhere as it reaches one of our own."""
    program = """
def osd(path, action, out=b"", length=0, partition=0, object=0, size=0):
    raw = bytearray(236)
    raw[0], raw[7], raw[8:10], raw[11] = 0x7F, 228, action.to_bytes(2, "big"), 0x20
    raw[16:24], raw[24:32], raw[32:40] = (n.to_bytes(8, "big") for n in (partition, object, size))
    if length:
        raw[52:60] = 0xFFFFFFFE.to_bytes(4, "big") + length.to_bytes(4, "big")
    given = (bytes(raw), out, bytes(length), bytes(64))
    keep = [ctypes.create_string_buffer(data, max(1, len(data))) for data in given]
    hdr = bytearray(160)
    at = [ctypes.addressof(each) for each in keep]
    struct.pack_into("=iIIIQ", hdr, 0, 0x51, 0, 0, 236, at[0])
    struct.pack_into("=IQ", hdr, 44, 64, at[3])
    struct.pack_into("=II", hdr, 60, len(out), 0)
    struct.pack_into("=I", hdr, 68, length)
    struct.pack_into("=QQ", hdr, 72, at[1], at[2])
    fd = os.open(path, os.O_RDWR)
    print(sg_io(fd, hdr), struct.unpack_from("=I", hdr, 116), struct.unpack_from("=ii", hdr, 136),
          keep[2].raw.hex(), keep[3].raw[:32].hex())
    os.close(fd)
for path in ("/dev/bsg/0:0:0:0", "/dev/bsg/1:0:0:0"):
    osd(path, 0x8881, size=1 << 20)
    osd(path, 0x888B, partition=0x10000)
    osd(path, 0x8882, partition=0x10000, object=0x10000)
    osd(path, 0x8886, b"hello", 64, 0x10000, 0x10000, 5)
"""
    with IscsiTarget("--osd", "8M") as there:
        lines = run_python(program, units=("--osd", "8M", "--url", there.url)).splitlines()

    assert lines[:4] == lines[4:]
    assert [line[:7] for line in lines[:4]] == ["ok (0,)"] * 4, lines
    assert "fffffffe" in lines[3]           # the page of this command's attributes came back
