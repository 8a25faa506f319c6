"""sg_read_attr, sg_logs, sg_read_block_limits, sg_opcodes, sg_vpd and stenc on nodes of a tape drive: what they make
of attributes, of each log page, of operations and of encryption is compared with what was done to the tape before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checked_by import program

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import ROOT, needs_nodes  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

# Twelve blocks of 1 000 000 bytes that compress to nothing and a filemark; five blocks read. What follows in parts.
SCRIPT = """
mt setblk 0; mt compression 1
dd if=/dev/zero of=$TAPE bs=1000000 count=12 2>/dev/null
mt rewind; dd if=$TAPE of=/dev/null bs=1000000 count=5 2>/dev/null
part() { echo "=== $1"; shift; "$@" 2>&1; }
part attributes sg_read_attr /dev/sg0
part attribute sg_read_attr --filter=0x806 /dev/sg0
part partitions sg_read_attr --sa=pl /dev/sg0
part limits sg_read_block_limits /dev/sg0
part opcodes sg_opcodes --rctd -n /dev/sg0
part overwrite sg_opcodes --opcode=0x82 -n /dev/sg0
part capabilities sg_vpd -p sad /dev/sg0
part protection sg_vpd -p lbpro /dev/sg0
part flags sg_vpd -p tas /dev/sg0
for page in $(sg_logs -l -b /dev/sg0 | sed -n 's/^ *0x\\([0-9a-f]*\\)  *[A-Z].*/\\1/p'); do
    part "log $page" sg_logs -p 0x$page /dev/sg0
