"""`scsiemu serve` as a process: the JSON line, clean ends, exit codes, errors of users."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "scsiemu.app"]
SECONDS = 30.0


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    return subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, timeout=SECONDS, check=False, **options  # type: ignore[call-overload]  # passed on
    )


@contextlib.contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    """A server and its first line."""
    command = [*PROGRAM, "serve", "--listen", "127.0.0.1:0", "--exit-with-parent", *words]
    process = subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert select.select([process.stdout], [], [], SECONDS)[0], "no line"
        yield process, process.stdout.readline()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        process.stdout.close()
        process.stderr.close()


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, bytes, bytes]:
    """Exit code and the rest of both outputs after a signal."""
    process.send_signal(number)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def test_serve_json_line() -> None:
    """With --json the first line is one object with portals and units, LUNs from 0, and nothing follows it."""
    words = ("--json", "--disk", "64M", "--disk", "1G,block=4096", "--iqn", "iqn.2026-11.example:a")
    with serving(*words) as (process, line):
        told = json.loads(line)
        code, out, _ = end(process)

    (portal,) = told["portals"]
    host, _, port = portal.partition(":")
    assert (host, port.isdigit()) == ("127.0.0.1", True)
    assert [(unit["lun"], unit["type"], unit["url"]) for unit in told["units"]] == [
        (0, "vd", f"iscsi://{portal}/iqn.2026-11.example:a/0"),
        (1, "vd", f"iscsi://{portal}/iqn.2026-11.example:a/1"),
    ]
    assert (code, out) == (0, b"")


def test_serve_portal_accepts() -> None:
    """When the line is there the portal accepts connections."""
    with serving("--json", "--disk", "1M") as (_, line):
        host, _, port = json.loads(line)["portals"][0].partition(":")

        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            assert connection.getpeername()[1] == int(port)


def test_serve_ipv6_portal() -> None:
    """An IPv6 portal is in brackets, in the portal and in the URL."""
    if not socket.has_ipv6 or not _has_loopback_6():
        pytest.skip("no IPv6 loopback here")
    with serving("--json", "--disk", "1M", "--listen", "[::1]:0") as (_, line):
        told = json.loads(line)

    assert told["portals"][1].startswith("[::1]:")
    assert told["units"][0]["url"].startswith(f"iscsi://{told['portals'][0]}/")


def test_serve_text_lines() -> None:
    """Without --json there are lines to paste."""
    with serving("--disk", "1M") as (process, line):
        code, out, _ = end(process)

    assert line.startswith(b"listening on 127.0.0.1:")
    for word in (b"iscsi-inq iscsi://", b"iscsi-ls iscsi://", b"qemu-img info iscsi://", b"iscsiadm -m node -T iqn."):
        assert word in out
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_serve_signal_ends_cleanly(number: int) -> None:
    """SIGTERM, SIGINT and SIGHUP end it with exit code 0 and nothing on stderr."""
    with serving("--json", "--disk", "1M") as (process, _):
        code, out, err = end(process, number)

    assert (code, out, err) == (0, b"", b"")


def test_serve_small_when_idle() -> None:
    """What an idle server does not need is not in its memory: OpenSSL, importlib.metadata and what they bring."""
    report = "import atexit, sys; atexit.register(lambda: print('imported', *sys.modules, file=sys.stderr));"
    program = f"{report} from scsiemu.app.main import main; sys.exit(main())"
    words = ["serve", "--listen", "127.0.0.1:0", "--exit-with-parent", "--json", "--disk", "64M"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
    code, _, err = end(process)

    imported = set(err.decode().split())
    assert code == 0
    assert {"imported", "scsiemu.target", "asyncio"} <= imported
    assert "libcrypto" not in mapped
    assert not imported & {"ssl", "hashlib", "importlib.metadata", "zipfile", "crc32c", "construct", "encodings.idna"}


def test_serve_second_target() -> None:
    """Units after --target belong to it, with LUNs from 0 again."""
    with serving(
        "--json", "--disk", "1M", "--target", "iqn.2026-11.example:b", "--disk", "2M", "--disk", "3M"
    ) as (_, line):
        units = json.loads(line)["units"]

    assert [(unit["lun"], unit["url"].split("/")[3]) for unit in units] == [
        (0, "iqn.2026-11.example.scsiemu:target"), (0, "iqn.2026-11.example:b"), (1, "iqn.2026-11.example:b"),
    ]


def test_serve_only_named_targets() -> None:
    """Without a unit before the first --target there is no target of the default name."""
    with serving("--json", "--target", "iqn.2026-11.example:b", "--disk", "2M") as (_, line):
        units = json.loads(line)["units"]

    assert [unit["target"] for unit in units] == ["iqn.2026-11.example:b"]


def test_serve_exit_with_parent(tmp_path: Path) -> None:
    """With --exit-with-parent it ends when the process that started it is killed."""
    told = tmp_path / "told"
    script = (
        "import subprocess, sys, time\n"
        f"out = open({str(told)!r}, 'wb')\n"
        f"child = subprocess.Popen({PROGRAM!r} + ['serve', '--listen', '127.0.0.1:0', '--disk', '1M', '--json', "
        "'--exit-with-parent'], stdout=out)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    descriptor = os.pidfd_open(child)
    try:
        _until(lambda: told.read_bytes().endswith(b"\n"))

        parent.kill()

        assert select.select([descriptor], [], [], SECONDS)[0], "the server outlived its parent"
    finally:
        parent.kill()
        parent.wait(SECONDS)
        parent.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def test_serve_file_keeps_data(tmp_path: Path) -> None:
    """A file with a size is created so long, and is there after a clean end."""
    image = tmp_path / "img.raw"
    with serving("--json", "--disk", f"{image},size=1M") as (process, _):
        code, _, _ = end(process)

    assert (code, image.stat().st_size) == (0, 1 << 20)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "has no unit; add one, for example --disk 64M"),
        (("--disk", "1G,wrong"), "--disk 1G,wrong: there is no option 'wrong'"),
        (("--disk",), "expected one argument"),
        (("--dis", "1G"), "unrecognized arguments: --dis 1G"),
        (("--disk", "1M", "--listen", "nowhere:0"), "'nowhere' is not an IP address"),
        (("--disk", "1M", "--listen", "127.0.0.1:70000"), "the port is a number from 0 to 65535"),
        (("--disk", "1M", "--listen", "[::1"), "write an IPv6 address as [::1]:3260"),
        (("--disk", "1M", "--iqn", "my disk"), "'my disk' is not an iSCSI name"),
        (("--disk", "1M", "--target", "iqn.2026-11.example:b"), "the target iqn.2026-11.example:b has no unit"),
        (("--disk", "1M", "--chap", "secret"), "--chap takes USER:SECRETFILE"),
        (("--disk", "1M", "--allow-address", "here"), "write an address or a network"),
        (("--disk", "1M", "--mask", "iqn.a=1"), "has no LUN 1"),
        (("--disk", "1M", "--mask", "iqn.a"), "the name of the initiator is missing"),
        (("--disk", "1M", "--mask", "iqn.a=x"), "'x' is not a LUN"),
        (("--disk", "1M", "--max-sessions", "many"), "--max-sessions: 'many' is not a number"),
        (("--disk", "1M", "--max-memory", "much"), "--max-memory: 'much' is not a size"),
        (("--disk", "1M", "--iqn", "iqn.a:b", "--target", "iqn.a:b", "--disk", "1M"), "two targets are named iqn.a:b"),
    ],
)
def test_serve_usage_errors(words: tuple[str, ...], message: str) -> None:
    """A wrong command line is one sentence on stderr and exit code 2."""
    ended = run("serve", "--listen", "127.0.0.1:0", *words)

    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert (ended.stdout, ended.stderr.count("\n")) == ("", 1)


def test_serve_file_missing(tmp_path: Path) -> None:
    """A file that is not there is exit code 3, with what to do."""
    ended = run("serve", "--listen", "127.0.0.1:0", "--disk", str(tmp_path / "img.raw"))

    assert ended.returncode == 3
    assert "does not exist (give size= to create it)" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_serve_port_taken() -> None:
    """A port that is taken is exit code 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--disk", "1M")

    assert ended.returncode == 3
    assert "cannot listen on 127.0.0.1:" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_serve_file_locked(tmp_path: Path) -> None:
    """A second server cannot have the same file by mistake."""
    image = tmp_path / "img.raw"
    with serving("--json", "--disk", f"{image},size=1M"):
        ended = run("serve", "--listen", "127.0.0.1:0", "--disk", str(image))

    assert ended.returncode == 3
    assert "is in use by another server" in ended.stderr


