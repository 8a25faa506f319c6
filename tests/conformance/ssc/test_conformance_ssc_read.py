"""READ(6) and READ REVERSE(6): lengths, residuals, filemarks, end of data, beginning of the partition."""

from __future__ import annotations

from conformance import clause
from ssc_tape import Tape, block, read, reverse, rewind, space, write

from scsiemu import asc
from scsiemu.sense import FieldPointer


@clause("SSC-5 READ(6)")
def test_read_variable_block(tape: Tape) -> None:
    """A variable block comes back as it was written."""
    tape.lay(100)

    assert tape.read(100) == block(0, 100)


@clause("SSC-5 READ(6)")
def test_read_variable_moves_one_object(tape: Tape) -> None:
    """After a READ the tape stands behind the block."""
    tape.lay(100, 100)
    tape.read(100)

    assert tape.at() == 1


@clause("SSC-5 READ(6)")
def test_read_variable_in_order(tape: Tape) -> None:
    """Blocks of different lengths come in the order in which they were written."""
    tape.lay(10, 2000, 1, 300)

    assert [tape.read(length) for length in (10, 2000, 1, 300)] == [
        block(0, 10), block(1, 2000), block(2, 1), block(3, 300)
    ]


@clause("SSC-5 READ(6)")
def test_read_zero_length(tape: Tape) -> None:
    """TRANSFER LENGTH 0 transfers nothing, is no error, and leaves the position."""
    tape.lay(100)

    assert tape.unit.good(read(0)) == b""
    assert tape.at() == 0


@clause("SSC-5 READ(6)")
def test_read_overlength_information(tape: Tape) -> None:
    """A block longer than TRANSFER LENGTH: ILI, and a negative difference in INFORMATION."""
    tape.lay(100)

    tape.stopped(read(40), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=40, information=-60, bits="I")


@clause("SSC-5 READ(6)")
def test_read_overlength_data(tape: Tape) -> None:
    """The beginning of an overlength block is transferred."""
    tape.lay(100)
    answer = tape.stopped(read(40), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=40, bits="I")

    assert answer.data == block(0, 100)[:40]


@clause("SSC-5 READ(6)")
def test_read_overlength_position(tape: Tape) -> None:
    """After an overlength block the tape stands behind it, the rest of it is not read."""
    tape.lay(100, 50)
    tape.stopped(read(40), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=40, bits="I")

    assert tape.read(50) == block(1, 50)


@clause("SSC-5 READ(6)")
def test_read_underlength_information(tape: Tape) -> None:
    """A block shorter than TRANSFER LENGTH: ILI, and a positive difference."""
    tape.lay(100)

    tape.stopped(read(300), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=300, information=200, bits="I")


@clause("SSC-5 READ(6)")
def test_read_underlength_data(tape: Tape) -> None:
    """The whole of an underlength block is transferred, and no more."""
    tape.lay(100)
    answer = tape.stopped(read(300), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=300, bits="I")

    assert answer.data == block(0, 100)
    assert answer.residual == 200


@clause("SSC-5 READ(6)")
def test_read_one_byte_over(tape: Tape) -> None:
    """The difference is exact: one byte less and one byte more than the block."""
    tape.lay(100)
    tape.stopped(read(99), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=99, information=-1, bits="I")
    tape.unit.good(rewind())

    tape.stopped(read(101), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=101, information=1, bits="I")


@clause("SSC-5 READ(6)")
def test_read_sili_underlength(tape: Tape) -> None:
    """With SILI a shorter block is no error."""
    tape.lay(100)

    assert tape.read(300, sili=1) == block(0, 100)


@clause("SSC-5 READ(6)")
def test_read_sili_overlength_block_length_zero(tape: Tape) -> None:
    """With SILI and BLOCK LENGTH 0 a longer block is no error; its beginning is transferred."""
    tape.lay(100)

    assert tape.read(40, sili=1) == block(0, 100)[:40]
    assert tape.at() == 1


@clause("SSC-5 READ(6)")
def test_read_sili_overlength_block_length_set(tape: Tape) -> None:
    """With SILI a longer block is told where BLOCK LENGTH is not 0."""
    tape.lay(100)
    tape.set_mode(64)

    tape.stopped(read(40, sili=1), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=40, information=-60, bits="I")


@clause("SSC-5 READ(6)")
def test_read_sili_underlength_block_length_set(tape: Tape) -> None:
    """With SILI a shorter block is no error, whatever BLOCK LENGTH."""
    tape.lay(100)
    tape.set_mode(64)

    assert tape.read(300, sili=1) == block(0, 100)


