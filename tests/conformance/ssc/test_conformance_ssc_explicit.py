"""The 16-byte commands of explicit addressing: READ, WRITE, WRITE FILEMARKS, READ REVERSE, VERIFY, ERASE."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conformance import clause
from ssc_tape import (
    END,
    Tape,
    block,
    erase16,
    read,
    read16,
    reverse16,
    rewind,
    space,
    verify16,
    write16,
    write_marks16,
)

from scsiemu import asc
from scsiemu.sense import FieldPointer


@pytest.fixture(autouse=True)
def _has_explicit_addressing(tape: Tape) -> None:
    tape.need(read16((0, 0), 0))


@clause("SSC-5 READ(16)")
def test_read16_names_its_place(tape: Tape) -> None:
    """READ(16) reads the logical object that it names, wherever the tape is."""
    tape.lay(10, 10, 10)

    assert tape.unit.good(read16((0, 2), 10), data_in=10) == block(2, 10)
    assert tape.unit.good(read16((0, 0), 10), data_in=10) == block(0, 10)


@clause("SSC-5 READ(16)")
def test_read16_moves_behind(tape: Tape) -> None:
    """Afterwards the tape stands behind what was read."""
    tape.lay(10, 10, 10)
    tape.unit.good(read16((0, 1), 10), data_in=10)

    assert tape.read(10) == block(2, 10)


@clause("SSC-5 READ(16)")
def test_read16_fixed(tape: Tape) -> None:
    """Several fixed blocks from a place on."""
    tape.lay(64, 64, 64)
    tape.set_mode(64)

    assert tape.unit.good(read16((0, 1), 2, fixed=1), data_in=128) == block(1) + block(2)


@clause("SSC-5 READ(16)")
def test_read16_beyond_end(tape: Tape) -> None:
    """A place beyond the end of data is BLANK CHECK, END-OF-DATA DETECTED."""
    tape.lay(10)
    tape.stopped(read16((0, 5), 10), asc.END_OF_DATA_DETECTED, data_in=10)

    assert tape.at() == 1


@clause("SSC-5 READ(16)")
def test_read16_filemark(tape: Tape) -> None:
    """A filemark at the place ends it as it does READ(6)."""
    tape.lay(10, None, 10)
    tape.stopped(read16((0, 1), 10), asc.FILEMARK_DETECTED, data_in=10, information=10, bits="F")

    assert tape.where() == (0, 2, 1)


@clause("SSC-5 READ(16)")
def test_read16_incorrect_length(tape: Tape) -> None:
    """ILI and the signed difference are those of READ(6)."""
    tape.lay(10, 100)

    tape.stopped(
        read16((0, 1), 40), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=40, information=-60, bits="I"
    )


@clause("SSC-5 READ(16)")
def test_read16_partition_missing(tape: Tape) -> None:
    """A partition that is not there is refused, and the tape stays."""
    tape.lay(10)
    sense = tape.unit.refused(read16((63, 0), 10), asc.INVALID_FIELD_IN_CDB, data_in=10)

    assert sense.specific in (None, FieldPointer(3), FieldPointer(3, 7))
    assert tape.at() == 0


@clause("SSC-5 READ(16)")
def test_read16_zero_positions(tape: Tape) -> None:
    """TRANSFER LENGTH 0 transfers nothing; the tape is positioned."""
    tape.lay(10, 10, 10)
    tape.unit.good(read16((0, 2), 0))

    assert tape.at() == 2


@clause("SSC-5 READ(16)")
def test_read16_sili_with_fixed(tape: Tape) -> None:
    """SILI and FIXED together are refused."""
    tape.set_mode(64)

    tape.unit.refused(read16((0, 0), 1, fixed=1, sili=1), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SSC-5 WRITE(16)")
def test_write16_in_place(tape: Tape) -> None:
    """WRITE(16) writes at the place it names; what was behind is gone."""
    tape.lay(10, 10, 10)
    tape.unit.good(write16((0, 1), 20), block(8, 20))

    assert tape.at() == 2
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)
    assert tape.unit.good(read16((0, 1), 20), data_in=20) == block(8, 20)


@clause("SSC-5 WRITE(16)")
def test_write16_append(tape: Tape) -> None:
    """The place may be the end of data."""
    tape.lay(10)
    tape.unit.good(write16((0, 1), 20), block(8, 20))

    assert tape.unit.good(read16((0, 0), 10), data_in=10) == block(0, 10)
    assert tape.unit.good(read16((0, 1), 20), data_in=20) == block(8, 20)


@clause("SSC-5 WRITE(16)")
def test_write16_beyond_end(tape: Tape) -> None:
    """Beyond it nothing is written: BLANK CHECK."""
    tape.lay(10)
    tape.stopped(write16((0, 5), 10), asc.END_OF_DATA_DETECTED, block(1, 10))
    tape.unit.good(rewind())
    tape.unit.good(space(END))

    assert tape.at() == 1


@clause("SSC-5 WRITE(16)")
def test_write16_fixed(tape: Tape) -> None:
    """Several fixed blocks at a place."""
    tape.lay(64)
    tape.set_mode(64)
    tape.unit.good(write16((0, 1), 2, fixed=1), block(1) + block(2))

    assert tape.unit.good(read16((0, 0), 3, fixed=1), data_in=192) == block(0) + block(1) + block(2)


@clause("SSC-5 WRITE(16)")
def test_write16_partition_missing(tape: Tape) -> None:
    """A partition that is not there is refused, and nothing is written."""
    tape.lay(10)
    tape.unit.refused(write16((63, 0), 10), asc.INVALID_FIELD_IN_CDB, block(1, 10))

    assert tape.unit.good(read16((0, 0), 10), data_in=10) == block(0, 10)


@clause("SSC-5 WRITE FILEMARKS(16)")
def test_marks16_in_place(tape: Tape) -> None:
    """Filemarks at a place; what was behind is gone."""
    tape.lay(10, 10, 10)
    tape.unit.good(write_marks16((0, 1), 2))

    assert tape.where() == (0, 3, 2)
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@clause("SSC-5 WRITE FILEMARKS(16)")
def test_marks16_beyond_end(tape: Tape) -> None:
    """Beyond the end of data: BLANK CHECK."""
    tape.lay(10)

    tape.stopped(write_marks16((0, 9), 1), asc.END_OF_DATA_DETECTED)


@clause("SSC-5 READ REVERSE(16)")
def test_reverse16_in_place(tape: Tape) -> None:
    """READ REVERSE(16) reads what is before the place."""
    tape.need(reverse16((0, 0), 0))
    tape.lay(10, 10, 10)

    assert tape.unit.good(reverse16((0, 2), 10), data_in=10) == block(1, 10)
    assert tape.at() == 1


@clause("SSC-5 VERIFY(16)")
def test_verify16_in_place(tape: Tape) -> None:
    """VERIFY(16) verifies at the place."""
    tape.need(verify16((0, 0), 0))
    tape.lay(10, 20)
    tape.unit.good(verify16((0, 1), 20))

    assert tape.at() == 2


@clause("SSC-5 VERIFY(16)")
def test_verify16_compare(tape: Tape) -> None:
    """With BYTCMP it compares."""
    tape.need(verify16((0, 0), 0))
    tape.lay(10, 20)
    tape.unit.good(verify16((0, 1), 20, bytcmp=1), block(1, 20))

    tape.stopped(
        verify16((0, 1), 20, bytcmp=1), asc.MISCOMPARE_DURING_VERIFY_OPERATION, block(2, 20)
    )


@clause("SSC-5 ERASE(16)")
def test_erase16_in_place(tape: Tape) -> None:
    """ERASE(16) makes the place the end of data."""
    tape.lay(10, 10, 10)
    tape.unit.good(erase16((0, 1)))

    assert tape.at() == 1
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@pytest.mark.parametrize("cdb", [
    lambda where: read16(where, 0), lambda where: write_marks16(where, 0), lambda where: erase16(where),
], ids=["read", "marks", "erase"])
@clause("SSC-5 5.1, explicit addressing")
def test_explicit_beyond_end_position(tape: Tape, cdb: Callable[[tuple[int, int]], bytes]) -> None:
    """A place that is not there leaves the tape at the end of data, and what is on it."""
    tape.lay(10, 10)
    tape.stopped(cdb((0, 7)), asc.END_OF_DATA_DETECTED)

    assert tape.at() == 2
    assert tape.unit.good(read16((0, 1), 10), data_in=10) == block(1, 10)
