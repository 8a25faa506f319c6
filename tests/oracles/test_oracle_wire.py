"""Wireshark reads what goes over the wire: nothing malformed where the target chose the length, no surprise Reject."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from iscsi_test_cu import run_test
from served import serve

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]

# One of each family, so that every kind of command, page and PDU goes by.
TESTS = [
    "CompareAndWrite.Simple", "ExtendedCopy.Simple", "GetLBAStatus.Simple", "Inquiry.SupportedVPD",
    "Inquiry.AllocLength", "ModeSense6.AllPages", "PrinReadKeys.Simple", "PrinServiceactionRange.Range",
    "ProutRegister.Simple", "ProutReserve.OwnershipEA", "Read10.BeyondEol", "ReadCapacity16.Support",
    "ReportSupportedOpcodes.Simple", "Unmap.Simple", "WriteSame16.Simple", "iSCSIResiduals.Read10Residuals",
    "iSCSITMF.LogicalUnitReset",
]


def fields(tool: str, capture: Path, port: str, display: str, *names: str) -> list[list[str]]:
    """The named fields of the frames that a display filter lets through."""
    command = [tool, "-r", str(capture), "-d", f"tcp.port=={port},iscsi", "-Y", display, "-T", "fields"]
    for name in names:
        command += ["-e", name]
    output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return [line.split("\t") for line in output.splitlines()]


def test_wire_is_well_formed(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """A capture of a test run of each family decodes: no malformed frame with U=1, no Reject, no login error."""
    tool = require_tool("tshark")
    require_tool("iscsi-test-cu")
    if os.geteuid() != 0:
        pytest.skip("capturing on the loopback interface needs root")
    capture = tmp_path / "capture.pcapng"
    with serve("--disk", "64M") as served:
        port = served.portal.rpartition(":")[2]
        watcher = subprocess.Popen(
            [tool, "-q", "-i", "lo", "-B", "64", "-f", f"tcp port {port}", "-w", str(capture)],
            stderr=subprocess.PIPE, text=True,
        )
        try:
            assert watcher.stderr is not None
            for line in watcher.stderr:
                if "Capturing on" in line:
                    break
            time.sleep(1)
            for name in TESTS:
                run_test(name, served.urls[0], second_url=served.urls[0])
            time.sleep(1)
        finally:
            watcher.terminate()
            watcher.wait(30)

    assert len(fields(tool, capture, port, "iscsi.opcode == 0x21 || iscsi.opcode == 0x25", "frame.number")) > 100
    malformed = fields(tool, capture, port, "_ws.malformed && iscsi.scsidata.U == 1", "frame.number", "_ws.col.Info")
    assert malformed == []
    assert fields(tool, capture, port, "iscsi.opcode == 0x3f", "frame.number", "iscsi.reject.reason") == []
    assert fields(tool, capture, port, "iscsi.login.status != 0", "frame.number", "iscsi.login.status") == []