@clause("SSC-5 READ(6)")
def test_read_sili_with_fixed(tape: Tape) -> None:
    """SILI and FIXED together are refused, and the tape stays."""
    tape.lay(64)
    tape.set_mode(64)
    sense = tape.unit.refused(read(1, fixed=1, sili=1), asc.INVALID_FIELD_IN_CDB, data_in=64)

    assert sense.specific in (None, FieldPointer(1, 1))
    assert tape.at() == 0


@clause("SSC-5 READ(6)")
def test_read_sili_filemark(tape: Tape) -> None:
    """SILI does not suppress a filemark."""
    tape.lay(None, 10)

    tape.stopped(read(300, sili=1), asc.FILEMARK_DETECTED, data_in=300, information=300, bits="F")


@clause("SSC-5 READ(6)")
def test_read_sili_end_of_data(tape: Tape) -> None:
    """SILI does not suppress the end of data."""
    tape.stopped(read(300, sili=1), asc.END_OF_DATA_DETECTED, data_in=300, information=300)


@clause("SSC-5 READ(6)")
def test_read_fixed_without_block_length(tape: Tape) -> None:
    """FIXED with BLOCK LENGTH 0 is refused."""
    tape.lay(64)
    sense = tape.unit.refused(read(1, fixed=1), asc.INVALID_FIELD_IN_CDB, data_in=64)

    assert sense.specific in (None, FieldPointer(1, 0))


@clause("SSC-5 READ(6)")
def test_read_fixed_blocks(tape: Tape) -> None:
    """Several fixed blocks by one command, one behind the other."""
    tape.lay(64, 64, 64)
    tape.set_mode(64)

    assert tape.unit.good(read(3, fixed=1), data_in=192) == block(0) + block(1) + block(2)
    assert tape.at() == 3


@clause("SSC-5 READ(6)")
def test_read_fixed_zero(tape: Tape) -> None:
    """No fixed block transfers nothing and leaves the position."""
    tape.lay(64)
    tape.set_mode(64)

    assert tape.unit.good(read(0, fixed=1)) == b""
    assert tape.at() == 0


@clause("SSC-5 READ(6)")
def test_read_fixed_wrong_length_first(tape: Tape) -> None:
    """A first block of another length: ILI, INFORMATION is the number of blocks asked for."""
    tape.lay(32, 64)
    tape.set_mode(64)

    tape.stopped(read(2, fixed=1), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=128, information=2, bits="I")


@clause("SSC-5 READ(6)")
def test_read_fixed_wrong_length_later(tape: Tape) -> None:
    """INFORMATION counts the block of another length among those that were not read; those before it come."""
    tape.lay(64, 64, 100, 64)
    tape.set_mode(64)
    answer = tape.stopped(read(4, fixed=1), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=256, information=2, bits="I")

    assert answer.data[:128] == block(0) + block(1)


@clause("SSC-5 READ(6)")
def test_read_fixed_wrong_length_position(tape: Tape) -> None:
    """After a block of another length the tape stands behind it."""
    tape.lay(100, 64)
    tape.set_mode(64)
    tape.stopped(read(1, fixed=1), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=64, information=1, bits="I")

    assert tape.unit.good(read(1, fixed=1), data_in=64) == block(1)


@clause("SSC-5 READ(6)")
def test_read_filemark_variable(tape: Tape) -> None:
    """A filemark ends a READ: FILEMARK, NO SENSE, INFORMATION is the whole TRANSFER LENGTH in bytes."""
    tape.lay(None)

    answer = tape.stopped(read(512), asc.FILEMARK_DETECTED, data_in=512, information=512, bits="F")
    assert answer.data == b""


@clause("SSC-5 READ(6)")
def test_read_filemark_position(tape: Tape) -> None:
    """After a filemark the tape stands behind it."""
    tape.lay(None, 10)
    tape.stopped(read(512), asc.FILEMARK_DETECTED, data_in=512, bits="F")

    assert tape.where() == (0, 1, 1)
    assert tape.read(10) == block(1, 10)


@clause("SSC-5 READ(6)")
def test_read_filemark_fixed(tape: Tape) -> None:
    """A filemark behind some fixed blocks: they come, INFORMATION counts the blocks that do not."""
    tape.lay(64, 64, None, 64)
    tape.set_mode(64)
    answer = tape.stopped(read(5, fixed=1), asc.FILEMARK_DETECTED, data_in=320, information=3, bits="F")

    assert answer.data == block(0) + block(1)
    assert tape.where() == (0, 3, 1)


