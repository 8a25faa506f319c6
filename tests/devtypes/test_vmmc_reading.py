"""What an optical drive reads: user data, whole sectors, tables of contents, what discs and tracks tell."""

from __future__ import annotations

import struct

import pytest
from vmmc_bench import BLOCK, Bench, image

from devtypes.vmmc.read import INCOMPATIBLE_MEDIUM
from devtypes.vmmc.sector import mode_1_sector
from devtypes.vmmc.subchannel import crc_16
from scsiemu import asc
from scsiemu.sense import SenseKey

AUDIO = image(300, 2352)


def audio() -> Bench:
    """A disc with one audio track of 300 sectors."""
    return Bench(AUDIO, sector=2352, audio=True)


def test_read_user_data() -> None:
    """READ(10) and READ(12) give blocks of 2048 bytes; one past the end is out of range."""
    bench = Bench()

    assert bench.data("READ CAPACITY") == struct.pack(">II", 63, BLOCK)
    assert bench.data("READ(10)", lba=3, transfer_length=2) == image(64)[3 * BLOCK : 5 * BLOCK]
    assert bench.data("READ(12)", lba=63, transfer_length=1) == image(64)[-BLOCK:]
    assert bench.do("READ(10)", lba=63, transfer_length=2).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert bench.do("READ(12)", lba=64, transfer_length=1).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert bench.do("READ(10)", lba=0, transfer_length=0).good


def test_read_cd_parts_of_a_sector() -> None:
    """READ CD gives exactly the parts that its flags choose, in their order (MMC-6 table 353)."""
    bench = Bench()
    whole = mode_1_sector(5, image(64)[5 * BLOCK : 6 * BLOCK])

    def read(**flags: int) -> bytes:
        return bench.data("READ CD", lba=5, transfer_length=1, **flags)

    assert read(sync=1, header_codes=3, user_data=1, edc_ecc=1) == whole
    assert read(user_data=1) == whole[16:2064]
    assert read(header_codes=1) == whole[12:16]
    assert read(header_codes=1, user_data=1) == whole[12:2064]
    assert read(user_data=1, edc_ecc=1) == whole[16:]
    assert read(user_data=1, c2=1) == whole[16:2064] + bytes(294)
    assert bench.do("READ CD", lba=5, transfer_length=1, sync=1, user_data=1).code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("READ CD", lba=5, transfer_length=1, sector_type=1, user_data=1).code == (
        asc.ILLEGAL_MODE_FOR_THIS_TRACK
    )


def test_read_cd_audio_bit_exact() -> None:
    """Audio comes as it is kept; READ(10) of it is refused, READ CD MSF means the same sectors."""
    bench = audio()

    assert bench.data("READ CD", lba=10, transfer_length=16, user_data=1) == AUDIO[10 * 2352 : 26 * 2352]
    assert bench.data("READ CD MSF", start_s=2, start_f=10, end_s=2, end_f=12, user_data=1) == (
        AUDIO[10 * 2352 : 12 * 2352]
    )
    assert bench.do("READ(10)", lba=10, transfer_length=1).code == asc.ILLEGAL_MODE_FOR_THIS_TRACK
    assert bench.data("READ CD", lba=(1 << 32) - 2, transfer_length=3, user_data=1) == bytes(2 * 2352) + AUDIO[:2352]


def test_read_cd_q_tells_the_place() -> None:
    """Sub-channel Q has track, index, both times and a CRC, raw as well as formatted (ECMA-130 22.3.3)."""
    bench = audio()
    formatted = bench.data("READ CD", lba=75, transfer_length=1, user_data=0, sub_channel=2)
    raw = bench.data("READ CD", lba=75, transfer_length=1, sub_channel=1)

    q = bytes.fromhex("010101000100000003 00".replace(" ", ""))
    assert formatted[:10] == q
    assert formatted[10:12] == crc_16(q)
    bits = "".join(str(byte >> 6 & 1) for byte in raw)
    assert int(bits, 2).to_bytes(12, "big") == formatted[:12]
    assert not any(byte & 0xBF for byte in raw)


