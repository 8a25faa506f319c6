"""ddpt 0.97, and options of sg3_utils beyond the inventory's rows, on device nodes.

Protection, offloaded copies, streams, comparison with one block, and persistent reservations of all device types.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checked_by import program

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import run_exec  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

TWO = ("--disk", "8M", "--disk", "8M")


@pytest.fixture
def shell(require_tool: Callable[[str], str], tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a script in a machine of its own, `$A` and `$B` two units, `$T` a folder; its output, cut at dashes."""
    require_tool("sg_inq")
    require_tool("ddpt")

    def run(script: str, *units: str) -> list[str]:
        script = f"exec 2>&1; A=/dev/sg0; B=/dev/sg1; T={tmp_path}; {script}"
        done = run_exec("sh", "-c", script, units=units or TWO, timeout=100, program=program())
        return done.stdout.decode(errors="replace").split("----\n")

    return run


def test_ddpt_copies(shell: Callable[..., list[str]]) -> None:
    """To the unit and back, between units, compared by VERIFY, with holes left out, and by EXTENDED COPY."""
    parts = shell(
        "head -c 1000000 /dev/urandom > $T/src; truncate -s 1M $T/src; ddpt if=$T/src of=$A bs=512; "
        "ddpt if=$A of=$T/back bs=512 count=2048 bpt=64 iflag=pt,dpo; cmp $T/src $T/back && echo same; echo ----; "
        "ddpt if=$A of=$B bs=512 count=2048 iflag=pt oflag=pt --verify; echo code $?; echo ----; "
        "ddpt if=$A of=$B bs=512 count=2048 iflag=pt,fua oflag=pt,fua,sparse; echo code $?; "
        "ddpt if=$A of=$B bs=512 count=2048 iflag=pt oflag=pt --verify --prefetch; echo code $?; echo ----; "
        "ddpt --xcopy if=$A of=$B bs=512 count=1000 skip=3 seek=5000; echo code $?; "
        "ddpt if=$A of=$B bs=512 count=1000 skip=3 seek=5000 iflag=pt oflag=pt --verify; echo code $?"
    )

    assert "same" in parts[0]
    assert "Miscompare\ncode 14" in parts[1]
    assert parts[2].count("code 0") == 2
    assert "2048+0 records verified" in parts[2]
    assert "1 xcopy command done" in parts[3]
    assert "1000+0 records verified" in parts[3]
    assert parts[3].count("code 0") == 2


def test_ddpt_sizes_of_cdb(shell: Callable[..., list[str]]) -> None:
    """READ and WRITE of 6, 10, 12 and 16 bytes mean the same blocks."""
    text = "".join(shell(
        "for n in 6 10 12 16; do head -c 64k /dev/urandom > $T/$n; "
        "ddpt if=$T/$n of=$A bs=512 seek=9 cdbsz=10,$n bpt=32 && "
        "ddpt if=$A of=$T/back bs=512 count=128 skip=9 cdbsz=$n,10 iflag=pt && cmp $T/$n $T/back && echo same $n; done"
    ))

    assert re.findall(r"same (\d+)", text) == ["6", "10", "12", "16"]


def test_ddpt_trims(shell: Callable[..., list[str]]) -> None:
    """WRITE SAME(16) with UNMAP, by which ddpt leaves holes: the blocks are deallocated."""
    text = "".join(shell(
        "ddpt if=/dev/urandom of=$A bs=512 count=256; ddpt if=/dev/zero of=$A bs=512 count=128 oflag=pt,trim,sparse; "
        "sg_get_lba_status -m 64 $A"
    ))

    assert re.search(r"LBA: 0x0+ +blocks: +128 +deallocated\n.*LBA: 0x0+80 +blocks: +128 +mapped", text)


def test_ddptctl_tells_of_third_party_copy(shell: Callable[..., list[str]]) -> None:
    """The third-party copy page as ddptctl reads it; without ROD tokens ddpt does not try ODX."""
    info, odx = shell("ddptctl --info $A; echo ----; ddpt --odx if=$A of=$B bs=512 count=8")

    assert "3PC (third party copy) bit set" in info
    assert "Extended copy(LID1)" in info
    assert "block -> block [0x2]" in info
    assert "Did not find Block Device ROD Token Limits descriptor" in odx


