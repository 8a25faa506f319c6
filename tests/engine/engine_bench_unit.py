"""A small device server and a harness for tests of the engine itself: reads, writes, a command of several steps."""

from __future__ import annotations

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.device_server import DeviceServer
from scsiemu.io_requests import DataOut, Read, Write
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import CheckCondition
from scsiemu.target import Target

TEN = CdbLayout("opcode:8 _:8 lba:32 _:8 transfer_length:16 control:8")
SIX = CdbLayout("opcode:8 _:32 control:8")
BLOCK = 512


class SmallServer(DeviceServer):
    """512-byte blocks, no medium of its own: requests come out of `next_io`."""

    peripheral_device_type = 0

    @operation(0x00, "TEST UNIT READY", SIX, conflict=ReservationClass.PERSISTENT_ALLOWED)
    def test_unit_ready(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion()

    @operation(0x03, "REFUSE", SIX)
    def refuse(self, command: Command, cdb: CdbFields) -> Completion:
        raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_CAUSE_NOT_REPORTABLE)

    @operation(0x04, "BREAK", SIX)
    def break_(self, command: Command, cdb: CdbFields) -> Completion:
        raise ZeroDivisionError("planted")

    @operation(0x28, "READ(10)", TEN, data=DataDirection.IN, conflict=ReservationClass.READ,
               range=("lba", "transfer_length"))
    def read(self, command: Command, cdb: CdbFields) -> Read:
        return Read(cdb.lba * BLOCK, cdb.transfer_length * BLOCK)

    @operation(0x2A, "WRITE(10)", TEN, data=DataDirection.OUT, range=("lba", "transfer_length"))
    def write(self, command: Command, cdb: CdbFields) -> Write:
        return Write(cdb.lba * BLOCK, cdb.transfer_length * BLOCK, atom=BLOCK)

    @operation(0x89, "SWAP", TEN, data=DataDirection.BIDIRECTIONAL, range=("lba", "transfer_length"), exclusive=True)
    def swap(self, command: Command, cdb: CdbFields) -> Steps:
        offset, length = cdb.lba * BLOCK, cdb.transfer_length * BLOCK
        stored = yield from Read(offset, length)
        new = yield from DataOut(length)
        yield from Write(offset, len(new), new)
        return Completion(stored)


class Harness:
    """A target with one small unit at LUN 0 (or more), nexuses by number, and what came out of the target."""

    def __init__(self, nexuses: int = 1, units: int = 1, *, clear: bool = True) -> None:
        self.target = Target("iqn.2026-11.test:small")
        self.units = [self.target.add_unit(lun, SmallServer()) for lun in range(units)]
        self.unit = self.units[0]
        self.port = TargetPort("port", 1)
        self.tag = 0
        self.nexuses = [self.establish(f"initiator{number}") for number in range(nexuses)]
        if clear:
            for nexus in self.nexuses:
                for state in nexus.units.values():
                    state.attentions.clear()

    def establish(self, name: str) -> Nexus:
        return self.target.nexus_established(InitiatorPort(name, name.encode().ljust(24, b"\0")), self.port)

    def submit(
        self, cdb: bytes, nexus: int = 0, *, attribute: int = 0, lun: int = 0, out: bytes = b"", tag: int | None = None
    ) -> Command:
        if tag is None:
            self.tag += 1
            tag = self.tag
        command = Command(
            self.nexuses[nexus], lun << 48, cdb, tag, attribute, out, len(out), 1 << 20, origin=self
        )
        self.target.submit(command)
        return command

    def read(self, lba: int = 0, blocks: int = 1, nexus: int = 0, *, attribute: int = 0, naca: int = 0) -> Command:
        cdb = TEN.build(opcode=0x28, lba=lba, transfer_length=blocks, control=naca << 2)
        return self.submit(cdb, nexus, attribute=attribute)

    def write(self, lba: int = 0, blocks: int = 1, nexus: int = 0, *, attribute: int = 0) -> Command:
        cdb = TEN.build(opcode=0x2A, lba=lba, transfer_length=blocks)
        return self.submit(cdb, nexus, attribute=attribute, out=b"w" * blocks * BLOCK)

    def refuse(self, nexus: int = 0, *, naca: int = 0, attribute: int = 0) -> Command:
        return self.submit(SIX.build(opcode=0x03, control=naca << 2), nexus, attribute=attribute)

    def completions(self) -> list[Completion]:
        found = []
        while (completion := self.target.next_completion()) is not None:
            found.append(completion)
        return found

    def statuses(self) -> list[tuple[int, int | None]]:
        """Tags and statuses that came out, None for a command aborted in silence."""
        return [(each.command.tag, None if each.silent else each.status) for each in self.completions()]

    def requests(self) -> list[tuple[Command, object]]:
        found = []
        while (item := self.target.next_io()) is not None:
            found.append(item)
        return found

    def started(self) -> list[int]:
        """Tags of the commands whose requests came out for the store."""
        self.outstanding = self.requests()
        return [command.tag for command, _ in self.outstanding]

    def answer(self, command: Command, request: object) -> None:
        self.target.complete(command, bytes(request.length) if isinstance(request, Read) else None)

    def manage(self, function: TaskManagementFunction, nexus: int = 0, lun: int = 0, tag: int | None = None) -> None:
        self.target.manage(function, self.nexuses[nexus], lun << 48, tag=tag)

    def responses(self) -> list[TaskManagementResponse]:
        found = []
        while (response := self.target.next_management_response()) is not None:
            found.append(response.response)
        return found
