"""sg3_utils 1.46, unmodified, on device nodes: the inventory's rows, and tools that need a machine of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checked_by import Recording, program
from sg3_inventory import ELSEWHERE, NOT_FOR_DISKS, NOT_RUN, ROWS, Row
from sg3_table import FILE, table

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import needs_nodes, run_exec  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]

ALL = (*ROWS, *NOT_FOR_DISKS)
UNITS = ("--disk", "8M,serial=SN-ONE", "--disk", "8M,serial=SN-TWO")


@pytest.fixture(scope="module")
def answers(
    require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, recorder_folder: Path
) -> dict[str, tuple[int, str]]:
    """Exit code and output of each row's command, all of them run in one machine, one after the other."""
    require_tool("sg_inq")
    require_tool("sdparm")
    needs_nodes()
    folder = tmp_path_factory.mktemp("sg3")
    script = ["A=/dev/sg0; B=/dev/sg1; T=$1"]
    script += [
        f"({row.command}) > $T/out.{number} 2>&1 < /dev/null; echo $? > $T/code.{number}"
        for number, row in enumerate(ALL)
    ]
    (folder / "script").write_text("\n".join(script) + "\n")
    recording = Recording(recorder_folder)
    recording.begin()
    units = (*UNITS, "--state", str(folder))
    done = run_exec("sh", str(folder / "script"), str(folder), timeout=200, units=units, program=program())
    assert done.returncode == 0, done.stderr
    recording.end("sg3_inventory.py")
    return {
        row.command: (int((folder / f"code.{number}").read_text()),
                      (folder / f"out.{number}").read_text(errors="replace"))
        for number, row in enumerate(ALL)
    }


@pytest.mark.parametrize("row", ALL, ids=lambda row: re.sub(r"\W+", "-", row.command)[:50])
def test_sg3_row(row: Row, answers: dict[str, tuple[int, str]]) -> None:
    """The tool ends as expected and says what the inventory wants to read."""
    code, text = answers[row.command]

    missing = [pattern for pattern in row.wanted if not re.search(pattern, text, re.MULTILINE)]
    assert (code, missing) == (row.code, []), text


def test_sg3_inventory_is_complete(require_tool: Callable[[str], str]) -> None:
    """Every installed tool of sg3_utils is in the inventory."""
    folder = Path(require_tool("sg_inq")).parent
    if shutil.which("dpkg"):
        listed = subprocess.run(["dpkg", "-L", "sg3-utils"], capture_output=True, text=True, check=True).stdout
        installed = {Path(line).name for line in listed.split("\n") if "/bin/" in line}
    else:
        installed = {name for name in os.listdir(folder) if re.fullmatch(r"sg_\w+|scsi_\w+|sg[mp]_dd|sginfo", name)}
    named = {word for row in ALL for word in re.findall(r"[\w]+", row.command)} | set(ELSEWHERE) | set(NOT_RUN)

    assert len(installed) > 70
    assert installed - named == set()
    assert [row.command for row in ALL if not any(row.wanted)] == []
    assert [name for name in ELSEWHERE.values() if name not in globals()] == []


def test_sg3_table_is_that_of_the_inventory() -> None:
    """tests/conformance/sg3_utils.md is what sg3_table.py writes, and names every tool of the inventory."""
    text = table()

    assert FILE.read_text(encoding="utf-8") == text, "run tests/oracles/sg3_table.py"
    named = {word for row in ALL for word in re.findall(r"\bsg_\w+", row.command)} | set(ELSEWHERE) | set(NOT_RUN)
    assert [tool for tool in sorted(named) if f"| `{tool}` |" not in text] == []


def shell(script: str, *units: str, require_tool: Callable[[str], str]) -> list[str]:
    """The output of a script of sg3_utils in a machine of its own, cut at lines of dashes."""
    require_tool("sg_inq")
    done = run_exec("sh", "-c", f"exec 2>&1; {script}", units=units or UNITS, timeout=120, program=program())
    return done.stdout.decode(errors="replace").split("----\n")