def test_toc_formats_of_a_cd() -> None:
    """READ TOC: tracks, sessions, the raw Q of the lead-in."""
    bench = Bench()

    assert bench.data("READ TOC/PMA/ATIP", allocation_length=100).hex() == (
        "0012" "0101" "00140100" "00000000" "0014aa00" "00000040"
    )
    assert bench.data("READ TOC/PMA/ATIP", allocation_length=100, msf=1)[8:12] == bytes((0, 0, 2, 0))
    assert bench.data("READ TOC/PMA/ATIP", format=1, allocation_length=100).hex() == "000a" "0101" "00140100" "00000000"
    full = bench.data("READ TOC/PMA/ATIP", format=2, msf=1, allocation_length=200)
    assert [full[at + 3] for at in range(4, len(full), 11)] == [0xA0, 0xA1, 0xA2, 1]
    assert bench.do("READ TOC/PMA/ATIP", format=6, allocation_length=9).code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("READ TOC/PMA/ATIP", track_session=2, allocation_length=9).code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("READ TOC/PMA/ATIP", format=3, allocation_length=9).code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(("kind", "profile"), [("cd-rom", 0x08), ("dvd-rom", 0x10), ("bd-rom", 0x40)])
def test_profile_of_pressed_discs(kind: str, profile: int) -> None:
    """GET CONFIGURATION tells the profile; what is current belongs to it; writing features never are."""
    bench = Bench(kind=kind)
    data = bench.data("GET CONFIGURATION", rt=1, allocation_length=4000)
    found = {}
    at = 8
    while at < len(data):
        found[int.from_bytes(data[at : at + 2], "big")] = data[at + 2]
        at += 4 + data[at + 3]

    assert data[6:8] == profile.to_bytes(2, "big")
    assert at == len(data) == int.from_bytes(data[:4], "big") + 4
    assert all(flags & 1 for flags in found.values())
    assert {0x08: 0x1E, 0x10: 0x1F, 0x40: 0x40}[profile] in found
    assert not found.keys() & {0x20, 0x21, 0x23, 0x2A, 0x2D, 0x2E, 0x2F, 0x41}


def test_disc_information_of_a_pressed_disc() -> None:
    """Complete, one session with one track, not erasable, no room."""
    bench = Bench()
    disc = bench.data("READ DISC INFORMATION", allocation_length=100)
    track = bench.data("READ TRACK INFORMATION", address_type=1, address=1, allocation_length=100)

    assert disc[:8].hex() == "0020" "0e" "01" "01" "01" "01" "20"
    assert track[2:8].hex() == "01" "01" "00" "04" "01" "02"
    assert struct.unpack(">I", track[24:28]) == (64,)
    assert bench.do("READ TRACK INFORMATION", address_type=1, address=2, allocation_length=9).code == (
        asc.INVALID_FIELD_IN_CDB
    )


def test_structures_of_a_dvd() -> None:
    """READ DISC STRUCTURE: the list has what there is; a CD is another medium; BD structures are not a DVD's."""
    bench = Bench(kind="dvd-rom")
    listed = bench.data("READ DISC STRUCTURE", format=0xFF, allocation_length=500)
    physical = bench.data("READ DISC STRUCTURE", format=0, allocation_length=4000)

    assert [listed[at] for at in range(4, len(listed), 4)] == [0, 1, 4]
    assert len(physical) == 2052
    assert physical[8:16] == struct.pack(">II", 0x30000, 0x3003F)
    incompatible = INCOMPATIBLE_MEDIUM
    assert bench.do("READ DISC STRUCTURE", media_type=1, format=0, allocation_length=9).code == incompatible
    assert Bench().do("READ DISC STRUCTURE", format=0, allocation_length=9).code == incompatible
    assert bench.do("READ DISC STRUCTURE", format=0x77, allocation_length=9).code == asc.INVALID_FIELD_IN_CDB


def test_keys_are_not_there() -> None:
    """The RPC state is told; authentication finds no key; a CD has no copyright structures."""
    bench = Bench(kind="dvd-rom", region=2)

    assert bench.data("REPORT KEY", key_format=8, allocation_length=8).hex() == "0006" "0000" "65" "fd" "01" "00"
    assert bench.do("REPORT KEY", key_format=0, allocation_length=8).code == (
        asc.COPY_PROTECTION_KEY_EXCHANGE_FAILURE_KEY_NOT_PRESENT
    )
    assert Bench().do("REPORT KEY", key_format=0, allocation_length=8).code == (
        INCOMPATIBLE_MEDIUM
    )


def told(bench: Bench) -> tuple[int, int]:
    """Audio status and address of READ SUB-CHANNEL."""
    data = bench.data("READ SUB-CHANNEL", subq=1, parameter_list=1, allocation_length=16)
    return data[1], int.from_bytes(data[8:12], "big")


