"""Mode parameter header and block descriptor, and the mode pages of a tape."""

from __future__ import annotations

from conformance import clause
from ssc_tape import (
    END,
    TEST_UNIT_READY,
    Tape,
    block,
    load,
    locate10,
    mode_select,
    mode_sense,
    mode_sense10,
    mode_subpage,
    read,
    read16,
    rewind,
    space,
    write,
    write_marks,
)

from scsiemu import asc
from scsiemu.sense import SenseKey

CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)


def sense6(tape: Tape, page: int = 0x3F, *, control: int = CURRENT, dbd: int = 0) -> bytes:
    """MODE SENSE(6), all that there is."""
    return tape.unit.good(mode_sense(page, control=control, dbd=dbd), data_in=255)


def select(tape: Tape, page: bytes, *, buffered: int = 1) -> None:
    """MODE SELECT(6) of one page without a block descriptor."""
    data = bytes((0, 0, buffered << 4, 0)) + page
    tape.unit.good(mode_select(len(data)), data)


def settable(page: bytes) -> bytearray:
    """A page as MODE SENSE brought it, with PS zero."""
    return bytearray((page[0] & 0x7F,)) + page[1:]


@clause("SSC-5 8.3, mode parameter header")
def test_header_write_protect(tape: Tape) -> None:
    """WP is clear on a tape that can be written."""
    assert not sense6(tape)[2] & 0x80


@clause("SSC-5 8.3, mode parameter header")
def test_header_buffered_mode(tape: Tape) -> None:
    """BUFFERED MODE is what was set."""
    for buffered in (0, 1):
        tape.set_mode(buffered=buffered)
        assert sense6(tape)[2] >> 4 & 7 == buffered


@clause("SSC-5 8.3, mode parameter header")
def test_header_buffered_mode_reserved(tape: Tape) -> None:
    """A BUFFERED MODE that there is not is refused."""
    tape.unit.refused(mode_select(4), asc.INVALID_FIELD_IN_PARAMETER_LIST, bytes((0, 0, 0x70, 0)))


@clause("SPC-5 MODE SENSE")
def test_header_mode_data_length(tape: Tape) -> None:
    """MODE DATA LENGTH counts what follows it, and does not depend on the allocation length."""
    data = tape.unit.good(mode_sense10(0x3F), data_in=0xFFFF)
    cut = tape.unit.good(mode_sense10(0x3F, length=8), data_in=8)

    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert cut == data[:8]


@clause("SSC-5 8.3, block descriptor")
def test_descriptor_length(tape: Tape) -> None:
    """There is one block descriptor of 8 bytes, none with DBD."""
    assert sense6(tape, 0x10)[3] == 8
    assert sense6(tape, 0x10, dbd=1)[3] == 0


@clause("SSC-5 8.3, block descriptor")
def test_descriptor_density(tape: Tape) -> None:
    """The density code is that of the medium: neither default (00h) nor no change (7Fh)."""
    assert sense6(tape)[4] not in (0x00, 0x7F)


@clause("SSC-5 8.3, block descriptor")
def test_descriptor_block_length(tape: Tape) -> None:
    """BLOCK LENGTH is what was set."""
    tape.set_mode(4096)

    assert sense6(tape)[9:12] == (4096).to_bytes(3, "big")


@clause("SSC-5 8.3, block descriptor")
def test_descriptor_block_length_limits(tape: Tape) -> None:
    """A BLOCK LENGTH beyond the limits is refused; the one before stays."""
    limits = tape.unit.good(bytes((0x05, 0, 0, 0, 0, 0)), data_in=6)
    longest = int.from_bytes(limits[1:4], "big")
    if longest in (0, 0xFFFFFF):
        longest = None
    tape.set_mode(512)
    if longest is not None:
        data = bytes((0, 0, 0x10, 8, 0, 0, 0, 0, 0)) + (longest + 1).to_bytes(3, "big")
        tape.unit.refused(mode_select(12), asc.INVALID_FIELD_IN_PARAMETER_LIST, data)

    assert sense6(tape)[9:12] == (512).to_bytes(3, "big")


@clause("SSC-5 8.3, block descriptor")
def test_descriptor_density_unknown(tape: Tape) -> None:
    """A density that the drive has not is refused."""
    data = bytes((0, 0, 0x10, 8, 0x01, 0, 0, 0, 0, 0, 0, 0))

    tape.unit.refused(mode_select(12), asc.INVALID_FIELD_IN_PARAMETER_LIST, data)


@clause("SSC-5 8.3, block descriptor")
def test_descriptor_density_no_change(tape: Tape) -> None:
    """Density codes 00h (default) and 7Fh (no change) are taken."""
    before = sense6(tape)[4]
    for code in (0x00, 0x7F):
        tape.set_mode(density=code)

    assert sense6(tape)[4] == before