@pytest.mark.parametrize(
    ("content", "mode", "extra", "code", "message"),
    [
        (b"0123456789abcdef\n", 0o600, (), 0, ""),
        (b"0123456789abcdef\n", 0o640, (), 3, "others than its owner may use the secret file"),
        (b"0123456789abcdef\n", 0o604, (), 3, "others than its owner may use the secret file"),
        (b"0123456789abcdef\n", 0o644, ("--insecure-permissions",), 0, ""),
        (b"pq7!\n", 0o600, (), 3, "shorter than 12 bytes"),
        (b"pq7!\n", 0o600, ("--allow-weak-secrets",), 0, ""),
        (b"\n", 0o600, (), 3, "is empty"),
        (b"x" * 300, 0o600, (), 3, "longer than 255 bytes"),
    ],
)
def test_serve_secret_file(
    tmp_path: Path, content: bytes, mode: int, extra: tuple[str, ...], code: int, message: str
) -> None:
    """A secret file is the owner's alone and holds a secret that is long enough; the secret is never shown."""
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    secret.chmod(mode)
    words = ("--disk", "1M", "--chap", f"me:{secret}", *extra)
    if code:
        ended = run("serve", "--listen", "127.0.0.1:0", *words)
        assert (ended.returncode, message in ended.stderr) == (code, True)
        assert content.strip() not in ended.stderr.encode() or not content.strip()
        return
    with serving("--json", *words) as (process, line):
        assert json.loads(line)["units"]
        assert end(process)[0] == 0


