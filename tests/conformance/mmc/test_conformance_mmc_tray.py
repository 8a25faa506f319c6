"""The tray, who prevents removal, unit attentions, what the mechanism tells."""

from __future__ import annotations

import pytest
from conformance import clause
from mmc_drive import (
    OPEN,
    Drive,
    disc,
    load_unload,
    mechanism_status,
    play,
    prevent,
    read_10,
    read_capacity,
    read_disc_information,
    read_toc,
    start_stop,
)

from scsiemu import asc
from scsiemu.sense import SenseKey

READY = bytes(6)
CHANGED = asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
PREVENTED = asc.MEDIUM_REMOVAL_PREVENTED
EJECT = start_stop(loej=1)
LOAD = start_stop(loej=1, start=1)


# --- START STOP UNIT, LOAD/UNLOAD ------------------------------------------------------------------------------------


@clause("MMC-6 6.42")
def test_eject_opens_the_tray(drive: Drive) -> None:
    """LOEJ with START zero opens the tray: MEDIUM NOT PRESENT, TRAY OPEN."""
    drive.good(EJECT)

    drive.refused(READY, OPEN)


@clause("MMC-6 6.42")
def test_eject_twice(drive: Drive) -> None:
    """Opening an open tray is no error."""
    drive.good(EJECT)

    drive.good(EJECT)


@clause("MMC-6 6.42")
def test_eject_immediately(drive: Drive) -> None:
    """With IMMED the tray opens, too."""
    drive.good(start_stop(loej=1, immed=1))

    drive.refused(READY, OPEN)


@clause("MMC-6 6.42")
def test_load_makes_ready(drive: Drive) -> None:
    """LOEJ with START closes the tray; when the command has ended the disc is ready."""
    drive.good(EJECT)
    drive.good(LOAD)
    drive.unit.attentions()

    drive.good(READY)


@clause("MMC-6 6.42")
def test_load_of_a_closed_tray(drive: Drive) -> None:
    """Loading what is loaded is no error and changes nothing."""
    before = drive.read(read_toc())
    drive.good(LOAD)

    assert drive.read(read_toc()) == before


@clause("MMC-6 6.42")
def test_load_immediately(drive: Drive) -> None:
    """With IMMED the command ends at once; until the disc is read in the drive is becoming ready."""
    drive.good(EJECT)
    drive.good(start_stop(loej=1, start=1, immed=1))
    code = drive.execute(READY).code

    assert code is None or code in (CHANGED, asc.LOGICAL_UNIT_IS_IN_PROCESS_OF_BECOMING_READY)
    drive.settle()


@disc("none")
@clause("MMC-6 6.42")
def test_load_without_a_disc(drive: Drive) -> None:
    """An empty tray closes: MEDIUM NOT PRESENT, TRAY CLOSED."""
    drive.good(EJECT)
    drive.refused(READY, OPEN)
    drive.good(LOAD)

    drive.refused(READY, asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED)


@clause("MMC-6 6.42")
def test_start_with_the_tray_open(drive: Drive) -> None:
    """START without LOEJ leaves the tray where it is: not ready."""
    drive.good(EJECT)

    drive.refused(start_stop(start=1), OPEN)


@clause("MMC-6 6.42")
def test_stop_and_read(drive: Drive) -> None:
    """A disc that was stopped is read all the same: it spins up by itself."""
    before = drive.read(read_10(0))
    drive.good(start_stop())

    assert drive.read(read_10(0)) == before


@pytest.mark.parametrize("cdb", [start_stop(fl=1, start=1), start_stop(layer=1, start=1)], ids=["FL", "layer"])
@clause("MMC-6 6.42")
def test_start_hybrid_layers(drive: Drive, cdb: bytes) -> None:
    """FL and FORMAT-LAYER NUMBER are for hybrid discs: INVALID FIELD IN CDB without the feature."""
    if any(feature.code == 0x80 for feature in drive.features()):
        drive.unit.not_supported("the drive has hybrid discs")

    drive.invalid(cdb)


@clause("MMC-6 6.42")
def test_start_reserved_power_condition(drive: Drive) -> None:
    """POWER CONDITIONS 1h, 4h and Fh are reserved."""
    for power in (1, 4, 0xF):
        drive.invalid(start_stop(power=power))


@clause("MMC-6 6.9")
def test_load_unload_moves_the_tray(drive: Drive) -> None:
    """LOAD/UNLOAD MEDIUM of slot 0 of a drive without changer opens and closes the tray."""
    drive.good(load_unload(loej=1))
    drive.refused(READY, OPEN)
    drive.good(load_unload(loej=1, start=1))
    drive.unit.attentions()

    drive.good(READY)


@clause("MMC-6 6.9")
def test_load_unload_slot(drive: Drive) -> None:
    """There is no other slot."""
    drive.invalid(load_unload(loej=1, start=1, slot=1))


@clause("MMC-6 6.42")
def test_tray_open_is_not_ready(drive: Drive) -> None:
    """What needs a disc is refused with the tray open, and what needs none is performed."""
    drive.good(EJECT)
    for cdb in (read_10(0), read_capacity(), read_toc(), read_disc_information()):
        drive.refused(cdb, OPEN)

    drive.good(bytes((0x12, 0, 0, 0, 96, 0)), data_in=96)
    drive.good(mechanism_status(), data_in=8)
    assert drive.page(0x2A)