@clause("SPC-5 MODE SELECT")
def test_select_list_length(tape: Tape) -> None:
    """A parameter list that is cut inside a descriptor or page is refused: PARAMETER LIST LENGTH ERROR."""
    whole = bytes((0, 0, 0x10, 8)) + bytes(8)

    tape.unit.refused(mode_select(7), asc.PARAMETER_LIST_LENGTH_ERROR, whole[:7])


@clause("SPC-5 MODE SELECT")
def test_select_empty(tape: Tape) -> None:
    """PARAMETER LIST LENGTH 0 changes nothing and is no error."""
    tape.set_mode(512)
    tape.unit.good(mode_select(0))

    assert sense6(tape)[9:12] == (512).to_bytes(3, "big")


@clause("SPC-5 MODE SELECT")
def test_select_unknown_page(tape: Tape) -> None:
    """A page that there is not is refused."""
    tape.unit.refused(
        mode_select(8), asc.INVALID_FIELD_IN_PARAMETER_LIST, bytes((0, 0, 0x10, 0, 0x3E, 2, 0, 0))
    )


@clause("SPC-5 MODE SELECT")
def test_select_unchangeable(tape: Tape) -> None:
    """A field that cannot be changed is refused with another value, and nothing of the list is done."""
    page = settable(tape.page(0x10))
    mask = tape.page(0x10, control=CHANGEABLE)
    index = next((at for at in range(2, len(page)) if not mask[at]), None)
    if index is None:
        tape.unit.not_supported("every byte of the page can be changed")
    page[index] ^= 0xFF
    data = bytes((0, 0, 0x10, 8)) + bytes(5) + (512).to_bytes(3, "big") + bytes(page)
    tape.unit.refused(mode_select(len(data)), asc.INVALID_FIELD_IN_PARAMETER_LIST, data)

    assert sense6(tape)[9:12] == bytes(3)


@clause("SPC-5 MODE SENSE")
def test_sense_all_pages_ascending(tape: Tape) -> None:
    """Page 3Fh brings every page once, in ascending order, page 00h at the end."""
    data = tape.unit.good(mode_sense10(0x3F, dbd=1, subpage=0xFF), data_in=0xFFFF)[8:]
    found = []
    while data:
        long = data[0] & 0x40
        found.append((data[0] & 0x3F, data[1] if long else 0))
        data = data[4 + int.from_bytes(data[2:4], "big") :] if long else data[2 + data[1] :]

    assert found == sorted(set(found), key=lambda key: (key[0] == 0, key))


@clause("SPC-5 MODE SENSE")
def test_sense_page_control_lengths(tape: Tape) -> None:
    """Current, changeable and default values of a page have the same length."""
    assert len({len(tape.page(0x10, control=control)) for control in (CURRENT, CHANGEABLE, DEFAULT)}) == 1


