"""A small target and node for tests of the iSCSI transport: one unit of 512-byte blocks in a bytearray."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.device_server import DeviceServer
from scsiemu.io_requests import PENDING, DataOut, IoRequest, Read, Write
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.target import Target
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import EVERYONE, InitiatorAccess, IscsiTarget, NodeLimits, TargetNode

IQN = "iqn.2026-11.test.scsiemu:disk"
ME = "iqn.2026-11.test.scsiemu:me"
BLOCK = 512
BLOCKS = 65536

_TEN = CdbLayout("opcode:8 _:8 lba:32 _:8 transfer_length:16 control:8")
_SIX = CdbLayout("opcode:8 _:24 allocation_length:8 control:8")
_LONG = CdbLayout("opcode:8 control:8 _:40 additional_length:8 service_action:16 rest:176")


class SmallDisk(DeviceServer):
    """Blocks, and odd commands: bidirectional SWAP (53h), a 32-byte CDB that is echoed (7Fh, 1234h)."""

    peripheral_device_type = 0

    @operation(0x00, "TEST UNIT READY", _SIX, conflict=ReservationClass.PERSISTENT_ALLOWED)
    def test_unit_ready(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion()

    @operation(0x12, "INQUIRY", _SIX, data=DataDirection.IN, allocation="allocation_length", attention_exempt=True,
               conflict=ReservationClass.ALWAYS)
    def inquiry(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion(bytes(range(36)))

    @operation(0x28, "READ(10)", _TEN, data=DataDirection.IN, conflict=ReservationClass.READ,
               range=("lba", "transfer_length"))
    def read(self, command: Command, cdb: CdbFields) -> Read:
        return Read(cdb.lba * BLOCK, cdb.transfer_length * BLOCK)

    @operation(0x2A, "WRITE(10)", _TEN, data=DataDirection.OUT, range=("lba", "transfer_length"))
    def write(self, command: Command, cdb: CdbFields) -> Write:
        return Write(cdb.lba * BLOCK, cdb.transfer_length * BLOCK, atom=BLOCK)

    @operation(0x53, "SWAP", _TEN, data=DataDirection.BIDIRECTIONAL, range=("lba", "transfer_length"))
    def swap(self, command: Command, cdb: CdbFields) -> Steps:
        offset, length = cdb.lba * BLOCK, cdb.transfer_length * BLOCK
        stored = bytes((yield from Read(offset, length)))
        new = yield from DataOut(length)
        yield from Write(offset, len(new), new)
        return Completion(stored)

    @operation(0x7F, "ECHO", _LONG, service_action=0x1234, data=DataDirection.IN)
    def echo(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion(bytes(command.cdb))


class SlowStore:
    """Performs at once, or keeps requests until `release`."""

    def __init__(self, medium: bytearray) -> None:
        self.medium = medium
        self.slow = False
        self.kept: list[tuple[IoRequest[Any], Any]] = []

    def __call__(self, request: IoRequest[Any], ticket: Any, /) -> Any:
        if self.slow:
            if isinstance(request, Write):
                request.data = bytes(request.data)
            self.kept.append((request, ticket))
            return PENDING
        return self.perform(request)

    def perform(self, request: IoRequest[Any]) -> Any:
        if isinstance(request, Read):
            return bytes(self.medium[request.offset : request.offset + request.length])
        assert isinstance(request, Write)
        self.medium[request.offset : request.offset + len(request.data)] = request.data
        return None


class World:
    """A node with one target and one unit at LUN 0, and initiators joined to it by memory."""

    def __init__(
        self,
        *,
        settings: OperationalSettings | None = None,
        limits: NodeLimits | None = None,
        access: Iterable[InitiatorAccess] = (EVERYONE,),
        seed: int = 1,
        **entry_options: Any,
    ) -> None:
        self.medium = bytearray(BLOCK * BLOCKS)
        self.store = SlowStore(self.medium)
        self.target = Target(IQN)
        self.server = SmallDisk()
        self.unit = self.target.add_unit(0, self.server, performer=self.store)
        self._seed = seed
        self.node = TargetNode(random_bytes=self.random_bytes, limits=limits)
        self.entry = IscsiTarget(self.target, access=access, settings=settings, **entry_options)
        self.node.add_target(self.entry)

    def random_bytes(self, count: int) -> bytes:
        """Different each time, the same in each run."""
        out = b""
        for _ in range(count):
            self._seed = (self._seed * 1103515245 + 12345) & 0x7FFFFFFF
            out += bytes((self._seed >> 16 & 0xFF,))
        return out

    def connect(
        self, *, settings: OperationalSettings | None = None, name: str = ME, target: str = IQN, isid: int = 1,
        clear: bool = True, **options: Any,
    ) -> Loopback:
        """A session that is logged in, its first unit attention taken."""
        offer = LoginOffer(name, target_name=target, settings=settings or OperationalSettings())
        link = Loopback(
            self.node, offer, isid=b"\x80\0\0\0\0" + bytes((isid,)), random_bytes=self.random_bytes, **options
        ).login()
        link.events.clear()
        if clear and target:
            link.execute(0, tur())
        return link

    def release(self, count: int | None = None) -> None:
        """Let the store answer what it has kept."""
        kept, self.store.kept = self.store.kept, []
        for request, ticket in kept[:count]:
            self.target.complete(ticket, self.store.perform(request))
            self.node.settle_all(self.target)
        if count is not None:
            self.store.kept = kept[count:] + self.store.kept


def tur() -> bytes:
    """TEST UNIT READY."""
    return _SIX.build(opcode=0)


def inquiry(length: int = 36) -> bytes:
    """INQUIRY."""
    return _SIX.build(opcode=0x12, allocation_length=length)


def read(lba: int, blocks: int) -> bytes:
    """READ(10)."""
    return _TEN.build(opcode=0x28, lba=lba, transfer_length=blocks)


def write(lba: int, blocks: int) -> bytes:
    """WRITE(10)."""
    return _TEN.build(opcode=0x2A, lba=lba, transfer_length=blocks)


def swap(lba: int, blocks: int) -> bytes:
    """The bidirectional command."""
    return _TEN.build(opcode=0x53, lba=lba, transfer_length=blocks)


def echo(rest: int) -> bytes:
    """The command with a 32-byte CDB."""
    return _LONG.build(opcode=0x7F, additional_length=24, service_action=0x1234, rest=rest)


def pattern(blocks: int, start: int = 0) -> bytes:
    """Bytes that tell every block and place from every other."""
    return b"".join(
        (start + block).to_bytes(4, "big") + bytes((start + block + i) % 251 for i in range(BLOCK - 4))
        for block in range(blocks)
    )