@clause("SPC-5 6.39")
def test_request_sense_tells_the_tray(drive: Drive) -> None:
    """REQUEST SENSE has why the drive is not ready, and status GOOD."""
    drive.good(EJECT)
    sense = drive.read(bytes((3, 0, 0, 0, 252, 0)))

    assert (sense[2] & 0xF, sense[12], sense[13]) == (SenseKey.NOT_READY, 0x3A, 0x02)


# --- PREVENT ALLOW ---------------------------------------------------------------------------------------------------


@clause("MMC-6 6.13")
def test_prevent_eject(drive: Drive) -> None:
    """While removal is prevented the tray stays closed: MEDIUM REMOVAL PREVENTED."""
    drive.good(prevent(1))
    drive.refused(EJECT, PREVENTED)
    drive.good(READY)
    drive.good(prevent(0))

    drive.good(EJECT)


@clause("MMC-6 6.13")
def test_prevent_unload(drive: Drive) -> None:
    """The same for LOAD/UNLOAD MEDIUM."""
    drive.good(prevent(1))

    drive.refused(load_unload(loej=1), PREVENTED)


@clause("MMC-6 6.13")
def test_prevent_eject_of_another(drive: Drive) -> None:
    """One nexus that prevents is enough, and only itself ends that."""
    other = drive.another()
    other.good(prevent(1))
    drive.good(prevent(0))

    drive.refused(EJECT, PREVENTED)
    other.good(prevent(0))
    drive.good(EJECT)


@clause("MMC-6 6.13")
def test_prevent_ends_with_reset(drive: Drive) -> None:
    """A LOGICAL UNIT RESET ends it."""
    drive.good(prevent(1))
    drive.unit.reset()
    drive.unit.attentions()

    drive.good(EJECT)


@clause("MMC-6 6.13")
def test_prevent_ends_with_the_nexus(drive: Drive) -> None:
    """The loss of the nexus that prevents ends it."""
    other = drive.another()
    other.good(prevent(1))
    drive.refused(EJECT, PREVENTED)
    other.unit.close()

    drive.good(EJECT)


@clause("MMC-6 6.13")
def test_prevent_twice(drive: Drive) -> None:
    """Preventing is no count: one allow ends it."""
    drive.good(prevent(1))
    drive.good(prevent(1))
    drive.good(prevent(0))

    drive.good(EJECT)


@clause("MMC-6 6.13")
def test_prevent_persistently(drive: Drive) -> None:
    """The persistent prevent state stays when the ordinary one is allowed, and ends by 10b."""
    drive.good(prevent(3))
    drive.good(prevent(0))
    drive.refused(EJECT, PREVENTED)
    drive.good(prevent(2))

    drive.good(EJECT)


@clause("MMC-6 6.13")
def test_prevent_persistently_of_two(drive: Drive) -> None:
    """The persistent prevent state has one holder: PERSISTENT PREVENT CONFLICT for another nexus."""
    other = drive.another()
    drive.good(prevent(3))

    other.refused(prevent(3), asc.PERSISTENT_PREVENT_CONFLICT)


@clause("MMC-6 7.11")
def test_prevent_is_in_page_2a(drive: Drive) -> None:
    """LOCK STATE of page 2Ah is one while removal is prevented."""
    assert not drive.page(0x2A)[6] & 2
    drive.good(prevent(1))

    assert drive.page(0x2A)[6] & 2


# --- unit attentions -------------------------------------------------------------------------------------------------


@clause("MMC-6 4.1.6")
def test_attention_of_a_changed_medium(drive: Drive) -> None:
    """Another nexus gets NOT READY TO READY CHANGE once when the tray has gone out and in."""
    other = drive.another()
    drive.good(EJECT)
    drive.good(LOAD)

    other.refused(read_10(0), CHANGED)
    assert other.unit.attentions() == []
    other.read(read_10(0))


@clause("SPC-5 5.11")
def test_attention_after_reset(drive: Drive) -> None:
    """A reset is a unit attention of ASC 29h."""
    drive.unit.reset()

    assert [code.asc for code in drive.unit.attentions()] == [0x29]


# --- MECHANISM STATUS ------------------------------------------------------------------------------------------------


@clause("MMC-6 6.10")
def test_mechanism_status(drive: Drive) -> None:
    """No fault, door closed, idle, no slots."""
    data = drive.read(mechanism_status())

    assert (len(data), data[0] & 0x80, data[1] & 0xF0, data[5]) == (8, 0, 0, 0)
    assert data[6:8] == bytes(2)


@clause("MMC-6 6.10")
def test_mechanism_status_door(drive: Drive) -> None:
    """DOOR OPEN is one while the tray is out."""
    drive.good(EJECT)

    assert drive.read(mechanism_status())[1] & 0x10


@disc("cd-audio")
@clause("MMC-6 6.10")
def test_mechanism_status_playing(drive: Drive) -> None:
    """While audio is played the mechanism state is 1 and the address is in what is played."""
    drive.good(play(100, 800))
    data = drive.read(mechanism_status())

    assert data[1] >> 5 == 1
    assert 100 <= int.from_bytes(data[2:5], "big") < 900


@clause("MMC-6 6.10")
def test_mechanism_status_allocation_length(drive: Drive) -> None:
    """ALLOCATION LENGTH cuts the data."""
    assert drive.read(mechanism_status(3)) == drive.read(mechanism_status())[:3]
