"""Wireshark reads what goes over the wire: nothing malformed where the target chose the length, no surprise Reject."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from iscsi_test_cu import run_test
from served import serve

from transports.iscsi.client import connect

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]

# One of each family, so that every kind of command, page and PDU goes by.
TESTS = [
    "CompareAndWrite.Simple", "ExtendedCopy.Simple", "GetLBAStatus.Simple", "Inquiry.SupportedVPD",
    "Inquiry.AllocLength", "ModeSense6.AllPages", "PrinReadKeys.Simple", "PrinServiceactionRange.Range",
    "ProutRegister.Simple", "ProutReserve.OwnershipEA", "Read10.BeyondEol", "ReadCapacity16.Support",
    "ReportSupportedOpcodes.Simple", "Unmap.Simple", "WriteSame16.Simple", "iSCSIResiduals.Read10Residuals",
    "iSCSITMF.LogicalUnitReset",
]


# What a unit is taken for before an INQUIRY has told.
AS = {"disk": [], "tape": ["-o", "scsi.decode_scsi_messages_as:Sequential Device"]}


def fields(
    tool: str, capture: Path, port: str, display: str, *names: str, device: str = "disk"
) -> list[list[str]]:
    """The named fields of the frames that a display filter lets through."""
    command = [tool, "-r", str(capture), "-d", f"tcp.port=={port},iscsi", "-Y", display, "-T", "fields", *AS[device]]
    for name in names:
        command += ["-e", name]
    output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return [line.split("\t") for line in output.splitlines()]


@contextlib.contextmanager
def captured(tool: str, port: str, capture: Path) -> Iterator[None]:
    """While this is open, what goes by a port is captured."""
    if os.geteuid() != 0:
        pytest.skip("capturing on the loopback interface needs root")
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
        yield
        time.sleep(1)
    finally:
        watcher.terminate()
        watcher.wait(30)


def test_wire_is_well_formed(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """A capture of a test run of each family decodes: no malformed frame with U=1, no Reject, no login error."""
    tool = require_tool("tshark")
    require_tool("iscsi-test-cu")
    capture = tmp_path / "capture.pcapng"
    with serve("--disk", "64M") as served:
        port = served.portal.rpartition(":")[2]
        with captured(tool, port, capture):
            for name in TESTS:
                run_test(name, served.urls[0], second_url=served.urls[0])

    assert len(fields(tool, capture, port, "iscsi.opcode == 0x21 || iscsi.opcode == 0x25", "frame.number")) > 100
    malformed = fields(tool, capture, port, "_ws.malformed && iscsi.scsidata.U == 1", "frame.number", "_ws.col.Info")
    assert malformed == []
    assert fields(tool, capture, port, "iscsi.opcode == 0x3f", "frame.number", "iscsi.reject.reason") == []
    assert fields(tool, capture, port, "iscsi.login.status != 0", "frame.number", "iscsi.login.status") == []


def test_wire_changer_is_well_formed(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Every command of a changer decodes; byte counts of READ ELEMENT STATUS are those of what follows them."""
    tool = require_tool("tshark")
    capture = tmp_path / "capture.pcapng"
    with serve("--library", f"{tmp_path}/lib,drives=2,slots=6,ports=2,create=4,capacity=1M") as served:
        port = served.portal.rpartition(":")[2]
        with captured(tool, port, capture):
            statuses = _use_changer(served.urls[0])

    assert fields(tool, capture, port, "_ws.malformed || _ws.expert.severity == error", "frame.number") == []
    seen = fields(
        tool, capture, port, "scsi_smc.byte_count_of_report_available", "scsi_smc.byte_count_of_report_available",
        "scsi_smc.number_of_elements_available", "scsi_smc.byte_count_of_descriptor_data_available",
        "scsi_smc.element_descriptor_length", "scsi_smc.primary_vol_tag_id",
    )
    assert len(seen) == len(statuses)
    for (total, elements, counts, lengths, tags), data in zip(seen, statuses, strict=True):
        pages = [int(count) for count in counts.split(",")]
        assert int(total) == len(data) - 8 == sum(pages) + 8 * len(pages)
        assert int(elements) == sum(
            size // int(length, 0) for size, length in zip(pages, lengths.split(","), strict=True)
        )
        assert ("A00002L8" in tags) == (b"A00002L8" in data)


