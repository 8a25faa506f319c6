"""Reading: user data, whole sectors of CDs and parts of them, sub-channels, capacity."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import (
    BLOCK,
    NOT_FOR_THIS_MEDIUM,
    RAW,
    Drive,
    blocks,
    digits,
    disc,
    edc_is_right,
    msf_of,
    q_is_right,
    q_of,
    read_10,
    read_12,
    read_capacity,
    read_cd,
    read_cd_msf,
    read_sub_channel,
    read_toc,
    set_read_ahead,
    verify_10,
)

from scsiemu import asc

EVERYTHING = 0xF8
RANGE = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
WRONG_MODE = asc.ILLEGAL_MODE_FOR_THIS_TRACK


# --- READ(10), READ(12) -----------------------------------------------------------------------------------------------


@disc("cd-data", "dvd-rom", "bd-rom")
@clause("MMC-6 6.14")
def test_read_10_and_12_agree(drive: Drive) -> None:
    """READ(10) and READ(12) return the same blocks."""
    assert drive.read(read_10(3, 5)) == drive.read(read_12(3, 5))
    assert len(drive.read(read_10(3, 5))) == 5 * BLOCK


@clause("MMC-6 6.14")
def test_read_10_nothing(drive: Drive) -> None:
    """TRANSFER LENGTH 0 reads nothing and is no error."""
    assert drive.read(read_10(0, 0)) == b""


@disc("cd-data", "dvd-rom", "bd-rom")
@clause("MMC-6 6.14")
def test_read_10_last_block(drive: Drive) -> None:
    """The last block of READ CAPACITY can be read, the one behind it is out of range."""
    end = drive.capacity()

    assert len(drive.read(read_10(end - 1))) == BLOCK
    drive.refused(read_10(end), RANGE)


@clause("MMC-6 6.14")
def test_read_10_across_the_end(drive: Drive) -> None:
    """A range that leaves the disc is refused before anything is transferred."""
    end = drive.capacity()
    answer = drive.execute(read_10(end - 2, 4), data_in=4 * BLOCK)

    assert (answer.code, answer.data) == (RANGE, b"")


@clause("MMC-6 6.15")
def test_read_12_across_the_end(drive: Drive) -> None:
    """The same for READ(12)."""
    drive.refused(read_12(drive.capacity() - 2, 4), RANGE)


@clause("MMC-6 6.15")
def test_read_12_highest_address(drive: Drive) -> None:
    """FFFFFFFFh and a length that would wrap are out of range."""
    drive.refused(read_12(0xFFFFFFFF, 2), RANGE)


@clause("MMC-6 6.15")
def test_read_12_streaming(drive: Drive) -> None:
    """STREAMING one reads the same data; together with FUA it is an invalid field."""
    assert drive.read(read_12(0, 4, streaming=1)) == drive.read(read_12(0, 4))
    drive.invalid(read_12(0, 4, streaming=1, fua=1))


@disc("cd-audio", "cd-mixed")
@clause("MMC-6 6.14")
def test_read_10_audio(drive: Drive) -> None:
    """READ(10) of an audio track: ILLEGAL MODE FOR THIS TRACK."""
    start, _ = drive.audio_track()

    drive.refused(read_10(start), WRONG_MODE)


@disc("cd-xa")
@clause("MMC-6 6.14")
def test_read_10_form_2(drive: Drive) -> None:
    """READ(10) reads form 1 and refuses form 2."""
    kinds = {_form(drive, lba): lba for lba in range(12)}
    if set(kinds) != {1, 2, 3}:
        drive.unit.not_supported("sectors of form 1, form 2 and formless ones are asked for")

    assert drive.read(read_10(kinds[1])) == drive.read(read_cd(kinds[1]))
    drive.refused(read_10(kinds[2]), WRONG_MODE)


def _form(drive: Drive, lba: int) -> int:
    """1 or 2, 3 for formless: by the subheader, which is there twice."""
    sector = drive.read(read_cd(lba, flags=EVERYTHING))
    if sector[16:20] != sector[20:24]:
        return 3
    return 2 if sector[18] & 0x20 else 1


@clause("MMC-6 6.18")
def test_read_capacity(drive: Drive) -> None:
    """READ CAPACITY has the last address and blocks of 2048 bytes."""
    last, size = struct.unpack(">II", drive.read(read_capacity()))

    assert size == BLOCK
    assert last > 0


@disc("cd-audio", "cd-mixed", "cd-data")
@clause("MMC-6 6.18")
def test_read_capacity_is_the_lead_out(drive: Drive) -> None:
    """On a CD the last address is the one before the last lead-out."""
    assert drive.capacity() == drive.toc()[0xAA][1]


@disc("none")
@clause("MMC-6 6.18")
def test_read_without_disc(drive: Drive) -> None:
    """Without a disc: MEDIUM NOT PRESENT, the tray closed."""
    for cdb in (read_capacity(), read_10(0), read_toc(), read_cd(0)):
        drive.refused(cdb, asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED)


@clause("MMC-5 6.43")
def test_verify(drive: Drive) -> None:
    """VERIFY of what is there is GOOD, past the end out of range."""
    drive.good(verify_10(0, 8))
    drive.refused(verify_10(drive.capacity(), 1), RANGE)


@clause("MMC-5 6.32")
def test_seek(drive: Drive) -> None:
    """SEEK to an address of the disc is GOOD, behind it out of range."""
    end = drive.capacity()
    drive.good(struct.pack(">BxIxxxx", 0x2B, end - 1))

    drive.refused(struct.pack(">BxIxxxx", 0x2B, end), RANGE)


@clause("MMC-5 6.38")
def test_set_read_ahead(drive: Drive) -> None:
    """Both addresses of SET READ AHEAD have to be on the disc."""
    end = drive.capacity()
    drive.good(set_read_ahead(0, 10))

    drive.refused(set_read_ahead(end, 10), RANGE)
    drive.refused(set_read_ahead(0, end), RANGE)


# --- READ CD ----------------------------------------------------------------------------------------------------------


@disc("cd-data", "cd-mixed", "cd-sub")
@clause("MMC-6 6.19.3")
def test_read_cd_whole_sector(drive: Drive) -> None:
    """A mode 1 sector has sync, its address in BCD, mode 1, user data, EDC, eight zeros, ECC."""
    lba = drive.data_track() + 20
    sector = drive.read(read_cd(lba, flags=EVERYTHING))

    assert len(sector) == RAW
    assert sector[:12] == b"\0" + b"\xff" * 10 + b"\0"
    assert sector[12:16] == bytes((*map(digits, msf_of(lba)), 1))
    assert edc_is_right(sector[:2068])
    assert sector[2068:2076] == bytes(8)


@disc("cd-data", "cd-mixed", "cd-sub")
@clause("MMC-6 6.19.2")
def test_read_cd_user_data_is_that_of_read_10(drive: Drive) -> None:
    """User data is what READ(10) returns."""
    lba = drive.data_track()

    assert drive.read(read_cd(lba, 3)) == drive.read(read_10(lba, 3))


@pytest.mark.parametrize(("flags", "begin", "end"), [
    (0x00, 0, 0), (0x10, 16, 2064), (0x18, 16, 2352), (0x20, 12, 16), (0x30, 12, 2064), (0x38, 12, 2352),
    (0x40, 0, 0), (0x50, 16, 2064), (0x60, 12, 16), (0x70, 12, 2064), (0x78, 12, 2352), (0xA0, 0, 16), (0xB0, 0, 2064),
    (0xB8, 0, 2352), (0xE0, 0, 16), (0xF0, 0, 2064), (0xF8, 0, 2352), (0x80, 0, 12),
])
@clause("MMC-6 6.19.2")
def test_read_cd_parts_of_mode_1(drive: Drive, flags: int, begin: int, end: int) -> None:
    """Each legal choice of byte 9 returns its part of a mode 1 sector, in the order of the sector."""
    lba = drive.data_track() + 7
    whole = drive.read(read_cd(lba, flags=EVERYTHING))

    assert drive.read(read_cd(lba, flags=flags)) == whole[begin:end]


@pytest.mark.parametrize("flags", [0x90, 0x98, 0x28])
@clause("MMC-6 6.19.2")
def test_read_cd_parts_with_a_gap(drive: Drive, flags: int) -> None:
    """Parts that do not lie one behind the other cannot be chosen: INVALID FIELD IN CDB."""
    drive.invalid(read_cd(drive.data_track(), flags=flags))


@disc("cd-audio", "cd-mixed")
@clause("MMC-6 6.19.2")
def test_read_cd_audio_has_no_parts(drive: Drive) -> None:
    """An audio sector is 2352 bytes of user data; headers add nothing."""
    lba, _ = drive.audio_track()
    sector = drive.read(read_cd(lba, flags=0x10))

    assert len(sector) == RAW
    assert drive.read(read_cd(lba, flags=EVERYTHING)) == sector


@disc("cd-xa")
@clause("MMC-6 6.19.2")
def test_read_cd_form_1(drive: Drive) -> None:
    """Form 1: 8 bytes of subheader, 2048 of user data, EDC over both."""
    lba = next((lba for lba in range(12) if _form(drive, lba) == 1), -1)
    if lba < 0:
        drive.unit.not_supported("sectors of form 1 are asked for")
    sector = drive.read(read_cd(lba, flags=EVERYTHING))

    assert sector[15] == 2
    assert edc_is_right(sector[16:2076])
    assert drive.read(read_cd(lba, flags=0x10)) == sector[24:2072]
    assert drive.read(read_cd(lba, flags=0x40)) == sector[16:24]
    assert drive.read(read_cd(lba, flags=0x50)) == sector[16:2072]
    assert drive.read(read_cd(lba, flags=0x60)) == sector[12:24]
    drive.invalid(read_cd(lba, flags=0x30))


@disc("cd-xa")
@clause("MMC-6 6.19.2")
def test_read_cd_form_2(drive: Drive) -> None:
    """Form 2: user data are 2328 bytes, the EDC in them; what EDC there is divides."""
    lba = next((lba for lba in range(12) if _form(drive, lba) == 2), -1)
    if lba < 0:
        drive.unit.not_supported("sectors of form 2 are asked for")
    sector = drive.read(read_cd(lba, flags=EVERYTHING))

    assert drive.read(read_cd(lba, flags=0x10)) == sector[24:]
    assert sector[2348:] == bytes(4) or edc_is_right(sector[16:])


@disc("cd-xa")
@clause("MMC-6 6.19.2")
def test_read_cd_formless(drive: Drive) -> None:
    """Formless mode 2: user data are 2336 bytes, and neither EDC nor ECC follow."""
    lba = next((lba for lba in range(12) if _form(drive, lba) == 3), -1)
    if lba < 0:
        drive.unit.not_supported("formless sectors are asked for")
    sector = drive.read(read_cd(lba, flags=EVERYTHING))

    assert drive.read(read_cd(lba, kind=3, flags=0x10)) == sector[16:]
    assert drive.read(read_cd(lba, kind=3, flags=0x18)) == sector[16:]


@disc("cd-xa")
@clause("MMC-6 6.19.2")
def test_read_cd_expected_sector_type(drive: Drive) -> None:
    """EXPECTED SECTOR TYPE lets through its own type alone; 0 lets through each."""
    for lba in range(3):
        own = {1: 4, 2: 5, 3: 3}[_form(drive, lba)]
        for kind in (1, 2, 3, 4, 5):
            if kind == own:
                drive.read(read_cd(lba, kind=kind))
            else:
                drive.refused(read_cd(lba, kind=kind), WRONG_MODE)


@clause("MMC-6 6.19.2")
def test_read_cd_expected_type_of_mode_1(drive: Drive) -> None:
    """Type 010b reads mode 1; audio and mode 2 are refused there."""
    lba = drive.data_track()

    assert drive.read(read_cd(lba, kind=2)) == drive.read(read_10(lba))
    for kind in (1, 3, 4, 5):
        drive.refused(read_cd(lba, kind=kind), WRONG_MODE)


@disc("cd-mixed")
@clause("MMC-6 6.19.2")
def test_read_cd_expected_type_of_audio(drive: Drive) -> None:
    """Type 001b reads audio sectors and refuses data sectors."""
    start, _ = drive.audio_track()
    drive.read(read_cd(start, kind=1))

    drive.refused(read_cd(drive.data_track(), kind=1), WRONG_MODE)
    drive.refused(read_cd(start, kind=2), WRONG_MODE)


@clause("MMC-6 6.19.2")
def test_read_cd_reserved_fields(drive: Drive) -> None:
    """Reserved sector types, sub-channel selections and C2 codes are invalid fields."""
    for cdb in (read_cd(0, kind=6), read_cd(0, kind=7), read_cd(0, flags=0x16),
                *(read_cd(0, channels=each) for each in (3, 5, 6, 7))):
        drive.invalid(cdb)


@clause("MMC-6 6.19.2")
def test_read_cd_nothing(drive: Drive) -> None:
    """TRANSFER LENGTH 0 reads nothing and is no error."""
    assert drive.read(read_cd(0, 0)) == b""


@clause("MMC-6 6.19.2")
def test_read_cd_past_the_end(drive: Drive) -> None:
    """A sector of the lead-out is out of range, alone and at the end of a range."""
    end = drive.capacity()

    drive.refused(read_cd(end), RANGE)
    drive.refused(read_cd(end - 1, 2), RANGE)


@disc("cd-audio")
@clause("MMC-6 4.2.8")
def test_read_cd_first_pause(drive: Drive) -> None:
    """The pause before the first track has negative addresses, from -150 on."""
    assert len(drive.read(read_cd(-150, 150), 150 * RAW)) == 150 * RAW
    drive.refused(read_cd(-151), RANGE)


@disc("dvd-rom", "bd-rom")
@clause("MMC-6 6.19.1")
def test_read_cd_of_other_media(drive: Drive) -> None:
    """There is no READ CD of discs that are none: CANNOT READ MEDIUM, INCOMPATIBLE FORMAT, ILLEGAL REQUEST."""
    drive.refused(read_cd(0), NOT_FOR_THIS_MEDIUM)


@pytest.mark.parametrize(("flags", "size"), [(0x12, 2048 + 294), (0x14, 2048 + 296), (0xFA, 2352 + 294)])
@clause("MMC-6 6.19.3")
def test_read_cd_c2_pointers(drive: Drive, flags: int, size: int) -> None:
    """C2 pointers follow the main channel: 294 bytes, with the block error byte 296; a good sector has none set."""
    data = drive.read(read_cd(drive.data_track(), flags=flags))

    assert len(data) == size
    assert not any(data[2352 if flags & 0x80 else 2048 :])


@disc("cd-data", "cd-audio", "cd-mixed")
@clause("MMC-6 6.19.3")
def test_read_cd_q_mode_1(drive: Drive) -> None:
    """Formatted Q: 16 bytes with CONTROL and ADR, track, index, time in the track, time on the disc, its CRC."""
    toc = drive.toc()
    number = min(toc)
    control, start = toc[number]
    for at in (0, 1, 74, 75, 149):
        q = drive.read(read_cd(start + at, flags=0, channels=2))
        if q[0] & 0xF != 1:
            continue
        assert q[:10] == bytes((
            control << 4 | 1, digits(number), 1, *map(digits, msf_of(at - 150)), 0, *map(digits, msf_of(start + at)),
        ))
        assert q_is_right(q)


@disc("cd-audio", "cd-mixed")
@clause("MMC-6 6.19.3")
def test_read_cd_q_counts_down_in_the_pause(drive: Drive) -> None:
    """In the pause before a track index is 0 and its time counts down to zero (ECMA-130 22.3.3.3)."""
    start = drive.audio_track()[0]
    times = []
    for lba in range(start - 4, start):
        q = drive.read(read_cd(lba, flags=0, channels=2))
        if q[0] & 0xF == 1:
            assert (q[2], q_is_right(q)) == (0, True)
            times.append(q[3:6].hex())

    assert times == sorted(times, reverse=True)
    assert times[-1] == "000000"


@disc("cd-audio", "cd-mixed")
@clause("MMC-6 6.19.3")
def test_read_cd_raw_sub_channels(drive: Drive) -> None:
    """Raw P to W: 96 bytes, in whose bit 6 are the 12 bytes of Q that the formatted form has."""
    start = drive.audio_track()[0]
    raw = drive.read(read_cd(start + 10, flags=0, channels=1))

    assert len(raw) == 96
    assert q_of(raw) == drive.read(read_cd(start + 10, flags=0, channels=2))[:12]


@disc("cd-mixed")
@clause("MMC-6 6.19.3")
def test_read_cd_p_is_one_in_the_pause(drive: Drive) -> None:
    """Channel P, bit 7 of raw sub-channels and of the last byte of formatted Q, marks the pause before a track."""
    start = drive.audio_track()[0]
    if drive.read(read_cd(start - 20, flags=0, channels=2))[2]:
        drive.unit.not_supported("there is no pause before the track")

    assert all(byte & 0x80 for byte in drive.read(read_cd(start - 20, flags=0, channels=1)))
    assert not any(byte & 0x80 for byte in drive.read(read_cd(start + 20, flags=0, channels=1)))
    assert drive.read(read_cd(start - 20, flags=0, channels=2))[15] & 0x80
    assert not drive.read(read_cd(start + 20, flags=0, channels=2))[15] & 0x80


@disc("cd-mixed")
@clause("ECMA-130 22.3.4")
def test_read_cd_q_has_the_catalogue_number(drive: Drive) -> None:
    """Where there is a media catalogue number, one of a hundred sectors at least has Q of mode 2 with its digits."""
    answer = drive.read(read_sub_channel(2))
    if not answer[8] & 0x80:
        drive.unit.not_supported("the disc has no media catalogue number")
    told = answer[9:22]
    start = drive.audio_track()[0]
    data = drive.read(read_cd(start, 100, flags=0, channels=2))
    found = [data[at : at + 12] for at in range(0, len(data), 16) if data[at] & 0xF == 2]

    assert found
    assert all(q_is_right(q) for q in found)
    assert {q[1:8].hex()[:13].encode() for q in found} == {told}


@disc("cd-mixed")
@clause("ECMA-130 22.3.5")
def test_read_cd_q_has_the_isrc(drive: Drive) -> None:
    """Where a track has an ISRC, one of a hundred sectors at least has Q of mode 3 with it: five characters of six bits
    and seven digits."""
    toc = drive.toc()
    codes = {number: drive.read(read_sub_channel(3, number)) for number in toc if number != 0xAA}
    number = next((number for number, code in codes.items() if code[8] & 0x80), None)
    if number is None:
        drive.unit.not_supported("no track has an ISRC")
    told = codes[number][9:21]
    data = drive.read(read_cd(toc[number][1], 100, flags=0, channels=2))
    found = [data[at : at + 12] for at in range(0, len(data), 16) if data[at] & 0xF == 3]

    assert found
    for q in found:
        letters = int.from_bytes(q[1:5], "big") >> 2
        text = "".join(chr((letters >> shift & 0x3F) + 0x30) for shift in (24, 18, 12, 6, 0)) + q[5:9].hex()[:7]
        assert text.encode() == told


@disc("cd-sub")
@clause("MMC-6 6.19.3")
def test_read_cd_recorded_sub_channels(drive: Drive) -> None:
    """Sub-channels that are recorded come as they are: raw, Q of them formatted, R to W alone."""
    raw = drive.read(read_cd(5, flags=0, channels=1))
    kept = drive.read(read_cd(5, flags=0, channels=4))

    assert drive.read(read_cd(5, flags=0, channels=2))[:12] == q_of(raw)
    assert kept == bytes(byte & 0x3F for byte in raw)


@clause("MMC-6 6.19.3")
def test_read_cd_order_of_the_parts(drive: Drive) -> None:
    """Main channel, C2 pointers, sub-channels, sector by sector."""
    lba = drive.data_track()
    data = drive.read(read_cd(lba, 2, flags=0x12, channels=2))
    size = 2048 + 294 + 16

    assert len(data) == 2 * size
    for at in (0, 1):
        part = data[at * size : (at + 1) * size]
        assert part[:2048] == drive.read(read_10(lba + at))
        assert part[2342:] == drive.read(read_cd(lba + at, flags=0, channels=2))


# --- READ CD MSF ------------------------------------------------------------------------------------------------------


@disc("cd-data", "cd-audio")
@clause("MMC-6 6.20")
def test_read_cd_msf_is_read_cd(drive: Drive) -> None:
    """READ CD MSF reads from its starting up to, not including, its ending time."""
    data = drive.read(read_cd_msf(msf_of(10), msf_of(14), flags=EVERYTHING))

    assert data == drive.read(read_cd(10, 4, flags=EVERYTHING))


@clause("MMC-6 6.20")
def test_read_cd_msf_nothing(drive: Drive) -> None:
    """Equal times read nothing and are no error."""
    assert drive.read(read_cd_msf(msf_of(10), msf_of(10))) == b""


@clause("MMC-6 6.20")
def test_read_cd_msf_backwards(drive: Drive) -> None:
    """An ending time before the starting one is an invalid field."""
    drive.invalid(read_cd_msf(msf_of(14), msf_of(10)))


@clause("MMC-6 6.20")
def test_read_cd_msf_no_time(drive: Drive) -> None:
    """Seconds above 59 and frames above 74 are invalid fields."""
    for start in ((0, 60, 0), (0, 2, 75)):
        drive.invalid(read_cd_msf(start, (1, 0, 0)))


@clause("MMC-6 6.20")
def test_read_cd_msf_past_the_end(drive: Drive) -> None:
    """Beyond the lead-out's beginning is out of range."""
    end = drive.capacity()

    drive.refused(read_cd_msf(msf_of(end - 1), msf_of(end + 1)), RANGE)


