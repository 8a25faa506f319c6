"""Early warning, programmable early warning, and the end of the partition, where no more fits."""

from __future__ import annotations

from conformance import Answer, clause
from ssc_tape import (
    END,
    Tape,
    block,
    mode_select,
    mode_sense,
    mode_subpage,
    read,
    read_position,
    rewind,
    space,
    write,
    write_marks,
)

from scsiemu import asc
from scsiemu.sam import Status
from scsiemu.sense import SenseKey

# A target whose tape is longer is not asked.
MOST = 256 << 20
LENGTH = 64 << 10
EOP = 0x40

OVERFLOW = asc.with_key(asc.END_OF_PARTITION_MEDIUM_DETECTED, SenseKey.VOLUME_OVERFLOW)


def fill(tape: Tape, *, until: int = SenseKey.NO_SENSE) -> Answer:
    """Write blocks until a WRITE ends with EOM, by default at early warning; how it ended."""
    answer, number = tape.unit.execute(write(LENGTH), block(0, LENGTH)), 1
    while answer.code is None or answer.code.key != until:
        if number == MOST // LENGTH:
            tape.unit.not_supported("the tape is too long")
        answer, number = tape.unit.execute(write(LENGTH), block(number, LENGTH)), number + 1
    return answer


@clause("SSC-5 4.2, early warning")
def test_early_warning_sense(tape: Tape) -> None:
    """At early warning a WRITE ends with EOM, NO SENSE, END-OF-PARTITION/MEDIUM DETECTED."""
    sense = fill(tape).sense

    assert sense is not None
    assert sense.code == asc.END_OF_PARTITION_MEDIUM_DETECTED
    assert (sense.eom, sense.filemark, sense.ili) == (True, False, False)


@clause("SSC-5 WRITE(6)")
def test_early_warning_block_is_written(tape: Tape) -> None:
    """The block is written although the command ends with CHECK CONDITION; INFORMATION says that none is left."""
    sense = fill(tape).sense
    before = tape.at()
    assert sense is not None
    assert sense.information in (None, 0)
    tape.unit.good(space(0, -1))

    assert tape.read(LENGTH) == block(before - 1, LENGTH)


@clause("SSC-5 4.2, early warning")
def test_early_warning_each_time(tape: Tape) -> None:
    """Every WRITE beyond early warning is warned."""
    fill(tape)

    tape.stopped(write(100), asc.END_OF_PARTITION_MEDIUM_DETECTED, block(1, 100), bits="E")
    tape.stopped(write(100), asc.END_OF_PARTITION_MEDIUM_DETECTED, block(1, 100), bits="E")


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_early_warning_filemarks(tape: Tape) -> None:
    """WRITE FILEMARKS beyond early warning is warned, and the filemarks are there."""
    fill(tape)
    before = tape.where()
    tape.stopped(write_marks(2), asc.END_OF_PARTITION_MEDIUM_DETECTED, bits="E")

    assert tape.where() == (0, before[1] + 2, 2)


@clause("SSC-5 WRITE FILEMARKS(6)")
def test_early_warning_synchronize(tape: Tape) -> None:
    """FILEMARK COUNT 0 can be sent beyond early warning: GOOD, or the warning."""
    fill(tape)
    answer = tape.unit.execute(write_marks(0))

    assert answer.good or answer.code == asc.END_OF_PARTITION_MEDIUM_DETECTED


@clause("SSC-5 READ POSITION")
def test_early_warning_position(tape: Tape) -> None:
    """EOP of READ POSITION is set beyond early warning and clear at the beginning."""
    fill(tape)
    assert tape.unit.good(read_position(6), data_in=32)[0] & EOP
    tape.unit.good(rewind())

    assert not tape.unit.good(read_position(6), data_in=32)[0] & EOP


@clause("SSC-5 READ(6)")
def test_early_warning_end_of_data(tape: Tape) -> None:
    """The end of data beyond early warning is told with EOM."""
    fill(tape)

    tape.stopped(read(100), asc.END_OF_DATA_DETECTED, data_in=100, information=100, bits="E")


@clause("SSC-5 READ(6)")
def test_early_warning_read_is_not_warned(tape: Tape) -> None:
    """With REW 0 blocks beyond early warning are read without a warning."""
    fill(tape)
    tape.stopped(write(100), asc.END_OF_PARTITION_MEDIUM_DETECTED, block(7, 100), bits="E")
    tape.unit.good(space(0, -1))

    assert tape.read(100) == block(7, 100)


