"""How much the interpreter does for a READ, a WRITE and a login: counted, not timed, so that an added layer shows.

The bounds are a little above what was counted when they were set (docs/performance.md has the story). Who makes the
hot path shorter lowers them; who makes it longer says in the commit what for.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from struct import Struct

import pytest
from crc32c import crc32c

from devtypes.vd.config import DiskConfig
from devtypes.vd.disk import VirtualDisk
from iohandlers import memory
from scsiemu.target import Target
from transports.iscsi.connection import TargetConnection
from transports.iscsi.node import IscsiTarget, TargetNode

COMMANDS = 10_000
LOGINS = 100
BATCH = 50
BLOCKS = 8
SIZE = 16 << 20
NAME = "iqn.2026-11.test:work"

_COMMAND = Struct(">BBBxIQIIII16s")
_CDB = Struct(">BBIBHB6x")


class World:
    """A target with a disk in memory, and an initiator's side that is bytes made beforehand.

    Args:
        digests: both, CRC32C.
    """

    def __init__(self, *, digests: bool = False) -> None:
        self._digests = False               # not in the login's own PDUs
        target = Target(NAME)
        store = memory.open_store(size=SIZE)
        target.add_unit(
            0, VirtualDisk(DiskConfig(capacity=SIZE // 512)), performer=store.submit,
            capabilities=lambda: store.capabilities,
        )
        self.node = TargetNode(random_bytes=lambda count: bytes(range(1, count + 1)))
        self.node.add_target(IscsiTarget(target))
        connection = self.node.accept(peer="127.0.0.1", local=("127.0.0.1", 3260), now=0.0)
        assert connection is not None
        self.connection: TargetConnection = connection
        self.cmd_sn = 1
        self.log_in("CRC32C" if digests else "None")
        self._digests = digests
        for _ in range(2):                      # the unit attention
            self.deliver(self.pdu(0x81, bytes(16), b"", 0))

    def log_in(self, digest: str = "None", isid: bytes = b"\x80\0\0\0\0\1") -> None:
        texts = (
            (0x81, ("InitiatorName=iqn.2026-11.test:i", "SessionType=Normal", f"TargetName={NAME}", "AuthMethod=None")),
            (0x87, (
                "InitialR2T=No", "ImmediateData=Yes", "MaxRecvDataSegmentLength=262144", f"HeaderDigest={digest}",
                f"DataDigest={digest}",
            )),
        )
        for flags, keys in texts:
            text = b"".join(key.encode() + b"\0" for key in keys)
            header = bytearray(48)
            header[:2] = bytes((0x43, flags))
            header[5:8] = len(text).to_bytes(3, "big")
            header[8:14] = isid
            header[27] = 1
            self.deliver(bytes(header) + text + bytes(-len(text) % 4))
        assert self.connection.session is not None

    def pdu(self, flags: int, cdb: bytes, data: bytes, length: int) -> bytes:
        header = _COMMAND.pack(1, flags, 0, len(data), 0, self.cmd_sn % 128, length, self.cmd_sn, 0, cdb)
        self.cmd_sn += 1
        if self._digests:
            header += crc32c(header).to_bytes(4, "little")
            data += crc32c(data).to_bytes(4, "little") if data else b""
        return header + data

    def deliver(self, data: bytes) -> int:
        """What the adapter does between one receive and one send; how many bytes there are to send."""
        self.connection.receive_data(memoryview(data))
        self.node.take_dirty()
        queued = self.connection.queued
        self.connection.data_sent(queued)
        return queued

    def batches(self, opcode: int) -> list[bytes]:
        data = bytes(BLOCKS * 512) if opcode == 0x2A else b""
        flags = 0xA1 if data else 0xC1
        return [
            b"".join(
                self.pdu(flags, _CDB.pack(opcode, 0, index * BLOCKS % (SIZE // 512), 0, BLOCKS, 0), data, BLOCKS * 512)
                for index in range(start, start + BATCH)
            )
            for start in range(0, COMMANDS, BATCH)
        ]


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls of Python functions ("call"), and of C functions ("c_call")."""
    calls: Counter[str] = Counter()

    def profile(frame: object, event: str, argument: object) -> None:
        calls[event] += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize(
    ("opcode", "digests", "python_calls", "c_calls"),
    [(0x28, False, 7, 11), (0x2A, False, 9, 16), (0x28, True, 7, 18), (0x2A, True, 9, 21)],
    ids=["READ(10)", "WRITE(10)", "READ(10) with digests", "WRITE(10) with digests"],
)
def test_hot_path_calls(opcode: int, *, digests: bool, python_calls: float, c_calls: float) -> None:
    """A 4 KiB READ(10) or WRITE(10) makes no more function calls between bytes and bytes than it did."""
    world = World(digests=digests)
    batches = world.batches(opcode)
    answer = 48 + 4 * digests + (BLOCKS * 512 + 4 * digests if opcode == 0x28 else 0)

    with counted() as calls:
        sent = [world.deliver(batch) for batch in batches]

    assert sent == [answer * BATCH] * len(batches)
    assert calls["call"] / COMMANDS <= python_calls
    assert calls["c_call"] / COMMANDS <= c_calls


def test_login_calls() -> None:
    """To accept a connection, log in, log out and forget it makes no more function calls than it did."""
    world = World()
    random = iter(range(2, 1000))
    world.node.random_bytes = lambda count: next(random).to_bytes(count, "big")     # each session its own TSIH
    logout = bytearray(48)
    logout[:2], logout[27] = b"\x46\x80", 1           # immediate; close the session

    with counted() as calls:
        for number in range(LOGINS):
            connection = world.node.accept(peer="127.0.0.1", local=("127.0.0.1", 3260), now=0.0)
            assert connection is not None
            world.connection = connection
            world.log_in(isid=b"\x80" + number.to_bytes(5, "big"))
            world.deliver(bytes(logout))
            connection.lost()

    assert connection.close_reason == "logout"
    assert calls["call"] / LOGINS <= 228
    assert calls["c_call"] / LOGINS <= 217
