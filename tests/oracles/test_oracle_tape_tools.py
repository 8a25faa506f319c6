"""mt, tar, dd and cpio, unmodified, on the nodes of a tape drive: they judge the driver.

The drive is the small one of the driver's tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import ROOT, needs_nodes  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]


@pytest.fixture
def shell(require_tool: Callable[[str], str], tmp_path: Path) -> Callable[..., str]:
    """Run a shell script that has a drive, in a directory of its own; its output."""
    for tool in ("mt", "cpio"):
        require_tool(tool)
    needs_nodes()

    def run(script: str, *, capacity: int = 1 << 30) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/devnode/fake_tape.py"), str(capacity), "sh", "-c",
             "export TAPE=/dev/nst0 LC_ALL=C\n" + script],
            capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


# Files 0 to 2 have 3 blocks each: tar's of one file and of its end, in blocks of 512 bytes.
THREE = "for n in 0 1 2; do echo $n > f$n; tar cb 1 f$n > t; dd if=t of=$TAPE bs=512 2>/dev/null; done\n"
STATUS = "mt status | grep -e number -e ONLINE -e OPEN\n"


@pytest.mark.parametrize(("words", "expected"), [
    ("rewind", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("fsf 1", "File number=1, block number=0, partition=0.\n EOF ONLINE IM_REP_EN"),
    ("fsfm 1", "File number=0, block number=-1, partition=0.\n ONLINE IM_REP_EN"),
    ("fsr 2", "File number=0, block number=2, partition=0.\n ONLINE IM_REP_EN"),
    ("asf 2", "File number=2, block number=0, partition=0.\n EOF ONLINE IM_REP_EN"),
    ("eod", "File number=3, block number=-1, partition=0.\n EOD ONLINE IM_REP_EN"),
    ("seek 5", "File number=-1, block number=-1, partition=0.\n ONLINE IM_REP_EN"),
    ("retension", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("erase 0", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("weof 2", "File number=2, block number=0, partition=0.\n EOF ONLINE IM_REP_EN"),
    ("lock", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("compression 1", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("drvbuffer 1", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("stsetoptions two-fms", "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN"),
    ("offline", "File number=-1, block number=-1, partition=0.\n DR_OPEN IM_REP_EN"),
])
def test_mt_operation(shell: Callable[..., str], words: str, expected: str) -> None:
    """From the beginning of three files: where mt says that the tape is."""
    assert shell(THREE + f"mt rewind; mt {words}\n" + STATUS).strip() == expected


@pytest.mark.parametrize(("words", "expected"), [
    ("bsf 1", "File number=2, block number=-1, partition=0."),
    ("bsfm 2", "File number=2, block number=0, partition=0."),
    ("bsr 1", "File number=2, block number=-1, partition=0."),
])
def test_mt_back(shell: Callable[..., str], words: str, expected: str) -> None:
    """From behind three files. BSR meets the filemark, which is an error."""
    assert shell(THREE + f"mt {words} 2>/dev/null\n" + STATUS).splitlines()[0] == expected


def test_mt_modes(shell: Callable[..., str]) -> None:
    """SETBLK and SETDENSITY come back in the status; TELL counts."""
    text = shell("mt setblk 1024; mt setdensity 0x44; mt status; dd if=/dev/zero bs=1k count=5 of=$TAPE; mt tell")

    assert re.search(r"Tape block size 1024 bytes. Density code 0x44 \(", text)
    assert "At block 6." in text


def test_dd_block_modes(shell: Callable[..., str]) -> None:
    """Variable blocks have the length of each write; fixed ones are the drive's, whatever dd's."""
    assert shell("""
seq 20000 | head -c 65536 > data
dd if=data of=$TAPE bs=10000 2>/dev/null; mt setblk 4096; dd if=data of=$TAPE bs=16k 2>/dev/null
mt rewind; mt setblk 0
dd if=$TAPE bs=1k count=1 2>&1 >/dev/null | grep -o 'Cannot allocate memory'
mt rewind; dd if=$TAPE bs=64k 2>/dev/null | cmp - data && echo variable
dd if=$TAPE bs=64k 2>&1 >/dev/null | head -1
mt asf 1; mt setblk 4096; dd if=$TAPE bs=8k 2>/dev/null | cmp - data && echo fixed
dd if=data of=$TAPE bs=1000 count=1 2>&1 | grep -o 'Invalid argument'
mt asf 1; cat < $TAPE | cmp - data && echo cat
""").splitlines() == ["Cannot allocate memory", "variable", "0+16 records in", "fixed", "Invalid argument", "cat"]


def test_tar_and_cpio(shell: Callable[..., str]) -> None:
    """Several archives one behind the other, each read back from its place; appended to; by st0 always the first."""
    assert shell("""
mkdir d; seq 3000 > d/a; echo b > d/b
tar cf $TAPE d/a; tar cf $TAPE d/b; echo d/b | cpio -o -H newc -O $TAPE 2>/dev/null
mt rewind; tar df $TAPE && echo same; mt fsf; tar tf $TAPE; mt fsf; cpio -it -I $TAPE 2>/dev/null
tar tf /dev/st0 2>/dev/null; mt rewind; tar tf /dev/st0; tar tf /dev/st0
tar cf /dev/st0 d/b; tar rf /dev/st0 d/a; tar tf /dev/st0
""").splitlines() == ["same", "d/b", "d/b", "d/a", "d/a", "d/b", "d/a"]


def test_tar_multi_volume(shell: Callable[..., str]) -> None:
    """At early warning tar asks for the next volume."""
    assert shell("""
head -c 150000 /dev/zero > big
printf 'n v2\\n\\n' | tar cMf $TAPE big > /dev/null
dd if=v2 bs=512 count=1 2>/dev/null | tr -d '\\0' | grep -c big
mt rewind; printf 'n v2\\n\\n' | (mv big old; tar xMf $TAPE > /dev/null); cmp big old && echo same
""", capacity=120000).splitlines() == ["1", "same"]