def test_audio_plays_on_the_clock() -> None:
    """75 sectors a second; it pauses, goes on, and is told to be completed once."""
    bench = audio()
    assert told(bench) == (0x15, 0)
    assert bench.do("PLAY AUDIO(10)", lba=75, transfer_length=150).good
    start = bench.target.now
    bench.target.advance(start + 1)
    assert told(bench) == (0x11, 150)
    assert bench.do("PAUSE/RESUME").good
    bench.target.advance(start + 10)
    assert told(bench) == (0x12, 150)
    assert bench.do("PAUSE/RESUME", resume=1).good
    bench.target.advance(start + 12)
    assert told(bench) == (0x13, 224)
    assert told(bench) == (0x15, 224)
    assert Bench().do("PLAY AUDIO(10)", lba=0, transfer_length=1).code == asc.ILLEGAL_MODE_FOR_THIS_TRACK


def test_audio_time_in_a_pause() -> None:
    """In the pause before a track the time relative to it counts down, as Q has it; the address is negative."""
    bench = audio()
    assert bench.do("PLAY AUDIO MSF", start_s=0, end_s=3).good
    bench.target.advance(bench.target.now + 1)

    for msf, absolute, relative in ((1, 0x00000100, 0x0000004A), (0, -75, -75)):
        data = bench.data("READ SUB-CHANNEL", subq=1, parameter_list=1, msf=msf, allocation_length=16)
        assert data[7] == 0
        assert struct.unpack(">ii", data[8:16]) == (absolute, relative)


@pytest.mark.parametrize(("direct", "end"), [(0, 299), (1, 0)], ids=["forward", "back"])
def test_audio_scan_ends(direct: int, end: int) -> None:
    """SCAN goes at eight times the speed, as the mechanism state tells, and is completed at either end of the audio."""
    bench = audio()
    assert bench.do("SCAN", start=150, direct=direct).good
    begun = bench.target.now
    assert bench.data("MECHANISM STATUS", allocation_length=8)[1] >> 5 == 2
    bench.target.advance(begun + 0.1)
    assert told(bench) == (0x11, 150 + (-56 if direct else 56))
    bench.target.advance(begun + 1)

    assert told(bench) == (0x13, end)
    assert bench.data("MECHANISM STATUS", allocation_length=8)[1] >> 5 == 0


def test_audio_scan_resumes_as_play() -> None:
    """A scan backwards that was paused goes on forward at the speed of play."""
    bench = audio()
    assert bench.do("SCAN", start=150, direct=1).good
    bench.target.advance(bench.target.now + 0.1)
    assert bench.do("PAUSE/RESUME").good
    assert bench.do("PAUSE/RESUME", resume=1).good
    bench.target.advance(bench.target.now + 1)

    assert told(bench) == (0x11, 94 + 75)
    assert bench.data("MECHANISM STATUS", allocation_length=8)[1] >> 5 == 1


def test_mode_pages_are_there() -> None:
    """All pages of MMC are there, MODE SENSE(6) has them whole; the lock state follows PREVENT ALLOW."""
    bench = Bench()
    data = bench.data("MODE SENSE(10)", page_code=0x3F, allocation_length=1000)
    codes = []
    at = 8
    while at < len(data):
        codes.append(data[at] & 0x3F)
        at += 2 + data[at + 1]

    assert {0x01, 0x05, 0x07, 0x08, 0x0D, 0x0E, 0x1A, 0x1C, 0x1D, 0x2A} <= set(codes)
    assert bench.data("MODE SENSE(6)", page_code=0x3F, allocation_length=255)[4:] == data[8:]
    assert not bench.data("MODE SENSE(10)", page_code=0x2A, allocation_length=100)[14] & 2
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=1).good
    assert bench.data("MODE SENSE(10)", page_code=0x2A, allocation_length=100)[14] & 2


def test_image_that_is_no_disc() -> None:
    """A store without a sector is a medium that cannot be read."""
    bench = Bench(b"x" * 100)

    assert bench.do("TEST UNIT READY").code == asc.CANNOT_READ_MEDIUM_UNKNOWN_FORMAT
    result = bench.do("READ CAPACITY")
    assert result.sense is not None
    assert result.sense.code.key == SenseKey.MEDIUM_ERROR


def test_image_of_raw_sectors() -> None:
    """2352 and 2448 bytes a sector are told by their sync patterns, and read alike."""
    raw = [mode_1_sector(number, image(4)[number * BLOCK :][:BLOCK]) for number in range(4)]
    for bench in (Bench(b"".join(raw)), Bench(b"".join(sector + bytes(96) for sector in raw))):
        assert bench.data("READ CAPACITY") == struct.pack(">II", 3, BLOCK)
        assert bench.data("READ(10)", lba=1, transfer_length=2) == image(4)[BLOCK : 3 * BLOCK]
        assert bench.data("READ CD", lba=2, transfer_length=1, sync=1, header_codes=3, user_data=1, edc_ecc=1) == raw[2]