def test_sg3_persist_two_initiators(require_tool: Callable[[str], str]) -> None:
    """Two initiator ports, as of two host adapters: keys, reservation, conflict, preemption, unit attentions."""
    parts = shell(
        "A=/dev/sg0; B=/dev/sg1; p='sg_persist -n'; $p -o -G -S 0xabc $A; $p -o -G -S 0xdef $B; $p -k $A; echo ----; "
        "$p -o -R -T 3 -K 0xabc $A; $p -r $B; echo ----; sg_dd if=/dev/zero of=$B bs=512 count=1; echo code $?; "
        "sg_raw $B 28 0 0 0 0 0 0 0 1 0; echo ----; $p -s $B; echo ----; $p -c $A; echo ----; "
        "$p -o -P -T 3 -K 0xdef -S 0xabc $B; sg_turs -v $A; $p -r $A; echo ----; $p -o -C -K 0xdef $B; $p -k $A",
        "--disk", "8M", "--initiators", "2", require_tool=require_tool,
    )

    assert re.search(r"2 registered reservation keys follow:\n +0xabc\n +0xdef", parts[0])
    assert re.search(r"Key=0xabc\n.*scope: LU_SCOPE,  type: Exclusive Access\n", parts[1])
    assert "Reservation Conflict" in parts[2]
    assert "code 0" not in parts[2]
    assert parts[3].count("Key=0xabc") == parts[3].count("Key=0xdef") == 1
    assert re.search(r"Reservation holder(.|\n)*not reservation holder", parts[3])
    assert "Persistent Reservation Type Mask Valid(PTPL_A): 0" in parts[4] or "(TMV): 1" in parts[4]
    assert "Key=0xdef" in parts[5]
    assert "Registrations preempted" in parts[5] or "Reservations preempted" in parts[5]
    assert "NO registered reservation keys" in parts[6]


def test_sg3_xcopy(require_tool: Callable[[str], str]) -> None:
    """EXTENDED COPY between two units: what is read back from the second is what was written to the first."""
    parts = shell(
        "sg_dd if=/dev/urandom of=/dev/sg0 bs=512 count=128 2>/dev/null; sg_xcopy if=/dev/sg0 of=/dev/sg1 bs=512 "
        "count=100 skip=7 seek=3; echo ----; sg_dd if=/dev/sg0 of=- skip=7 count=100 bs=512 2>/dev/null | md5sum; "
        "echo ----; sg_dd if=/dev/sg1 of=- skip=3 count=100 bs=512 2>/dev/null | md5sum; echo ----; "
        "sg_dd if=/dev/sg1 of=- skip=103 count=1 bs=512 2>/dev/null | tr -d '\\0' | wc -c", require_tool=require_tool,
    )

    assert "100 blocks" in parts[0]
    assert parts[1] == parts[2]
    assert parts[3].strip() == "0"


def test_sg3_sanitize(require_tool: Callable[[str], str]) -> None:
    """Each kind of SANITIZE leaves nothing of the data, and at the end the unit is ready."""
    for kind in ("--block", "--crypto", "--overwrite --zero"):
        parts = shell(
            "sg_dd if=/dev/urandom of=/dev/sg0 bs=512 count=64 2>/dev/null; "
            "sg_dd if=/dev/sg0 of=- bs=512 count=64 2>/dev/null | md5sum; echo ----; "
            f"sg_sanitize {kind} --wait -Q /dev/sg0; echo code $?; sg_requests -p /dev/sg0; sg_turs /dev/sg0; "
            "echo code $?; echo ----; sg_dd if=/dev/sg0 of=- bs=512 count=64 2>/dev/null | md5sum; "
            "echo ----; sg_dd if=/dev/sg0 of=- bs=512 count=64 2>/dev/null | tr -d '\\0' | wc -c",
            require_tool=require_tool,
        )

        assert parts[1].count("code 0") == 2, parts
        assert parts[0].split()[0] not in parts[2]
        if kind != "--crypto":
            assert parts[3].strip() == "0"


def test_sg3_progress(require_tool: Callable[[str], str]) -> None:
    """While SANITIZE and FORMAT UNIT go on, sg_requests tells how far, and sg_turs why it is not ready."""
    for command, wanted in (
        ("sg_sanitize --overwrite --zero --early -Q", "Logical unit not ready, sanitize in progress"),
        ("sg_format --format --early --quick -Q", "Logical unit not ready, format in progress"),
    ):
        told, ready = shell(
            f"A=/dev/sg0; {command} $A; sg_requests -p $A; sg_turs -v $A; sg_raw $A 28 0 0 0 0 0 0 0 1 0; echo ----; "
            "until sg_turs $A >/dev/null 2>&1; do sleep 0.2; done; sg_turs -v $A; echo code $?",
            "--disk", "1M,format-seconds=3,sanitize-seconds=3",
            require_tool=require_tool,
        )

        assert re.search(r"Progress indication: \d+\.\d+% done", told), told
        assert told.count(wanted) == 2, told
        assert "code 0" in ready