@clause("SPC-5 MODE SENSE")
def test_sense_unknown_page(tape: Tape) -> None:
    """A page that there is not is refused."""
    tape.unit.refused(mode_sense(0x3E), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SSC-5 Device Configuration mode page")
def test_device_configuration_page(tape: Tape) -> None:
    """Page 10h is there, with 14 bytes."""
    page = tape.page(0x10)

    assert page[0] & 0x7F == 0x10
    assert page[1] == 14


@clause("SSC-5 Device Configuration mode page")
def test_device_configuration_locates(tape: Tape) -> None:
    """LOIS: logical object identifiers are supported, as LOCATE and READ POSITION need."""
    assert tape.page(0x10)[8] & 0x40


@clause("SSC-5 Device Configuration mode page")
def test_device_configuration_no_setmarks(tape: Tape) -> None:
    """RSMK is clear: there are no setmarks."""
    assert not tape.page(0x10)[8] & 0x20


@clause("SSC-5 Device Configuration mode page")
def test_software_write_protect(tape: Tape) -> None:
    """SWP refuses writes: DATA PROTECT, LOGICAL UNIT SOFTWARE WRITE PROTECTED; WP says so; reading goes on."""
    if not tape.page(0x10, control=CHANGEABLE)[10] & 0x04:
        tape.unit.not_supported("SWP cannot be changed")
    tape.lay(10)
    page = settable(tape.page(0x10))
    page[10] |= 0x04
    select(tape, bytes(page))
    for cdb, data in ((write(10), block(3, 10)), (write_marks(1), b"")):
        tape.unit.refused(cdb, asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED, data)
    protected = sense6(tape)[2] & 0x80
    found = tape.read(10)
    page[10] &= ~0x04
    select(tape, bytes(page))

    assert protected
    assert found == block(0, 10)
    tape.unit.good(rewind())
    tape.write(block(3, 10))


@clause("SSC-5 Data Compression mode page")
def test_compression_page(tape: Tape) -> None:
    """Page 0Fh is there with 14 bytes; DCE only where DCC says that the drive is capable."""
    answer = tape.unit.execute(mode_sense(0x0F, dbd=1), data_in=255)
    if not answer.good:
        tape.unit.not_supported("no data compression page")
    page = answer.data[4:]

    assert page[1] == 14
    assert page[2] & 0x40 or not page[2] & 0x80


@clause("SSC-5 Data Compression mode page")
def test_compression_round_trip(tape: Tape) -> None:
    """Blocks that are written with DCE come back as they were, of the same lengths, when it is off again, too."""
    if not tape.unit.execute(mode_sense(0x0F, dbd=1), data_in=255).good:
        tape.unit.not_supported("no data compression page")
    for enabled in (1, 0):
        page = settable(tape.page(0x0F))
        page[2] = page[2] & 0x7F | enabled << 7
        select(tape, bytes(page))
        tape.write(block(enabled, 5000))
    tape.unit.good(rewind())

    assert tape.read(5000) == block(1, 5000)
    assert tape.read(5000) == block(0, 5000)


@clause("SSC-5 Data Compression mode page")
def test_compression_same_as_device_configuration(tape: Tape) -> None:
    """SELECT DATA COMPRESSION ALGORITHM of page 10h and DCE say the same."""
    if not tape.unit.execute(mode_sense(0x0F, dbd=1), data_in=255).good:
        tape.unit.not_supported("no data compression page")
    page = settable(tape.page(0x0F))
    page[2] |= 0x80
    select(tape, bytes(page))
    algorithm = tape.page(0x10)[14]
    page[2] &= 0x7F
    select(tape, bytes(page))

    assert algorithm
    assert not tape.page(0x10)[14]


@clause("SSC-5 Medium Partition mode page")
def test_partition_page(tape: Tape) -> None:
    """Page 11h: no additional partition on a tape with one, and not more than the most that there can be."""
    page = tape.page(0x11)

    assert page[0] & 0x7F == 0x11
    assert page[3] == 0
    assert page[2] >= page[3]


@clause("SSC-5 Device Configuration Extension mode page")
def test_extension_page(tape: Tape) -> None:
    """Page 10h/01h is in the format of subpages, 28 bytes."""
    answer = tape.unit.execute(mode_sense(0x10, dbd=1, subpage=1), data_in=255)
    if not answer.good:
        tape.unit.not_supported("no device configuration extension page")

    assert answer.data[4] & 0x7F == 0x50
    assert answer.data[5:8] == b"\x01\x00\x1c"


def set_append_only(tape: Tape, mode: int) -> None:
    """WRITE MODE of the device configuration extension page."""
    answer = tape.unit.execute(mode_sense(0x10, dbd=1, subpage=1), data_in=255)
    if not answer.good:
        tape.unit.not_supported("no device configuration extension page")
    data = bytearray(answer.data[8:])
    data[1] = mode << 4 | data[1] & 0x0F
    select(tape, mode_subpage(0x10, 1, bytes(data)))


def allow_overwrite(kind: int, partition: int, number: int) -> bytes:
    """ALLOW OVERWRITE."""
    return bytes((0x82, 0, kind, partition)) + number.to_bytes(8, "big") + bytes(4)


@clause("SSC-5 4.2, append-only mode")
def test_append_only_overwrite(tape: Tape) -> None:
    """In append-only mode writing before the end of data is refused with DATA PROTECT; appending is not."""
    tape.lay(10, 10, 10)
    set_append_only(tape, 1)
    code = tape.unit.execute(write(10), block(9, 10)).code
    tape.unit.good(space(END))
    tape.write(block(4, 10))
    set_append_only(tape, 0)

    assert code is not None
    assert (code.key, code.asc) == (SenseKey.DATA_PROTECT, 0x30)
    tape.unit.good(rewind())
    assert tape.read(10) == block(0, 10)


@clause("SSC-5 ALLOW OVERWRITE")
def test_allow_overwrite_once(tape: Tape) -> None:
    """ALLOW OVERWRITE of the current position lets the next write overwrite there."""
    tape.lay(10, 10, 10)
    set_append_only(tape, 1)
    tape.unit.good(locate10(1))
    tape.unit.good(allow_overwrite(1, 0, 1))
    tape.write(block(7, 20))
    set_append_only(tape, 0)

    tape.unit.good(locate10(1))
    assert tape.read(20) == block(7, 20)


@clause("SSC-5 ALLOW OVERWRITE")
def test_allow_overwrite_elsewhere(tape: Tape) -> None:
    """Another position than the current one is refused: SEQUENTIAL POSITIONING ERROR."""
    tape.lay(10, 10, 10)
    set_append_only(tape, 1)
    code = tape.unit.execute(allow_overwrite(1, 0, 2)).code
    set_append_only(tape, 0)

    assert code is not None
    assert (code.key, code.asc, code.ascq) == (SenseKey.ILLEGAL_REQUEST, 0x3B, 0x00)


@clause("SSC-5 ALLOW OVERWRITE")
def test_allow_overwrite_not_append_only(tape: Tape) -> None:
    """Outside append-only mode the command is refused."""
    tape.need(allow_overwrite(0, 0, 0))

    tape.unit.refused(allow_overwrite(1, 0, 0), asc.ILLEGAL_COMMAND_WHEN_NOT_IN_APPEND_ONLY_MODE)


@clause("SSC-5 Control Data Protection mode page")
def test_protection_write_and_read(tape: Tape) -> None:
    """With LBP_R each block comes with its protection information behind it, with LBP_W it has to bring it."""
    answer = tape.unit.execute(mode_sense(0x0A, dbd=1, subpage=0xF0), data_in=255)
    if not answer.good:
        tape.unit.not_supported("no logical block protection")
    tape.lay(100)
    body = bytearray(answer.data[8:])
    body[0], body[1], body[2] = 2, 4, 0x40          # CRC32C, four bytes, LBP_R
    select(tape, mode_subpage(0x0A, 0xF0, bytes(body)))
    found = tape.unit.good(read(104), data_in=104)
    body[0], body[1], body[2] = 2, 4, 0x80          # LBP_W
    select(tape, mode_subpage(0x0A, 0xF0, bytes(body)))
    tape.write(found)
    wrong = found[:-1] + bytes((found[-1] ^ 1,))
    refused = tape.unit.execute(write(104), wrong).code
    select(tape, mode_subpage(0x0A, 0xF0, bytes(len(body))))

    assert found[:100] == block(0, 100)
    assert refused == asc.with_key(asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED, SenseKey.HARDWARE_ERROR)
    tape.unit.good(rewind())
    assert tape.unit.good(space(0, 1)) == b""
    assert tape.read(100) == block(0, 100)


@clause("SSC-5 Control Data Protection mode page")
def test_protection_length_mismatch(tape: Tape) -> None:
    """A method with another information length than its own is refused."""
    answer = tape.unit.execute(mode_sense(0x0A, dbd=1, subpage=0xF0), data_in=255)
    if not answer.good:
        tape.unit.not_supported("no logical block protection")
    body = bytearray(answer.data[8:])
    body[0], body[1], body[2] = 2, 8, 0x80
    data = bytes((0, 0, 0x10, 0)) + mode_subpage(0x0A, 0xF0, bytes(body))

    tape.unit.refused(mode_select(len(data)), asc.INVALID_FIELD_IN_PARAMETER_LIST, data)


@clause("SPC-5 control mode page, D_SENSE")
def test_descriptor_sense(tape: Tape) -> None:
    """With D_SENSE residuals and bits come in descriptors: information, and stream commands."""
    page = settable(tape.page(0x0A))
    if not tape.page(0x0A, control=CHANGEABLE)[2] & 0x04:
        tape.unit.not_supported("D_SENSE cannot be changed")
    tape.lay(100, None)
    page[2] |= 0x04
    select(tape, bytes(page))
    long = tape.stopped(read(40), asc.NO_ADDITIONAL_SENSE_INFORMATION, data_in=40, information=-60, bits="I")
    mark = tape.stopped(read(40), asc.FILEMARK_DETECTED, data_in=40, information=40, bits="F")
    page[2] &= ~0x04
    select(tape, bytes(page))

    assert long.sense is not None
    assert mark.sense is not None
    # 64 bits: a negative residual is negative there, too.
    assert long.sense.information is not None
    assert long.sense.information & 0xFFFFFFFFFFFFFFFF == -60 & 0xFFFFFFFFFFFFFFFF


@clause("SPC-5 MODE SENSE")
def test_sense_unloaded(tape: Tape) -> None:
    """Pages can be asked for without a medium."""
    tape.unit.good(load(load=0))

    assert tape.unit.good(mode_sense(0x3F), data_in=255)
    assert not tape.unit.execute(TEST_UNIT_READY).good


@clause("SSC-5 8.3, BLOCK LENGTH")
def test_block_length_for_explicit_addressing(tape: Tape) -> None:
    """BLOCK LENGTH is that of READ(16) with FIXED, too."""
    tape.need(read16((0, 0), 0))
    tape.lay(64, 64)
    tape.set_mode(64)

    assert tape.unit.good(read16((0, 0), 2, fixed=1), data_in=128) == block(0) + block(1)