done
"""


def _exec(tape: str, script: str, folder: Path, *, recorded: bool = True) -> str:
    """What a script that has a drive prints."""
    words = program() if recorded else [sys.executable, "-m", "scsiemu.app"]
    done = subprocess.run(
        [*words, "exec", "--tape", tape, "--", "sh", "-c",
         "export TAPE=/dev/nst0 LC_ALL=C\n" + script],
        capture_output=True, text=True, check=False, timeout=90, cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _tools(require_tool: Callable[[str], str]) -> None:
    for tool in ("sg_read_attr", "sg_logs", "mt"):
        require_tool(tool)
    needs_nodes()


ATTRIBUTES = (
    "Remaining capacity in partition [MiB]: 63",
    "Maximum capacity in partition [MiB]: 64",
    "TapeAlert flags: 0",
    "Load count: 1",
    "Assigning organization: SCSIEMU",
    "Format density code: 0x5e",
    "Total MiB written in medium life: 11",
    "Total MiB read in current/last load: 4",
    "Medium length [m]: 960",
    "Medium width [0.1 mm]: 127",
    "Medium density code: 0x5e",
    "MAM capacity [B]: 49152",
    "Barcode: CAT001L8",
)


def test_sg_tools_tell_of_a_tape(tmp_path: Path) -> None:
    """One run of all of them: attributes, limits, operations, VPD pages, each log page."""
    text = _exec("67108864,barcode=CAT001L8,early-warning=7000000", SCRIPT, tmp_path)
    parts = {}
    for part in text.split("=== ")[1:]:
        name, _, said = part.partition("\n")
        parts[name] = said

    for line in ATTRIBUTES:
        assert line in parts["attributes"]
    # From FIRST ATTRIBUTE IDENTIFIER on, and the list of partitions.
    assert "CAT001L8" in parts["attribute"]
    assert "number of partitions available: 1" in parts["partitions"].lower()
    assert "Minimum block size: 1 byte(s)" in parts["limits"]
    assert "Maximum block size: 16777215 byte(s)" in parts["limits"]
    _check_operations(parts)
    _check_vital_product_data(parts)
    _check_logs(parts)


def _check_operations(parts: dict[str, str]) -> None:
    """Every command of SSC-5, by the names of sg3_utils, each with its timeouts in seconds. (ALLOW OVERWRITE is
    called by another name that its operation code had.)"""
    lines = parts["opcodes"].splitlines()
    for name in (
        "Rewind", "Format medium", "Read Block Limits", "Read(6)", "Write(6)", "Set capacity", "Read reverse(6)",
        "Write filemarks(6)", "Space(6)", "Verify(6)", "Erase(6)", "Load unload", "Locate(10)", "Read position",
        "Report density support", "Write filemarks(16)", "Read reverse(16)", "Read(16)",
        "Write(16)", "Read attribute", "Write attribute", "Verify(16)", "Space(16)", "Locate(16)", "Erase(16)",
        "Security protocol in", "Receive recommended access order", "Generate recommended access order",
        "Security protocol out",
    ):
        assert any(line.endswith(f"  {name}") for line in lines), name
    listed = [line.split() for line in lines if re.match(r" [0-9a-f]{2} ", line)]
    assert [words[0] for words in listed if "-" in words] == []             # no timeout
    assert ["19", "6", "60", "36000", "Erase(6)"] in listed
    assert ["a4", "1d", "12", "60", "1800", "Generate", "recommended", "access", "order"] in listed
    # CDB usage data: the bits of ALLOW OVERWRITE that are looked at.
    words = " ".join(parts["overwrite"].split())
    assert "Command is supported [conforming to SCSI standard]" in words
    assert "82 00 0f ff ff ff ff ff ff ff ff ff" in words


def _check_vital_product_data(parts: dict[str, str]) -> None:
    """WORM, the methods of logical block protection, the flags that can be set."""
    assert "WORM=1" in parts["capabilities"]
    for method in (1, 2):
        assert f"method: {method}, info_len: 4, LBP_W_C=1, LBP_R_C=1, RBDP_C=0" in parts["protection"]
    assert "Flag01h: 1" in parts["flags"]


LOGS = {
    "02": ["Total bytes processed = 12000000", "Total uncorrected errors = 0"],
    "03": ["Total bytes processed = 5000000", "Total uncorrected errors = 0"],
    "0c": [
        "Native capacity from BOP to EW of current partition: 60 MB",
        "Minimum native capacity from EW to EOP of current partition: 7 MB", "Native capacity from BOP to EOD: 0 MB",
        "Cleaning action not required (or completed)",
    ],
    "11": ["CMPR=1", "MACC=1", "MPRSNT=1 MSTD=1 MTHRD=1 MOUNTED=1", "polling delay:  1000 milliseconds"],
    "12": ["Flag01h: 0  02h: 0"],
    "13": ["Recovery not requested"],
    "14": ["Lifetime media loads: 1", "Lifetime power cycles: 1", "Hard read errors: 0", "Medium removal prevented: 0"],
    "17": [
        "Page valid: 1", "Thread count: 1", "Last mount megabytes written: 12", "Last mount megabytes read: 5",
        "Total native capacity [MB]: 67", "Volume barcode: CAT001L8", "WORM: 0",
        "partition number: 0, partition record data counter: 67",
    ],
    "1b": [
        "Megabytes transferred to server: 5", "Megabytes transferred from server: 12", "Megabytes written to tape: 0",
        "Data compression enabled: 0x1",
    ],
    "2e": ["Read warning: 0", "Write protect: 0", "Cleaning required: 0", "WORM medium - overwrite attempted: 0"],
    "30": ["Thread count: 1", "Total unrecovered write errors: 0"],
    "31": ["Main partition remaining capacity (in MiB): 63", "Main partition maximum capacity (in MiB): 64"],
    "32": ["Megabytes transferred to server: 5", "Megabytes transferred from server: 12"],
}


def _check_logs(parts: dict[str, str]) -> None:
    """Each log page as sg_logs reads it: what was written and read is in it, and none is too short or unknown."""
    logs = {name.removeprefix("log "): said for name, said in parts.items() if name.startswith("log ")}
    for page, expected in LOGS.items():
        for line in expected:
            assert line in logs[page], page
    for said in logs.values():
        assert "too short" not in said
        assert "expected" not in said
        assert "no ascii information" not in said.lower()


def test_personality_of_a_node(tmp_path: Path) -> None:
    """`scsiemu personality capture` asks by SG_IO, too: a node gives the same personality as its drive has."""
    command = f"{sys.executable} -m scsiemu.app personality capture"
    found = _exec("1M,personality=lto7", f"{command} /dev/sg0", tmp_path, recorded=False)
    path = tmp_path / "mine.json"
    path.write_text(found)
    again = _exec(f"1M,personality-file={path}", f"{command} /dev/nst0", tmp_path, recorded=False)

    assert json.loads(found)["product"] == "ULT3580-TD7"
    assert found == again


def test_stenc_encrypts(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """stenc sets a key with its name, tells the state of drive and block; without the key the block cannot be read."""
    require_tool("stenc")
    text = _exec("64M", f"""
exec 2>&1
printf '%s\\nour key\\n' {'0123456789abcdef' * 4} > key
part() {{ echo "=== $1"; stenc -f $TAPE --detail; }}
part before
stenc -f $TAPE -e on -k key -a 1 > /dev/null || echo refused
echo secret | dd of=$TAPE bs=512 2> /dev/null; mt rewind
part written
dd if=$TAPE bs=512 2> /dev/null; mt rewind
stenc -f $TAPE -e off > /dev/null || echo refused
part off
dd if=$TAPE bs=512 2> /dev/null || echo unreadable
stenc -f $TAPE -e mixed -k key -a 1 > /dev/null || echo refused
mt rewind; dd if=$TAPE bs=512 2> /dev/null
""", tmp_path)

    before, written, off = text.split("=== ")[1:]
    assert "Drive Encryption:        off" in before
    for line in ("Drive Encryption:        on", "Drive Key Desc.(uKAD):   our key", "Encryption Algorithm:    1",
                 "Volume Encryption:       Encrypted and able to decrypt"):
        assert line in written
    assert written.endswith("secret\n")
    assert "Drive Encryption:        off" in off
    assert "Encrypted, but unable to decrypt due to invalid key" in off
    assert off.endswith("unreadable\nsecret\n")
    assert "refused" not in text
