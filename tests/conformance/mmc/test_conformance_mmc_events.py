"""GET EVENT STATUS NOTIFICATION: every class, a queue for each nexus; power conditions, which events tell of."""

from __future__ import annotations

import pytest
from conformance import clause
from mmc_drive import Drive, event, prevent, read_10, start_stop

EJECT = start_stop(loej=1)
LOAD = start_stop(loej=1, start=1)
CHANGE, POWER, EXTERNAL, MEDIA, INITIATORS, BUSY = (1 << number for number in range(1, 7))
NEW_MEDIA, REMOVAL = 2, 3


@clause("MMC-6 6.6.2")
def test_events_asynchronous(drive: Drive) -> None:
    """POLLED zero is refused where there is no asynchronous operation."""
    drive.invalid(event(MEDIA, polled=0))


@clause("MMC-6 6.6.3")
def test_events_no_class(drive: Drive) -> None:
    """No class that is supported: NEA one, and the header alone with the classes that are."""
    data = drive.read(event(0))

    assert data == bytes((0, 2, 0x80, data[3]))
    assert data[3] & (CHANGE | POWER | EXTERNAL | MEDIA | BUSY) == CHANGE | POWER | EXTERNAL | MEDIA | BUSY


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
@clause("MMC-6 6.6.3")
def test_events_of_each_class(drive: Drive, number: int) -> None:
    """Without an event a class answers with event code 0; the header has its number and the length of what follows."""
    drive.events(1 << number)
    data = drive.read(event(1 << number))

    assert data[:3] == bytes((0, 6, number))
    assert (len(data), data[4] & 0xF) == (8, 0)


@clause("MMC-6 6.6.3")
def test_events_reserved_class(drive: Drive) -> None:
    """A reserved class alone has no events available."""
    assert drive.read(event(0x81))[2] & 0x80


@clause("MMC-6 6.6.3")
def test_events_media_present(drive: Drive) -> None:
    """Media status: bit 1 a medium is present, bit 0 the tray is open."""
    drive.events(MEDIA)
    assert drive.event(MEDIA)[1][1] & 3 == 2
    drive.good(EJECT)
    drive.events(MEDIA)

    assert drive.event(MEDIA)[1][1] & 3 == 1


@clause("MMC-6 6.6.3")
def test_events_of_eject_and_load(drive: Drive) -> None:
    """The tray that opens and closes is told as media removal and new media, in this order, each once."""
    drive.events(MEDIA)
    drive.good(EJECT)
    drive.good(LOAD)

    assert [told[0] & 0xF for _, told in drive.events(MEDIA)] == [REMOVAL, NEW_MEDIA]
    assert drive.events(MEDIA) == []


@clause("MMC-6 6.6.1")
def test_events_for_each_nexus(drive: Drive) -> None:
    """Every nexus is told, also when another one has fetched the event."""
    other = drive.another()
    drive.events(MEDIA)
    other.events(MEDIA)
    drive.good(EJECT)

    for each in (drive, other):
        assert [told[0] & 0xF for _, told in each.events(MEDIA)] == [REMOVAL]


@clause("MMC-6 6.6.2")
def test_events_header_alone(drive: Drive) -> None:
    """ALLOCATION LENGTH 4 returns the header and takes nothing from the queue."""
    drive.events(MEDIA)
    drive.good(EJECT)
    header = drive.read(event(MEDIA, length=4))

    assert header[2] == 4
    assert [told[0] & 0xF for _, told in drive.events(MEDIA)] == [REMOVAL]


@clause("MMC-6 6.6.1")
def test_events_of_features(drive: Drive) -> None:
    """With the medium features change: class 1 tells it, as change code 1."""
    drive.events(CHANGE)
    drive.good(EJECT)
    number, told = drive.event(CHANGE)

    assert (number, told[0] & 0xF) == (1, 2)
    assert int.from_bytes(told[2:4], "big") == 1


