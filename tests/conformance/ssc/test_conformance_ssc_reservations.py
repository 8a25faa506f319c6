"""Reservations of a tape: RESERVE and RELEASE, persistent reservations, and which commands they stop."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from conformance import ConformanceUnit, clause
from ssc_tape import (
    END,
    TEST_UNIT_READY,
    Tape,
    block,
    inquiry,
    load,
    log_sense,
    mode_sense,
    prevent,
    read,
    read_position,
    report_density,
    rewind,
    space,
    write,
)

RESERVE = bytes((0x16, 0, 0, 0, 0, 0))
RELEASE = bytes((0x17, 0, 0, 0, 0, 0))
READ_BLOCK_LIMITS = bytes((0x05, 0, 0, 0, 0, 0))
READ_MEDIA_SERIAL_NUMBER = bytes((0xAB, 1, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0))
READ_KEYS = bytes((0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0))
KEY = 0x1122334455667788

WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS = 1, 3


@pytest.fixture
def second(unit: ConformanceUnit, tape: Tape) -> Iterator[ConformanceUnit]:
    """The unit by another nexus."""
    other = unit.another()
    other.attentions()
    yield other
    other.close()


def persist(unit: ConformanceUnit, action: int, *, kind: int = 0, key: int = KEY, new: int = 0) -> None:
    """PERSISTENT RESERVE OUT that must end with GOOD."""
    unit.good(struct.pack(">BBBxxIx", 0x5F, action, kind, 24), struct.pack(">QQ8x", key, new))


def need_serial_number(tape: Tape) -> None:
    """End a case where the target has not the command."""
    if not tape.unit.execute(READ_MEDIA_SERIAL_NUMBER, data_in=255).good:
        tape.unit.not_supported("no READ MEDIA SERIAL NUMBER")


@pytest.fixture
def registered(tape: Tape) -> Iterator[Tape]:
    """The first nexus is registered; in the end nobody is."""
    if not tape.unit.execute(READ_KEYS, data_in=8).good:
        tape.unit.not_supported("no persistent reservations")
    persist(tape.unit, 6, key=0, new=KEY)
    yield tape
    persist(tape.unit, 3)
    tape.unit.attentions()


@clause("SPC-2 RESERVE(6)")
def test_reserve_stops_others(tape: Tape, second: ConformanceUnit) -> None:
    """A reserved tape is RESERVATION CONFLICT for another nexus."""
    tape.need(RESERVE)
    tape.unit.good(RESERVE)
    for cdb in (TEST_UNIT_READY, rewind(), space(END)):
        second.conflict(cdb)
    tape.unit.good(RELEASE)

    second.good(rewind())


@clause("SPC-2 RESERVE(6)")
def test_reserve_for_oneself(tape: Tape) -> None:
    """The one who reserved goes on."""
    tape.need(RESERVE)
    tape.unit.good(RESERVE)
    tape.write(block(0, 10))
    tape.unit.good(rewind())

    assert tape.read(10) == block(0, 10)
    tape.unit.good(RELEASE)


@clause("SPC-2 RESERVE(6)")
def test_reserve_inquiry(tape: Tape, second: ConformanceUnit) -> None:
    """INQUIRY is not stopped."""
    tape.need(RESERVE)
    tape.unit.good(RESERVE)
    second.good(inquiry(length=36), data_in=36)
    tape.unit.good(RELEASE)


@clause("SSC-5 reservations")
def test_reserve_limits(tape: Tape, second: ConformanceUnit) -> None:
    """Nor are READ BLOCK LIMITS and REPORT DENSITY SUPPORT."""
    tape.need(RESERVE)
    tape.unit.good(RESERVE)
    second.good(READ_BLOCK_LIMITS, data_in=6)
    second.good(report_density(), data_in=0xFFFF)
    tape.unit.good(RELEASE)


@clause("SPC-5 READ MEDIA SERIAL NUMBER")
def test_reserve_serial_number(tape: Tape, second: ConformanceUnit) -> None:
    """Nor is READ MEDIA SERIAL NUMBER."""
    tape.need(RESERVE)
    need_serial_number(tape)
    tape.unit.good(RESERVE)
    second.good(READ_MEDIA_SERIAL_NUMBER, data_in=255)
    tape.unit.good(RELEASE)


@clause("SPC-2 RELEASE(6)")
def test_release_by_others(tape: Tape, second: ConformanceUnit) -> None:
    """RELEASE by another nexus is GOOD and releases nothing."""
    tape.need(RESERVE)
    tape.unit.good(RESERVE)
    second.good(RELEASE)
    second.conflict(rewind())
    tape.unit.good(RELEASE)


@clause("SPC-2 RESERVE(6)")
def test_reserve_ends_with_reset(tape: Tape, second: ConformanceUnit) -> None:
    """A reset ends the reservation."""
    tape.need(RESERVE)
    tape.unit.good(RESERVE)
    tape.unit.reset()
    second.attentions()

    second.good(rewind())
    tape.unit.attentions()


@clause("SSC-5 reservations")
def test_write_exclusive_writes(registered: Tape, second: ConformanceUnit) -> None:
    """With Write Exclusive another nexus writes nothing."""
    registered.lay(10)
    persist(registered.unit, 1, kind=WRITE_EXCLUSIVE)
    second.attentions()
    second.conflict(write(10), block(3, 10))

    assert registered.read(10) == block(0, 10)


@clause("SSC-5 reservations")
def test_write_exclusive_moves(registered: Tape, second: ConformanceUnit) -> None:
    """Nor does it move the tape: on a tape a command that changes the position disturbs the holder."""
    registered.lay(10, 10)
    persist(registered.unit, 1, kind=WRITE_EXCLUSIVE)
    second.attentions()
    for cdb in (rewind(), space(END), load(load=0)):
        second.conflict(cdb)
    second.conflict(read(10), data_in=10)

    assert registered.at() == 0


@clause("SPC-5 persistent reservations")
def test_exclusive_access(registered: Tape, second: ConformanceUnit) -> None:
    """With Exclusive Access everything that touches the medium is stopped."""
    persist(registered.unit, 1, kind=EXCLUSIVE_ACCESS)
    second.attentions()
    second.conflict(read(10), data_in=10)
    second.conflict(read_position(6), data_in=32)
    second.conflict(mode_sense(0x3F), data_in=255)
    second.conflict(prevent(1))


@clause("SSC-5 reservations")
def test_persistent_allowed(registered: Tape, second: ConformanceUnit) -> None:
    """READ BLOCK LIMITS, INQUIRY, PREVENT ALLOW with PREVENT 0 and TEST UNIT READY are allowed."""
    persist(registered.unit, 1, kind=EXCLUSIVE_ACCESS)
    second.attentions()
    second.good(READ_BLOCK_LIMITS, data_in=6)
    second.good(inquiry(length=36), data_in=36)
    second.good(prevent(0))
    second.good(TEST_UNIT_READY)


@clause("SPC-5 persistent reservations")
def test_persistent_serial_number(registered: Tape, second: ConformanceUnit) -> None:
    """READ MEDIA SERIAL NUMBER is allowed, too."""
    need_serial_number(registered)
    persist(registered.unit, 1, kind=EXCLUSIVE_ACCESS)
    second.attentions()

    second.good(READ_MEDIA_SERIAL_NUMBER, data_in=255)


@clause("SPC-5 persistent reservations")
def test_persistent_holder(registered: Tape) -> None:
    """The holder goes on."""
    persist(registered.unit, 1, kind=EXCLUSIVE_ACCESS)
    registered.write(block(0, 10))
    registered.unit.good(rewind())

    assert registered.read(10) == block(0, 10)


@clause("SPC-5 persistent reservations")
def test_persistent_release(registered: Tape, second: ConformanceUnit) -> None:
    """A released tape is everyone's again."""
    persist(registered.unit, 1, kind=EXCLUSIVE_ACCESS)
    persist(registered.unit, 2, kind=EXCLUSIVE_ACCESS)
    second.attentions()

    second.good(rewind())


@clause("SPC-5 persistent reservations")
def test_persistent_log_sense(registered: Tape, second: ConformanceUnit) -> None:
    """LOG SENSE is stopped by Exclusive Access, and allowed by Write Exclusive."""
    persist(registered.unit, 1, kind=WRITE_EXCLUSIVE)
    second.attentions()

    second.good(log_sense(0), data_in=0xFFFF)