def test_wire_tape_is_well_formed(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """The conformance cases of tapes by URL, every command of SSC among them, decode. Left out are three replies
    that Wireshark mistakes, whatever the drive: VPD page B0h of a tape for that of a disk, the list of log pages for
    parameters; and in the extended form of READ POSITION it reads eight bytes into four."""
    tool = require_tool("tshark")
    capture = tmp_path / "capture.pcapng"
    with serve("--tape", "4M,early-warning=512K") as served:
        port = served.portal.rpartition(":")[2]
        with captured(tool, port, capture):
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/ssc",
                 "--url", served.urls[0]],
                cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100, check=False,
            )
    assert done.returncode == 0, done.stdout

    def seen(display: str, *names: str) -> list[list[str]]:
        return fields(tool, capture, port, display, *names, device="tape")

    opcodes = {int(code, 0) for (line,) in seen("scsi_ssc.opcode", "scsi_ssc.opcode") for code in line.split(",")}
    assert {0x01, 0x05, 0x08, 0x0A, 0x10, 0x11, 0x19, 0x1B, 0x2B, 0x34, 0x44, 0x88, 0x8A, 0x91, 0x92} <= opcodes
    wrong = "iscsi && (_ws.malformed || _ws.expert.severity == error)"
    mistaken = "scsi.inquiry.evpd.pagecode == 0xb0 || scsi.log.pagecode == 0 || scsi_ssc.readposition.additional_length"
    assert seen(f"{wrong} && !({mistaken})", "frame.number", "_ws.col.Info") == []
    assert fields(tool, capture, port, "iscsi.opcode == 0x3f", "frame.number", "iscsi.reject.reason") == []


def _use_changer(url: str) -> list[bytes]:
    """Each command of a changer, some in several forms; the element status data that came."""
    client = connect(url, initiator_name="iqn.2026-11.org.example:wire")
    statuses = []

    def do(cdb: str, data_in: int = 0, data_out: bytes = b"") -> bytes:
        for _ in range(8):
            result = client.execute(client.lun, bytes.fromhex(cdb), data_out, data_in)
            if result.status == 0:
                return bytes(result.data_in)
        raise AssertionError(f"{cdb}: {bytes(result.sense).hex()}")

    try:
        do("120000006000", 96)
        do("5a08 3f00 0000 0000 ff00", 255)                         # all mode pages
        do("070000000000")                                          # INITIALIZE ELEMENT STATUS
        do("3701 1000 0000 0002 0000")                              # ... WITH RANGE
        do("a500 0000 1000 0100 0000 0000")                         # MOVE MEDIUM into a drive
        do("a500 0000 1001 0010 0000 0000")                         # ... to an import/export element
        do("a600 0000 1002 1003 1002 0000")                         # EXCHANGE MEDIUM
        do("2b00 0000 1000 0000 0000")                              # POSITION TO ELEMENT
        for kind in (0, 1, 2, 3, 4):
            for options in (0, 0x10):
                for flags in (0, 1, 2):
                    statuses.append(do(f"b8{kind | options:02x} 0000 ffff {flags:02x}00 ffff 0000", 65535))
        do("b600 0000 0005 0000 0028 0000", data_out=b"A*".ljust(32) + bytes(8))        # SEND VOLUME TAG
        do("b510 0000 ffff 0000 ffff 0000", 65535)                  # REQUEST VOLUME ELEMENT ADDRESS
        do("9e10 7f00 0000 0000 0000 0000 ffff 0000", 65535)        # REPORT ELEMENT INFORMATION
        do("1e00 0000 0100")
        do("1e00 0000 0000")
    finally:
        client.close()
    return statuses
