"""READ TOC/PMA/ATIP: tracks, sessions, what lead-ins and the groove tell."""

from __future__ import annotations

from conformance import clause
from mmc_drive import Drive, disc, lba_of, read_toc

from scsiemu import asc


@disc("cd-data", "cd-audio", "cd-mixed", "dvd-rom", "bd-rom")
@clause("MMC-5 6.26.3")
def test_read_toc_tracks(drive: Drive) -> None:
    """Format 0: header with first and last track, each track once, ascending, then the lead-out as AAh."""
    data = drive.read(read_toc())
    numbers = [data[at + 2] for at in range(4, len(data), 8)]

    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert numbers == [*range(data[2], data[3] + 1), 0xAA]
    assert all(data[at + 1] >> 4 == 1 for at in range(4, len(data), 8))


@disc("cd-mixed")
@clause("MMC-5 6.26.2")
def test_read_toc_starting_track(drive: Drive) -> None:
    """TRACK NUMBER is the first that is returned; AAh returns the lead-out alone."""
    whole = drive.read(read_toc())

    assert drive.read(read_toc(track=2))[4:] == whole[12:]
    assert drive.read(read_toc(track=0xAA))[4:] == whole[-8:]
    assert drive.read(read_toc(track=1)) == whole


@disc("cd-data", "cd-mixed")
@clause("MMC-5 6.26.2")
def test_read_toc_no_such_track(drive: Drive) -> None:
    """A track behind the last one is an invalid field."""
    drive.invalid(read_toc(track=drive.read(read_toc())[3] + 1))


@disc("cd-mixed", "cd-audio", "cd-data")
@clause("MMC-5 6.26.3")
def test_read_toc_times(drive: Drive) -> None:
    """With TIME one the addresses are minute, second, frame of the same blocks."""
    whole, times = drive.read(read_toc()), drive.read(read_toc(msf=1))

    for at in range(4, len(whole), 8):
        assert times[at : at + 4] == whole[at : at + 4]
        assert times[at + 4] == 0
        assert lba_of(times[at + 5 : at + 8]) == int.from_bytes(whole[at + 4 : at + 8], "big")


@disc("cd-audio", "cd-mixed")
@clause("MMC-5 6.26.3")
def test_read_toc_control(drive: Drive) -> None:
    """CONTROL has bit 2 for data tracks alone, as READ TRACK INFORMATION tells them."""
    for number, (control, _) in drive.toc().items():
        if number != 0xAA:
            assert control == drive.track(number).control


@disc("cd-data", "cd-mixed", "dvd-rom")
@clause("MMC-5 6.26.3")
def test_read_toc_sessions(drive: Drive) -> None:
    """Format 1: first and last session, and the first track of the last one."""
    data = drive.read(read_toc(1))

    assert data[:4] == bytes((0, 10, 1, drive.disc().sessions))
    assert data[6] == drive.disc().first_in_last
    assert int.from_bytes(data[8:12], "big") == drive.toc()[data[6]][1]


@disc("cd-data", "cd-audio", "cd-mixed")
@clause("MMC-5 6.26.3")
def test_read_toc_full(drive: Drive) -> None:
    """Format 2: points A0h, A1h, A2h and each track, as Q of the lead-in has them."""
    data = drive.read(read_toc(2))
    rows = {data[at + 3]: data[at : at + 11] for at in range(4, len(data), 11)}
    toc = drive.toc()

    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert rows[0xA0][8] == min(toc)
    assert rows[0xA1][8] == max(number for number in toc if number != 0xAA)
    assert lba_of(rows[0xA2][8:11]) == toc[0xAA][1]
    for number, (control, lba) in toc.items():
        if number != 0xAA:
            assert (rows[number][1], lba_of(rows[number][8:11])) == (0x10 | control, lba)


@disc("cd-xa")
@clause("MMC-5 6.26.3")
def test_read_toc_disc_type(drive: Drive) -> None:
    """PSEC of point A0h is the disc type: 20h for CD-ROM XA, as READ DISC INFORMATION has it."""
    data = drive.read(read_toc(2))
    row = next(data[at : at + 11] for at in range(4, len(data), 11) if data[at + 3] == 0xA0)

    assert row[9] == drive.disc().kind == 0x20


@disc("cd-data")
@clause("MMC-5 6.26.2")
def test_read_toc_session_that_is_not_there(drive: Drive) -> None:
    """Format 2 from a session behind the last one is an invalid field."""
    drive.invalid(read_toc(2, drive.disc().sessions + 1))


@disc("cd-data")
@clause("MMC-5 6.26.2")
def test_read_toc_reserved_format(drive: Drive) -> None:
    """Formats above 0101b are reserved."""
    for form in (6, 7, 0xF):
        drive.invalid(read_toc(form))


@disc("cd-r", "cd-rw")
@clause("MMC-5 6.26.3")
def test_read_toc_atip(drive: Drive) -> None:
    """Format 4: bit 6 of byte 6 tells a CD-RW, where the lead-in begins, the last possible lead-out."""
    data = drive.read(read_toc(4))

    assert bool(data[6] & 0x40) == (drive.profile == 0x0A)
    assert data[8] >= 90
    assert lba_of(data[12:15]) == lba_of(drive.disc().lead_out[1:])


@disc("cd-data")
@clause("MMC-5 6.26.2")
def test_read_toc_atip_of_pressed_discs(drive: Drive) -> None:
    """A pressed disc has neither PMA nor ATIP: formats 3 and 4 are invalid fields."""
    if drive.profile != 0x08:
        drive.unit.not_supported("a CD-ROM is asked for")

    drive.invalid(read_toc(3))
    drive.invalid(read_toc(4))


@disc("cd-data")
@clause("MMC-5 6.26.3")
def test_read_toc_no_cd_text(drive: Drive) -> None:
    """Format 5 of a disc without CD-TEXT is the header alone."""
    assert drive.read(read_toc(5)) == bytes((0, 2, 0, 0))


@disc("cd-r")
@clause("MMC-5 6.26.3")
def test_read_toc_of_a_blank_disc(drive: Drive) -> None:
    """A blank disc has no table of contents."""
    assert drive.execute(read_toc(), data_in=12).code in (
        asc.UNABLE_TO_RECOVER_TABLE_OF_CONTENTS, asc.INVALID_FIELD_IN_CDB,
    )


@disc("cd-mixed")
@clause("MMC-5 6.26.2")
def test_read_toc_allocation_length(drive: Drive) -> None:
    """ALLOCATION LENGTH cuts the data; DATA LENGTH stays."""
    whole = drive.read(read_toc())
    for length in (0, 2, 4, 11, 12):
        assert drive.read(read_toc(length=length)) == whole[:length]