def test_ddpt_protection_information(shell: Callable[..., list[str]]) -> None:
    """sg_format gives each protection type; ddpt reads and writes blocks with their 8 bytes, and a reference tag of
    another block is found at that block."""
    blocks = "ddpt if=$T/src of=$A bs=512 oflag=pt; "
    copied = (
        "rm -f $T/pi; ddpt if=$A of=$T/pi bs=512 count=64 iflag=pt protect=1; stat -c 'size %s' $T/pi; "
        "ddpt if=$T/pi of=$A bs=512 count=64 oflag=pt protect=0,1 && ddpt if=$A of=$T/back bs=512 count=64 iflag=pt && "
        "cmp $T/src $T/back && echo same; "
    )

    def formatted(options: str) -> str:
        return f"echo ----; sg_format --format --wait -Q {options} $A; echo code $?; sg_readcap -l $A; "

    none, one, two, three, last = shell(
        "head -c 32768 /dev/urandom > $T/src; sg_format --format --wait -Q --fmtpinfo=0 $A; sg_readcap -l $A; "
        + formatted("--fmtpinfo=2") + blocks + copied
        + "ddpt if=$T/pi of=$A bs=512 count=64 seek=64 oflag=pt protect=0,3; "
        "ddpt if=$A of=$T/back bs=512 count=64 skip=64 iflag=pt; "
        + formatted("--fmtpinfo=3") + blocks + "ddpt if=$A of=$T/pi bs=512 count=64 iflag=pt protect=1; "
        + formatted("--fmtpinfo=3 --pfu=1") + blocks + copied
        + formatted("--fmtpinfo=0") + "ddpt if=$A of=$T/pi bs=512 count=64 iflag=pt protect=1",
        "--disk", "8M,pi=1",
    )

    assert "prot_en=0" in none
    assert "type 1 protection" in one
    assert "type 2 protection" in two
    assert "type 3 protection" in three
    for text in (one, three):
        assert "code 0" in text
        assert "size 33280" in text
        assert "same" in text
    assert "lowest unrecovered read lba=64" in one
    assert "protection error" in one
    assert "Illegal request, Invalid opcode" in two
    assert "prot_en=0" in last
    assert "doesn't have protection information" in last


def test_sg_verify_of_one_block(shell: Callable[..., list[str]]) -> None:
    """BYTCHK 11b: every block is compared with the one that is sent, and INFORMATION is the offset of the first
    difference."""
    command = "sg_verify {} --count=20 --ebytchk=3 --ndo=512 --in=$T/one $A; echo code $?; echo ----; "
    parts = shell(
        "head -c 512 /dev/urandom > $T/one; sg_write_same --lba=10 --num=20 --in=$T/one --xferlen=512 $A; "
        + "".join(command.format(f"-v {size} --lba={lba}") for size in ("", "--16") for lba in (10, 9, 11))
    )

    for at in (0, 3):
        assert "Verified 20" in parts[at]
        assert "code 0" in parts[at]
        for text, offset in ((parts[at + 1], "0x0"), (parts[at + 2], f"{19 * 512:#x}")):
            assert "Miscompare during verify operation" in text
            assert f"Info fld={offset} " in text
            assert "code 14" in text


def test_sg_stream_ctl(shell: Callable[..., list[str]]) -> None:
    """A stream is opened, listed, written by WRITE STREAM, closed, and then is not there."""
    opened, closed = shell(
        "head -c 1024 /dev/urandom > $T/two; sg_stream_ctl --open $A; sg_stream_ctl --get $A; "
        "sg_write_x --stream=1 --lba=40 --num=2 --in=$T/two $A; echo code $?; "
        "sg_verify --lba=40 --count=2 --bytchk=1024 --in=$T/two $A; echo code $?; echo ----; "
        "sg_stream_ctl --close --id=1 $A; sg_stream_ctl --get $A; sg_stream_ctl -v --close --id=1 $A; "
        "sg_write_x --stream=1 --lba=40 --num=2 --in=$T/two $A; echo code $?"
    )

    assert "Assigned stream id: 1" in opened
    assert "Number of open streams: 1" in opened
    assert opened.count("code 0") == 2
    assert "Number of open streams: 0" in closed
    assert "Error in Command: byte 4" in closed
    assert "code 5" in closed


