"""Events that no command makes: the button in front, and work that goes on when its command has ended."""

from __future__ import annotations

from typing import Any

import pytest
from test_vmmc_recording import Burner
from vmmc_bench import BLOCK, Bench, image

from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.io_requests import PENDING, Read, Write
from scsiemu.testing.initiator import Initiator

CHANGE, POWER, EXTERNAL, MEDIA, INITIATORS, BUSY = (1 << number for number in range(1, 7))
ROOM = 4096


def events(initiator: Initiator, classes: int) -> list[str]:
    """What is waiting, as hexadecimal digits."""
    found = []
    while (told := now(initiator, classes))[0] & 0xF:
        found.append(told.hex())
    return found


def now(initiator: Initiator, classes: int) -> bytes:
    """The next descriptor."""
    fields = {"polled": 1, "classes": classes, "allocation_length": 8}
    result = initiator.command("GET EVENT STATUS NOTIFICATION", **fields)
    assert result.good
    return result.data[4:]


@pytest.mark.parametrize(("mode", "external"), [(1, ["01000000", "01000000"]), (3, ["01800000", "01810000"])],
                         ids=["plain", "persistent"])
def test_events_button_while_prevented(mode: int, external: list[str]) -> None:
    """The button opens nothing then: every nexus gets an eject request instead of a removal, and that a key was
    pressed; a nexus that has not control is told so."""
    bench = Bench()
    nexuses = (bench.initiator, bench.another())
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=mode).good
    bench.drive.press_eject()

    assert [events(each, MEDIA) for each in nexuses] == [["01020000"]] * 2
    assert [events(each, EXTERNAL) for each in nexuses] == [[each] for each in external]
    assert [events(each, CHANGE) for each in nexuses] == [[], []]
    assert bench.do("TEST UNIT READY").good


def test_events_button() -> None:
    """Without prevention the button opens the tray, a push closes it: removal and new medium, features that change."""
    bench = Bench()
    bench.drive.press_eject()
    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT_TRAY_OPEN
    bench.drive.press_load()

    assert events(bench.initiator, MEDIA) == ["03010000", "02020000"]
    assert events(bench.initiator, CHANGE) == ["02000001"] * 2
    assert events(bench.initiator, EXTERNAL) == []


def test_events_change_while_prevented_persistently() -> None:
    """A changer that takes the disc from another slot does not ask: the change of features has the persistent bit."""
    bench = Bench()
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=3).good
    bench.drive.remove()
    bench.drive.insert("disc")

    assert events(bench.initiator, CHANGE) == ["02800001"] * 2


def test_events_busy() -> None:
    """Work that goes on begins and ends with an event of class 6 for each nexus; meanwhile the time that is left is
    told, in tenths of a second."""
    store = open_store(size=stored_size(KINDS["cd-rw"], ROOM))
    bench = Bench(store, blank="cd-rw", long_seconds=20.0)
    nexuses = (bench.initiator, bench.another())
    assert bench.do("BLANK", type=1, immed=1).good
    assert [now(each, BUSY).hex() for each in nexuses] == ["010200c8"] * 2
    bench.target.advance(bench.target.now + 5)
    assert [now(each, BUSY).hex() for each in nexuses] == ["00020096"] * 2
    assert bench.do("TEST UNIT READY").code == asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS
    bench.target.advance(bench.target.now + 16)

    assert [events(each, BUSY) for each in nexuses] == [["01000000"]] * 2
    assert now(bench.initiator, BUSY) == bytes(4)
    assert bench.do("TEST UNIT READY").good


def test_events_button_while_busy() -> None:
    """A disc that is being blanked does not come out: the button makes an eject request."""
    store = open_store(size=stored_size(KINDS["cd-rw"], ROOM))
    bench = Bench(store, blank="cd-rw", long_seconds=20.0)
    assert bench.do("BLANK", type=1, immed=1).good
    bench.drive.press_eject()
    assert events(bench.initiator, MEDIA) == ["01020000"]
    bench.target.advance(bench.target.now + 21)
    assert bench.do("TEST UNIT READY").good
    bench.drive.press_eject()

    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT_TRAY_OPEN


