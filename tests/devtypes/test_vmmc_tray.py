"""Tray and disc: loading, ejecting, who prevents it, and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from vmmc_bench import Bench, image, store_of

from devtypes.vmmc import OpticalConfig, OpticalDrive
from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.io_requests import PENDING
from scsiemu.media import Mount, Unmount
from scsiemu.sense import CheckCondition
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator

OPEN = asc.MEDIUM_NOT_PRESENT_TRAY_OPEN
CHANGED = asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED


def eject(bench: Bench, **fields: int) -> object:
    """START STOP UNIT that opens the tray."""
    return bench.do("START STOP UNIT", loej=1, **fields).code


def test_tray_eject_and_load() -> None:
    """An open tray is not ready; closing it makes ready, and the other nexuses hear of a medium."""
    bench = Bench()
    other = bench.another()
    assert eject(bench) is None
    assert bench.do("TEST UNIT READY").code == OPEN
    assert bench.data("MECHANISM STATUS", allocation_length=8)[1] == 0x10
    assert bench.do("START STOP UNIT", loej=1, start=1).good

    assert bench.do("TEST UNIT READY").good
    assert other.command("TEST UNIT READY").code == CHANGED
    assert other.command("TEST UNIT READY").good


def test_tray_loading_takes_time() -> None:
    """With IMMED the drive is becoming ready meanwhile."""
    bench = Bench(load_seconds=5.0)
    eject(bench)
    assert bench.do("START STOP UNIT", immed=1, loej=1, start=1).good
    assert bench.do("TEST UNIT READY").code == asc.LOGICAL_UNIT_IS_IN_PROCESS_OF_BECOMING_READY
    bench.target.advance(bench.target.now + 6)

    assert bench.do("TEST UNIT READY").good


def test_tray_prevention_is_for_each_nexus() -> None:
    """While one nexus prevents removal no one ejects; it ends with the nexus that holds it."""
    bench = Bench()
    other = bench.another()
    assert other.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=1).good
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=0).good
    assert eject(bench) == asc.MEDIUM_REMOVAL_PREVENTED
    assert other.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=0).good
    assert eject(bench) is None


def test_tray_persistent_prevention() -> None:
    """The persistent prevent state has one holder, stays when the ordinary one ends, and turns the button into an
    event."""
    bench = Bench()
    other = bench.another()
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=3).good
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=0).good
    assert eject(bench) == asc.MEDIUM_REMOVAL_PREVENTED
    assert other.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=3).code == asc.PERSISTENT_PREVENT_CONFLICT
    bench.drive.press_eject()
    assert events(bench.initiator, 0x10)[4:6] == bytes((1, 2))
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=2).good
    assert eject(bench) is None


def events(initiator: Initiator, classes: int, length: int = 8) -> bytes:
    """GET EVENT STATUS NOTIFICATION."""
    result = initiator.command("GET EVENT STATUS NOTIFICATION", polled=1, classes=classes, allocation_length=length)
    assert result.good
    return result.data


def test_events_are_told_once_to_each_nexus() -> None:
    """Media events come in order, each once; a header alone takes nothing from the queue (MMC-6 6.6)."""
    bench = Bench()
    other = bench.another()
    eject(bench)
    bench.do("START STOP UNIT", loej=1, start=1)
    other.clear_attentions()

    for nexus in (bench.initiator, other):
        assert events(nexus, 0x10, 4)[2] == 4
        told = []
        while (event := events(nexus, 0x10))[4] & 0xF:
            told.append(event[4])
        assert told == [3, 2]
        assert events(nexus, 0x10)[4:6] == bytes((0, 2))


def test_events_asynchronous_is_refused() -> None:
    """POLLED zero is INVALID FIELD IN CDB; no class at all is NEA with the supported ones."""
    bench = Bench()

    assert bench.do("GET EVENT STATUS NOTIFICATION", classes=0x10, allocation_length=8).code == asc.INVALID_FIELD_IN_CDB
    assert events(bench.initiator, 0).hex() == "0002807e"


def test_power_conditions() -> None:
    """START STOP UNIT changes the power state, events tell of it, reading wakes the drive up."""
    bench = Bench()
    assert bench.do("START STOP UNIT", power_condition=3).good
    assert events(bench.initiator, 0x04)[4:6] == bytes((1, 3))
    assert bench.do("READ(10)", lba=0, transfer_length=1).good
    assert events(bench.initiator, 0x04)[5] == 1
    assert bench.do("START STOP UNIT", power_condition=7).code == asc.INVALID_FIELD_IN_CDB


def test_tray_by_hand() -> None:
    """A drive that was begun empty gets its disc; write protection is of the drive and of the disc, and ends with it.
    While a disc is blanked the drive does nothing by hand."""
    bench = Bench(open_store(size=stored_size(KINDS["cd-rw"], 4096)), blank="cd-rw", empty=True, long_seconds=9.0)
    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED
    assert bench.drive.press_load().done
    bench.initiator.clear_attentions()
    assert bench.do("TEST UNIT READY").good
    bench.drive.set_write_protect(True)
    assert bench.do("BLANK", type=1).code == asc.WRITE_PROTECTED
    bench.drive.set_write_protect(False)
    assert bench.do("BLANK", type=1, immed=1).good
    for task in (bench.drive.press_eject(force=True), bench.drive.press_load(), bench.drive.set_write_protect(True)):
        assert task.completion is not None
        assert task.completion.sense is not None
        assert task.completion.sense.code == asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS
    bench.target.advance(bench.target.now + 10)

    assert bench.do("TEST UNIT READY").good


class SlowShelf:
    """A shelf of two discs, and a drive whose requests to mount and unmount are answered when the test says so."""

    def __init__(self) -> None:
        self.store = Shelf({"one": store_of(image(64)), "two": store_of(image(64))}).drive()
        self.target = Target("iqn.2026-11.org.example:vmmc")
        self.drive = OpticalDrive(OpticalConfig(empty=True, shelf=True))
        self.waiting: list[tuple[Any, Any]] = []
        self.target.add_unit(0, self.drive, performer=self.submit, capabilities=lambda: self.store.capabilities)
        self.initiator = Initiator(self.target)
        self.initiator.clear_attentions()

    def submit(self, request: Any, ticket: Any) -> Any:
        """The performer."""
        if isinstance(request, (Mount, Unmount)):
            self.waiting.append((request, ticket))
            return PENDING
        return self.store.submit(request, ticket)

    def go_on(self) -> str:
        """Answer the oldest, and let some time pass; what it was."""
        request, ticket = self.waiting.pop(0)
        self.target.complete(ticket, self.store.submit(request, ticket))
        self.target.advance(self.target.now + 1)
        return repr(request)


def test_tray_waits_for_the_disc_before() -> None:
    """A disc that is put in while the shelf still takes the one before back is mounted behind that. Until then the
    drive gives no disc to a changer."""
    shelf = SlowShelf()
    shelf.drive.insert("one")
    assert shelf.go_on() == "Mount('one')"
    shelf.initiator.clear_attentions()
    ejecting = shelf.initiator.start(0, bytes((0x1B, 0, 0, 0, 2, 0)))
    with pytest.raises(CheckCondition) as refused:
        shelf.drive.check_removal(ejecting.command)
    assert refused.value.sense.code == asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT
    assert shelf.drive.remove() == "one"
    shelf.drive.insert("two")
    assert [shelf.go_on(), shelf.go_on()] == ["Unmount()", "Mount('two')"]

    shelf.initiator.clear_attentions()
    assert shelf.initiator.command("TEST UNIT READY").good


def test_tray_opened_while_the_shelf_mounts() -> None:
    """A load that was abandoned gives the disc back to the shelf when that has brought it."""
    shelf = SlowShelf()
    shelf.drive.insert("one")
    assert shelf.initiator.start(0, bytes((0x1B, 0, 0, 0, 2, 0)))
    assert shelf.drive.tray.is_open
    assert [shelf.go_on(), shelf.go_on()] == ["Mount('one')", "Unmount()"]
    assert shelf.initiator.command("START STOP UNIT", loej=1, start=1, immed=1).good
    assert shelf.go_on() == "Mount('one')"

    shelf.initiator.clear_attentions()
    assert shelf.initiator.command("TEST UNIT READY").good
