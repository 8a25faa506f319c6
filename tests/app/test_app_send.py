"""`scsiemu send` against a running target: data, sense, exit codes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsiemu.testing.served import IscsiTarget

PROGRAM = [sys.executable, "-m", "scsiemu.app"]
SECONDS = 30.0


def send(*words: str) -> subprocess.CompletedProcess[str]:
    """`scsiemu send`, to its end."""
    return subprocess.run([*PROGRAM, "send", *words], capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def target() -> Iterator[IscsiTarget]:
    """A server with a disk of 512-byte blocks, one of 4096, and one that is read-only."""
    with IscsiTarget("--disk", "1M", "--disk", "1M,block=4096", "--disk", "1M,ro") as served:
        yield served


def test_send_data_decoded(target: IscsiTarget) -> None:
    """Data is decoded and dumped."""
    ended = send(target.url, "12 01 80 00 ff 00")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("INQUIRY: GOOD\nVPD page 80h")
    assert "  000000  00 80 00" in ended.stdout


def test_send_json(target: IscsiTarget) -> None:
    """With --json the answer is one object."""
    ended = send(target.urls[1], "25", "00" * 9, "--json")

    told = json.loads(ended.stdout)
    assert (told["status"], told["status_code"]) == ("GOOD", 0)
    assert told["command"]["title"] == "READ CAPACITY(10)"
    assert told["data_in"] == (255).to_bytes(4, "big").hex() + (4096).to_bytes(4, "big").hex()
    assert told["data"]["fields"]["logical_block_length"] == 4096


def test_send_check_condition(target: IscsiTarget) -> None:
    """CHECK CONDITION is exit code 4, with the sense data explained."""
    ended = send(target.url, "28 00 00 10 00 00 00 00 01 00", "--json")

    told = json.loads(ended.stdout)
    assert ended.returncode == 4
    assert told["status"] == "CHECK CONDITION"
    assert "LOGICAL BLOCK ADDRESS OUT OF RANGE" in told["sense"]["title"]


def test_send_read_only(target: IscsiTarget) -> None:
    """A disk with ro is write protected."""
    ended = send(target.urls[2], "2a 00 00 00 00 00 00 00 01 00", "--data-out", "00" * 512)

    assert ended.returncode == 4
    assert "WRITE PROTECTED" in ended.stdout


def test_send_write_and_read(target: IscsiTarget, tmp_path: Path) -> None:
    """Data-Out comes from a file, Data-In goes to one; long transfers arrive whole."""
    block = bytes(range(256)) * 1024
    (tmp_path / "out").write_bytes(block)

    written = send(target.url, "2a0000000100000200 00", "--data-out", str(tmp_path / "out"))
    read = send(target.url, "28000000010000020000", "--save", str(tmp_path / "in"))

    assert (written.returncode, read.returncode) == (0, 0)
    assert (tmp_path / "in").read_bytes() == block


def test_send_attentions_taken_away(target: IscsiTarget) -> None:
    """The unit attention of a new session is not what the user asked for, unless asked for."""
    plain = send(target.url, "00" * 6, "--initiator", "iqn.2026-11.example:fresh")
    kept = send(target.url, "00" * 6, "--initiator", "iqn.2026-11.example:other", "--keep-attentions")

    assert (plain.returncode, kept.returncode) == (0, 4)
    assert "POWER ON" in kept.stdout


def test_send_in_limits_data(target: IscsiTarget) -> None:
    """--in is what we are ready to take; the rest is told as overflow."""
    ended = send(target.url, "25" + "00" * 9, "--in", "4", "--json")

    told = json.loads(ended.stdout)
    assert (len(told["data_in"]), told["overflow"]) == (8, 4)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("ftp://nowhere/", "00"), 3, "has no 'ftp'"),
        (("http://nowhere/", "00"), 2, "scsiemu: http://nowhere/: this transport has no initiator of its own"),
        (("nonsense", "00"), 2, "is no URL of a unit"),
        (("iscsi://127.0.0.1/", "00"), 2, "is no URL of a unit"),
        (("{url}", "zz"), 2, "write bytes as hexadecimal"),
        (("{url}", "00", "--data-out", "no such file"), 2, "is neither a file nor hexadecimal"),
        (("{url}", "00", "--in", "lots"), 2, "is not a size"),
        (("{url}", "00", "--timeout", "soon"), 2, "is not a number of seconds"),
        (("{url}", "00" * 6, "--initiator", "me"), 2, "is not an iSCSI name"),
        (("{url}x", "00" * 6), 2, "LUN"),
        (("iscsi://{portal}/iqn.2026-11.example:nobody/0", "00" * 6), 5, "there is no such target"),
    ],
)
def test_send_errors(target: IscsiTarget, words: tuple[str, ...], code: int, message: str) -> None:
    """Each error of a user is one sentence and its exit code."""
    ended = send(*(word.replace("{url}", target.url).replace("{portal}", target.portal) for word in words))

    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_send_nobody_listens() -> None:
    """No connection is exit code 5."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    ended = send(f"iscsi://127.0.0.1:{port}/iqn.2026-11.example:a/0", "00" * 6)

    assert ended.returncode == 5
    assert "Connection refused" in ended.stderr


