"""btape of Bacula, Amanda, mbuffer, buffer, pax, afio, bsdtar, dar, dds2tar, tar's rmt, cpio's mt, mtx's scsitape and
Hercules' tapecopy, unmodified: backup programs judge tape drives, and a library under them.

btape (Debian's bacula-sd) is the program by which Bacula's users try whether a drive is good enough.
"""

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

LIBRARY = "drives=1,slots=4,ports=1,create=3"


@pytest.fixture(params=["in this process", "over iSCSI"])
def shell(
    request: pytest.FixtureRequest, require_tool: Callable[..., str], tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run a shell script that has some units in a directory of its own; its output, errors too."""
    require_tool("mt", "mt-st")
    needs_nodes()
    with contextlib.ExitStack() as ending:

        def run(script: str, *units: str) -> str:
            if request.param == "over iSCSI":
                urls = ending.enter_context(serve(*units)).urls
                units = tuple(word for url in urls for word in ("--url", url))
            done = subprocess.run(
                [*program(), "exec", *units, "--", "sh", "-c",
                 "export TAPE=/dev/nst0 CHANGER=/dev/sg0 LC_ALL=C\nexec 2>&1\n" + script],
                capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        yield run


def bacula(folder: Path, block_size: int, *, changer: bool) -> str:
    """The command that runs btape; its configuration, and the changer's script, are made in the folder."""
    script = "/etc/bacula/scripts/mtx-changer"
    loads = f'Changer Device = /dev/sg0; Changer Command = "sh {folder}/changer %c %o %S %a %d"; AutoChanger = yes'
    # Bacula's script asks for no ejection before it unloads, unless its configuration says so.
    (folder / "changer").write_text(
        f'test "$2" != unload || mt -f "$4" offline\nexec {script} "$@"\n'
    )
    (folder / "sd.conf").write_text(f"""
Storage {{ Name = sd; WorkingDirectory = "{folder}"; Pid Directory = "{folder}" }}
Director {{ Name = director; Password = "x" }}
Messages {{ Name = Standard; stdout = all }}
{'Autochanger { Name = library; Device = drive; Changer Device = /dev/sg0; Changer Command = "" }' * changer}
Device {{
  Name = drive; Media Type = LTO; Archive Device = /dev/nst0; RemovableMedia = yes; RandomAccess = no
  AutomaticMount = yes; AlwaysOpen = yes; Drive Index = 0; Maximum Block Size = {block_size}
  {loads * changer}
}}
""")
    return f"btape -c {folder}/sd.conf /dev/nst0 | grep -v Orphaned"


def test_btape_test(shell: Callable[..., str], require_tool: Callable[..., str], tmp_path: Path) -> None:
    """Its essential test: 20000 blocks are found again, appended to, backed up over, and filemarks are counted."""
    require_tool("btape", "bacula-sd")
    text = shell(f"echo test | {bacula(tmp_path, 4096, changer=False)}", "--tape", "128M")

    assert re.findall(r"(\d+) blocks re-read correctly|Got (EOF) on tape", text) == [
        ("10000", ""), ("", "EOF"), ("10000", ""),
    ]
    positions = re.findall(r"Reposition to file:block (\S+)\nBlock (\d+) re-read correctly", text)
    assert positions == [
        ("0:4", "5"), ("0:200", "201"), ("0:9999", "10000"), ("1:0", "10001"), ("1:600", "10601"), ("1:9999", "20000"),
    ]
    scan = text.partition("Doing Bacula scan of blocks:")[2].partition("End scanning")[0]
    assert re.findall(r"(\d+) blocks? of 4032 bytes in file (\d)\nEnd of File mark", scan) == [
        ("1", "1"), ("2", "2"), ("3", "3"), ("1", "4"),
    ]
    assert re.findall(r"We should be in file (\d)\. I am at file (\d)\. This is correct!", text) == [
        (number, number) for number in "341345"
    ]
    assert "Block re-read correct. Test succeeded!" in text
    assert "=== End Forward space files test ===" in text
    assert "ERR=" not in text


def test_btape_autochanger(shell: Callable[..., str], require_tool: Callable[..., str], tmp_path: Path) -> None:
    """The cartridge of slot 1 goes back, and comes again to be written."""
    require_tool("btape", "bacula-sd")
    require_tool("mtx", "mtx")
    text = shell(
        f"mtx load 1 0; (printf 'autochanger\\ny\\n') | {bacula(tmp_path, 64512, changer=True)}; mtx status",
        "--library", f"{tmp_path}/lib,capacity=8M,{LIBRARY}",
    )

    assert "Slot 1 loaded. I am going to unload it." in text
    assert "unload status=OK 0" in text
    assert 'Autochanger "load 1 0" status is OK.' in text
    assert "The test autochanger worked!!" in text
    assert re.search(r"Data Transfer Element 0:Full \(Storage Element 1 Loaded\):VolumeTag = A00001L8", text)


def test_btape_fill(shell: Callable[..., str], require_tool: Callable[..., str], tmp_path: Path) -> None:
    """One cartridge until it is full, another from the library, and what was written is found on both."""
    require_tool("btape", "bacula-sd")
    require_tool("mtx", "mtx")
    # It reads 10000 records of 32 KiB from the first cartridge.
    text = shell(
        f"mtx load 1 0; (printf 'fill\\nm\\n') | {bacula(tmp_path, 64512, changer=True)}; mtx status",
        "--library", f"{tmp_path}/lib,capacity=360M,{LIBRARY}",
    )

    last = re.search(r'End of Volume "TestVolume1" at 1:(\d+) on .* Write of 64512 bytes got -1', text)
    assert last is not None, text
    for expected in (
        "Re-read of last block succeeded.",
        'Autochanger "load Volume TestVolume2, Slot 2, Drive 0", status is OK.',
        "10000 records read now at",
        f"Reading block {int(last[1]) - 1}.\n\nThe last block of the first tape matches.",
        'Autochanger "load Volume TestVolume1, Slot 1, Drive 0", status is OK.',
        "Reading block 1.\n\nThe first block on the second tape matches.",
        "Reading block 1001.\n\nThe last block on the second tape matches. Test succeeded.",
    ):
        assert expected in text
    assert re.search(r"Data Transfer Element 0:Full \(Storage Element 2 Loaded\):VolumeTag = A00002L8", text)


def test_mbuffer_volumes(shell: Callable[..., str], require_tool: Callable[..., str], tmp_path: Path) -> None:
    """mbuffer goes on with the library's next cartridge where one is full, and reads them one behind the other."""
    require_tool("mbuffer", "mbuffer")
    require_tool("mtx", "mtx")
    (tmp_path / "next").write_text("""#!/bin/sh
exec > /dev/null 2>&1
mt offline
slot=$(mtx status | sed -n 's/.*(Storage Element \\([0-9]*\\) Loaded).*/\\1/p')
mtx unload $slot 0; mtx load $((slot + 1)) 0
""")
    (tmp_path / "next").chmod(0o755)
    text = shell("""
head -c 20000000 /dev/urandom > data; mtx load 1 0 > /dev/null
mbuffer -q -o $TAPE -s 65536 -m 1M -A ./next < data && mtx status | grep -o 'Element [0-9] Loaded'
mt offline; mtx unload 3 0 > /dev/null; mtx load 1 0 > /dev/null
mbuffer -q -i $TAPE -n 3 -s 65536 -m 1M -A ./next > back && cmp data back && echo same
""", "--library", f"{tmp_path}/lib,capacity=9M,{LIBRARY}")

    assert text.splitlines() == ["Element 3 Loaded", "same"]


def test_pax_and_afio(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """Archives of each format in fixed blocks, of which pax reads the first eight bytes alone; afio's in variable."""
    require_tool("pax", "pax")
    require_tool("afio", "afio")
    assert shell("""
mkdir d d/e; head -c 300001 /dev/urandom > d/a; seq 3000 > d/b; ln -s b d/l; echo x > d/e/x
mt setblk 512
for form in cpio ustar sv4crc bcpio sv4cpio; do
    mt rewind; pax -w -x $form -b 10240 -f $TAPE d; mt rewind
    mkdir x; (cd x; pax -r -f $TAPE); diff -r d x/d && echo $form; rm -r x
done
mt setblk 0; mt rewind; pax -w -b 10240 -f $TAPE d; mt rewind; pax -f $TAPE 2>&1 | grep -o 'Cannot allocate memory'
mt rewind; find d | afio -o -b 32k $TAPE; mt rewind; afio -r -b 32k $TAPE && echo compared
mt rewind; mkdir x; (cd x; afio -i -b 32k $TAPE); diff -r d x/d && echo afio
""", "--tape", "64M").splitlines() == [
        "cpio", "ustar", "sv4crc", "bcpio", "sv4cpio", "Cannot allocate memory", "compared", "afio",
    ]


def test_tapestat(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """tapestat of sysstat: since the drive is there 300 blocks of 4 KiB were written, and 200 read."""
    require_tool("tapestat", "sysstat")
    text = shell("""
dd if=/dev/zero of=$TAPE bs=4k count=300 2>/dev/null; mt rewind; dd if=$TAPE bs=4k count=200 of=/dev/null 2>/dev/null
cd /sys/class/scsi_tape/nst0/stats; cat write_cnt write_byte_cnt read_cnt read_byte_cnt in_flight resid_cnt
tapestat -k 1 1 | grep -c '^st0 '
""", "--tape", "8M")

    assert text.splitlines() == ["300", "1228800", "200", "819200", "0", "0", "1"]


def test_tapecopy(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """Hercules' tapecopy makes an AWSTAPE image of a tape up to its end of data, and a tape of the image."""
    require_tool("tapecopy", "hercules")
    text = shell("""
head -c 200000 /dev/urandom > a
dd if=a of=$TAPE bs=65535 2>/dev/null; mt weof 1; dd if=a of=$TAPE bs=80 count=3 2>/dev/null
tapecopy $TAPE a.aws 2>/dev/null | grep -o 'Blocks=[0-9]*, Bytes=[0-9]*\\|(tapemark)'
mt rewind; mt erase 0; tapecopy a.aws $TAPE >/dev/null 2>&1
mt rewind; dd if=$TAPE bs=65535 2>/dev/null | cmp - a && echo same; mt fsf 1; dd if=$TAPE bs=80 2>/dev/null | wc -c
""", "--tape", "8M")

    assert text.splitlines() == [
        "Blocks=4, Bytes=200000", "(tapemark)", "(tapemark)", "Blocks=3, Bytes=240", "(tapemark)", "(tapemark)",
        "same", "240",
    ]


AMANDA = """
org "T"
mailto ""
dumpuser "$(id -un)"
tpchanger "library"
tapetype LTO
infofile "$PWD/info"
logdir "$PWD"
indexdir "$PWD"
tapelist "$PWD/tapelist"
diskfile "$PWD/disklist"
labelstr "^T[0-9][0-9]*$"
define changer library {
    tpchanger "chg-robot:/dev/sg0"
    property "tape-device" "0=tape:/dev/nst0" "1=tape:/dev/nst1"
    property "eject-before-unload" "yes"
    changerfile "$PWD/state"
}
define tapetype LTO {
    length 30 mbytes
    blocksize 32 kbytes
}
"""


def test_amanda_library(shell: Callable[..., str], require_tool: Callable[..., str], tmp_path: Path) -> None:
    """Amanda finds the bar codes, labels the cartridges of two slots in two drives, and finds them by their labels."""
    require_tool("amtape", "amanda-server")
    text = shell(f"""
export PATH=$PATH:/usr/sbin
cat > amanda.conf <<CONFIGURATION{AMANDA}CONFIGURATION
: > tapelist; : > disklist
amtape . inventory; amlabel . T1 slot 1; amlabel . T2 slot 2; amtape . slot next; amtape . slot 2
amtape . label T1; amtape . update; amtape . eject 1; amtape . inventory
amdevcheck . tape:/dev/nst0 && amdevcheck . tape:/dev/nst0 --properties
""", "--library", f"{tmp_path}/lib,capacity=8M,drives=2,slots=4,ports=1,create=3")

    before, after = re.findall(r"(?:^slot \d: .*(?: barcode|: empty).*\n)+", text, re.MULTILINE)
    assert re.findall(r"slot (\d): .* barcode (\w+)", before) == [(f"{n}", f"A0000{n}L8") for n in (1, 2, 3)]
    assert text.count("Writing label 'T1'...\nChecking label...\nSuccess!") == 1
    assert text.count("Writing label 'T2'...\nChecking label...\nSuccess!") == 1
    assert "label T1 is now loaded from slot 1" in text
    assert "slot 1: Recording label 'T1'" in text
    assert "drive ejected" in text
    labels = re.findall(r"slot (\d): label (\w+) barcode (\w+)", after)
    assert labels == [("1", "T1", "A00001L8"), ("2", "T2", "A00002L8")]
    assert {"BSF=1", "BSR=1", "EOM=1", "FSF=1", "FSR=1", "APPENDABLE=1"} <= set(text.splitlines())


def test_rmt(shell: Callable[..., str]) -> None:
    """tar, cpio and mt of the GNU project through rmt, tar's server for drives of other machines."""
    assert shell("""
printf '#!/bin/sh\nexec /usr/sbin/rmt-tar\n' > rsh; chmod +x rsh
drive=localhost:/dev/nst0 over=--rsh-command=$PWD/rsh
mkdir d; head -c 100001 /dev/urandom > d/a; seq 3000 > d/b
tar cf $drive $over d; mt-gnu -f $drive $over rewind; tar df $drive $over && echo tar
mt-gnu -f $drive $over fsf 1; mt-gnu -f $TAPE status | grep number
find d | cpio -o -H newc $over -O $drive 2> /dev/null; mt-gnu -f $drive $over bsfm 2
mkdir x; (cd x; cpio -id $over -I $drive 2> /dev/null); diff -r d x/d && echo cpio
""", "--tape", "8M").splitlines() == ["tar", "file number = 1", "block number = 0", "cpio"]


def test_mt_gnu(shell: Callable[..., str]) -> None:
    """Each operation of cpio's mt that moves the tape, from behind the first of three files of three blocks."""
    text = shell("""
for n in 0 1 2; do head -c 1536 /dev/urandom | dd of=$TAPE bs=512 2> /dev/null; done
for words in rewind 'fsf 1' 'fsr 2' 'bsf 1' 'bsfm 1' 'fsfm 1' 'asf 2' 'bsr 1' eom 'seek 5' 'eof 2' retension erase; do
    mt-gnu -f $TAPE rewind; mt-gnu -f $TAPE fsf 1; mt-gnu -f $TAPE $words || echo refused
    echo $words $(mt-gnu -f $TAPE status | sed -n 's/.* number = //p')
done
mt-gnu -f $TAPE offline; mt-gnu -f $TAPE fsf || echo offline
""", "--tape", "8M")

    assert text.splitlines() == [
        "rewind 0 0", "fsf 1 2 0", "fsr 2 1 2", "bsf 1 0 -1", "bsfm 1 1 0", "fsfm 1 1 -1", "asf 2 2 0",
        *("mt-gnu: /dev/nst0: rmtioctl failed: Input/output error", "refused", "bsr 1 0 -1"), "eom 3 -1",
        "seek 5 -1 -1", "eof 2 3 0", "retension 0 0", "erase 1 0",
        "mt-gnu: /dev/nst0: rmtopen failed: No medium found", "offline",
    ]


def test_bsdtar_and_dar(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """Archives of libarchive in blocks of several sizes, and of dar: extracted and compared."""
    require_tool("bsdtar", "libarchive-tools")
    require_tool("dar", "dar")
    assert shell("""
mkdir d d/e; head -c 300001 /dev/urandom > d/a; seq 3000 > d/b; ln -s b d/l; echo x > d/e/x
for words in "-b 1" "-b 20" "-b 200" "-b 128 --format newc" "-b 20 -z"; do
    mt rewind; bsdtar -c $words -f $TAPE d; mt rewind; mkdir x; bsdtar -x ${words%% -[-z]*} -C x -f $TAPE
    diff -r d x/d && echo bsdtar; rm -r x
done
mt rewind; dar -Q -c - -R d 2> /dev/null | dd of=$TAPE bs=32k iflag=fullblock 2> /dev/null; mt rewind; mkdir x
dd if=$TAPE bs=32k 2> /dev/null | dar -Q -x - --sequential-read -R x > /dev/null 2>&1; diff -r d x && echo dar
""", "--tape", "8M").splitlines() == ["bsdtar"] * 5 + ["dar"]


def test_buffers(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """buffer writes and reads blocks itself; writebuffer and readbuffer hold what dd does."""
    require_tool("buffer", "buffer")
    require_tool("writebuffer", "chiark-rwbuffer")
    assert shell("""
mkdir d; head -c 3000001 /dev/urandom > d/a; seq 3000 > d/b
tar cf - d | buffer -s 64k -o $TAPE; mt rewind; buffer -s 64k -i $TAPE | tar df - && echo buffer
mt rewind; tar cf - d | writebuffer 1 | dd of=$TAPE bs=64k iflag=fullblock 2> /dev/null
mt rewind; dd if=$TAPE bs=64k 2> /dev/null | readbuffer 1 | tar df - && echo chiark
""", "--tape", "8M").splitlines() == ["buffer", "chiark"]


def test_dds2tar(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """An index with the block of each member of an archive; dds2tar goes to that block, and mt-dds asks where it is."""
    require_tool("dds2tar", "dds2tar")
    text = shell("""
mkdir d; for n in 1 2 3; do head -c $((n * 100001)) /dev/urandom > d/$n; done
mt setblk 512; tar cbf 20 $TAPE d; mt rewind; dds2index -t index -f $TAPE --z no 2> /dev/null; mt seek 0
dds2tar -v -t index -f $TAPE d/2 > part 2> /dev/null; tar xOf part d/2 2> /dev/null | cmp - d/2 && echo found
mt rewind; mt fsr 1007; mt-dds -f $TAPE tell 2> /dev/null | head -1
""", "--tape", "8M")

    assert text.splitlines() == ["found", "first block number is 1007"]


def test_scsitape(shell: Callable[..., str], require_tool: Callable[..., str]) -> None:
    """mtx's scsitape and scsieject drive a tape by /dev/sg0 alone; a locked drive does not let go."""
    require_tool("scsitape", "mtx")
    text = shell("""
seq 10000 | head -c 5120 > data; tape="scsitape -f /dev/sg0"; drive="scsieject -f /dev/sg0"
$tape setblk 512; $tape write 512 < data > /dev/null 2>&1; $tape mark 2; tapeinfo -f /dev/sg0 | grep Position
$tape bsf 2; tapeinfo -f /dev/sg0 | grep Position; $tape fsf 1; $tape eod; tapeinfo -f /dev/sg0 | grep Position
$tape rewind; $tape read 512 10 | cmp - data && echo same; $tape seek 3; tapeinfo -f /dev/sg0 | grep Position
$tape erase; $tape eod; tapeinfo -f /dev/sg0 | grep Position; $drive lock; $drive unload 2>&1 | tail -1; $drive unlock
$drive unload; tapeinfo -f /dev/sg0 | grep Ready; $drive load; tapeinfo -f /dev/sg0 | grep Ready
""", "--tape", "8M")

    assert [line for line in text.splitlines() if "mtx: " not in line] == [
        *("Block Position: 12", "Block Position: 10", "Block Position: 12", "same", "Block Position: 3"),
        *("Block Position: 0", "scsieject: unload failed", "Ready: no", "Ready: yes"),
    ]
