"""The tape drive as a whole: that its cartridge outlives it, media that move, write protection, deferred errors."""

from __future__ import annotations

from typing import Any

import pytest
from vt_bench import Bench, add_drive
from vt_store import SpoiledStore

from devtypes.vt import TapeConfig, TapeDrive
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Flush, Write
from scsiemu.logical_unit import BackgroundTask
from scsiemu.media import AttendedDrive, MediumDrive
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, SenseCode
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator


def test_drive_cartridge_outlives_it() -> None:
    """What was written is there for the next drive that gets the store."""
    store = open_store(size=1 << 20)
    first = Bench(store=store)
    first.write(b"kept")
    first.mark()
    second = Bench(store=store)

    assert second.read(4).data == b"kept"
    assert second.read(4).code == asc.FILEMARK_DETECTED


def test_drive_leaves_what_is_no_cartridge() -> None:
    """A store that holds something else is not written to; commands say that the format is not known."""
    store = open_store(size=1 << 20)
    store.submit(Write(0, 5, b"#!/bi"), None)  # type: ignore[arg-type]  # the ticket is opaque
    bench = Bench(store=store)

    assert bench.do("TEST UNIT READY").code == asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT
    assert bench.write(b"x").status == Status.CHECK_CONDITION
    assert bench.do("LOAD UNLOAD").good
    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT


def _library() -> tuple[Target, Any, TapeDrive, Initiator]:
    """A drive at a shelf with two cartridges."""
    shelf = Shelf({name: open_store(size=1 << 20) for name in ("A00001", "A00002")})
    target = Target("iqn.2026-11.org.example:library")
    store = shelf.drive()
    drive = TapeDrive(TapeConfig(shelf=True))
    target.add_unit(0, drive, performer=store.submit, capabilities=lambda: store.capabilities)
    return target, store, drive, Initiator(target)