@pytest.mark.parametrize(
    "url",
    [
        "iscsi://me%t0ps3cret@127.0.0.1:{port}/iqn.2026-11.example:a/0",
        "iscsi://me:t0ps3cret@127.0.0.1:{port}/iqn.2026-11.example:a/0",
        "iscsi://me%t0ps3cret@127.0.0.1:99999/iqn.2026-11.example:a/0",
        "iscsi://me%t0p/s3cret@127.0.0.1:99999/iqn.2026-11.example:a/0",
        "iscsi://me%pub@127.0.0.1:{port}/iqn.2026-11.example:a/0?target_user=you&target_password=t0ps3cret",
    ],
)
def test_send_secret_not_shown(url: str) -> None:
    """An error does not repeat the secret of a URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    ended = send(url.replace("{port}", str(port)), "00" * 6)

    assert ended.returncode in (2, 3, 5)
    assert "s3cret" not in ended.stderr


def test_send_silent_target() -> None:
    """A server that never answers is exit code 5 after --timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"iscsi://127.0.0.1:{silent.getsockname()[1]}/iqn.2026-11.example:a/0"

        ended = send(url, "00" * 6, "--timeout", "0.2")

    assert ended.returncode == 5
    assert ended.stderr.count("\n") == 1


def test_send_chap(tmp_path: Path) -> None:
    """With CHAP the right secret gets in, a wrong one and none do not; both ways."""
    for name, secret in (("right", b"0123456789ab"), ("wrong", b"ba9876543210"), ("own", b"cdefghijklmn")):
        (tmp_path / name).write_bytes(secret)
        (tmp_path / name).chmod(0o600)
    right, wrong, own = (str(tmp_path / name) for name in ("right", "wrong", "own"))
    with IscsiTarget("--disk", "1M", "--chap", f"me:{right}", "--mutual-chap", f"you:{own}") as served:
        codes = {
            name: send(served.url, "00" * 6, *words).returncode
            for name, words in {
                "right": ("--chap", f"me:{right}"),
                "mutual": ("--chap", f"me:{right}", "--mutual-chap", f"you:{own}"),
                "impostor": ("--chap", f"me:{right}", "--mutual-chap", f"you:{wrong}"),
                "wrong": ("--chap", f"me:{wrong}"),
                "stranger": ("--chap", f"it:{right}"),
                "none": (),
            }.items()
        }

    assert codes == {"right": 0, "mutual": 0, "impostor": 5, "wrong": 5, "stranger": 5, "none": 5}


def test_send_masked() -> None:
    """LUN masking and initiator names decide what a session sees."""
    a, b, c, d = (f"iqn.2026-11.example:{name}" for name in "abcd")
    with IscsiTarget(
        "--disk", "1M", "--disk", "2M", "--allow-initiator", a, "--mask", f"{b}=0:1", "--read-only-initiator", d
    ) as served:
        write = ("2a" + "00" * 7 + "0100", "--data-out", "00" * 512)
        writes = [send(served.url, *write, "--initiator", name).returncode for name in (a, d)]
        sizes = {}
        for name in (a, b):
            ended = send(served.url, "25" + "00" * 9, "--initiator", name, "--json")
            sizes[name] = int(json.loads(ended.stdout)["data_in"][:8], 16) + 1
        refused = send(served.url, "00" * 6, "--initiator", c)

    assert sizes == {a: 2048, b: 4096}
    assert writes == [0, 4]
    assert refused.returncode == 5
    assert "does not let this initiator in" in refused.stderr or "no such target" in refused.stderr


def test_send_to_well_known_unit(target: IscsiTarget) -> None:
    """Every served target has the REPORT LUNS well known unit, of which REPORT LUNS tells when asked (SPC-5 8.2)."""
    ordinary = json.loads(send(target.url, "a0 00 00", "00" * 5, "40 00 00 00", "--json").stdout)
    everything = json.loads(send(target.url, "a0 00 02", "00" * 5, "40 00 00 00", "--json").stdout)

    assert ordinary["data_in"] == "0000001800000000" + "".join(f"{lun:04x}" + "0" * 12 for lun in range(3))
    assert everything["data_in"] == (
        "0000002000000000" + "".join(f"{lun:04x}" + "0" * 12 for lun in (0, 1, 2, 0xC101))
    )
