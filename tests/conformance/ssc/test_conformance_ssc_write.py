"""WRITE(6), WRITE FILEMARKS(6), ERASE(6): what is on the tape afterwards."""

from __future__ import annotations

from conformance import clause
from ssc_tape import Tape, block, erase, load, locate10, read, rewind, space, verify, write, write_marks

from scsiemu import asc
from scsiemu.sense import FieldPointer


@clause("SSC-5 WRITE(6)")
def test_write_variable(tape: Tape) -> None:
    """A variable block is one logical object of its length."""
    tape.write(block(0, 777))

    assert tape.where() == (0, 1, 0)
    tape.unit.good(rewind())
    assert tape.read(777) == block(0, 777)


@clause("SSC-5 WRITE(6)")
def test_write_one_byte(tape: Tape) -> None:
    """A block of one byte is a block."""
    tape.write(b"x")
    tape.unit.good(rewind())

    assert tape.read(1) == b"x"


@clause("SSC-5 WRITE(6)")
def test_write_large_block(tape: Tape) -> None:
    """A block of 256 KiB is one logical object."""
    data = block(3, 256 << 10)
    tape.write(data)
    tape.unit.good(rewind())

    assert tape.read(len(data)) == data
    assert tape.at() == 1


@clause("SSC-5 WRITE(6)")
def test_write_zero_length(tape: Tape) -> None:
    """TRANSFER LENGTH 0 writes nothing and is no error."""
    tape.lay(10, 10)
    tape.unit.good(write(0))

    assert tape.at() == 0
    assert tape.read(10) == block(0, 10)


@clause("SSC-5 WRITE(6)")
def test_write_fixed(tape: Tape) -> None:
    """Fixed blocks by one command are as many logical objects."""
    tape.set_mode(64)
    tape.unit.good(write(3, fixed=1), block(0) + block(1) + block(2))

    assert tape.at() == 3
    tape.unit.good(rewind())
    assert [tape.read(64) for _ in range(3)] == [block(0), block(1), block(2)]


@clause("SSC-5 WRITE(6)")
def test_write_fixed_without_block_length(tape: Tape) -> None:
    """FIXED with BLOCK LENGTH 0 is refused, and nothing is written."""
    sense = tape.unit.refused(write(1, fixed=1), asc.INVALID_FIELD_IN_CDB, block(0))

    assert sense.specific in (None, FieldPointer(1, 0))
    assert tape.at() == 0


@clause("SSC-5 WRITE(6)")
def test_write_fixed_zero(tape: Tape) -> None:
    """No fixed block is no error, and what is behind stays."""
    tape.lay(10)
    tape.set_mode(64)
    tape.unit.good(write(0, fixed=1))

    assert tape.read(10) == block(0, 10)


@clause("SSC-5 WRITE(6)")
def test_write_variable_with_block_length(tape: Tape) -> None:
    """With BLOCK LENGTH set blocks of other lengths can still be written by FIXED 0."""
    tape.set_mode(64)
    tape.write(block(0, 100))
    tape.unit.good(rewind())

    assert tape.read(100) == block(0, 100)


@clause("SSC-5 WRITE(6)")
def test_write_variable_as_fixed(tape: Tape) -> None:
    """Blocks written one by one are read by FIXED where they have BLOCK LENGTH: the tape knows no difference."""
    tape.lay(64, 64)
    tape.set_mode(64)

    assert tape.unit.good(read(2, fixed=1), data_in=128) == block(0) + block(1)


@clause("SSC-5 4.2, end of data")
def test_write_ends_the_tape(tape: Tape) -> None:
    """What was behind a block that is written is gone, blocks and filemarks."""
    tape.lay(10, 10, None, 10)
    tape.unit.good(locate10(1))
    tape.write(block(7, 10))

    tape.stopped(space(1, 1), asc.END_OF_DATA_DETECTED, information=1)
    assert tape.at() == 2


@clause("SSC-5 4.2, end of data")
def test_write_keeps_what_is_before(tape: Tape) -> None:
    """What is before a block that is written stays."""
    tape.lay(10, None, 10, 10)
    tape.unit.good(locate10(2))
    tape.write(block(7, 20))
    tape.unit.good(rewind())

    assert tape.read(10) == block(0, 10)
    tape.unit.good(space(1, 1))
    assert tape.read(20) == block(7, 20)


@clause("SSC-5 4.2, end of data")
def test_write_at_beginning(tape: Tape) -> None:
    """Writing at the beginning forgets the whole partition."""
    tape.lay(10, None, 10)
    tape.write(block(5, 30))
    tape.unit.good(rewind())
    tape.unit.good(space(3))

    assert tape.where() == (0, 1, 0)