def test_serve_mutual_secret_differs(tmp_path: Path) -> None:
    """The target's own secret must not be that of a user (RFC 7143 9.2.1)."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef")
    secret.chmod(0o600)

    ended = run(
        "serve", "--listen", "127.0.0.1:0", "--disk", "1M", "--chap", f"me:{secret}", "--mutual-chap", f"you:{secret}"
    )

    assert ended.returncode == 3
    assert "its secret is also that of a --chap user" in ended.stderr


def test_serve_state_folder(tmp_path: Path) -> None:
    """--state makes the folder of the state store."""
    with serving("--json", "--disk", "1M", "--state", str(tmp_path / "state")) as (process, _):
        code, _, err = end(process)

    assert (code, err) == (0, b"")
    assert any((tmp_path / "state").iterdir())


def test_serve_help_names_units() -> None:
    """Help shows what device types declare, every limit and the exit codes."""
    ended = run("serve", "--help")

    assert ended.returncode == 0
    for word in ("--disk VALUE", "removable", "--max-memory SIZE", "--mutual-chap", "exit codes:", "70  a bug"):
        assert word in ended.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "no command is given"),
        (("dance",), 2, "there is no command 'dance'; there are serve, run, exec"),
        (("--version",), 0, ""),
        (("--help",), 0, ""),
    ],
)
def test_program_without_command(words: tuple[str, ...], code: int, message: str) -> None:
    """The program alone says what it has."""
    ended = run(*words)

    assert ended.returncode == code
    assert message in ended.stderr


def test_list_json() -> None:
    """`list --json` names what is installed and every option of a unit."""
    ended = run("list", "--json")

    told = json.loads(ended.stdout)
    assert "vd" in told["device_types"]
    assert {"memory", "file"} <= set(told["io_handlers"])
    assert "iscsi" in told["transports"]
    assert "removable" in told["units"]["--disk"]["options"]


def _has_loopback_6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _until(true: object) -> None:
    limit = time.monotonic() + SECONDS
    while not true():  # type: ignore[operator]  # a function
        assert time.monotonic() < limit
        time.sleep(0.02)