@clause("SSC-5 WRITE(6)")
def test_overflow_sense(tape: Tape) -> None:
    """Where no more fits: VOLUME OVERFLOW, EOM, INFORMATION is what was not written."""
    sense = fill(tape, until=SenseKey.VOLUME_OVERFLOW).sense

    assert sense is not None
    assert sense.code == OVERFLOW
    assert sense.eom
    assert sense.information == LENGTH


@clause("SSC-5 WRITE(6)")
def test_overflow_keeps_the_tape(tape: Tape) -> None:
    """A block that does not fit is not there, those before it are."""
    fill(tape, until=SenseKey.VOLUME_OVERFLOW)
    end = tape.at()
    tape.unit.good(space(0, -1))
    assert tape.read(LENGTH) == block(end - 1, LENGTH)

    tape.stopped(read(LENGTH), asc.END_OF_DATA_DETECTED, data_in=LENGTH, bits="E")


@clause("SSC-5 WRITE(6)")
def test_overflow_fixed_partial(tape: Tape) -> None:
    """Of several fixed blocks those that fit are written; INFORMATION counts the others."""
    fill(tape, until=SenseKey.VOLUME_OVERFLOW)
    end = tape.at()
    for _ in range(3):
        tape.unit.good(space(0, -1))
    tape.set_mode(LENGTH)
    blocks = b"".join(block(number, LENGTH) for number in range(5))
    tape.stopped(write(5, fixed=1), OVERFLOW, blocks, information=2, bits="E")

    assert tape.at() == end
    tape.unit.good(space(0, -1))
    assert tape.unit.good(read(1, fixed=1), data_in=LENGTH) == block(2, LENGTH)


@clause("SSC-5 4.2, end of partition")
def test_overflow_room_for_filemarks(tape: Tape) -> None:
    """Where no block fits any more filemarks still do, so that an application can end its volume."""
    fill(tape, until=SenseKey.VOLUME_OVERFLOW)
    before = tape.where()
    tape.stopped(write_marks(2), asc.END_OF_PARTITION_MEDIUM_DETECTED, bits="E")

    assert tape.where()[2] == before[2] + 2


@clause("SSC-5 4.2, end of partition")
def test_overflow_rewritten(tape: Tape) -> None:
    """A full tape can be written from its beginning again without a warning."""
    fill(tape, until=SenseKey.VOLUME_OVERFLOW)
    tape.unit.good(rewind())
    tape.write(block(0, 100))

    assert tape.at() == 1


def set_programmable(tape: Tape, megabytes: int) -> None:
    """PEWS of the device configuration extension page."""
    header = bytes((0, 0, 0x10, 0))
    answer = tape.unit.execute(mode_sense(0x10, dbd=1, subpage=1), data_in=255)
    if not answer.good:
        tape.unit.not_supported("no device configuration extension page")
    data = bytearray(answer.data[8:])
    data[2:4] = megabytes.to_bytes(2, "big")
    page = mode_subpage(0x10, 1, bytes(data))
    tape.unit.good(mode_select(4 + len(page)), header + page)


@clause("SSC-5 4.2, programmable early warning")
def test_programmable_warning_sense(tape: Tape) -> None:
    """On the way into the programmable early warning zone: PROGRAMMABLE EARLY WARNING DETECTED, EOM."""
    set_programmable(tape, 1)
    answer = fill(tape)
    set_programmable(tape, 0)

    assert answer.sense is not None
    assert answer.code == asc.PROGRAMMABLE_EARLY_WARNING_DETECTED
    assert answer.sense.eom


@clause("SSC-5 4.2, programmable early warning")
def test_programmable_warning_once(tape: Tape) -> None:
    """In the zone it is told once, until early warning."""
    set_programmable(tape, 1)
    fill(tape)
    again = tape.unit.execute(write(100), block(0, 100))
    set_programmable(tape, 0)

    assert again.good


@clause("SSC-5 READ POSITION")
def test_programmable_warning_position(tape: Tape) -> None:
    """BPEW of READ POSITION is set in the zone; EOP is not yet."""
    set_programmable(tape, 1)
    fill(tape)
    flags = tape.unit.good(read_position(6), data_in=32)[0]
    set_programmable(tape, 0)

    assert flags & 0x01
    assert not flags & EOP


@clause("SSC-5 SPACE(6)")
def test_end_of_data_full_tape(tape: Tape) -> None:
    """SPACE to the end of data of a full tape is no error."""
    assert fill(tape, until=SenseKey.VOLUME_OVERFLOW).status == Status.CHECK_CONDITION
    end = tape.at()
    tape.unit.good(rewind())
    tape.unit.good(space(END))

    assert tape.at() == end