@clause("SSC-5 4.2, end of data")
def test_write_append(tape: Tape) -> None:
    """What is written at the end of data follows on what there was."""
    tape.lay(10, None)
    tape.unit.good(space(3))
    tape.write(block(2, 10))
    tape.unit.good(rewind())

    assert tape.read(10) == block(0, 10)
    tape.stopped(read(10), asc.FILEMARK_DETECTED, data_in=10, bits="F")
    assert tape.read(10) == block(2, 10)


@clause("SSC-5 WRITE(6)")
def test_write_after_end_of_data_read(tape: Tape) -> None:
    """After a READ that met the end of data one can append."""
    tape.lay(10)
    tape.read(10)
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)
    tape.write(block(1, 10))

    assert tape.at() == 2


@clause("SSC-5 WRITE(6)")
def test_write_over_filemark(tape: Tape) -> None:
    """A filemark can be written over by a block."""
    tape.lay(10, None, 10)
    tape.unit.good(locate10(1))
    tape.write(block(9, 10))

    assert tape.where() == (0, 2, 0)


@clause("SSC-5 8.3, BUFFERED MODE")
def test_write_unbuffered(tape: Tape) -> None:
    """In unbuffered mode blocks are written as well."""
    tape.set_mode(buffered=0)
    tape.write(block(0, 100))
    tape.unit.good(rewind())

    assert tape.read(100) == block(0, 100)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_one(tape: Tape) -> None:
    """A filemark is one logical object, and begins a logical file."""
    tape.mark()

    assert tape.where() == (0, 1, 1)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_many(tape: Tape) -> None:
    """FILEMARK COUNT filemarks are written."""
    tape.mark(5)

    assert tape.where() == (0, 5, 5)
    tape.unit.good(rewind())
    for number in range(5):
        tape.stopped(read(10), asc.FILEMARK_DETECTED, data_in=10, bits="F")
        assert tape.at() == number + 1
    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_zero(tape: Tape) -> None:
    """FILEMARK COUNT 0 synchronizes: nothing is written, and what is behind stays."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(write_marks(0))

    assert tape.at() == 1
    assert tape.read(10) == block(1, 10)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_immediate(tape: Tape) -> None:
    """With IMMED filemarks are written, too."""
    tape.unit.good(write_marks(2, immed=1))

    assert tape.where() == (0, 2, 2)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_immediate_unbuffered(tape: Tape) -> None:
    """In unbuffered mode IMMED is refused: nothing can be reported early."""
    tape.set_mode(buffered=0)
    sense = tape.unit.refused(write_marks(1, immed=1), asc.INVALID_FIELD_IN_CDB)

    assert sense.specific in (None, FieldPointer(1, 0))
    assert tape.at() == 0


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_end_the_tape(tape: Tape) -> None:
    """What was behind a filemark that is written is gone."""
    tape.lay(10, 10, 10)
    tape.unit.good(locate10(1))
    tape.mark()

    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)
    assert tape.where() == (0, 2, 1)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_marks_obsolete_setmarks(tape: Tape) -> None:
    """The bit that asked for setmarks is reserved: with it the command is refused."""
    tape.unit.refused(bytes((0x10, 2, 0, 0, 1, 0)), asc.INVALID_FIELD_IN_CDB)


@clause("SSC-5 ERASE(6)")
def test_erase_short(tape: Tape) -> None:
    """A short ERASE makes the position the end of data."""
    tape.lay(10, 10, None)
    tape.read(10)
    tape.unit.good(erase())

    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)
    assert tape.at() == 1


@clause("SSC-5 ERASE(6)")
def test_erase_keeps_what_is_before(tape: Tape) -> None:
    """What is before the position stays."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(erase())
    tape.unit.good(rewind())

    assert tape.read(10) == block(0, 10)


@clause("SSC-5 ERASE(6)")
def test_erase_long(tape: Tape) -> None:
    """A long ERASE erases to the end of the partition."""
    tape.lay(10, 10)
    tape.unit.good(erase(long=1))
    tape.unit.good(space(3))

    assert tape.where() == (0, 0, 0)


@clause("SSC-5 ERASE(6)")
def test_erase_immediate(tape: Tape) -> None:
    """With IMMED the command ends at once; when the drive is ready again the data is gone."""
    tape.lay(10)
    tape.unit.good(erase(immed=1))
    tape.settle()

    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@clause("SSC-5 ERASE(6)")
