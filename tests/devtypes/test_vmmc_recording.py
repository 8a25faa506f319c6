"""Recording: tracks, sessions, cue sheets, random media, what a finished disc refuses, what a cut leaves."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from vmmc_bench import BLOCK, Bench, image
from vt_store import CutStore

from devtypes.vmmc.disc import FORMS, Disc, Track
from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from devtypes.vmmc.sector import bcd, descramble, lba_to_msf, mode_1_sector, mode_2_sector, xa_sector
from devtypes.vmmc.subchannel import crc_16, interleaved_of, isrc_q, mcn_q, q_of_raw
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.sense import SenseKey

BLANK = asc.with_key(asc.NO_ADDITIONAL_SENSE_INFORMATION, SenseKey.BLANK_CHECK)
ROOM = 20000


class Burner(Bench):
    """A drive with a blank disc."""

    def __init__(self, kind: str, *, blocks: int = ROOM, store: Any = None, **config: Any) -> None:
        store = store or open_store(size=stored_size(KINDS[kind], blocks))
        super().__init__(store, blank=kind, **config)

    def write(self, lba: int, data: bytes, size: int = BLOCK) -> Any:
        """WRITE(10); its sense code."""
        return self.do("WRITE(10)", lba=lba & 0xFFFFFFFF, transfer_length=len(data) // size, data_out=data).code

    def parameters(self, **fields: int) -> None:
        """Set the write parameters page."""
        page = self.drive.mode_pages.pages[0x05, 0]
        data = page.layout.replace(self.drive.mode_pages.current[0x05, 0], **fields)
        sent = bytes(8) + bytes((5, len(data))) + data
        result = self.do("MODE SELECT(10)", pf=1, parameter_list_length=len(sent), data_out=sent)
        assert result.good, result

    def track(self, number: int) -> dict[str, int]:
        """Fields of READ TRACK INFORMATION."""
        data = self.data("READ TRACK INFORMATION", address_type=1, address=number, allocation_length=48)
        names = ("start", "next", "free", "packet", "size", "last")
        return {"session": data[3], "flags": data[6], "valid": data[7],
                **dict(zip(names, struct.unpack(">6I", data[8:32]), strict=True))}

    def disc(self) -> tuple[int, int, int]:
        """Disc status, state of the last session, number of sessions."""
        data = self.data("READ DISC INFORMATION", allocation_length=34)
        return data[2] & 3, data[2] >> 2 & 3, data[4]

    def sync(self) -> None:
        assert self.do("SYNCHRONIZE CACHE").good

    def close(self, function: int, track: int = 0) -> Any:
        """CLOSE TRACK/SESSION; its sense code."""
        return self.do("CLOSE TRACK/SESSION", function=function, track=track).code


def test_cd_r_track_at_once() -> None:
    """A track grows at its next writable address, ends at SYNCHRONIZE CACHE, and the session is closed by command."""
    burner = Burner("cd-r")
    assert burner.disc() == (0, 0, 1)
    assert burner.track(1)["next"] == 0
    assert burner.write(5, image(1)) == asc.INVALID_ADDRESS_FOR_WRITE
    assert burner.write(0, image(30)) is None
    assert burner.write(0, image(30)) == asc.INVALID_ADDRESS_FOR_WRITE
    assert burner.write(30, image(10)) is None
    burner.sync()
    assert burner.track(2)["next"] == 40 + 150
    assert burner.do("READ TOC/PMA/ATIP", allocation_length=20).code == asc.UNABLE_TO_RECOVER_TABLE_OF_CONTENTS
    assert burner.close(2) is None

    assert burner.disc() == (2, 3, 1)
    assert burner.data("READ(10)", lba=0, transfer_length=30) == image(30)
    assert burner.data("READ CAPACITY") == struct.pack(">II", 39, BLOCK)
    assert burner.write(190, image(1)) == asc.INVALID_ADDRESS_FOR_WRITE
    assert burner.close(2) is None


def test_cd_r_two_sessions() -> None:
    """With MULTI-SESSION 11b the next session begins behind lead-out and lead-in (ECMA-130, MMC-6 4.3)."""
    burner = Burner("cd-r")
    burner.parameters(multi_session=3)
    burner.write(0, image(20))
    burner.sync()
    assert burner.close(2) is None
    assert burner.disc() == (1, 0, 2)
    start = 20 + 11400
    assert burner.track(2)["next"] == start
    assert burner.write(start, image(10)) is None
    burner.sync()
    burner.parameters(multi_session=0)
    assert burner.close(2) is None

    assert burner.disc() == (2, 3, 2)
    sessions = burner.data("READ TOC/PMA/ATIP", format=1, allocation_length=12)
    assert (sessions[3], sessions[6], int.from_bytes(sessions[8:12], "big")) == (2, 2, start)
    assert burner.data("READ(10)", lba=start, transfer_length=10) == image(10)
    result = burner.do("READ(10)", lba=100, transfer_length=1)
    assert result.code == BLANK


def cue(*lines: tuple[int, int, int, int, int]) -> bytes:
    """CONTROL and ADR, track, index, data form, address."""
    return b"".join(
        bytes((first, track, index, form, 0, (lba + 150) // 4500, (lba + 150) // 75 % 60, (lba + 150) % 75))
        for first, track, index, form, lba in lines
    )


def test_cd_r_session_at_once_mixed_mode() -> None:
    """A cue sheet with a data and an audio track: every block at its place, the audio bit-exact, the disc final."""
    burner = Burner("cd-r")
    sheet = cue((0x41, 0, 0, 0x14, -150), (0x41, 1, 0, 0x10, -150), (0x41, 1, 1, 0x10, 0), (0x01, 2, 0, 0, 300),
                (0x01, 2, 1, 0, 450), (0x01, 0xAA, 1, 0, 600))
    sent = {"cue_sheet_size": len(sheet), "data_out": sheet}
    assert burner.do("SEND CUE SHEET", **sent).code == asc.COMMAND_SEQUENCE_ERROR
    burner.parameters(write_type=2)
    assert burner.do("SEND CUE SHEET", **sent).good
    assert burner.write(0, image(1)) == asc.INVALID_ADDRESS_FOR_WRITE
    for lba in range(-150, 300, 30):
        assert burner.write(lba, image(30)) is None
    sound = image(300, 2352)
    assert burner.write(300, sound + sound[:2352], 2352) == asc.INVALID_FIELD_IN_CDB
    for lba in range(300, 600, 20):                     # one of them crosses from the pause into the track
        assert burner.write(lba, sound[(lba - 300) * 2352 : (lba - 280) * 2352], 2352) is None

    assert burner.disc() == (2, 3, 1)
    assert burner.data("READ(10)", lba=270, transfer_length=30) == image(30)
    assert burner.data("READ CD", lba=450, transfer_length=10, user_data=1) == sound[150 * 2352 : 160 * 2352]
    toc = burner.data("READ TOC/PMA/ATIP", allocation_length=100)
    assert [(toc[at + 1] & 0xF, int.from_bytes(toc[at + 4 : at + 8], "big")) for at in (4, 12, 20)] == [
        (4, 0), (0, 450), (0, 600),
    ]


def test_cue_sheet_write_across_tracks() -> None:
    """Blocks of the same size come in one piece, whatever tracks and pauses they belong to (MMC-5 6.33)."""
    burner = Burner("cd-r")
    burner.parameters(write_type=2)
    sheet = cue((0x01, 0, 0, 0x01, -150), (0x01, 1, 0, 0, -150), (0x01, 1, 1, 0, 0), (0x01, 2, 0, 0, 350),
                (0x01, 2, 1, 0, 400), (0x01, 0xAA, 1, 0, 700))
    assert burner.do("SEND CUE SHEET", cue_sheet_size=len(sheet), data_out=sheet).good
    sound = image(850, 2352)
    for at in range(0, 850, 85):
        assert burner.write(at - 150, sound[at * 2352 : (at + 85) * 2352], 2352) is None

    assert burner.disc() == (2, 3, 1)
    for lba in (0, 340, 350, 395, 690):
        found = burner.data("READ CD", lba=lba, transfer_length=10, user_data=1)
        assert found == sound[(lba + 150) * 2352 : (lba + 160) * 2352]


@pytest.mark.parametrize(("form", "size"), [(0x20, 2336), (0x60, 2432), (0x30, 2336), (0x70, 2432)])
def test_cue_sheet_mode_2(form: int, size: int) -> None:
    """Of 2336 bytes of CD-ROM XA (data form 20h) the drive makes EDC and ECC anew; mode 2 without forms (30h) is
    recorded as it comes, subheader or not (MMC-5 6.33). With 40h 96 bytes of sub-channels follow each block."""
    burner = Burner("cd-r")
    burner.parameters(write_type=2)
    sheet = cue((0x41, 0, 0, 0x34, -150), (0x41, 1, 0, form | 4, -150), (0x41, 1, 1, form, 0),
                (0x41, 0xAA, 1, 0x34, 60))
    assert burner.do("SEND CUE SHEET", cue_sheet_size=len(sheet), data_out=sheet).good
    data = random.Random(1).randbytes(60 * 2336)
    blocks = []
    for lba in range(60):
        sector = data[lba * 2336 : (lba + 1) * 2336]
        if lba % 3 < 2:                                 # form 1, form 2, without subheader in turn
            sector = bytes((0, 0, 0x20 * (lba % 3), 0)) * 2 + sector[8:]
        blocks.append(sector)
    for lba in range(0, 60, 20):
        sent = b"".join(block.ljust(size, b"\0") for block in blocks[lba : lba + 20])
        assert burner.write(lba, sent, size) is None
    burner.sync()
    made = mode_2_sector if form & 0x10 else xa_sector

    for lba in range(60):
        read = burner.data("READ CD", lba=lba, transfer_length=1, sync=1, header_codes=3, user_data=1, edc_ecc=1)
        assert read == made(lba, blocks[lba])
    assert burner.data("READ(10)", lba=3, transfer_length=1) == blocks[3][8:2056]


def raw_session(burner: Burner, block: Callable[[bytes, bytes], bytes], others: dict[int, bytes]) -> None:
    """A session of a track of 75 sectors by RAW writing: lead-in, sectors and lead-out in order.

    Args:
        block: what is sent of 10 bytes of Q and a sector.
        others: by address, Q that does not tell the position.
    """
    def at(lba: int) -> bytes:
        return bytes(bcd(part) for part in lba_to_msf(lba))

    size = len(block(bytes(10), b""))
    points = [(0xA0, b"\1\0\0"), (0xA1, b"\1\0\0"), (0xA2, at(75)), (1, at(0))]
    for lba in range(-11634, -150, 18):
        rows = [points[number % 4] for number in range(min(18, -150 - lba))]
        piece = b"".join(block(bytes((0x41, 0, point, 0, 0, 0, 0)) + where, b"") for point, where in rows)
        assert burner.write(lba, piece, size) is None
    plain = [mode_1_sector(lba, image(75)[lba * BLOCK : (lba + 1) * BLOCK]) for lba in range(75)]
    for lba in range(-150, 76):
        number, index = (0xAA, 1) if lba >= 75 else (1, int(lba >= 0))
        sector = descramble(plain[lba] if 0 <= lba < 75 else mode_1_sector(lba, bytes(BLOCK)))
        q = others.get(lba, bytes((0x41, number, index, 0, 0, 0, 0)) + at(lba))
        assert burner.write(lba, block(q, sector), size) is None
    burner.sync()


def test_raw_session() -> None:
    """RAW: lead-in, sectors and lead-out come in order; what the disc is, Q of the lead-in says (MMC-6 7.5.4.10)."""
    burner = Burner("cd-r")
    burner.parameters(write_type=3, data_block_type=3)
    assert burner.track(1)["next"] == -11634 & 0xFFFFFFFF
    assert burner.write(0, bytes(2448), 2448) == asc.INVALID_ADDRESS_FOR_WRITE
    raw_session(burner, lambda q, data: data.ljust(2352, b"\0") + interleaved_of(q + crc_16(q)), {})

    assert burner.disc() == (2, 3, 1)
    assert burner.data("READ(10)", lba=40, transfer_length=30) == image(75)[40 * BLOCK : 70 * BLOCK]
    assert burner.data("READ CAPACITY") == struct.pack(">II", 74, BLOCK)
    assert burner.write(75, bytes(2448), 2448) == asc.INVALID_ADDRESS_FOR_WRITE


def test_raw_session_with_q_alone() -> None:
    """16 bytes of Q with each sector need no valid CRC (cdrdao sends a wrong one); the disc has the right one. Modes 2
    and 3 of Q are its catalogue number and the ISRC of the track."""
    burner = Burner("cd-r")
    burner.parameters(write_type=3, data_block_type=1)
    track = Track(1, 1, 0, 75, FORMS["raw1"], isrc="DEABC1234567")
    numbered = Disc(KINDS["cd-r"], ROOM, mcn="1234567890123")
    others = {30: mcn_q(numbered, 4, 30), 40: isrc_q(track, 40)}
    raw_session(burner, lambda q, data: data.ljust(2352, b"\0") + q + b"\0\1" + bytes(4), others)

    assert burner.disc() == (2, 3, 1)
    assert burner.data("READ(10)", lba=40, transfer_length=30) == image(75)[40 * BLOCK : 70 * BLOCK]
    for form, code in ((2, b"1234567890123"), (3, b"DEABC1234567")):
        told = burner.data("READ SUB-CHANNEL", subq=1, parameter_list=form, track=1)
        assert told[8:].rstrip(b"\0") == b"\x80" + code
    for lba in range(75):
        q = q_of_raw(burner.data("READ CD", lba=lba, transfer_length=1, sub_channel=1))
        assert crc_16(q[:10]) == q[10:]


def test_cue_sheet_that_is_wrong() -> None:
    """No lead-out, times that go back, a lead-out behind the disc: INVALID FIELD IN PARAMETER LIST, nothing changes."""
    burner = Burner("cd-r")
    burner.parameters(write_type=2)
    for lines in (
        ((0x41, 1, 0, 0x10, -150), (0x41, 1, 1, 0x10, 0), (0x41, 2, 1, 0x10, 500)),
        ((0x41, 1, 0, 0x10, -150), (0x41, 1, 1, 0x10, 600), (0x41, 0xAA, 1, 0x10, 500)),
        ((0x41, 1, 0, 0x10, -150), (0x41, 1, 1, 0x10, 0), (0x41, 0xAA, 1, 0x10, ROOM + 1)),
        ((0x41, 1, 0, 0x10, -150), (0x41, 1, 1, 0x3F, 0), (0x41, 0xAA, 1, 0x10, 500)),
    ):
        sheet = cue(*lines)
        assert burner.do("SEND CUE SHEET", cue_sheet_size=len(sheet), data_out=sheet).code == (
            asc.INVALID_FIELD_IN_PARAMETER_LIST
        )
    assert burner.disc() == (0, 0, 1)


def test_cd_rw_blank_and_again() -> None:
    """BLANK makes a written CD-RW empty; a CD-R cannot be blanked."""
    burner = Burner("cd-rw")
    burner.write(0, image(20))
    burner.sync()
    assert burner.close(2) is None
    assert burner.do("BLANK", type=1).good
    assert burner.disc() == (0, 0, 1)
    assert burner.write(0, image(10)) is None
    assert Burner("cd-r").do("BLANK", type=1).code == (
        asc.with_key(asc.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT, SenseKey.ILLEGAL_REQUEST)
    )


def test_blank_takes_its_time() -> None:
    """With IMMED the command ends at once; meanwhile others find an operation in progress, and progress grows."""
    burner = Burner("cd-rw", long_seconds=10.0)
    assert burner.do("BLANK", type=0, immed=1).good
    burner.target.advance(burner.target.now + 5)
    result = burner.do("TEST UNIT READY")
    assert result.code == asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS
    burner.target.advance(burner.target.now + 6)
    assert burner.do("TEST UNIT READY").good


def test_test_write_leaves_nothing() -> None:
    """TEST WRITE accepts what a real recording would, and the disc is blank afterwards."""
    burner = Burner("cd-r")
    burner.parameters(test_write=1)
    assert burner.write(0, image(20)) is None
    assert burner.write(20, image(20)) is None
    burner.sync()
    assert burner.close(2) is None
    burner.parameters(test_write=0)
    assert burner.disc() == (0, 0, 1)
    assert burner.track(1)["next"] == 0


def test_test_write_leaves_what_is_cached() -> None:
    """What was really written before the test writes is brought to the medium after them."""
    burner = Burner("dvd-r")
    assert burner.write(0, image(5)) is None
    burner.parameters(test_write=1)
    assert burner.write(5, image(20)) is None
    burner.parameters(test_write=0)
    assert burner.track(1)["next"] == 5
    burner.sync()

    assert burner.track(1)["next"] == 16


@pytest.mark.parametrize("kind", ["dvd+r", "dvd-r", "dvd-rw", "bd-r", "dvd-r-dl", "dvd+r-dl"])
def test_sequential_media(kind: str) -> None:
    """Blocks come one behind the other, ECC blocks are filled up, a second session can follow."""
    burner = Burner(kind, blocks=65536)
    burner.parameters(multi_session=3)
    step = KINDS[kind].blocks
    assert burner.write(0, image(5)) is None
    burner.sync()
    assert burner.track(1)["next"] == step
    assert burner.write(step, image(step)) is None
    assert burner.close(1, 1) is None
    assert burner.close(2) is None
    start = burner.track(2)["next"]
    assert start >= 2 * step
    assert not start % step
    assert burner.write(start, image(step)) is None

    assert burner.data("READ(10)", lba=start, transfer_length=step) == image(step)
    assert burner.data("READ(10)", lba=0, transfer_length=step) == image(5) + bytes((step - 5) * BLOCK)


@pytest.mark.parametrize(("kind", "number", "profile"), [
    ("cd-rw", 0x10, 0x0A), ("dvd+rw", 0x26, 0x1A), ("dvd-rw", 0x10, 0x13), ("bd-re", 0x00, 0x43),
    ("dvd-ram", 0x00, 0x12),
])
def test_random_media(kind: str, number: int, profile: int) -> None:
    """A formatted medium is written anywhere, again and again, and reads zeros where it never was."""
    burner = Burner(kind)
    blocks = 16000
    listed = bytes((0, 0, 0, 8)) + struct.pack(">II", blocks, number << 26)
    if kind != "dvd-ram":
        assert burner.write(0, image(16)) is not None or kind in ("cd-rw", "dvd-rw")
    assert burner.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=listed).good
    assert burner.data("GET CONFIGURATION", allocation_length=8)[6:8] == profile.to_bytes(2, "big")
    assert burner.data("READ CAPACITY") == struct.pack(">II", blocks - 1, BLOCK)
    assert burner.write(3200, image(32)) is None
    assert burner.write(3200, image(64)[-32 * BLOCK :]) is None
    assert burner.write(blocks - 16, image(32)) == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE

    assert burner.data("READ(10)", lba=3200, transfer_length=32) == image(64)[-32 * BLOCK :]
    assert burner.data("READ(10)", lba=0, transfer_length=2) == bytes(2 * BLOCK)
    packet = {"cd-rw": 32, "dvd-rw": 16}.get(kind)
    assert burner.track(1)["flags"] >> 4 & 3 == (3 if packet else 0)
    assert burner.write(3200, image(8)) == (asc.INVALID_PACKET_SIZE if packet else None)
    assert [burner.close(function) for function in (1, 4, 7)] == [None, *[asc.INVALID_FIELD_IN_CDB] * 2]
    lead_in = burner.do("READ TRACK INFORMATION", address_type=1, address=0, allocation_length=48)
    assert lead_in.code == asc.INVALID_FIELD_IN_CDB


def test_dvd_r_dl_layer_jump() -> None:
    """The next writable address leaps to layer 1 at a jump, and back when its piece is full (MMC-6 4.4.4)."""
    room = 2 * 320
    burner = Burner("dvd-r-dl", blocks=room)
    assert burner.data("GET CONFIGURATION", allocation_length=8)[7] == 0x15
    burner.parameters(write_type=4)
    assert burner.data("GET CONFIGURATION", allocation_length=8)[7] == 0x16
    interval = bytes(8) + struct.pack(">I", 64)
    assert burner.do("SEND DISC STRUCTURE", format=0x22, parameter_list_length=12, data_out=interval).good
    for at, lba in enumerate((0, 32, 576, 608, 64, 96, 512, 544, 128)):
        assert burner.track(1)["next"] == lba
        assert burner.write(lba, bytes((at,)) * 32 * BLOCK) is None
    found = burner.data("READ TRACK INFORMATION", address_type=1, address=1, allocation_length=48)
    assert (found[5] >> 6, struct.unpack(">II", found[40:48])) == (2, (192, 128))
    assert burner.track(1)["free"] == room - 9 * 32
    assert burner.write(160, image(48)) == asc.INVALID_ADDRESS_FOR_WRITE
    assert burner.close(2) is None

    assert burner.disc()[0] == 2
    for at, lba in enumerate((0, 32, 576, 608, 64, 96, 512, 544, 128)):
        assert burner.data("READ(10)", lba=lba, transfer_length=32) == bytes((at,)) * 32 * BLOCK
    assert burner.do("READ(10)", lba=400, transfer_length=1).code == BLANK
    assert burner.data("READ CAPACITY") == struct.pack(">II", room - 1, BLOCK)


def test_pressed_discs_refuse_writing() -> None:
    """Whatever writes is refused with CANNOT WRITE MEDIUM; write protection is DATA PROTECT."""
    incompatible = asc.with_key(asc.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT, SenseKey.ILLEGAL_REQUEST)
    bench = Bench()
    assert bench.do("WRITE(10)", lba=0, transfer_length=1, data_out=bytes(BLOCK)).code == incompatible
    assert bench.do("CLOSE TRACK/SESSION", function=2).code == incompatible
    assert bench.do("RESERVE TRACK", size=100).code == incompatible
    burner = Burner("cd-r", write_protect=True)
    assert burner.write(0, image(1)) == asc.WRITE_PROTECTED


def test_reserved_tracks() -> None:
    """RESERVE TRACK takes room; both the reserved track and the one behind it have their next writable address."""
    burner = Burner("cd-r")
    assert burner.do("RESERVE TRACK", size=400).good
    assert burner.track(1)["flags"] & 0xC0 == 0xC0
    assert burner.track(2)["start"] == 550
    assert burner.write(550, image(10)) is None
    burner.sync()
    assert burner.close(2) == asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK
    assert burner.write(0, image(20)) is None
    assert burner.close(1, 1) == asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK
    assert burner.do("RESERVE TRACK", size=0).code == asc.INVALID_FIELD_IN_CDB


def test_reserve_does_not_forget_what_is_cached() -> None:
    """RESERVE TRACK saves the disc, and what was begun of an ECC block is still filled up when the disc leaves."""
    burner = Burner("bd-r")
    assert burner.do("RESERVE TRACK", size=32).good
    assert burner.write(0, image(1)) is None
    assert burner.do("RESERVE TRACK", size=32).good
    assert burner.do("START STOP UNIT", loej=1).good
    assert burner.do("START STOP UNIT", loej=1, start=1).good

    assert burner.track(1)["next"] == 32
    assert burner.data("READ(10)", lba=0, transfer_length=32) == image(1) + bytes(31 * BLOCK)


def test_recorded_disc_outlives_its_drive() -> None:
    """What was closed is there when another drive has the store; what was not synchronised is recorded again."""
    store = open_store(size=stored_size(KINDS["dvd+r"], 4096))
    burner = Burner("dvd+r", store=store)
    burner.write(0, image(32))
    burner.sync()
    burner.write(32, image(16))
    again = Burner("dvd+r", store=store)

    assert again.track(1)["next"] == 32
    assert again.data("READ(10)", lba=0, transfer_length=32) == image(32)
    assert again.write(32, image(16)) is None


def test_recorded_disc_survives_cuts() -> None:
    """A cut at any byte of what was not flushed leaves the disc before or after the command, never none."""
    store = CutStore(stored_size(KINDS["dvd+r"], 512))
    burner = Burner("dvd+r", store=store)
    written = 0
    chance = random.Random(1)
    for _ in range(6):
        assert burner.write(written, image(16)) is None
        cut = store.cut(chance)
        burner.sync()
        after = Burner("dvd+r", store=store.cut(chance)).track(1)["next"]
        assert Burner("dvd+r", store=cut).track(1)["next"] == written
        written += 16
        assert after == written


class SessionMachine(RuleBasedStateMachine):
    """Tracks and sessions of a CD-RW against a list of what was recorded where."""

    def __init__(self) -> None:
        super().__init__()
        self.burner = Burner("cd-rw", blocks=60000)
        self.burner.parameters(multi_session=3)
        self.blocks: dict[int, bytes] = {}
        self.next = 0
        self.begun = False          # a track is open
        self.tracks = 0             # of the open session
        self.sessions = 0
        self.seed = 0

    @precondition(lambda self: self.next < 40000)
    @rule(count=st.integers(1, 40))
    def write(self, count: int) -> None:
        self.seed += 1
        data = b"".join((self.seed * 1000 + at).to_bytes(4, "big") * 512 for at in range(count))
        assert self.burner.write(self.next, data) is None
        for at in range(count):
            self.blocks[self.next + at] = data[at * BLOCK : (at + 1) * BLOCK]
        self.next += count
        if not self.begun:
            self.begun = True
            self.tracks += 1

    @rule(offset=st.integers(-3, 3).filter(bool))
    def write_elsewhere(self, offset: int) -> None:
        if self.next + offset >= 0:
            assert self.burner.write(self.next + offset, image(1)) == asc.INVALID_ADDRESS_FOR_WRITE

    @rule()
    def sync(self) -> None:
        self.burner.sync()
        self._end_track()

    def _end_track(self) -> None:
        if self.begun:
            self.begun = False
            self.next += 150

    @rule()
    def close_session(self) -> None:
        code = self.burner.close(2)
        if not self.tracks:
            assert code == (None if self.sessions else asc.CURRENT_PROGRAM_AREA_IS_EMPTY)
            return
        assert code is None
        self._end_track()
        self.sessions += 1
        self.tracks = 0
        self.next += (11400 if self.sessions == 1 else 6900) - 150

    @rule()
    def blank(self) -> None:
        assert self.burner.do("BLANK", type=1).good
        self.blocks, self.next, self.begun, self.tracks, self.sessions = {}, 0, False, 0, 0

    @rule()
    def reload(self) -> None:
        assert self.burner.do("START STOP UNIT", loej=1).good
        self._end_track()
        assert self.burner.do("START STOP UNIT", loej=1, start=1).good

    @invariant()
    def as_recorded(self) -> None:
        status = 0 if not self.sessions and not self.tracks else 1
        assert self.burner.disc() == (status, 1 if self.tracks else 0, self.sessions + 1)
        number = self.burner.data("READ DISC INFORMATION", allocation_length=34)[6]
        assert self.burner.track(number)["next"] == self.next
        if self.sessions and self.blocks:
            last = max(lba for lba in self.blocks if lba < self.next)
            lba = min(self.blocks)
            assert self.burner.data("READ(10)", lba=lba, transfer_length=1) == self.blocks[lba]
            if not self.tracks:
                assert self.burner.data("READ(10)", lba=last, transfer_length=1) == self.blocks[last]


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


@pytest.mark.parametrize(("kind", "write_type", "blank", "complete"), [
    ("dvd-r", 0, 0b011, 0b001), ("dvd-rw", 0, 0b011, 0b001), ("dvd-r", 2, 0b010, 0b000),
    ("dvd+r", 0, 0b010, 0b100), ("dvd+r-dl", 0, 0b010, 0b100), ("bd-r", 0, 0b011, 0b001), ("dvd-r-dl", 4, 0b010, 0),
])
def test_track_states(kind: str, write_type: int, blank: int, complete: int) -> None:
    """RT, BLANK and PACKET/INC of the track that is not there yet, and of one that is closed, as drives have them."""
    burner = Burner(kind, blocks=65536)
    burner.parameters(write_type=write_type)
    before = burner.track(1)["flags"] >> 5
    assert burner.write(0, image(32)) is None
    assert burner.close(1, 1) is None

    assert (before, burner.track(1)["flags"] >> 5) == (blank, complete)


def test_disc_status_of_a_dvd_ram() -> None:
    """A DVD-RAM is neither blank, nor appendable, nor complete: 11b, with a complete session."""
    assert Burner("dvd-ram").disc() == (3, 3, 1)


@pytest.mark.parametrize(("options", "code"), [
    (0x84, None), (0x86, None), (0x04, asc.INVALID_FIELD_IN_PARAMETER_LIST),
    (0x20, asc.INVALID_FIELD_IN_PARAMETER_LIST),
], ids=["try-out", "try-out, immed", "try-out without FOV", "DCRT without FOV"])
def test_format_try_out(options: int, code: Any) -> None:
    """TRY-OUT tells whether a format would be done and leaves the disc as it is; options without FOV are refused."""
    burner = Burner("cd-rw")
    assert burner.write(0, image(300)) is None
    burner.sync()
    row = burner.data("READ FORMAT CAPACITIES", allocation_length=252)[12:20]

    assert burner.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=bytes((0, options, 0, 8)) + row).code == code
    assert burner.data("READ(10)", lba=0, transfer_length=30) == image(30)
    wrong = burner.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=bytes((0, 0x84, 0, 8)) + b"\xff" * 8)
    assert wrong.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