# --- others -----------------------------------------------------------------------------------------------------------


@disc("cd-data", "cd-mixed")
@clause("MMC-3 5.20")
def test_read_header(drive: Drive) -> None:
    """READ HEADER has the mode and the address of a data sector, as an address and as a time."""
    lba = drive.data_track() + 3
    plain = drive.read(struct.pack(">BBIxHx", 0x44, 0, lba, 8))
    timed = drive.read(struct.pack(">BBIxHx", 0x44, 2, lba, 8))

    assert plain == bytes((1, 0, 0, 0)) + lba.to_bytes(4, "big")
    assert timed == bytes((1, 0, 0, 0, 0, *msf_of(lba)))


@disc("cd-audio")
@clause("MMC-3 5.20")
def test_read_header_of_audio(drive: Drive) -> None:
    """An audio sector has no header."""
    drive.refused(struct.pack(">BBIxHx", 0x44, 0, 0, 8), WRONG_MODE)


@disc("cd-mixed")
@clause("MMC-6 4.2.8")
def test_read_crosses_into_audio(drive: Drive) -> None:
    """READ(10) that reaches into an audio track is refused, and so is READ CD of any type: it ends where data and audio
    meet."""
    pause = drive.track(1).start + drive.track(1).size
    drive.refused(read_cd(pause - 1, 2, flags=EVERYTHING), WRONG_MODE)
    drive.read(read_cd(pause - 1, flags=EVERYTHING))
    drive.read(read_cd(pause, flags=EVERYTHING))

    drive.refused(read_10(pause - 1, 2), WRONG_MODE)


@disc("cd-mixed")
@clause("MMC-6 6.19.3")
def test_read_cd_is_bit_exact(drive: Drive) -> None:
    """A run of audio sectors is the same whether it is read at once or sector by sector."""
    start, _ = drive.audio_track()
    run = drive.read(read_cd(start, 20))

    assert run == b"".join(drive.read(read_cd(start + at)) for at in range(20))
    assert blocks(1, start, RAW) in (run[:RAW], blocks(1, start, RAW))
