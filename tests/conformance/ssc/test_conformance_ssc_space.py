"""SPACE(6) and SPACE(16): over blocks, filemarks, sequential filemarks, to the end of data; both ways."""

from __future__ import annotations

from conformance import clause
from ssc_tape import BLOCKS, END, MARKS, SEQUENTIAL, Tape, block, read, rewind, space, space16

from scsiemu import asc
from scsiemu.sense import FieldPointer


@clause("SSC-5 SPACE(6)")
def test_space_blocks_forward(tape: Tape) -> None:
    """So many blocks are passed."""
    tape.lay(10, 10, 10, 10)
    tape.unit.good(space(BLOCKS, 3))

    assert tape.read(10) == block(3, 10)


@clause("SSC-5 SPACE(6)")
def test_space_blocks_backward(tape: Tape) -> None:
    """A negative count passes blocks in reverse."""
    tape.lay(10, 10, 10, 10)
    tape.unit.good(space(BLOCKS, 4))
    tape.unit.good(space(BLOCKS, -3))

    assert tape.read(10) == block(1, 10)


@clause("SSC-5 SPACE(6)")
def test_space_blocks_zero(tape: Tape) -> None:
    """COUNT 0 does not move the tape."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(space(BLOCKS, 0))

    assert tape.at() == 1


@clause("SSC-5 SPACE(6)")
def test_space_blocks_filemark(tape: Tape) -> None:
    """A filemark ends it: FILEMARK, INFORMATION is what is left, without the filemark."""
    tape.lay(10, 10, None, 10)

    tape.stopped(space(BLOCKS, 5), asc.FILEMARK_DETECTED, information=3, bits="F")


@clause("SSC-5 SPACE(6)")
def test_space_blocks_filemark_position(tape: Tape) -> None:
    """Then the tape stands behind the filemark."""
    tape.lay(10, 10, None, 10)
    tape.stopped(space(BLOCKS, 5), asc.FILEMARK_DETECTED, bits="F")

    assert tape.where() == (0, 3, 1)
    assert tape.read(10) == block(3, 10)


@clause("SSC-5 SPACE(6)")
def test_space_blocks_up_to_filemark(tape: Tape) -> None:
    """As many blocks as there are before a filemark are no error, and the filemark is not passed."""
    tape.lay(10, 10, None, 10)
    tape.unit.good(space(BLOCKS, 2))

    assert tape.where() == (0, 2, 0)


@clause("SSC-5 SPACE(6)")
def test_space_blocks_backward_filemark(tape: Tape) -> None:
    """In reverse a filemark ends it, too, with a positive INFORMATION."""
    tape.lay(10, None, 10, 10)
    tape.unit.good(space(END))

    tape.stopped(space(BLOCKS, -5), asc.FILEMARK_DETECTED, information=3, bits="F")


@clause("SSC-5 SPACE(6)")
def test_space_blocks_backward_filemark_position(tape: Tape) -> None:
    """Then the tape stands before the filemark."""
    tape.lay(10, None, 10, 10)
    tape.unit.good(space(END))
    tape.stopped(space(BLOCKS, -5), asc.FILEMARK_DETECTED, bits="F")

    assert tape.where() == (0, 1, 0)


@clause("SSC-5 SPACE(6)")
def test_space_blocks_end_of_data(tape: Tape) -> None:
    """The end of data ends it: BLANK CHECK, INFORMATION is what is left."""
    tape.lay(10, 10)

    tape.stopped(space(BLOCKS, 5), asc.END_OF_DATA_DETECTED, information=3)
    assert tape.at() == 2


@clause("SSC-5 SPACE(6)")
def test_space_blocks_beginning(tape: Tape) -> None:
    """In reverse the beginning ends it: EOM, NO SENSE, BEGINNING-OF-PARTITION/MEDIUM DETECTED."""
    tape.lay(10, 10)
    tape.unit.good(space(END))

    tape.stopped(
        space(BLOCKS, -5), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, information=3, bits="E"
    )
    assert tape.at() == 0


@clause("SSC-5 SPACE(6)")
def test_space_marks_forward(tape: Tape) -> None:
    """So many filemarks are passed, with all blocks in between; the tape stands behind the last of them."""
    tape.lay(10, None, 10, 10, None, 10)
    tape.unit.good(space(MARKS, 2))

    assert tape.where() == (0, 5, 2)
    assert tape.read(10) == block(5, 10)


@clause("SSC-5 SPACE(6)")
def test_space_marks_backward(tape: Tape) -> None:
    """In reverse the tape stands before the last of them."""
    tape.lay(10, None, 10, None, 10)
    tape.unit.good(space(END))
    tape.unit.good(space(MARKS, -2))

    assert tape.where() == (0, 1, 0)
    tape.stopped(read(10), asc.FILEMARK_DETECTED, data_in=10, bits="F")


@clause("SSC-5 SPACE(6)")
def test_space_marks_zero(tape: Tape) -> None:
    """COUNT 0 does not move the tape."""
    tape.lay(10, None)
    tape.read(10)
    tape.unit.good(space(MARKS, 0))

    assert tape.at() == 1


@clause("SSC-5 SPACE(6)")
def test_space_marks_end_of_data(tape: Tape) -> None:
    """Too few filemarks: the end of data, INFORMATION is how many are missing."""
    tape.lay(10, None, 10, None, 10)

    tape.stopped(space(MARKS, 5), asc.END_OF_DATA_DETECTED, information=3)
    assert tape.at() == 5


@clause("SSC-5 SPACE(6)")
def test_space_marks_beginning(tape: Tape) -> None:
    """Too few in reverse: the beginning, and how many are missing."""
    tape.lay(10, None, 10, None, 10)
    tape.unit.good(space(END))

    tape.stopped(
        space(MARKS, -5), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, information=3, bits="E"
    )
    assert tape.at() == 0


@clause("SSC-5 SPACE(6)")
def test_space_marks_there_and_back(tape: Tape) -> None:
    """One filemark forward and one in reverse ends before the filemark, not at the start."""
    tape.lay(10, 10, None, 10)
    tape.unit.good(space(MARKS, 1))
    tape.unit.good(space(MARKS, -1))

    assert tape.where() == (0, 2, 0)


@clause("SSC-5 SPACE(6)")
def test_space_end(tape: Tape) -> None:
    """To the end of data."""
    tape.lay(10, None, 10)
    tape.unit.good(space(END))

    assert tape.where() == (0, 3, 1)
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@clause("SSC-5 SPACE(6)")
def test_space_end_ignores_count(tape: Tape) -> None:
    """COUNT is ignored when the end of data is asked for."""
    tape.lay(10, 10)
    tape.unit.good(space(END, -1))

    assert tape.at() == 2


@clause("SSC-5 SPACE(6)")
def test_space_end_twice(tape: Tape) -> None:
    """At the end of data it is no error."""
    tape.lay(10)
    tape.unit.good(space(END))
    tape.unit.good(space(END))

    assert tape.at() == 1


@clause("SSC-5 SPACE(6)")
def test_space_end_blank(tape: Tape) -> None:
    """On a blank tape the end of data is the beginning."""
    tape.unit.good(space(END))

    assert tape.where() == (0, 0, 0)


@clause("SSC-5 SPACE(6)")
def test_space_sequential_forward(tape: Tape) -> None:
    """Filemarks in a row are searched: single ones are passed."""
    tape.lay(10, None, 10, None, None, 10)
    tape.unit.good(space(SEQUENTIAL, 2))

    assert tape.where() == (0, 5, 3)


@clause("SSC-5 SPACE(6)")
def test_space_sequential_more(tape: Tape) -> None:
    """Of more filemarks in a row than asked for the tape stands behind the last that was asked for."""
    tape.lay(10, None, None, None, 10)
    tape.unit.good(space(SEQUENTIAL, 2))

    assert tape.where() == (0, 3, 2)


@clause("SSC-5 SPACE(6)")
def test_space_sequential_backward(tape: Tape) -> None:
    """In reverse the tape stands before them."""
    tape.lay(10, None, None, 10, None, 10)
    tape.unit.good(space(END))
    tape.unit.good(space(SEQUENTIAL, -2))

    assert tape.where() == (0, 1, 0)


@clause("SSC-5 SPACE(6)")
def test_space_sequential_zero(tape: Tape) -> None:
    """COUNT 0 does not move the tape."""
    tape.lay(10, None, None)
    tape.read(10)
    tape.unit.good(space(SEQUENTIAL, 0))

    assert tape.at() == 1


@clause("SSC-5 SPACE(6)")
def test_space_sequential_end_of_data(tape: Tape) -> None:
    """Where there are none: BLANK CHECK at the end of data."""
    tape.lay(10, None, 10, None)
    tape.stopped(space(SEQUENTIAL, 2), asc.END_OF_DATA_DETECTED)

    assert tape.at() == 4


@clause("SSC-5 SPACE(6)")
def test_space_sequential_beginning(tape: Tape) -> None:
    """Where there are none in reverse: the beginning."""
    tape.lay(10, None, 10, None)
    tape.unit.good(space(END))
    tape.stopped(space(SEQUENTIAL, -2), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, bits="E")

    assert tape.at() == 0


@clause("SSC-5 SPACE(6)")
def test_space_setmarks(tape: Tape) -> None:
    """The code of setmarks is obsolete and refused."""
    sense = tape.unit.refused(space(4, 1), asc.INVALID_FIELD_IN_CDB)

    assert sense.specific is None or (isinstance(sense.specific, FieldPointer) and sense.specific.byte == 1)


@clause("SSC-5 SPACE(6)")
def test_space_code_reserved(tape: Tape) -> None:
    """A code that there is not is refused, and the tape stays."""
    tape.lay(10)
    tape.unit.refused(space(7, 1), asc.INVALID_FIELD_IN_CDB)

    assert tape.at() == 0


@clause("SSC-5 SPACE(6)")
def test_space_most_negative(tape: Tape) -> None:
    """COUNT is a signed number of 24 bits: the lowest one is far in reverse."""
    tape.lay(10, 10)
    tape.unit.good(space(END))

    tape.stopped(
        space(BLOCKS, -(1 << 23)), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, information=(1 << 23) - 2, bits="E"
    )


@clause("SSC-5 SPACE(6)")
def test_space_most_positive(tape: Tape) -> None:
    """The highest one is far forward."""
    tape.lay(10, 10)

    tape.stopped(space(BLOCKS, (1 << 23) - 1), asc.END_OF_DATA_DETECTED, information=(1 << 23) - 3)


@clause("SSC-5 SPACE(16)")
def test_space16_blocks(tape: Tape) -> None:
    """SPACE(16) over blocks, both ways."""
    tape.need(space16(0))
    tape.lay(10, 10, 10, 10)
    tape.unit.good(space16(BLOCKS, 3))
    assert tape.at() == 3
    tape.unit.good(space16(BLOCKS, -2))

    assert tape.at() == 1


@clause("SSC-5 SPACE(16)")
def test_space16_marks(tape: Tape) -> None:
    """SPACE(16) over filemarks, both ways."""
    tape.need(space16(0))
    tape.lay(10, None, 10, None)
    tape.unit.good(space16(MARKS, 2))
    assert tape.where() == (0, 4, 2)
    tape.unit.good(space16(MARKS, -1))

    assert tape.where() == (0, 3, 1)


@clause("SSC-5 SPACE(16)")
def test_space16_end(tape: Tape) -> None:
    """SPACE(16) to the end of data."""
    tape.need(space16(0))
    tape.lay(10, 10)
    tape.unit.good(space16(END))

    assert tape.at() == 2


@clause("SSC-5 SPACE(16)")
def test_space16_wide_count(tape: Tape) -> None:
    """A count of more than 24 bits is taken as it is; residuals that fit INFORMATION are told."""
    tape.need(space16(0))
    tape.lay(10, 10)

    tape.stopped(space16(BLOCKS, 1 << 24), asc.END_OF_DATA_DETECTED, information=(1 << 24) - 2)


@clause("SSC-5 SPACE(16)")
def test_space16_filemark(tape: Tape) -> None:
    """A filemark ends it as it does SPACE(6)."""
    tape.need(space16(0))
    tape.lay(10, None, 10)

    tape.stopped(space16(BLOCKS, 2), asc.FILEMARK_DETECTED, information=1, bits="F")
    assert tape.at() == 2


@clause("SSC-5 SPACE(16)")
def test_space16_beginning(tape: Tape) -> None:
    """So does the beginning."""
    tape.need(space16(0))
    tape.lay(10)
    tape.unit.good(rewind())

    tape.stopped(
        space16(BLOCKS, -1), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, information=1, bits="E"
    )