@clause("MMC-6 6.6.1")
def test_events_lowest_class_first(drive: Drive) -> None:
    """Of several classes with events the one of the lowest number is told first."""
    drive.events(CHANGE | MEDIA)
    drive.good(EJECT)

    assert [number for number, _ in drive.events(CHANGE | MEDIA)] == [1, 4]


@clause("MMC-6 6.6.1")
def test_events_skip_classes_without(drive: Drive) -> None:
    """A class without an event does not hide one of a higher number."""
    drive.events(CHANGE | POWER | MEDIA)
    drive.good(EJECT)
    drive.events(CHANGE)

    assert drive.event(POWER | MEDIA)[0] == 4


@clause("MMC-6 6.6.1")
def test_events_leave_attention(drive: Drive) -> None:
    """The command neither reports nor clears a unit attention."""
    drive.unit.reset()
    drive.read(event(MEDIA))

    assert drive.unit.attentions()


@clause("MMC-6 6.6.3")
def test_events_busy(drive: Drive) -> None:
    """A drive that does nothing is not busy, for no time."""
    drive.events(BUSY)

    assert drive.event(BUSY)[1] == bytes(4)


@pytest.mark.parametrize(("condition", "state"), [(2, 2), (3, 3), (5, 4)], ids=["idle", "standby", "sleep"])
@clause("MMC-6 6.6.3")
def test_events_of_power(drive: Drive, condition: int, state: int) -> None:
    """A power condition of START STOP UNIT is told: changed, and the state that was reached."""
    drive.events(POWER)
    drive.good(start_stop(power=condition))
    told = [told[:2] for _, told in drive.events(POWER)]

    assert told == [bytes((1, state))]


@clause("MMC-6 4.1.5")
def test_power_read_wakes(drive: Drive) -> None:
    """Reading brings a drive in standby back to active."""
    drive.good(start_stop(power=3))
    drive.read(read_10(0))
    drive.events(POWER)

    assert drive.event(POWER)[1][1] == 1


@clause("MMC-6 6.13")
def test_prevent_persistently_is_told(drive: Drive) -> None:
    """The operational change class says whether removal is prevented persistently."""
    drive.events(CHANGE)
    assert not drive.event(CHANGE)[1][1] & 0x80
    drive.good(prevent(3))

    assert drive.event(CHANGE)[1][1] & 0x80


# --- the persistent prevent state, and who has control ---------------------------------------------------------------

PERSISTENT = 0x80
PREVENTED = 1
REQUEST, GRANT, RELEASE = 1, 2, 3


@pytest.mark.parametrize("classes", [CHANGE, EXTERNAL, INITIATORS], ids=["change", "external", "initiators"])
@clause("MMC-6 6.6.3")
def test_events_persistent_prevented_bit(drive: Drive, classes: int) -> None:
    """PERSISTENT PREVENTED is bit 7 of the status of three classes: while a nexus holds that state, for all of them."""
    other = drive.another()
    told = []
    for mode in (0, 3, 1, 0, 2):
        drive.good(prevent(mode))
        for each in (drive, other):
            each.events(classes)
        told.append([each.event(classes)[1][1] & PERSISTENT for each in (drive, other)])

    assert told == [[0, 0], *[[PERSISTENT] * 2] * 3, [0, 0]]


@clause("MMC-6 6.6.3")
def test_events_prevented_in_media(drive: Drive) -> None:
    """Bits 7 to 2 of the media status are reserved, also while removal is prevented persistently."""
    drive.good(prevent(3))
    drive.events(MEDIA)

    assert drive.event(MEDIA)[1] == bytes((0, 2, 0, 0))