def test_sg_unmap_and_status_of_many(shell: Callable[..., list[str]]) -> None:
    """UNMAP of several ranges, by descriptors of one command; GET LBA STATUS has them all."""
    text = "".join(shell(
        "ddpt if=/dev/urandom of=$A bs=512 count=64; sg_unmap --force --lba=8,24,40 --num=8,8,24 $A; echo code $?; "
        "sg_get_lba_status -m 128 $A; sg_unmap --force --lba=16380 --num=5 -v $A"
    ))

    found = re.findall(r"LBA: 0x(\w+) +blocks: +(\d+) +(\w+)", text)
    assert [(int(lba, 16), int(blocks), kind) for lba, blocks, kind in found] == [
        (0, 8, "mapped"), (8, 8, "deallocated"), (16, 8, "mapped"), (24, 8, "deallocated"), (32, 8, "mapped"),
        (40, 16344, "deallocated"),
    ]
    assert "code 0" in text
    assert "Error in Data parameters: byte 8" in text


PERSIST = """
p="sg_persist -n"; code() { "$@"; echo code $?; }
code $p -o -G -S 0xabc $1; code $p -o -G -S 0xdef $2; code $p -o -R -T 5 -K 0xabc $1; $p -r $2; echo ----
code $p -o -R -T 1 -K 0xdef $2; echo ----
code $p -o -P -T 6 -K 0xdef -S 0xabc $2; sg_turs -v $1; $p -r $1; $p -k $1; echo ----
code $p -o -L -T 6 -K 0xdef $2; $p -r $1; echo ----
code $p -o -I -S 0x77 $1; code $p -o -C -K 0x77 $1; sg_turs -v $2; $p -k $2
"""


@pytest.mark.parametrize("units", [
    ("--disk", "8M"), ("--tape", "8M"), ("--osd", "1M"), ("--optical", "700M"),
    ("--library", "{}/library,drives=2,slots=4"),
], ids=lambda units: units[0][2:])
def test_sg_persist_of_each_device_type(
    units: tuple[str, str], shell: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Register, reserve, preempt, release, clear, by two initiator ports: the same of every device type."""
    nodes = 3 if units[0] == "--library" else 1         # the changer and its two drives, then the second port's
    unit = units[1].format(tmp_path)
    parts = shell(f"set -- /dev/sg0 /dev/sg{nodes}; " + PERSIST, units[0], unit, "--initiators", "2")

    reserved, conflict, preempted, released, cleared = parts
    assert reserved.count("code 0") == 3
    assert re.search(r"Key=0xabc\n.*LU_SCOPE,  type: Write Exclusive, registrants only\n", reserved)
    assert "code 24" in conflict
    assert re.search(r"Key=0xdef\n.*LU_SCOPE,  type: Exclusive Access, registrants only\n", preempted)
    assert re.search(r"1 registered reservation key follows:\n +0xdef\n", preempted)
    assert "Registrations preempted" in preempted
    assert "there is NO reservation held" in released
    assert cleared.count("code 0") == 2
    assert "NO registered reservation keys" in cleared
    assert "Reservations preempted" in cleared


def test_sg_persist_register_and_move(shell: Callable[..., list[str]]) -> None:
    """REGISTER AND MOVE: the reservation goes to the port whose TransportID READ FULL STATUS told."""
    name = b"scsiemu exec port "
    first, second = ((b"\x0f" + name + number).hex(",") + ",0,0,0,0" for number in (b"0", b"1"))
    moved, back, nowhere = shell(
        "p='sg_persist -n'; move='-o -M --relative-target-port=1'; $p -o -G -S 0xabc $A; $p -o -R -T 3 -K 0xabc $A; "
        f"$p $move -K 0xabc -S 0xdef -X {second} $A; echo code $?; $p -r $A; $p -k $A; "
        "sg_dd if=$B of=- bs=512 count=1 | wc -c; sg_raw -s 512 -i /dev/zero $A 2a 0 0 0 0 0 0 0 1 0; echo ----; "
        f"$p $move -K 0xdef -S 0x123 --unreg -X {first} $B; echo code $?; $p -r $A; $p -k $A; echo ----; "
        f"$p -o -M -K 0x123 -S 0x124 --relative-target-port=7 -X {second} $A; echo code $?; $p -r $A",
        "--disk", "8M", "--initiators", "2",
    )

    assert "code 0" in moved
    assert re.search(r"Key=0xdef\n.*type: Exclusive Access\n", moved)
    assert re.search(r"2 registered reservation keys follow:\n +0xabc\n +0xdef\n", moved)
    assert "\n512\n" in moved
    assert "SCSI Status: Reservation Conflict" in moved
    assert "code 0" in back
    assert re.search(r"1 registered reservation key follows:\n +0x123\n", back)
    assert "code 5" in nowhere
    assert "Key=0x123" in nowhere