@pytest.mark.parametrize("action", ["release", "close", "preempt"])
def test_events_control_is_told_however_it_ends(action: str) -> None:
    """The persistent prevent state ends by its holder, with its nexus, or because that is preempted."""
    bench = Bench()
    other = bench.another()
    if action == "preempt":
        for each, key in ((bench.initiator, 1), (other, 2)):
            data = bytes(8) + key.to_bytes(8, "big") + bytes(8)
            assert each.command("PERSISTENT RESERVE OUT (REGISTER)", data_out=data).good
    assert other.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=3).good
    assert events(bench.initiator, INITIATORS) == ["02810000"]
    if action == "release":
        assert other.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=2).good
    elif action == "close":
        other.close()
    else:
        data = (1).to_bytes(8, "big") + (2).to_bytes(8, "big") + bytes(8)
        name = "PERSISTENT RESERVE OUT (PREEMPT AND ABORT)"
        assert bench.initiator.command(name, data_out=data, type=1).good

    assert events(bench.initiator, INITIATORS) == ["03000000"]
    assert bench.do("START STOP UNIT", loej=1).good


def test_events_queue_is_bounded() -> None:
    """A nexus that never asks costs no more than the newest events of each class."""
    bench = Bench()
    silent = bench.another()
    for _ in range(50):
        bench.drive.press_eject()
        bench.drive.press_load()

    assert len(events(silent, MEDIA)) == 16


class Held:
    """A performer that keeps requests of a kind waiting while it is told to."""

    def __init__(self, bench: Bench, kind: type) -> None:
        self.bench = bench
        self.kind = kind
        self.waiting: list[tuple[Any, Any]] | None = None
        bench.drive.unit.performer = self.submit

    def submit(self, request: Any, ticket: Any) -> Any:
        if self.waiting is None or not isinstance(request, self.kind):
            return self.bench.store.submit(request, ticket)
        self.waiting.append((request, ticket))
        return PENDING

    def release(self) -> None:
        """What waits is done."""
        waiting, self.waiting = self.waiting, None
        for request, ticket in waiting or ():
            self.bench.target.complete(ticket, self.bench.store.submit(request, ticket))


def test_events_synchronize_cache() -> None:
    """What goes on behind IMMED keeps the drive busy: nothing is written before the ECC block is filled up."""
    burner = Burner("dvd-r")
    held = Held(burner, Write)
    assert burner.write(0, image(1)) is None
    held.waiting = []
    assert burner.do("SYNCHRONIZE CACHE", immed=1).good
    for name, fields in (("TEST UNIT READY", {}), ("READ TRACK INFORMATION", {"address_type": 1, "address": 1})):
        assert burner.do(name, **fields).code == asc.LOGICAL_UNIT_NOT_READY_LONG_WRITE_IN_PROGRESS
    cdb = burner.initiator.cdb("WRITE(10)", lba=1, transfer_length=16)
    written = burner.initiator.start(0, cdb, image(16))
    held.release()
    assert burner.initiator.finish(written).code == asc.INVALID_ADDRESS_FOR_WRITE

    assert burner.do("TEST UNIT READY").good
    assert burner.track(1)["next"] == 16
    assert burner.write(16, image(16)) is None
    assert burner.data("READ(10)", lba=0, transfer_length=17) == image(1) + bytes(15 * BLOCK) + image(1)


@pytest.mark.parametrize(("name", "fields", "length"), [
    ("READ CD", {"transfer_length": 100, "user_data": 1}, 100 * BLOCK),
    ("READ CD MSF", {"start_s": 2, "end_s": 3, "user_data": 1}, 75 * BLOCK), ("READ HEADER", {}, 8),
    ("READ(10)", {"transfer_length": 8}, 8 * BLOCK),
])
def test_events_disc_stays_while_it_is_read(name: str, fields: dict[str, int], length: int) -> None:
    """A command that ejects waits for those that read the disc."""
    bench = Bench(image(300))
    held = Held(bench, Read)
    held.waiting = []
    initiator = bench.initiator
    reading = initiator.start(0, initiator.cdb(name, data_in=length, **fields), data_in=length)
    ejecting = initiator.start(0, initiator.cdb("START STOP UNIT", loej=1))
    assert not bench.drive.tray.is_open
    held.release()

    assert len(initiator.finish(reading).data) == length
    assert initiator.finish(ejecting).good
    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT_TRAY_OPEN
