"""Optical drives over iSCSI: iscsi-test-cu's families of every device type, and Wireshark on MMC's commands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from iscsi_test_cu import Outcome, TestRun, list_tests, run_test
from served import serve
from test_oracle_wire import captured, fields

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(200)]

ROOT = Path(__file__).parents[2]

# START STOP UNIT is MMC's own: what the program sends as NO_FLUSH is FL there, and most power conditions do not exist.
FAMILIES = (
    r"(Inquiry|Mandatory|ModeSense6|NoMedia|PreventAllow|Prin\w+|Prout\w+|ReadCapacity10|ReportSupportedOpcodes|Reserve6"
    r"|TestUnitReady|Read1[02]|ReadOnly|iSCSI\w+)\."
)
WRITES = r"(Write1[02]|WriteVerify10|Verify1[02])\."
# Those that write, though they are of other families.
WRITING = r"ProutReserve.Access|iSCSIResiduals|iSCSITMF|iSCSIdatasn"


def run_share(names: list[str], url: str) -> list[TestRun]:
    """Run tests one after the other."""
    return [run_test(name, url, seconds=60) for name in names]


@pytest.mark.parametrize(("disc", "least"), [("128M,blank=dvd-ram", 45), ("128M", 24)], ids=["dvd-ram", "pressed"])
def test_iscsi_test_cu_optical(require_tool: Callable[[str], str], disc: str, least: int) -> None:
    """No test of these families fails, and many pass: a writable disc takes those that write, too."""
    require_tool("iscsi-test-cu")
    writable = "blank" in disc
    names = [name for name in list_tests() if re.match(f"{FAMILIES}|{WRITES}" if writable else FAMILIES, name)]
    if not writable:
        names = [name for name in names if not re.match(WRITING, name)]
    # On several at once, each of a target of its own: many tests do little but wait.
    targets = (word for number in range(4) for word in ("--target", f"iqn.2026-11.test:{number}", "--optical", disc))
    with serve(*targets) as served, ThreadPoolExecutor() as pool:
        shares = [names[number::4] for number in range(4)]
        runs = [run for share in pool.map(run_share, shares, served.urls) for run in share]

    assert [f"{run.name}: {run.log[-2000:]}" for run in runs if run.outcome is Outcome.FAILED] == []
    assert sum(run.outcome is Outcome.PASSED for run in runs) >= least


def test_wire_optical_is_well_formed(
    tmp_path: Path, require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conformance cases by URL on two discs decode: no reply is malformed but what a command cut, no Reject."""
    tool = require_tool("tshark")
    (tmp_path / "preferences").write_text("scsi.decode_scsi_messages_as: Multimedia Device\n")
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(tmp_path))       # until an INQUIRY has told
    seen: set[int] = set()
    for disc in ("1M", "64M,blank=dvd+rw"):
        capture = tmp_path / "capture.pcapng"
        with serve("--optical", disc) as served:
            port = served.portal.rpartition(":")[2]
            with captured(tool, port, capture):
                done = subprocess.run(
                    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/mmc",
                     "--url", served.urls[0]],
                    cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
                )
        assert done.returncode == 0, done.stdout

        def told(display: str, *names: str, capture: Path = capture, port: str = port) -> list[list[str]]:
            return fields(tool, capture, port, display, *names)

        bad = told("(_ws.malformed || _ws.expert.severity == error) && iscsi.opcode == 0x25 && iscsi.scsidata.U == 1",
                   "scsi.request_frame", "iscsi.datasegmentlength", "_ws.col.Info")
        for request, length, what in bad:
            assert [length] in told(f"frame.number == {request}", "scsi.cdb.alloclen16"), what
        assert told("iscsi.opcode == 0x3f", "frame.number", "iscsi.reject.reason") == []
        for (line,) in told("scsi_mmc.opcode", "scsi_mmc.opcode"):
            seen |= {int(code, 0) for code in line.split(",")}

    assert {0x23, 0x25, 0x28, 0x2A, 0x43, 0x46, 0x51, 0x52, 0x5B, 0x5C, 0xAC, 0xAD, 0xBD, 0xBE} <= seen
