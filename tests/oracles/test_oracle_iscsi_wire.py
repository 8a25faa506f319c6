"""Wireshark reads sessions with every PDU of iSCSI in them, with and without digests: no fault."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded_wire import ISCSI_PORT, RecordedWire
from served import Served, serve

from transports.iscsi import pdu as pdus
from transports.iscsi.client import Client, connect
from transports.iscsi.codes import NO_TAG, Flags, TmfCode
from transports.iscsi.initiator import AsyncReceived
from transports.iscsi.keys import OperationalSettings

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

# Opcodes: everything that either side sends.
INITIATORS = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10}
TARGETS = {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3F}


def read(lba: int, blocks: int) -> bytes:
    """READ(10)."""
    return bytes((0x28, 0, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0))


def write(lba: int, blocks: int) -> bytes:
    """WRITE(10)."""
    return bytes((0x2A, 0, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0))


class Wire:
    """A capture, as Wireshark sees it."""

    def __init__(self, tool: str, path: Path) -> None:
        self._command = [tool, "-r", str(path), "-d", f"tcp.port=={ISCSI_PORT},iscsi"]

    def fields(self, display: str, *names: str) -> list[list[str]]:
        """The named fields of the frames that a display filter lets through."""
        words = [word for name in names for word in ("-e", name)]
        done = subprocess.run(
            [*self._command, "-Y", display, "-T", "fields", *words],
            capture_output=True, text=True, timeout=60, check=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]

    def text(self, display: str) -> str:
        """All that Wireshark has to say of the frames that a display filter lets through."""
        done = subprocess.run(
            [*self._command, "-Y", display, "-V"], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def values(self, name: str, display: str = "iscsi") -> list[int]:
        """All values of one field, in order of the PDUs."""
        return [int(text, 0) for (line,) in self.fields(display, name) for text in line.split(",") if text]


def talk(client: Client, served: Served) -> None:
    """Everything that there is to say, the shutdown of the target last."""
    lun, session = client.lun, client.session
    data = bytes(range(256)) * 80
    client.execute(lun, bytes(6))
    assert client.execute(lun, write(0, 40), data).status == 0                      # by R2Ts
    assert bytes(client.execute(lun, read(0, 40), data_in_length=len(data)).data_in) == data
    assert client.execute(lun, read(0, 1), data_in_length=1024).underflow == 512     # underflow
    assert client.execute(lun, read(0, 2), data_in_length=500).overflow == 524     # overflow
    assert client.execute(lun, read(0xFFFFFFFF, 1), data_in_length=512).status == 2
    assert client.execute(lun, b"\xee" + bytes(5)).status == 2
    assert client.ping(b"hello") == b"hello"
    session.text([("SendTargets", "")])
    for function in (
        TmfCode.ABORT_TASK, TmfCode.ABORT_TASK_SET, TmfCode.CLEAR_ACA, TmfCode.CLEAR_TASK_SET,
        TmfCode.LOGICAL_UNIT_RESET, TmfCode.TARGET_WARM_RESET, TmfCode.TASK_REASSIGN, TmfCode.QUERY_TASK,
        TmfCode.QUERY_TASK_SET, TmfCode.I_T_NEXUS_RESET, TmfCode.QUERY_ASYNCHRONOUS_EVENT,
    ):
        client.manage(function, lun, referenced=0x123 if function in (1, 9) else NO_TAG)
    session.send(pdus.Snack(flags=Flags.FINAL, itt=NO_TAG, ttt=NO_TAG))
    assert client.ping(b"after the reject") == b"after the reject"
    served.process.terminate()
    while not any(isinstance(event, AsyncReceived) for event in client.events):
        client.step(time.monotonic() + 20)
        client.events += iter(session.next_event, None)


@pytest.mark.parametrize("digests", [("None", "None"), ("CRC32C", "None"), ("None", "CRC32C"), ("CRC32C", "CRC32C")])
def test_iscsi_wire(digests: tuple[str, str], require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """Every opcode of both sides; nothing malformed; sequence numbers and burst lengths are as negotiated."""
    tool = require_tool("tshark")
    settings = OperationalSettings(
        header_digest=(digests[0],), data_digest=(digests[1],), max_recv_data_segment_length=4096,
        max_burst_length=8192, first_burst_length=4096, initial_r2t=True, immediate_data=False,
    )
    with serve("--disk", "1M") as served:
        name = served.urls[0].split("/", 3)[3]
        with RecordedWire(served.portal) as wire, connect(f"iscsi://{wire.portal}/{name}", settings=settings) as client:
            talk(client, served)
    wire.write(tmp_path / "wire.pcap")
    capture = Wire(tool, tmp_path / "wire.pcap")

    assert set(capture.values("iscsi.opcode")) == INITIATORS | TARGETS
    assert capture.fields("_ws.malformed || _ws.expert || iscsi.opcode.invalid", "frame.number", "_ws.col.Info") == []
    assert capture.values("iscsi.reject.reason") == [3]                                 # the SNACK
    sent = f"iscsi.opcode >= 0x20 && tcp.srcport == {ISCSI_PORT}"
    wanted = [length for length in capture.values("iscsi.desireddatalength") if length]
    assert wanted == [8192, 8192, 4096]
    assert capture.values("iscsi.r2tsn", sent) == [0, 1, 2]
    assert max(capture.values("iscsi.datasegmentlength", "iscsi.opcode == 0x25")) == 4096
    # The header in a Reject's data has no digest; Wireshark takes what follows for one.
    shown = capture.text("!(iscsi.opcode == 0x3f)")
    for side, name in zip(digests, ("HeaderDigest", "DataDigest"), strict=True):
        checked = set(re.findall(rf"{name}: 0x\w+ \((.*)\)", shown))
        assert checked == (set() if side == "None" else {"Good CRC32"})
