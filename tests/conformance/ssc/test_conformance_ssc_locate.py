"""LOCATE(10), LOCATE(16), REWIND and the forms of READ POSITION."""

from __future__ import annotations

import struct

from conformance import clause
from ssc_tape import (
    BLOCKS,
    END,
    FILE,
    MARKS,
    Tape,
    block,
    locate10,
    locate16,
    read,
    read_position,
    rewind,
    space,
)

from scsiemu import asc
from scsiemu.sense import FieldPointer

BOP, EOP, LOCU, BPU, LOLU, PERR = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02


@clause("SSC-5 LOCATE(10)")
def test_locate_object(tape: Tape) -> None:
    """LOCATE(10) positions before the logical object with the identifier."""
    tape.lay(10, 10, 10, 10)
    tape.unit.good(locate10(2))

    assert tape.read(10) == block(2, 10)


@clause("SSC-5 LOCATE(10)")
def test_locate_counts_filemarks(tape: Tape) -> None:
    """Filemarks have identifiers as blocks have."""
    tape.lay(10, None, 10)
    tape.unit.good(locate10(2))
    assert tape.read(10) == block(2, 10)
    tape.unit.good(locate10(1))

    tape.stopped(read(10), asc.FILEMARK_DETECTED, data_in=10, bits="F")


@clause("SSC-5 LOCATE(10)")
def test_locate_beginning(tape: Tape) -> None:
    """Identifier 0 is the beginning of the partition."""
    tape.lay(10, 10)
    tape.unit.good(space(END))
    tape.unit.good(locate10(0))

    assert tape.where() == (0, 0, 0)