def test_erase_then_write(tape: Tape) -> None:
    """Behind an erased place one can write."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(erase())
    tape.write(block(4, 30))
    tape.unit.good(locate10(1))

    assert tape.read(30) == block(4, 30)


@clause("SSC-5 4.2, WRITE FILEMARKS and synchronization")
def test_write_outlives_unloading(tape: Tape) -> None:
    """What was written is there after the volume was unloaded and loaded."""
    tape.lay(10, None, 20)
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()
    tape.unit.attentions()

    assert tape.read(10) == block(0, 10)
    tape.unit.good(space(1, 1))
    assert tape.read(20) == block(2, 20)


@clause("SSC-5 VERIFY(6)")
def test_verify_variable(tape: Tape) -> None:
    """VERIFY moves over a block without Data-In."""
    tape.need(verify(0))
    tape.lay(100, 50)

    assert tape.unit.good(verify(100)) == b""
    assert tape.at() == 1


@clause("SSC-5 VERIFY(6)")
def test_verify_fixed(tape: Tape) -> None:
    """Fixed blocks are counted."""
    tape.need(verify(0))
    tape.lay(64, 64, 64)
    tape.set_mode(64)
    tape.unit.good(verify(2, fixed=1))

    assert tape.at() == 2


@clause("SSC-5 VERIFY(6)")
def test_verify_zero(tape: Tape) -> None:
    """VERIFICATION LENGTH 0 verifies nothing."""
    tape.need(verify(0))
    tape.lay(10)
    tape.unit.good(verify(0))

    assert tape.at() == 0


@clause("SSC-5 VERIFY(6)")
def test_verify_compare(tape: Tape) -> None:
    """With BYTCMP the same bytes are no error."""
    tape.need(verify(0))
    tape.lay(100)
    tape.unit.good(verify(100, bytcmp=1), block(0, 100))

    assert tape.at() == 1


@clause("SSC-5 VERIFY(6)")
def test_verify_miscompare(tape: Tape) -> None:
    """With BYTCMP other bytes are MISCOMPARE."""
    tape.need(verify(0))
    tape.lay(100)

    tape.stopped(verify(100, bytcmp=1), asc.MISCOMPARE_DURING_VERIFY_OPERATION, block(1, 100))


@clause("SSC-5 VERIFY(6)")
def test_verify_miscompare_fixed(tape: Tape) -> None:
    """Of several blocks the first that differs ends it."""
    tape.need(verify(0))
    tape.lay(64, 64, 64)
    tape.set_mode(64)

    tape.stopped(
        verify(3, fixed=1, bytcmp=1), asc.MISCOMPARE_DURING_VERIFY_OPERATION, block(0) + block(7) + block(2)
    )


@clause("SSC-5 VERIFY(6)")
def test_verify_filemark(tape: Tape) -> None:
    """A filemark ends it as it does READ."""
    tape.need(verify(0))
    tape.lay(64, None, 64)
    tape.set_mode(64)
    tape.stopped(verify(3, fixed=1), asc.FILEMARK_DETECTED, information=2, bits="F")

    assert tape.where() == (0, 2, 1)


@clause("SSC-5 VERIFY(6)")
def test_verify_end_of_data(tape: Tape) -> None:
    """So does the end of data."""
    tape.need(verify(0))
    tape.lay(64)
    tape.set_mode(64)

    tape.stopped(verify(3, fixed=1), asc.END_OF_DATA_DETECTED, information=2)


@clause("SSC-5 VERIFY(6)")
def test_verify_incorrect_length(tape: Tape) -> None:
    """And a block of another length."""
    tape.need(verify(0))
    tape.lay(100)

    tape.stopped(verify(40), asc.NO_ADDITIONAL_SENSE_INFORMATION, information=-60, bits="I")


@clause("SSC-5 VERIFY(6)")
def test_verify_fixed_without_block_length(tape: Tape) -> None:
    """FIXED with BLOCK LENGTH 0 is refused."""
    tape.need(verify(0))
    tape.lay(64)

    tape.unit.refused(verify(1, fixed=1), asc.INVALID_FIELD_IN_CDB)


@clause("SSC-5 VERIFY(6)")
def test_verify_immediate_compare(tape: Tape) -> None:
    """IMMED and BYTCMP together are refused: there would be no data any more to compare with."""
    tape.need(verify(0))
    tape.lay(64)

    tape.unit.refused(verify(64, bytcmp=1, immed=1), asc.INVALID_FIELD_IN_CDB, block(0))