@clause("SSC-5 READ(6)")
def test_read_end_of_data_variable(tape: Tape) -> None:
    """At the end of data: BLANK CHECK, END-OF-DATA DETECTED, INFORMATION is TRANSFER LENGTH, no FILEMARK."""
    tape.stopped(read(512), asc.END_OF_DATA_DETECTED, data_in=512, information=512)


@clause("SSC-5 READ(6)")
def test_read_end_of_data_fixed(tape: Tape) -> None:
    """The end of data behind some fixed blocks: they come, INFORMATION counts those that do not."""
    tape.lay(64, 64)
    tape.set_mode(64)
    answer = tape.stopped(read(5, fixed=1), asc.END_OF_DATA_DETECTED, data_in=320, information=3)

    assert answer.data == block(0) + block(1)


@clause("SSC-5 READ(6)")
def test_read_end_of_data_again(tape: Tape) -> None:
    """The end of data is told however often it is read, and the position stays."""
    tape.lay(10)
    tape.read(10)
    for _ in range(2):
        tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10, information=10)

    assert tape.at() == 1


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_variable(tape: Tape) -> None:
    """With BYTORD a block before the position comes as READ would bring it."""
    tape.need(reverse(1))
    tape.lay(100, 50)
    tape.unit.good(space(3))

    assert tape.unit.good(reverse(50), data_in=50) == block(1, 50)
    assert tape.unit.good(reverse(100), data_in=100) == block(0, 100)


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_byte_order(tape: Tape) -> None:
    """Without BYTORD the last byte of a block comes first."""
    tape.need(reverse(1))
    tape.write(bytes(range(50)))

    assert tape.unit.good(reverse(50, bytord=0), data_in=50) == bytes(range(50))[::-1]


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_position(tape: Tape) -> None:
    """After a READ REVERSE the tape stands before the block."""
    tape.need(reverse(1))
    tape.lay(10, 10)
    tape.unit.good(space(3))
    tape.unit.good(reverse(10), data_in=10)

    assert tape.at() == 1


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_fixed(tape: Tape) -> None:
    """Fixed blocks come last one first."""
    tape.need(reverse(1))
    tape.lay(64, 64, 64)
    tape.set_mode(64)
    tape.unit.good(space(3))

    assert tape.unit.good(reverse(2, fixed=1), data_in=128) == block(2) + block(1)


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_filemark(tape: Tape) -> None:
    """A filemark ends it: FILEMARK, and the tape stands before the filemark."""
    tape.need(reverse(1))
    tape.lay(10, None)
    tape.unit.good(space(3))
    tape.stopped(reverse(10), asc.FILEMARK_DETECTED, data_in=10, information=10, bits="F")

    assert tape.where() == (0, 1, 0)


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_beginning(tape: Tape) -> None:
    """At the beginning of the partition: EOM, NO SENSE, BEGINNING-OF-PARTITION/MEDIUM DETECTED, the residual."""
    tape.need(reverse(1))
    tape.lay(10)

    tape.stopped(
        reverse(10), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, data_in=10, information=10, bits="E"
    )


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_beginning_fixed(tape: Tape) -> None:
    """Fixed blocks that are not there before the beginning are counted in INFORMATION."""
    tape.need(reverse(1))
    tape.lay(64, 64)
    tape.set_mode(64)
    tape.unit.good(space(3))
    answer = tape.stopped(
        reverse(5, fixed=1), asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, data_in=320, information=3, bits="E"
    )

    assert answer.data == block(1) + block(0)
    assert tape.at() == 0


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_underlength(tape: Tape) -> None:
    """A shorter block is told with ILI and the difference."""
    tape.need(reverse(1))
    tape.lay(10)
    tape.unit.good(space(3))

    tape.stopped(reverse(30), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=30, information=20, bits="I")


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_sili(tape: Tape) -> None:
    """With SILI it is not; with FIXED SILI is refused."""
    tape.need(reverse(1))
    tape.lay(10)
    tape.unit.good(space(3))

    assert tape.unit.good(reverse(30, sili=1), data_in=30) == block(0, 10)
    tape.set_mode(64)
    tape.unit.refused(reverse(1, fixed=1, sili=1), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SSC-5 READ REVERSE(6)")
def test_reverse_end_of_data(tape: Tape) -> None:
    """At the end of data READ REVERSE reads what is before it."""
    tape.need(reverse(1))
    tape.lay(10)
    tape.read(10)
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)

    assert tape.unit.good(reverse(10), data_in=10) == block(0, 10)


@clause("SSC-5 4.2, logical objects")
def test_read_after_write_in_place(tape: Tape) -> None:
    """Right behind a WRITE is the end of data, though there was something before."""
    tape.lay(10, 10, 10)
    tape.unit.good(write(20), block(9, 20))

    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)
