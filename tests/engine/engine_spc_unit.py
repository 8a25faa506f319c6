"""A unit with nothing but what SPC gives every device type, and initiators that talk to it."""

from __future__ import annotations

from scsiemu.command import Command, Steps
from scsiemu.identity import Identity
from scsiemu.io_requests import Sleep
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.spc import SpcDeviceServer
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, StateDictionary

TARGET = "iqn.2026-11.org.example:spc"


class PlainServer(SpcDeviceServer):
    """Peripheral device type 03h (processor): no medium."""

    peripheral_device_type = 0x03
    default_product = "PLAIN UNIT"

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.has_start_stop = True
        self.test_seconds = 10
        self.test_error: Exception | None = None

    def self_test(self, *, extended: bool) -> Steps:
        for second in range(self.test_seconds):
            self.self_test_progress = second * 65536 // self.test_seconds
            yield from Sleep(1.0)
        if self.test_error is not None:
            raise self.test_error
        return None  # type: ignore[return-value]  # only its requests count


class World:
    """A target of two ports in two groups with a plain unit at LUN 0."""

    def __init__(self, *, state: StateDictionary | None = None, server: SpcDeviceServer | None = None) -> None:
        self.target = Target(TARGET)
        self.ports = [
            TargetPort(f"{TARGET},t,0x000{number}", number, number, Protocol.ISCSI, TARGET) for number in (1, 2)
        ]
        for port in self.ports:
            self.target.add_port(port)
        self.server = server or PlainServer()
        self.unit = self.target.add_unit(0, self.server, performer=no_store, state_performer=state)
        self.one = Initiator(self.target, "iqn.2026-11.org.example:one", port=self.ports[0])
        self.two = Initiator(self.target, "iqn.2026-11.org.example:two", port=self.ports[1])


def no_store(request: object, ticket: Command) -> None:
    """A performer of a unit without a medium."""
    raise AssertionError(f"SPC commands have no use for a medium: {request!r}")
