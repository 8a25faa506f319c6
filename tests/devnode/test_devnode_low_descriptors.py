"""Nodes that dup(2) and its like put at any number: reads, writes and the rest are those of the node there, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from devnode_world import PRELUDE, ROOT, needs_nodes, run_exec, run_python

TAPE = ("--tape", "16M")
ST = """
def op(fd, number, count=1):
    fcntl.ioctl(fd, 0x40086D01, struct.pack("=h2xi", number, count))
def place(fd):
    return struct.unpack("=qqqqqii", fcntl.ioctl(fd, 0x80306D02, bytes(48)))[-2:]
def name(action, *arguments):
    try: return action(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
nst = lambda: os.open("/dev/nst0", os.O_RDWR)
def at(number):
    fd = nst(); os.dup2(fd, number); os.close(fd)
"""


def tape_program(program: str) -> list[str]:
    """Run a Python program that has a tape drive; its lines."""
    return run_python(ST + program, units=TAPE).splitlines()


def shell(name: str, script: str, *units: str) -> str:
    """What a script prints; its stderr is empty."""
    done = run_exec(name, "-c", script, units=units or TAPE)
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize("name", ["bash", "dash"])
def test_low_redirections_of_shells(name: str) -> None:
    """exec 3<, >&3 and 3<&-: programs get it as their input and output, builtins of the shell write it."""
    assert shell(name, """
exec 3>/dev/nst0; printf one >&3; printf three | dd bs=64 status=none >&3; exec 3>&-
exec 3</dev/nst0; dd bs=64 count=1 status=none <&3; mt -f /dev/nst0 status 2>&1; exec 3<&-; mt -f /dev/nst0 rewind
exec 3</dev/nst0; dd bs=64 status=none <&3; dd bs=64 status=none <&3; (dd bs=64 <&3 2>&1) | head -1; exec 3<&-
mt -f /dev/nst0 tell
""") == (
        "/dev/nst0: Device or resource busy\nonethree"
        "dd: error reading 'standard input': Input/output error\nAt block 3.\n"
    )


def test_low_tar_by_a_descriptor(tmp_path: Path) -> None:
    """tar writes and reads an archive through descriptor 3, other programs run between."""
    (tmp_path / "file").write_bytes(os.urandom(50_000))

    assert shell("bash", f"""
cd {tmp_path}; exec 3>/dev/nst0; tar -b 8 -cf - file >&3; ls > /dev/null; exec 3>&-; mt -f /dev/nst0 rewind
exec 4</dev/nst0; mkdir out; tar -b 8 -C out -xf - <&4; cmp file out/file && echo same
""") == "same\n"


def test_low_calls_by_number() -> None:
    """read, write, their vectors, fstat and ioctl; a block that is too large, a filemark, the end of data."""
    assert tape_program("""
at(7)
print(os.write(7, bytes(100)), os.writev(7, [b"ab", b"cd"]), place(7)); op(7, 5); op(7, 6)
print(os.fstat(7).st_rdev == os.stat("/dev/nst0").st_rdev == os.stat("/dev/fd/7").st_rdev)
print(name(os.read, 7, 10), place(7), os.read(7, 9), os.read(7, 9), place(7), os.read(7, 9), name(os.read, 7, 9))
print(name(os.pread, 7, 9, 0), name(os.lseek, 7, 0, 0), name(fcntl.ioctl, 7, 0x5401, bytes(64)))
""") == ["100 4 (0, 2)", "True", "ENOMEM (0, 1) b'abcd' b'' (1, 0) b'' EIO", "ESPIPE ESPIPE ENOTTY"]


def test_low_every_way_to_duplicate() -> None:
    """dup, dup2, dup3, F_DUPFD from low numbers, from the standard ones and from ours; then the drive is free."""
    assert tape_program("""
fd = nst(); os.write(fd, b"block"); os.dup2(fd, 5, inheritable=False); os.close(fd)
numbers = [5, os.dup(5), fcntl.fcntl(5, fcntl.F_DUPFD, 20), fcntl.fcntl(5, fcntl.F_DUPFD_CLOEXEC, 300), os.dup2(5, 0)]
numbers += [os.dup(0), fcntl.fcntl(0, fcntl.F_DUPFD, 3), os.dup2(0, 799), os.dup2(799, 3)]
found = []
for number in numbers:
    op(number, 6); found.append(os.read(number, 99))
print(found == [b"block"] * 9, numbers[2:4], name(nst))
for number in set(numbers): os.close(number)
print(place(nst()))
""") == ["True [20, 300] EBUSY", "(0, 1)"]


def test_low_is_inherited() -> None:
    """By threads that were there and new ones, by fork and exec; a number that is closed is an ordinary one again."""
    assert tape_program("""
import subprocess, threading
go, got = threading.Event(), []
def work():
    go.wait(); got.append(os.read(4, 99))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
at(4); [os.write(4, b"%d" % n) for n in range(4)]; op(4, 6); go.set()
for thread in threads: thread.join()
code = "import os; print(os.read(4, 99))"
print(sorted(got), subprocess.check_output([sys.executable, "-c", code], pass_fds=[4]), place(4))
os.set_inheritable(4, True)
if not os.fork():
    op(4, 6); print(os.read(4, 99), flush=True); os._exit(0)
os.wait(); os.close(4); os.dup2(os.open("/etc/passwd", os.O_RDONLY), 4); print(os.read(4, 5))
at(4); print(place(4), flush=True)
threading.Thread(target=lambda: os.execv(sys.executable, [sys.executable, "-c", code])).start(); go.clear(); go.wait()
""") == ["[b'0', b'1', b'2'] b\"b'3'\\n\" (0, 4)", "b'0'", "b'root:'", "(0, 1)", "b'1'"]


def test_low_last_close() -> None:
    """The filemark comes with the last close, or the end, of whoever has it at a low number; by SIGKILL as well."""
    assert tape_program("""
for end in (lambda: os.close(3), lambda: os._exit(0), lambda: os.kill(os.getpid(), 9), lambda: os.dup2(2, 3)):
    if not os.fork():
        at(3); os.write(3, b"data"); end(); os._exit(0)
    os.wait(); fd = nst(); print(place(fd)); os.close(fd)
""") == ["(1, 0)", "(2, 0)", "(3, 0)", "(4, 0)"]


def test_low_sg_and_optical(tmp_path: Path) -> None:
    """An sg node answers write and read, a disc is read at its position."""
    disc = tmp_path / "disc.iso"
    disc.write_bytes(os.urandom(1 << 20))
    assert run_python("""
fd = os.open("/dev/sg0", os.O_RDWR); os.dup2(fd, 6); os.close(fd)
hdr = header(bytes(6)); print(os.write(6, bytes(hdr)), os.read(6, 88)[64], sg_io(6, hdr))
fd = os.open("/dev/sr0", os.O_RDONLY); os.dup2(fd, 7); os.close(fd)
print(os.lseek(7, 4096, 0), os.read(7, 10) == os.pread(7, 10, 4096), os.lseek(7, 0, 1))
""", units=("--disk", "1M", "--optical", str(disc))) == "88 0 ok\n4096 True 4106\n"


def test_low_of_the_traced() -> None:
    """Whoever is traced by another gets EMFILE for a tape, and the user one sentence; ioctls of sg work."""
    needs_nodes()
    done = run_exec(sys.executable, "-c", PRELUDE + ST + """
if not os.fork():
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    fd = nst(); print(name(os.dup2, fd, 3), name(os.dup2, fd, 4), flush=True)
    fd = os.open("/dev/sg0", os.O_RDWR); os.dup2(fd, 5); print(sg_io(5, header(bytes(6))), flush=True); os._exit(0)
os.wait()
""", units=TAPE)

    assert done.stdout == b"EMFILE EMFILE\nok\n"
    assert done.stderr.count(b"\n") == 1
    assert b"ptrace is forbidden or another traces it already" in done.stderr


def test_low_signals_and_job_control() -> None:
    """Signals reach the traced: caught, stopping and going on, ending; waitpid(2) of the parent sees each."""
    assert tape_program("""
import signal, subprocess
at(3)
got = []; signal.signal(signal.SIGUSR1, lambda *_: got.append("usr1")); os.kill(os.getpid(), signal.SIGUSR1)
child = subprocess.Popen(["sleep", "60"])
os.kill(child.pid, signal.SIGSTOP); print(got, os.WSTOPSIG(os.waitpid(child.pid, os.WUNTRACED)[1]))
os.kill(child.pid, signal.SIGCONT); print(os.WIFCONTINUED(os.waitpid(child.pid, os.WCONTINUED)[1]))
child.terminate(); print(child.wait())
""") == ["['usr1'] 19", "True", "-15"]


@pytest.mark.parametrize("kill", [False, True])
def test_low_nothing_is_left_behind(tmp_path: Path, kill: bool) -> None:
    """What is traced and left running ends with the command, or with scsiemu that is killed."""
    needs_nodes()
    script = f"exec 3</dev/nst0; (trap '' TERM; sleep 61; sleep 62) & echo $! > {tmp_path}/pid; " + "wait" * kill
    with subprocess.Popen(
        [sys.executable, "-m", "scsiemu.app.main", "exec", *TAPE, "--", "bash", "-c", script], cwd=ROOT
    ) as process:
        until = monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert monotonic() < until
            sleep(0.01)
        if kill:
            process.send_signal(signal.SIGKILL)
        process.wait(20)
    pid = int((tmp_path / "pid").read_text())
    with suppress(OSError):
        while monotonic() < until and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            sleep(0.01)
    assert monotonic() < until
