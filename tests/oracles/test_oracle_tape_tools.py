"""mt, tar, dd and cpio, unmodified, on the nodes of a tape drive: they judge the driver and the drive."""

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

    def run(script: str, *, tape: str = "64M") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "scsiemu.app", "exec", "--tape", tape, "--", "sh", "-c",
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
    """SETBLK and SETDENSITY come back in the status, a density that the drive has not is an error; TELL counts."""
    text = shell("""
mt setblk 1024; mt setdensity 0x44 2>/dev/null || echo no LTO-3; mt setdensity 0x5e; mt status
dd if=/dev/zero bs=1k count=5 of=$TAPE; mt tell
""")

    assert text.startswith("no LTO-3\n")
    assert re.search(r"Tape block size 1024 bytes. Density code 0x5e \(", text)
    assert "At block 6." in text


def test_mt_every_other_operation(shell: Callable[..., str]) -> None:
    """Each operation of mt that leaves the tape at its beginning: none is refused but setmarks, which LTO has not."""
    text = shell("""
for words in load 'load 1' unlock 'defcompression 1' 'defblksize 0' 'defdensity 0x5e' 'defdrvbuffer 1' \\
    'stwrthreshold 16'     'stsetcln 0x1a' 'sttimeout 300' 'stlongtimeout 3000' \\
    'stoptions buffer-writes async-writes read-ahead can-bsr' \\
    'stsetoptions auto-lock def-writes' 'stclearoptions auto-lock def-writes' densities 'compression 0' 'erase 1' \\
    'fss 1' 'bss 1' 'wset 1'; do
    mt rewind; mt $words > /dev/null 2>&1 || echo "$words"
done
mt stshowoptions; cat /sys/class/scsi_tape/st0/options /sys/class/scsi_tape/st0/default_density
""")

    assert text.splitlines() == [
        "fss 1", "bss 1", "wset 1", "The options set: buffer-writes async-writes read-ahead can-bsr",
        "0x00000107", "0x5e",
    ]


def test_mt_end_of_data(shell: Callable[..., str]) -> None:
    """SEOD goes where EOD goes; with fast-eod nobody counts the filemarks."""
    fast = "mt stsetoptions fast-eod; mt rewind; mt eod\n"
    assert shell(THREE + "mt rewind; mt seod\n" + STATUS + fast + STATUS) == (
        "File number=3, block number=-1, partition=0.\n EOD ONLINE IM_REP_EN\n"
        "File number=-1, block number=-1, partition=0.\n EOD ONLINE IM_REP_EN\n"
    )


def test_mt_partitions(shell: Callable[..., str]) -> None:
    """Two partitions are made, written, found by SETPART and PARTSEEK, each with a place of its own; then one again."""
    assert shell("""
mt mkpartition 10 2>/dev/null || echo not allowed
mt stsetoptions can-partitions; mt mkpartition 10; mt setpartition 1
echo one | dd of=$TAPE bs=512 2>/dev/null; mt status | grep number
mt setpartition 0; echo zero | dd of=$TAPE bs=512 2>/dev/null; mt status | grep number
mt setpartition 1; mt tell; mt rewind; dd if=$TAPE bs=512 2>/dev/null
mt partseek 0 0; dd if=$TAPE bs=512 2>/dev/null; mt setpartition 2 2>/dev/null || echo no third
mt mkpartition 0; mt setpartition 1 2>/dev/null || echo no second
mt mkpartition -10; mt setpartition 1; mt status | grep number
""").splitlines() == [
        "not allowed", "File number=1, block number=0, partition=1.", "File number=1, block number=0, partition=0.",
        "At block 2.", "one", "zero", "no third", "no second", "File number=0, block number=0, partition=1.",
    ]


def test_tapeinfo_and_sg_tools(shell: Callable[..., str], require_tool: Callable[[str], str]) -> None:
    """What tapeinfo, sg_read_block_limits, sg_opcodes and sg_turs say of a tape with one block."""
    for tool in ("tapeinfo", "sg_opcodes"):
        require_tool(tool)
    text = shell("""
dd if=/dev/zero of=$TAPE bs=1k count=1 2>/dev/null; tapeinfo -f /dev/sg0; sg_read_block_limits /dev/sg0 2>&1
sg_opcodes -n /dev/sg0; sg_turs -n 3 /dev/sg0
""")

    for expected in (
        "Product Type: Tape Drive", "Vendor ID: 'SCSIEMU '", "MinBlock: 1\n", "Ready: yes", "Density Code: 0x5e",
        "Block Position: 2\n", "ActivePartition: 0\n", "MaxPartitions: 3\n", "Minimum block size: 1 byte",
    ):
        assert expected in text
    named = set(re.findall(r"  ([A-Z][\w ()]+)\n", text))
    assert {"Read(6)", "Write(6)", "Space(6)", "Locate(10)", "Read position", "Write filemarks(6)", "Erase(6)"} <= named


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
""", tape="128K,early-warning=32K").splitlines() == ["1", "same"]
