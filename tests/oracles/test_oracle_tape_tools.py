"""mt, tar, dd and cpio, unmodified, on the nodes of a tape drive: they judge the driver and the drive."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checked_by import program
from served import serve

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import needs_nodes  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]


@pytest.fixture(params=["in this process", "over iSCSI"])
def shell(
    request: pytest.FixtureRequest, require_tool: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run a shell script that has a drive, or several, in a directory of its own; its output."""
    for tool in ("mt", "cpio"):
        require_tool(tool)
    needs_nodes()
    with contextlib.ExitStack() as ending:

        def run(script: str, *tapes: str) -> str:
            units = [word for tape in tapes or ("64M",) for word in ("--tape", tape)]
            if request.param == "over iSCSI":
                urls = ending.enter_context(serve(*units)).urls
                units = [word for url in urls for word in ("--url", url)]
            done = subprocess.run(
                [*program(), "exec", *units, "--", "sh", "-c", "export TAPE=/dev/nst0 LC_ALL=C\n" + script],
                capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        yield run


# Files 0 to 2 have 3 blocks each: tar's of one file and of its end, in blocks of 512 bytes.
THREE = "for n in 0 1 2; do echo $n > f$n; tar cb 1 f$n > t; dd if=t of=$TAPE bs=512 2>/dev/null; done\n"
STATUS = "mt status | grep -e number -e ONLINE -e OPEN\n"


# From the beginning of three files: where mt says that the tape is.
OPERATIONS = {
    "rewind": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "fsf 1": "File number=1, block number=0, partition=0.\n EOF ONLINE IM_REP_EN",
    "fsfm 1": "File number=0, block number=-1, partition=0.\n ONLINE IM_REP_EN",
    "fsr 2": "File number=0, block number=2, partition=0.\n ONLINE IM_REP_EN",
    "asf 2": "File number=2, block number=0, partition=0.\n EOF ONLINE IM_REP_EN",
    "eod": "File number=3, block number=-1, partition=0.\n EOD ONLINE IM_REP_EN",
    "seek 5": "File number=-1, block number=-1, partition=0.\n ONLINE IM_REP_EN",
    "retension": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "erase 0": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "weof 2": "File number=2, block number=0, partition=0.\n EOF ONLINE IM_REP_EN",
    "lock": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "unlock": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "compression 1": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "compression 0": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "drvbuffer 1": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "stsetoptions two-fms": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "stclearoptions two-fms": "File number=0, block number=0, partition=0.\n BOT ONLINE IM_REP_EN",
    "offline": "File number=-1, block number=-1, partition=0.\n DR_OPEN IM_REP_EN",
}

# The same from behind the files. BSR meets the filemark, which is an error.
BACK = {
    "bsf 1": "File number=2, block number=-1, partition=0.\n ONLINE IM_REP_EN",
    "bsfm 2": "File number=2, block number=0, partition=0.\n EOF ONLINE IM_REP_EN",
    "bsr 1": "File number=2, block number=-1, partition=0.\n ONLINE IM_REP_EN",
}


@pytest.mark.parametrize(
    ("operations", "before"), [(OPERATIONS, "mt rewind"), (BACK, ":")], ids=["beginning", "end"]
)
def test_mt_operations(shell: Callable[..., str], operations: dict[str, str], before: str) -> None:
    """Each operation that moves the tape or leaves it where it is."""
    text = shell("".join(
        f"mt rewind\n{THREE}{before}; mt {words} 2>/dev/null\necho {words}\n{STATUS}" for words in operations
    ))

    assert text == "".join(f"{words}\n{expected}\n" for words, expected in operations.items())


def test_mt_modes(shell: Callable[..., str]) -> None:
    """SETBLK and SETDENSITY come back in the status, a density that the drive has not is an error; TELL counts."""
    text = shell("""
mt setblk 1024; mt setdensity 0x44 2>/dev/null || echo no LTO-3; mt setdensity 0x5e; mt status
dd if=/dev/zero bs=1k count=5 of=$TAPE; mt tell
""")

    assert text.startswith("no LTO-3\n")
    assert re.search(r"Tape block size 1024 bytes. Density code 0x5e \(", text)
    assert "At block 6." in text


def test_mt_nodes_of_modes(shell: Callable[..., str]) -> None:
    """A node of another mode is good for nothing until it has an option; then dd writes its blocks by it."""
    text = shell("""
cat /dev/nst0l 2>&1; mt -f /dev/nst0l status 2>&1; mt defblksize 0
mt -f /dev/nst0l defblksize 1024; mt -f /dev/nst0l stsetoptions sysv
for mode in '' l m; do cat /sys/class/scsi_tape/nst0$mode/defined /sys/class/scsi_tape/st0$mode/default_blksize; done
mt status | grep -o 'size [0-9]*'; mt -f /dev/nst0l status | grep -o 'size [0-9]*'
dd if=/dev/zero of=/dev/nst0l bs=4k count=1 2>/dev/null; mt tell
mt rewind; dd if=$TAPE bs=64k count=1 2>/dev/null | wc -c
mt stshowoptions; mt -f /dev/nst0l stshowoptions
""")

    assert text.splitlines() == [
        "cat: /dev/nst0l: No such device or address", "/dev/nst0l: No such device or address",
        *("1", "0", "1", "1024", "0", "-1"), "size 0", "size 1024", "At block 5.", "1024",
        "The options set: buffer-writes async-writes read-ahead can-bsr",
        "The options set: buffer-writes async-writes read-ahead can-bsr sysv",
    ]


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
mt asf 1; cat $TAPE | cmp - data && echo cat
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


def test_tar_asks_for_a_volume(shell: Callable[..., str]) -> None:
    """At early warning tar asks for the next volume."""
    assert shell("""
head -c 150000 /dev/zero > big
printf 'n v2\\n\\n' | tar cMf $TAPE big > /dev/null
dd if=v2 bs=512 count=1 2>/dev/null | tr -d '\\0' | grep -c big
mt rewind; printf 'n v2\\n\\n' | (mv big old; tar xMf $TAPE > /dev/null); cmp big old && echo same
""", "128K,early-warning=32K").splitlines() == ["1", "same"]


def test_tar_multi_volume(shell: Callable[..., str]) -> None:
    """An archive over three cartridges in three drives, each full at its early warning: made, compared, extracted."""
    assert shell("""
mkdir d; head -c 200000 /dev/urandom > d/big; seq 5000 > d/small
volumes="-f /dev/nst0 -f /dev/nst1 -f /dev/nst2"
tar cM $volumes d && echo made
for n in 0 1 2; do mt -f /dev/nst$n tell | grep -o '[1-9].*'; mt -f /dev/nst$n rewind; done
tar dM $volumes && echo same
for n in 0 1 2; do mt -f /dev/nst$n rewind; done
mv d old; tar xM $volumes; diff -r d old && echo extracted
""", *("128K,early-warning=32K",) * 3).splitlines() == [
        "made", "11.", "11.", "4.", "same", "extracted",
    ]


def test_tar_multi_file(shell: Callable[..., str]) -> None:
    """Ten archives on one tape, with blocking factors from 1 to 512: each is found by its number and compared."""
    assert shell("""
for n in 0 1 2 3 4 5 6 7 8 9; do
    head -c $((n * 7919)) /dev/urandom > f$n; tar cb $((1 << n)) f$n -f $TAPE
done
for n in 7 0 9 3 1 8 2 6 4 5; do
    mt asf $n; tar db $((1 << n)) -f $TAPE && tar tb $((1 << n)) -f $TAPE 2>/dev/null; mt asf $n
    tar xOb $((1 << n)) -f $TAPE | cmp - f$n && echo $n
done
""").splitlines() == ["7", "0", "9", "3", "1", "8", "2", "6", "4", "5"]


def test_dd_variable(shell: Callable[..., str]) -> None:
    """A block for each write of dd, the last one as short as what is left; read back with blocks that are larger."""
    assert shell("""
head -c 300001 /dev/urandom > data
for size in 512 10000 65536 262144 1048576; do
    mt rewind; dd if=data of=$TAPE bs=$size 2>/dev/null
    mt rewind; dd if=$TAPE of=back bs=$size 2>/dev/null; cmp data back && echo same
    mt rewind; dd if=$TAPE of=back bs=2M 2>/dev/null; cmp data back && echo larger
    mt rewind; dd if=$TAPE of=back bs=$size count=1 2>/dev/null
    cmp -n $(stat -c %s back) back data && mt tell
done
""").splitlines() == ["same", "larger", "At block 1."] * 5


def test_dd_fixed(shell: Callable[..., str]) -> None:
    """Fixed blocks, one or many for each write of dd; padded where dd is told to; counted by the drive."""
    assert shell("""
fixed() {
    head -c 300001 /dev/urandom > data; truncate -s %$1 data
    mt rewind; mt setblk $1; dd if=data of=$TAPE bs=$2 2>/dev/null; mt rewind
    dd if=$TAPE of=back bs=$2 2>/dev/null; cmp data back && echo same
    mt eod; test "$(mt tell)" = "At block $(($(stat -c %s data) / $1 + 1))." && echo counted
    mt asf 1; head -c 500 data | dd of=$TAPE bs=$1 conv=sync 2>/dev/null
    mt asf 1; dd if=$TAPE bs=$1 2>/dev/null | head -c 500 | cmp - data -n 500 && echo padded
    mt rewind; mt setblk 0; dd if=$TAPE bs=$1 count=2 2>/dev/null | cmp -n $((2 * $1)) - data && echo variable
}
fixed 512 512; fixed 512 10240; fixed 4096 65536; fixed 65536 1M
""").splitlines() == ["same", "counted", "padded", "variable"] * 4


def test_dd_conversions(shell: Callable[..., str]) -> None:
    """ibs and obs apart, conv=swab and conv=block: what is on the tape is what dd was told to write."""
    assert shell("""
seq 30000 | head -c 131072 > data
dd if=data of=$TAPE ibs=1000 obs=32k 2>/dev/null; mt rewind
dd if=$TAPE ibs=32k obs=100 2>/dev/null | cmp - data && echo reblocked
mt rewind; dd if=data of=$TAPE bs=8k conv=swab 2>/dev/null; mt rewind
dd if=$TAPE bs=8k conv=swab 2>/dev/null | cmp - data && echo swapped
mt rewind; seq 100 > lines; dd if=lines of=$TAPE cbs=80 obs=800 conv=block 2>/dev/null; mt rewind
dd if=$TAPE ibs=800 cbs=80 conv=unblock 2>/dev/null | cmp - lines && echo records
""").splitlines() == ["reblocked", "swapped", "records"]


def test_cpio_formats(shell: Callable[..., str]) -> None:
    """An archive of each format, in blocks of 512 bytes, of 5120 (-B) and of 64 KiB (-C): extracted and compared."""
    assert shell("""
mkdir d; head -c 50001 /dev/urandom > d/a; seq 3000 > d/b; : > d/empty
for form in bin odc newc crc tar ustar; do
    for size in "" -B "-C 65536"; do
        mt rewind; find d | cpio -o -H $form $size -O $TAPE 2>/dev/null; mt rewind
        mkdir x; (cd x; cpio -id -H $form $size -I $TAPE 2>/dev/null); diff -r d x/d && echo same
        rm -r x
    done
done
""").splitlines() == ["same"] * 18
