"""What the tests of reservations share: a unit with reads and writes that do nothing, and initiators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scsiemu import asc
from scsiemu.cdb import CdbLayout
from scsiemu.command import Completion
from scsiemu.events import InternalFailure
from scsiemu.io_requests import Flush, Sleep
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sam import Status
from scsiemu.sense import SenseCode
from scsiemu.spc import SpcDeviceServer
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result, StateDictionary

TARGET = "iqn.2026-11.org.example:reservations"
PLAIN = CdbLayout("opcode:8 _:3 lba?:21 length?:8 control:8")
CONFLICT = Status.RESERVATION_CONFLICT
GOOD = Status.GOOD
TEN = CdbLayout("opcode:8 _:64 control:8")

WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS = 1, 3
WRITE_EXCLUSIVE_RO, EXCLUSIVE_ACCESS_RO = 5, 6
WRITE_EXCLUSIVE_AR, EXCLUSIVE_ACCESS_AR = 7, 8
TYPES = (1, 3, 5, 6, 7, 8)


class Unit(SpcDeviceServer):
    """A disk-like unit without a medium."""

    peripheral_device_type = 0

    def __init__(self) -> None:
        super().__init__()
        self.preempted: list[Any] = []

    def nexuses_preempted(self, nexuses):
        self.preempted.append(nexuses)

    @operation(0x08, "READ(6)", PLAIN, data=DataDirection.NONE, conflict=ReservationClass.READ)
    @operation(0x0A, "WRITE(6)", PLAIN, data=DataDirection.NONE, conflict=ReservationClass.WRITE)
    @operation(0xC0, "LOOK", TEN, conflict=ReservationClass.PERSISTENT_ALLOWED)
    def nothing(self, command, cdb):
        return Completion()

    @operation(0xC1, "WAIT", TEN, conflict=ReservationClass.ALWAYS)
    def wait(self, command, cdb):
        yield from Sleep(1000.0)
        return Completion()

    @operation(0xC2, "STORE", TEN, conflict=ReservationClass.ALWAYS)
    def store(self, command, cdb):
        return Flush()


class Bench:
    """A target with one unit; `initiator(n)` makes the nexus of the n-th initiator port."""

    def __init__(self, *, state: Callable[..., Any] | None = None, ports: int = 2) -> None:
        self.target = Target(TARGET)
        self.ports = [
            TargetPort(f"{TARGET},t,0x{number:04x}", number, 1, Protocol.ISCSI, TARGET)
            for number in range(1, ports + 1)
        ]
        for port in self.ports:
            self.target.add_port(port)
        self.server = Unit()
        self.unit = self.target.add_unit(0, self.server, state_performer=state)

    def initiator(self, number: int, port: int = 1) -> Peer:
        return Peer(self, number, port)

    def check(self) -> None:
        """Nothing went wrong inside."""
        while (event := self.target.next_event()) is not None:
            assert not isinstance(event, InternalFailure), event.error


class Peer:
    """An initiator port at a target port."""

    def __init__(self, bench: Bench, number: int, port: int) -> None:
        self.bench = bench
        self.name = f"iqn.2026-11.org.example:host{number},i,0x{number:012x}"
        self.initiator = Initiator(bench.target, self.name, port=bench.ports[port - 1])
        self.nexus = self.initiator.nexus
        self.transport_id = self.nexus.initiator_port.transport_id

    def command(self, name: str, **fields: Any) -> Result:
        result = self.initiator.command(name, **fields)
        self.bench.check()
        return result

    def out(
        self, action: str, key: int = 0, new: int = 0, *, type: int = 0, scope: int = 0, flags: int = 0,
        ids: bytes | None = None, data: bytes | None = None, **fields: int,
    ) -> Result:
        """PERSISTENT RESERVE OUT with the basic parameter list."""
        if data is None:
            data = key.to_bytes(8, "big") + new.to_bytes(8, "big") + bytes(4) + bytes((flags, 0, 0, 0))
            if ids is not None:
                data += len(ids).to_bytes(4, "big") + ids
        return self.command(
            f"PERSISTENT RESERVE OUT ({action})", data_out=data, scope=scope, type=type, **fields
        )

    def move(
        self, key: int, new: int, transport_id: bytes, port: int = 1, *, flags: int = 0, length: int | None = None
    ) -> Result:
        """REGISTER AND MOVE."""
        length = len(transport_id) if length is None else length
        data = b"".join((
            key.to_bytes(8, "big"), new.to_bytes(8, "big"), bytes((0, flags)), port.to_bytes(2, "big"),
            length.to_bytes(4, "big"), transport_id,
        ))
        return self.out("REGISTER AND MOVE", data=data)

    def register(self, key: int, **options: Any) -> None:
        """Register, whatever there was."""
        assert self.out("REGISTER AND IGNORE EXISTING KEY", 0, key, **options).good

    def hold(self, key: int, type: int) -> None:
        """Register and reserve."""
        self.register(key)
        assert self.out("RESERVE", key, type=type).good

    def keys(self) -> list[int]:
        data = self.command("PERSISTENT RESERVE IN (READ KEYS)").data
        assert int.from_bytes(data[4:8], "big") == len(data) - 8
        return [int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8)]

    def generation(self) -> int:
        return int.from_bytes(self.command("PERSISTENT RESERVE IN (READ KEYS)").data[:4], "big")

    def reservation(self) -> tuple[int, int] | None:
        """Key and scope with type, as READ RESERVATION reports them."""
        data = self.command("PERSISTENT RESERVE IN (READ RESERVATION)").data
        if len(data) == 8:
            assert data[4:] == bytes(4)
            return None
        assert len(data) == 24
        assert data[4:8] == b"\0\0\0\x10"
        assert data[16:21] + data[22:] == bytes(7)
        return int.from_bytes(data[8:16], "big"), data[21]

    def full_status(self) -> list[tuple[int, int, int, int, bytes]]:
        """Key, flags, type, port, TransportID of each full status descriptor."""
        data = self.command("PERSISTENT RESERVE IN (READ FULL STATUS)").data
        assert int.from_bytes(data[4:8], "big") == len(data) - 8
        found, at = [], 8
        while at < len(data):
            length = int.from_bytes(data[at + 20 : at + 24], "big")
            found.append((
                int.from_bytes(data[at : at + 8], "big"), data[at + 12], data[at + 13],
                int.from_bytes(data[at + 18 : at + 20], "big"), data[at + 24 : at + 24 + length],
            ))
            at += 24 + length
        return found

    def attentions(self) -> list[SenseCode]:
        """What is pending for this nexus, which is cleared by it."""
        found = list(self.nexus.units[0].attentions)
        self.nexus.units[0].attentions.clear()
        return found


__all__ = ["Bench", "Peer", "StateDictionary", "Unit", "asc"]
