"""Requests for another unit's store (third-party copy), and what that store lacks."""

from __future__ import annotations

from engine_bench_unit import SIX, SmallServer

from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.events import UnitRemoved
from scsiemu.io_requests import PENDING, Elsewhere, Fill, Pending, StoreCapabilities, Ticket
from scsiemu.nexus import InitiatorPort, TargetPort
from scsiemu.operations import operation
from scsiemu.target import Target


class Reacher(SmallServer):
    """Fills the beginning of another unit."""

    other = 1 << 48

    @operation(0x11, "REACH", SIX)
    def reach(self, command: Command, cdb: CdbFields) -> Steps:
        yield from Elsewhere(self.unit.target.units[self.other], Fill(0, 1024, b"ab"))
        return Completion()


def test_elsewhere_is_emulated_there() -> None:
    """A Fill that the other store lacks becomes writes to the other store, none to our own."""
    asked: dict[str, list[str]] = {"own": [], "other": []}

    def performer(name: str) -> object:
        def perform(request: object, ticket: object) -> None:
            asked[name].append(type(request).__name__)

        return perform

    target = Target("iqn.2026-11.test:reach")
    target.add_unit(0, Reacher(), performer=performer("own"))
    target.add_unit(1, SmallServer(), performer=performer("other"), capabilities=lambda: StoreCapabilities(1 << 20))
    nexus = target.nexus_established(InitiatorPort("i", b"i" * 24), TargetPort("t"))
    nexus.units[0].attentions.clear()

    target.submit(Command(nexus, 0, SIX.build(opcode=0x11)))

    completion = target.next_completion()
    assert completion is not None
    assert completion.status == 0
    assert asked == {"own": [], "other": ["Write"]}


def test_elsewhere_holds_up_unit_removed() -> None:
    """A removed unit's stores can be closed when no command of another unit waits for them either, not before."""
    asked: list[Ticket] = []

    def perform(request: object, ticket: Ticket) -> Pending:
        asked.append(ticket)
        return PENDING

    target = Target("iqn.2026-11.test:reach")
    target.add_unit(0, Reacher(), performer=perform)
    target.add_unit(1, SmallServer(), performer=perform, capabilities=lambda: StoreCapabilities(1 << 20, fill=True))
    nexus = target.nexus_established(InitiatorPort("i", b"i" * 24), TargetPort("t"))
    nexus.units[0].attentions.clear()
    target.submit(Command(nexus, 0, SIX.build(opcode=0x11)))

    def removed() -> list[object]:
        events = []
        while (event := target.next_event()) is not None:
            events.append(event)
        return [event.unit.lun for event in events if isinstance(event, UnitRemoved)]

    target.remove_unit(1)
    assert removed() == []
    target.complete(asked[0], None)

    assert removed() == [1 << 48]
    completion = target.next_completion()
    assert completion is not None
    assert completion.status == 0