def test_drive_takes_cartridges_from_a_shelf() -> None:
    """An empty drive is not ready; a cartridge that is put in is loaded, and every nexus hears of it."""
    _, _, drive, initiator = _library()
    assert isinstance(drive, MediumDrive)
    assert initiator.command("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT
    drive.insert("A00001")

    assert initiator.command("TEST UNIT READY").code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert initiator.command("TEST UNIT READY").good
    assert initiator.command("WRITE(6)", transfer_length=3, data_out=b"one").good
    assert drive.medium == "A00001"


def test_drive_gives_up_a_cartridge_when_it_is_unloaded() -> None:
    """A loaded cartridge cannot be taken; after LOAD UNLOAD it can, and another drive may have it."""
    _, _, drive, initiator = _library()
    drive.insert("A00001")
    initiator.clear_attentions()
    command = initiator.start(0, bytes(6)).command
    with pytest.raises(CheckCondition) as refused:
        drive.check_removal(command)
    assert refused.value.sense.code == asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT
    assert initiator.command("LOAD UNLOAD").good
    drive.check_removal(command)
    assert drive.remove() == "A00001"
    assert drive.medium is None

    drive.insert("A00002")
    initiator.clear_attentions()
    assert initiator.command("TEST UNIT READY").good


def test_drive_by_hand() -> None:
    """An operator unloads a cartridge and pushes it in again: NOT READY without it, every nexus hears of it then. A
    nexus that prevents removal is obeyed, unless by force; the cartridge has a tab while it is in the drive."""
    _, _, drive, initiator = _library()
    assert isinstance(drive, AttendedDrive)
    assert _refused(drive.press_eject()) == _refused(drive.press_load()) == asc.MEDIUM_NOT_PRESENT
    drive.insert("A00001")
    initiator.clear_attentions()
    assert initiator.command("WRITE(6)", transfer_length=3, data_out=b"one").good
    assert initiator.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=1).good
    assert _refused(drive.press_eject()) == asc.MEDIUM_REMOVAL_PREVENTED
    assert initiator.command("TEST UNIT READY").good
    assert _refused(drive.press_eject(force=True)) is None
    assert initiator.command("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT
    assert _refused(drive.set_write_protect(True)) == asc.MEDIUM_NOT_PRESENT
    assert _refused(drive.press_load()) is None

    assert initiator.command("TEST UNIT READY").code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert initiator.command("READ(6)", transfer_length=3, data_in=3).data == b"one"
    assert _refused(drive.press_load()) is None
    assert initiator.command("READ POSITION").data[7] == 1


def test_drive_by_hand_waits_for_commands() -> None:
    """A cartridge stays until a write has its data and is on the medium; what comes behind it finds none."""
    bench = Bench()
    writing = bench.initiator.start(0, bytes((0x0A, 0, 0, 0, 3, 0)), b"one", solicited=True)
    ejecting = bench.drive.press_eject()
    reading = bench.initiator.start(0, bytes((0x08, 0, 0, 0, 3, 0)))
    assert not ejecting.done

    assert bench.initiator.finish(writing).good
    assert _refused(ejecting) is None
    assert bench.initiator.finish(reading).code == asc.MEDIUM_NOT_PRESENT
    assert not bench.unit.background


def _refused(task: BackgroundTask) -> SenseCode | None:
    """What something that was done by hand was refused with."""
    assert task.completion is not None
    sense = task.completion.sense
    return None if sense is None else sense.code


def test_drive_flush_that_fails_is_told_later() -> None:
    """WRITE FILEMARKS with IMMED ends at once; that its flush failed is a deferred error of the next command."""
    store = open_store(size=1 << 20)
    failing = False

    def submit(request: Any, ticket: Any) -> Any:
        if failing and isinstance(request, Flush):
            return IoFailed(IoFault.MEDIUM)
        return store.submit(request, ticket)

    target = Target("iqn.2026-11.org.example:vt")
    target.add_unit(0, TapeDrive(), performer=submit, capabilities=lambda: store.capabilities)
    initiator = Initiator(target)
    assert initiator.command("WRITE(6)", transfer_length=1, data_out=b"x").good
    failing = True
    assert initiator.command("WRITE FILEMARKS(6)", filemark_count=1, immed=1).good
    failing = False
    told = initiator.command("REWIND")

    assert told.code == asc.WRITE_ERROR
    assert told.sense is not None
    assert told.sense.deferred
    assert initiator.command("REWIND").good


@pytest.mark.parametrize("name", ["REWIND", "LOAD UNLOAD", "LOCATE(10)", "SPACE(6)", "READ(16)"])
def test_drive_buffered_blocks_that_are_lost_are_told(name: str) -> None:
    """In buffered mode WRITE ends before its block is safe: that it cannot be made so is a deferred error of the next
    command that moves the tape, once, and that is not performed. In unbuffered mode it is the WRITE's own."""
    store = open_store(size=1 << 20)
    failing = False

    def submit(request: Any, ticket: Any) -> Any:
        if failing and isinstance(request, Flush):
            return IoFailed(IoFault.MEDIUM)
        return store.submit(request, ticket)

    target = Target("iqn.2026-11.org.example:vt")
    target.add_unit(0, TapeDrive(), performer=submit, capabilities=lambda: store.capabilities)
    initiator = Initiator(target)
    assert initiator.command("WRITE(6)", transfer_length=1, data_out=b"x").good
    failing = True
    told = initiator.command(name)
    assert (told.code, told.sense and told.sense.deferred) == (asc.WRITE_ERROR, True)
    assert initiator.command("READ POSITION").data[4:8] == bytes((0, 0, 0, 1))
    assert initiator.command("REWIND").good
    assert initiator.command("MODE SELECT(6)", pf=1, data_out=bytes(4)).good            # BUFFERED MODE 0
    told = initiator.command("WRITE(6)", transfer_length=1, data_out=b"x")
    assert (told.code, told.sense and told.sense.deferred) == (asc.WRITE_ERROR, False)


def test_drive_reads_up_to_what_is_unreadable() -> None:
    """READ of many blocks with a bad one among them: those before it are transferred, INFORMATION counts the bad one
    and those behind it, and the tape is behind the bad one (SSC-5 6.4). VERIFY the same, without data."""
    store = SpoiledStore(1 << 20)
    bench = Bench(store=store)
    assert bench.do("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 2, 0))).good
    blocks = [bytes((number,)) * 512 for number in range(8)]
    assert bench.do("WRITE(6)", fixed=1, transfer_length=8, data_out=b"".join(blocks)).good
    bench.rewind()
    store.spoiled = store.now.index(blocks[3]) + 100
    told = bench.do("READ(6)", fixed=1, transfer_length=8)

    assert told.sense is not None
    assert (told.code, told.sense.information) == (asc.UNRECOVERED_READ_ERROR, 5)
    assert (told.data, bench.where()[1]) == (b"".join(blocks[:3]), 4)
    assert bench.do("READ(6)", fixed=1, transfer_length=4).data == b"".join(blocks[4:])
    bench.rewind()
    told = bench.do("VERIFY(6)", fixed=1, verification_length=8)
    assert told.sense is not None
    assert (told.code, told.sense.information, bench.where()[1]) == (asc.UNRECOVERED_READ_ERROR, 5, 4)


def test_drive_write_protection_has_many_causes() -> None:
    """The operator, the tab of the cartridge, SWP and associated write protection refuse writes with DATA PROTECT."""
    assert Bench(write_protect=True).write(b"x").code == asc.HARDWARE_WRITE_PROTECTED
    bench = Bench()
    bench.drive.set_write_protect(True)
    bench.initiator.clear_attentions()
    assert bench.write(b"x").code == asc.WRITE_PROTECTED
    assert bench.do("MODE SENSE(6)").data[2] & 0x80
    bench.drive.set_write_protect(False)
    bench.drive.set_mode_fields(0x10, asocwp=1)
    bench.initiator.clear_attentions()

    assert bench.write(b"x").code == asc.ASSOCIATED_WRITE_PROTECT
    assert bench.do("LOAD UNLOAD").good
    assert bench.do("LOAD UNLOAD", load=1).code in (None, asc.MODE_PARAMETERS_CHANGED)
    bench.initiator.clear_attentions()
    bench.do("LOAD UNLOAD", load=1)
    assert bench.write(b"x").good


def test_drive_write_protection_of_a_nexus() -> None:
    """WP tells a nexus that may not write that it may not."""
    bench = Bench()
    bench.initiator.nexus.units[0].read_only = True

    assert bench.do("MODE SENSE(6)").data[2] & 0x80
    assert bench.write(b"x").code == asc.WRITE_PROTECTED


def test_drive_two_of_them_are_apart() -> None:
    """Each drive has its own cartridge and position."""
    target = Target("iqn.2026-11.org.example:two")
    add_drive(target, 0)
    add_drive(target, 1)
    initiator = Initiator(target)
    assert initiator.command("WRITE(6)", lun=1, transfer_length=1, data_out=b"x").good

    assert initiator.command("READ POSITION", lun=0).data[4:8] == bytes(4)
    assert initiator.command("READ POSITION", lun=1).data[4:8] == b"\0\0\0\1"


def test_read_position_vendor_specific_short_form() -> None:
    """Service action 01h, which Linux asks for by default, is answered like the short form."""
    bench = Bench()
    bench.write(b"block")

    assert bench.do("READ POSITION", service_action=1).data == bench.do("READ POSITION", service_action=0).data
    assert bench.do("READ POSITION", service_action=1).data[4:8] == bytes((0, 0, 0, 1))