def test_sg3_removable(require_tool: Callable[[str], str]) -> None:
    """A medium whose removal is prevented stays; then it is ejected, is not there, and comes back."""
    kept, gone, back = shell(
        "A=/dev/sg0; sg_inq $A; sg_prevent $A; sg_start --eject $A; sg_raw $A 1b 0 0 0 2 0; echo ----; "
        "sg_prevent --allow $A; sg_start --eject $A; echo code $?; sg_turs -v $A; echo ----; sg_start --load $A; "
        "sg_turs -v $A; sg_turs -v $A; echo code $?", "--disk", "1M,removable", require_tool=require_tool,
    )

    assert "RMB=1" in kept
    assert "Additional sense: Medium removal prevented" in kept
    assert "code 0" in gone
    assert "Medium not present" in gone
    assert "code 0" in back


def test_sg3_format(require_tool: Callable[[str], str]) -> None:
    """FORMAT UNIT to 4096-byte blocks and back: the capacity follows, the data is gone."""
    parts = shell(
        "A=/dev/sg0; sg_dd if=/dev/urandom of=$A bs=512 count=64 2>/dev/null; "
        "sg_format --format --wait --size=4096 -Q $A; echo code $?; sg_readcap $A; echo ----; "
        "sg_format --format --wait --size=512 -Q $A; sg_readcap $A; "
        "sg_dd if=$A of=- bs=512 count=64 2>/dev/null | tr -d '\\0' | wc -c", require_tool=require_tool,
    )

    assert "code 0" in parts[0]
    assert "Number of logical blocks=2048" in parts[0]
    assert "Logical block length=4096 bytes" in parts[0]
    assert "Number of logical blocks=16384" in parts[1]
    assert parts[1].split()[-1] == "0"


def test_sg3_resize(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """sg_format --resize lowers the capacity at once and for the next start too; -1 brings all back."""
    units = ("--disk", f"{tmp_path}/image,size=8M", "--state", f"{tmp_path}/state")
    (tmp_path / "state").mkdir()
    lowered = shell(
        "A=/dev/sg0; sg_dd if=/dev/urandom of=$A bs=512 count=2 seek=5000 2>/dev/null; "
        "sg_dd if=$A of=- bs=512 count=2 skip=5000 2>/dev/null | md5sum; echo ----; "
        "sg_format --resize --count=1000 -Q $A; echo code $?; sg_readcap $A; sg_readcap -l $A; sg_modes -p 8 $A; "
        "echo ----; sg_verify --lba=1000 --count=1 $A; echo ----; sg_format --resize --count=20000 -Q -v $A; "
        "echo code $?", *units, require_tool=require_tool,
    )
    again = shell(
        "A=/dev/sg0; sg_readcap $A; echo ----; sg_format --resize --count=-1 -Q $A; echo code $?; sg_readcap $A; "
        "echo ----; sg_dd if=$A of=- bs=512 count=2 skip=5000 2>/dev/null | md5sum", *units, require_tool=require_tool,
    )

    assert "code 0" in lowered[1]
    assert lowered[1].count("Number of logical blocks=1000\n") == 2
    assert "00 00 03 e8 00 00 02 00" in lowered[1]
    assert "LBA out of range" in lowered[2]
    assert "Invalid field in parameter list" in lowered[3]
    assert "code 0" not in lowered[3]
    assert "Number of logical blocks=1000\n" in again[0]
    assert "code 0" in again[1]
    assert "Number of logical blocks=16384\n" in again[1]
    assert again[2] == lowered[0]


def test_sg3_on_bsg(require_tool: Callable[[str], str]) -> None:
    """On /dev/bsg the tools use version 4 of the interface."""
    parts = shell(
        "sg_inq /dev/bsg/0:0:0:1; sg_readcap /dev/bsg/0:0:0:0; sg_luns /dev/bsg/0:0:0:0; "
        "sg_raw /dev/bsg/0:0:0:0 ee 0 0 0 0 0", require_tool=require_tool,
    )

    assert "Unit serial number: SN-TWO" in parts[0]
    assert "Number of logical blocks=16384" in parts[0]
    assert "Invalid command operation code" in parts[0]


def test_sg3_lsscsi(require_tool: Callable[[str], str]) -> None:
    """lsscsi finds the units in /sys and their nodes in /dev."""
    done = run_exec(require_tool("lsscsi"), "-g", units=UNITS, program=program())

    assert re.search(rb"\[0:0:0:1\] +disk +SCSIEMU +VIRTUAL DISK +0001 +- +/dev/sg1", done.stdout)
