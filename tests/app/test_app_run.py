"""`scsiemu run`: a target for the time of a command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.run import fill_in

PROGRAM = [sys.executable, "-m", "scsiemu.app"]
SECONDS = 30.0
PLACES = {"uri": "iscsi://h:1/t/0", "uri0": "iscsi://h:1/t/0", "uri1": "iscsi://h:1/t/1", "portal": "h:1", "iqn": "t"}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """`scsiemu run`, to its end."""
    return subprocess.run(
        [*PROGRAM, "run", *words], capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("{uri}", "iscsi://h:1/t/0"),
        ("a={uri1},b={iqn}", "a=iscsi://h:1/t/1,b=t"),
        ("{portal}{portal}", "h:1h:1"),
        ("{}", "{}"),
        ("{print $1}", "{print $1}"),
        ("{URI}", "{URI}"),
    ],
)
def test_run_fill_in(word: str, filled: str) -> None:
    """Places are filled in, other braces are left alone."""
    assert fill_in(word, PLACES) == filled


def test_run_fill_in_missing_unit() -> None:
    """A unit that is not there is an error of the command line."""
    with pytest.raises(Failure, match=r"there is no \{uri2\}: the last unit is \{uri1\}") as raised:
        fill_in("{uri2}", PLACES)

    assert raised.value.code == ExitCode.USAGE


def test_run_command_gets_places() -> None:
    """The command finds the URLs in its arguments and in its environment, and its output is its own."""
    ended = run(
        "--disk", "1M", "--disk", "2M", "--iqn", "iqn.2026-11.example:r", "--", sys.executable, "-c",
        "import os, sys; print(*sys.argv[1:], os.environ['SCSIEMU_URI'], os.environ['SCSIEMU_PORTAL'])",
        "{uri}", "{uri1}", "{portal}", "{host}:{port}", "{iqn}",
    )

    uri, uri1, portal, host_port, iqn, *environment = ended.stdout.split()
    assert uri == f"iscsi://{portal}/iqn.2026-11.example:r/0"
    assert uri1 == f"iscsi://{portal}/iqn.2026-11.example:r/1"
    assert (host_port, iqn, environment) == (portal, "iqn.2026-11.example:r", [uri, portal])
    assert (ended.returncode, ended.stderr) == (0, "")


def test_run_target_is_there(tmp_path: Path) -> None:
    """While the command runs the target answers, from a file that keeps what was written."""
    image = tmp_path / "img.raw"
    block = (b"kept" * 128).hex()
    script = f"{' '.join(PROGRAM)} send {{uri}} 2a 00 00 00 00 01 00 00 01 00 --data-out {block}"

    ended = run("--disk", f"{image},size=1M", "--", "sh", "-c", script)

    assert ended.returncode == 0, ended.stderr
    assert image.read_bytes()[512:1024] == b"kept" * 128


@pytest.mark.parametrize(
    ("code", "expected"), [("exit(7)", 7), ("exit(0)", 0), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_run_exit_code(code: str, expected: int) -> None:
    """It ends with the exit code of the command, 128 and the number where a signal ended that."""
    assert run("--disk", "1M", "--", sys.executable, "-c", code).returncode == expected


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--disk", "1M"), 2, "put -- and the command behind the options"),
        (("--disk", "1M", "--"), 2, "put -- and the command behind the options"),
        (("--disk", "1M", "true"), 2, "unrecognized arguments: true"),
        (("--", "true"), 2, "has no unit"),
        (("--disk", "1M", "--", "/nowhere/at/all"), 127, "is not there; is it installed?"),
        (("--disk", "1M", "--", "/"), 126, "cannot be run"),
        (("--disk", "1M", "--", "echo", "{uri3}"), 2, "there is no {uri3}"),
    ],
)
def test_run_errors(words: tuple[str, ...], code: int, message: str) -> None:
    """What goes wrong before the command is one sentence and an exit code."""
    ended = run(*words)

    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert (ended.stdout, ended.stderr.count("\n")) == ("", 1)


def test_run_terminated_ends_command() -> None:
    """SIGTERM is passed on to the command, and the target ends with it."""
    process = subprocess.Popen(
        [*PROGRAM, "run", "--disk", "1M", "--", sys.executable, "-uc", "import time; print('up'); time.sleep(60)"],
        bufsize=0, stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    started = time.monotonic()

    process.send_signal(signal.SIGTERM)

    assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert time.monotonic() - started < SECONDS / 2
    process.stdout.close()