@pytest.mark.parametrize("mode", [1, 3], ids=["plain", "persistent"])
@clause("MMC-6 6.6.3")
def test_events_of_a_refused_eject(drive: Drive, mode: int) -> None:
    """An eject that is refused is no media removal, no request of an operator and no change of features."""
    other = drive.another()
    other.good(prevent(mode))
    for each in (drive, other):
        each.events(CHANGE | EXTERNAL | MEDIA)
    assert not drive.execute(EJECT).good

    for each in (drive, other):
        assert each.events(CHANGE | EXTERNAL | MEDIA) == []
        assert each.event(MEDIA)[1][1] == 2


@clause("MMC-6 6.6.3")
def test_events_of_control(drive: Drive) -> None:
    """Who takes the persistent prevent state and gives it back is told to the other nexus, in this order, each once."""
    other = drive.another()
    for each in (drive, other):
        each.events(INITIATORS)
    drive.good(prevent(3))
    drive.good(prevent(2))

    assert [told for _, told in other.events(INITIATORS)] == [
        bytes((GRANT, PERSISTENT | PREVENTED, 0, 0)), bytes((RELEASE, 0, 0, 0)),
    ]
    assert other.events(INITIATORS) == drive.events(INITIATORS) == []


@clause("MMC-6 6.6.3")
def test_events_of_control_that_is_requested(drive: Drive) -> None:
    """A nexus that is refused the persistent prevent state requests control: the one that has it hears of that."""
    other = drive.another()
    drive.good(prevent(3))
    for each in (drive, other):
        each.events(INITIATORS)
    assert not other.execute(prevent(3)).good

    (number, told), = drive.events(INITIATORS)
    assert (number, told[:2]) == (5, bytes((REQUEST, PERSISTENT)))
    assert other.events(INITIATORS) == []


@clause("MMC-6 6.6.3")
def test_events_of_control_status(drive: Drive) -> None:
    """Status 1, prevented, is for the nexus that has not control; ready, 0, for the one that has it."""
    other = drive.another()
    drive.good(prevent(3))
    for each in (drive, other):
        each.events(INITIATORS | EXTERNAL)

    for classes in (INITIATORS, EXTERNAL):
        assert drive.event(classes)[1][1] & 0xF == 0
        assert other.event(classes)[1][1] & 0xF == PREVENTED


@clause("MMC-6 6.6.3")
def test_events_of_control_that_is_lost(drive: Drive) -> None:
    """The nexus that had control is lost: the others hear of the release."""
    other = drive.another()
    other.good(prevent(3))
    drive.events(INITIATORS)
    other.unit.close()

    assert [told[0] & 0xF for _, told in drive.events(INITIATORS)] == [RELEASE]


@clause("MMC-6 6.6.3")
def test_events_of_control_that_a_reset_ends(drive: Drive) -> None:
    """A reset ends the persistent prevent state: the other nexus hears of the release."""
    other = drive.another()
    drive.good(prevent(3))
    other.events(INITIATORS)
    other.unit.reset()

    assert [told[0] & 0xF for _, told in other.events(INITIATORS)] == [RELEASE]
    other.unit.attentions()


@pytest.mark.parametrize("classes", [CHANGE, POWER, MEDIA], ids=["change", "power", "media"])
@clause("MMC-6 6.6.1")
def test_events_queue_of_each_nexus(drive: Drive, classes: int) -> None:
    """Every nexus has a queue of its own for the class: it is told all events in order, whenever it asks."""
    other = drive.another()
    for each in (drive, other):
        each.events(classes)
    for _ in range(2):
        drive.good(EJECT)
        drive.good(LOAD)
        drive.good(start_stop(power=2))
        drive.good(start_stop(power=3))
    first = drive.events(classes)

    assert len(first) == 4
    assert other.events(classes) == first
    other.unit.attentions()


@clause("MMC-6 6.6.1")
def test_events_of_a_new_nexus(drive: Drive) -> None:
    """A nexus that comes later has missed nothing."""
    drive.good(EJECT)
    drive.good(LOAD)
    drive.good(prevent(3))
    other = drive.another()

    assert other.events(CHANGE | POWER | EXTERNAL | MEDIA | INITIATORS | BUSY) == []