@clause("SSC-5 LOCATE(10)")
def test_locate_here(tape: Tape) -> None:
    """The identifier of the position itself is no error."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(locate10(1))

    assert tape.read(10) == block(1, 10)


@clause("SSC-5 LOCATE(10)")
def test_locate_end_of_data(tape: Tape) -> None:
    """The identifier that the next object would have is the end of data, and no error."""
    tape.lay(10, 10)
    tape.unit.good(locate10(2))

    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@clause("SSC-5 LOCATE(10)")
def test_locate_beyond(tape: Tape) -> None:
    """Beyond that: BLANK CHECK, END-OF-DATA DETECTED, and the tape stands at the end of data."""
    tape.lay(10, 10)
    tape.stopped(locate10(3), asc.END_OF_DATA_DETECTED)

    assert tape.at() == 2


@clause("SSC-5 LOCATE(10)")
def test_locate_immediate(tape: Tape) -> None:
    """With IMMED it ends at once; when the drive is ready again the tape is there."""
    tape.lay(10, 10, 10)
    tape.unit.good(locate10(2, immed=1))
    tape.settle()

    assert tape.at() == 2


@clause("SSC-5 LOCATE(10)")
def test_locate_change_partition_missing(tape: Tape) -> None:
    """With CP a partition that is not there is refused, and the tape stays."""
    tape.lay(10, 10)
    tape.read(10)
    sense = tape.unit.refused(locate10(0, partition=63), asc.INVALID_FIELD_IN_CDB)

    assert sense.specific in (None, FieldPointer(8), FieldPointer(8, 7))
    assert tape.at() == 1


@clause("SSC-5 LOCATE(10)")
def test_locate_partition_ignored(tape: Tape) -> None:
    """Without CP the PARTITION field is ignored."""
    tape.lay(10, 10)
    cdb = bytearray(locate10(1))
    cdb[8] = 63
    tape.unit.good(bytes(cdb))

    assert tape.where() == (0, 1, 0)


@clause("SSC-5 LOCATE(10)")
def test_locate_after_read_position(tape: Tape) -> None:
    """What READ POSITION told is where LOCATE goes back to."""
    tape.lay(10, None, 10, 10)
    tape.unit.good(space(BLOCKS, 1))
    tape.unit.good(space(MARKS, 1))
    (told,) = struct.unpack_from(">I", tape.unit.good(read_position(0), data_in=20), 4)
    tape.unit.good(space(END))
    tape.unit.good(locate10(told))

    assert tape.read(10) == block(2, 10)


@clause("SSC-5 LOCATE(16)")
def test_locate16_object(tape: Tape) -> None:
    """DEST_TYPE 000b: a logical object."""
    tape.need(locate16(0))
    tape.lay(10, 10, 10)
    tape.unit.good(locate16(1))

    assert tape.read(10) == block(1, 10)


@clause("SSC-5 LOCATE(16)")
def test_locate16_object_beyond(tape: Tape) -> None:
    """A wide identifier beyond the end of data is BLANK CHECK."""
    tape.need(locate16(0))
    tape.lay(10)
    tape.stopped(locate16(1 << 40), asc.END_OF_DATA_DETECTED)

    assert tape.at() == 1


@clause("SSC-5 LOCATE(16)")
def test_locate16_file(tape: Tape) -> None:
    """DEST_TYPE 001b: the beginning of a logical file, behind its filemark."""
    tape.need(locate16(0))
    tape.lay(10, None, 10, None, 10)
    tape.unit.good(locate16(2, kind=FILE))

    assert tape.where() == (0, 4, 2)
    assert tape.read(10) == block(4, 10)


@clause("SSC-5 LOCATE(16)")
def test_locate16_file_zero(tape: Tape) -> None:
    """Logical file 0 begins at the beginning."""
    tape.need(locate16(0))
    tape.lay(10, None, 10)
    tape.unit.good(space(END))
    tape.unit.good(locate16(0, kind=FILE))

    assert tape.where() == (0, 0, 0)


@clause("SSC-5 LOCATE(16)")
def test_locate16_file_last(tape: Tape) -> None:
    """The file behind the last filemark may be empty."""
    tape.need(locate16(0))
    tape.lay(10, None)
    tape.unit.good(locate16(1, kind=FILE))

    assert tape.where() == (0, 2, 1)


@clause("SSC-5 LOCATE(16)")
def test_locate16_file_beyond(tape: Tape) -> None:
    """A file that is not there: BLANK CHECK at the end of data."""
    tape.need(locate16(0))
    tape.lay(10, None, 10)
    tape.stopped(locate16(2, kind=FILE), asc.END_OF_DATA_DETECTED)

    assert tape.at() == 3


@clause("SSC-5 LOCATE(16)")
def test_locate16_end_of_data(tape: Tape) -> None:
    """DEST_TYPE 011b: the end of data; the identifier is ignored."""
    tape.need(locate16(0))
    tape.lay(10, None, 10)
    tape.unit.good(locate16(1, kind=3))

    assert tape.where() == (0, 3, 1)


@clause("SSC-5 LOCATE(16)")
def test_locate16_reserved_destination(tape: Tape) -> None:
    """DEST_TYPE 111b is reserved and refused."""
    tape.need(locate16(0))
    sense = tape.unit.refused(locate16(0, kind=7), asc.INVALID_FIELD_IN_CDB)

    assert sense.specific is None or (isinstance(sense.specific, FieldPointer) and sense.specific.byte == 1)


@clause("SSC-5 LOCATE(16)")
def test_locate16_partition_missing(tape: Tape) -> None:
    """With CP a partition that is not there is refused."""
    tape.need(locate16(0))

    tape.unit.refused(locate16(0, partition=63), asc.INVALID_FIELD_IN_CDB)


@clause("SSC-5 LOCATE(16)")
def test_locate16_immediate(tape: Tape) -> None:
    """With IMMED it ends at once."""
    tape.need(locate16(0))
    tape.lay(10, 10, 10)
    tape.unit.good(locate16(2, immed=1))
    tape.settle()

    assert tape.at() == 2


@clause("SSC-5 REWIND")
def test_rewind(tape: Tape) -> None:
    """REWIND positions to the beginning of the partition."""
    tape.lay(10, None, 10)
    tape.unit.good(space(END))
    tape.unit.good(rewind())

    assert tape.where() == (0, 0, 0)
    assert tape.read(10) == block(0, 10)


@clause("SSC-5 REWIND")
def test_rewind_immediate(tape: Tape) -> None:
    """With IMMED it ends at once."""
    tape.lay(10)
    tape.read(10)
    tape.unit.good(rewind(immed=1))
    tape.settle()

    assert tape.at() == 0


@clause("SSC-5 READ POSITION")
def test_position_short_length(tape: Tape) -> None:
    """The short form has 20 bytes."""
    assert len(tape.unit.good(read_position(0), data_in=64)) == 20


@clause("SSC-5 READ POSITION")
def test_position_long_length(tape: Tape) -> None:
    """The long form has 32 bytes."""
    assert len(tape.unit.good(read_position(6), data_in=64)) == 32


@clause("SSC-5 READ POSITION")
def test_position_extended_length(tape: Tape) -> None:
    """The extended form has 32 bytes, ADDITIONAL LENGTH 1Ch."""
    answer = tape.unit.execute(read_position(8, 32), data_in=64)
    if not answer.good:
        tape.unit.not_supported("no extended form")

    assert len(answer.data) == 32
    assert answer.data[2:4] == b"\0\x1c"


@clause("SSC-5 READ POSITION")
def test_position_extended_allocation(tape: Tape) -> None:
    """The extended form is cut to ALLOCATION LENGTH."""
    if not tape.unit.execute(read_position(8, 32), data_in=64).good:
        tape.unit.not_supported("no extended form")

    assert len(tape.unit.good(read_position(8, 8), data_in=64)) == 8


@clause("SSC-5 READ POSITION")
def test_position_short_beginning(tape: Tape) -> None:
    """At the beginning BOP is set and the first location is 0."""
    data = tape.unit.good(read_position(0), data_in=20)

    assert data[0] & (BOP | BPU | PERR) == BOP
    assert data[1] == 0
    assert data[4:8] == bytes(4)


@clause("SSC-5 READ POSITION")
def test_position_short_counts_objects(tape: Tape) -> None:
    """FIRST LOGICAL OBJECT LOCATION counts blocks and filemarks; BOP is clear."""
    tape.lay(10, None, 10)
    tape.unit.good(space(END))
    data = tape.unit.good(read_position(0), data_in=20)

    assert data[0] & BOP == 0
    assert data[4:8] == (3).to_bytes(4, "big")


@clause("SSC-5 READ POSITION")
def test_position_short_last_location(tape: Tape) -> None:
    """With nothing in the object buffer the last location is the first one, and the counts are 0 (LOLU, LOCU and
    BYCU say what is not known)."""
    tape.lay(10, 10)
    tape.read(10)
    data = tape.unit.good(read_position(0), data_in=20)
    if data[0] & (LOCU | BPU | 0x08):
        tape.unit.not_supported("what the object buffer holds is not known")

    assert data[8:12] == data[4:8]
    assert data[13:20] == bytes(7)


@clause("SSC-5 READ POSITION")
def test_position_long_identifiers(tape: Tape) -> None:
    """The long form has LOGICAL OBJECT NUMBER and LOGICAL FILE IDENTIFIER."""
    tape.lay(10, None, 10, None, 10)
    tape.unit.good(space(MARKS, 2))

    assert tape.where() == (0, 4, 2)


@clause("SSC-5 READ POSITION")
def test_position_long_beginning(tape: Tape) -> None:
    """BOP of the long form; neither LONU nor MPU."""
    data = tape.unit.good(read_position(6), data_in=32)

    assert data[0] & (BOP | 0x0C) == BOP
    assert data[4:24] == bytes(20)


@clause("SSC-5 READ POSITION")
def test_position_extended_identifiers(tape: Tape) -> None:
    """The extended form has wide locations."""
    tape.lay(10, None, 10)
    tape.unit.good(space(END))
    answer = tape.unit.execute(read_position(8, 32), data_in=32)
    if not answer.good:
        tape.unit.not_supported("no extended form")

    assert answer.data[8:16] == (3).to_bytes(8, "big")


@clause("SSC-5 READ POSITION")
def test_position_forms_agree(tape: Tape) -> None:
    """All forms tell of the same place."""
    tape.lay(10, 10, None, 10)
    tape.unit.good(locate10(3))
    short = tape.unit.good(read_position(0), data_in=20)
    long = tape.unit.good(read_position(6), data_in=32)

    assert int.from_bytes(short[4:8], "big") == int.from_bytes(long[8:16], "big") == 3
    assert short[1] == int.from_bytes(long[4:8], "big")


@clause("SSC-5 READ POSITION")
def test_position_reserved_form(tape: Tape) -> None:
    """A reserved SERVICE ACTION is refused."""
    sense = tape.unit.refused(read_position(0x1F), asc.INVALID_FIELD_IN_CDB, data_in=32)

    assert sense.specific is None or (isinstance(sense.specific, FieldPointer) and sense.specific.byte == 1)


@clause("SSC-5 READ POSITION")
def test_position_does_not_move(tape: Tape) -> None:
    """READ POSITION leaves the position."""
    tape.lay(10, 10)
    tape.read(10)
    for form in (0, 6):
        tape.unit.good(read_position(form), data_in=32)

    assert tape.read(10) == block(1, 10)


@clause("SSC-5 READ POSITION")
def test_position_after_refusal(tape: Tape) -> None:
    """A refused command does not move the tape."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.refused(bytes((0x08, 0x80, 0, 0, 10, 0)), asc.INVALID_FIELD_IN_CDB, data_in=10)

    assert tape.at() == 1
