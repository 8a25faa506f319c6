"""READ CD and READ CD MSF: what of a sector comes, for each kind of sector and each choice (MMC-6 6.19, 6.20)."""

from __future__ import annotations

import pytest
from test_vmmc_cue import bundle, mixed
from vmmc_bench import Bench, image

from devtypes.vmmc.sector import mode_1_sector, mode_2_sector, xa_sector
from devtypes.vmmc.subchannel import interleaved_of
from scsiemu import asc

COUNT = bytes(range(256)) * 10
BLOCKS = 12

# Kinds of sector: the mode of the cue sheet, EXPECTED SECTOR TYPE, a sector, where user data and EDC are.
KINDS = {
    "audio": ("AUDIO", 1, lambda lba: COUNT[lba : lba + 2352], 0, 2352),
    "mode 1": ("MODE1/2352", 2, lambda lba: mode_1_sector(lba, COUNT[:2048]), 16, 2064),
    "formless": ("MODE2/2352", 3, lambda lba: mode_2_sector(lba, COUNT[1:2337]), 16, 2352),
    "form 1": ("MODE2/2352", 4, lambda lba: xa_sector(lba, bytes((1, 2, 8, 3)) * 2 + COUNT[:2048]), 24, 2072),
    "form 2": ("MODE2/2352", 5, lambda lba: xa_sector(lba, bytes((1, 2, 0x28, 3)) * 2 + COUNT[:2324]), 24, 2352),
}
# Byte 9, and how many bytes of audio, mode 1, mode 2 without form, form 1 and form 2 it brings; None: it is illegal.
CHOICES: dict[int, tuple[int | None, ...]] = {
    0x00: (0, 0, 0, 0, 0),
    0x10: (2352, 2048, 2336, 2048, 2328),
    0x18: (2352, 2336, 2336, 2328, 2328),
    0x20: (2352, 4, 4, 4, 4),
    0x28: (2352, None, None, None, None),
    0x30: (2352, 2052, 2340, None, None),
    0x38: (2352, 2340, 2340, None, None),
    0x40: (2352, 0, 0, 8, 8),
    0x48: (2352, None, None, None, None),
    0x50: (2352, 2048, 2336, 2056, 2336),
    0x58: (2352, 2336, 2336, 2336, 2336),
    0x60: (2352, 4, 4, 12, 12),
    0x68: (2352, None, None, None, None),
    0x70: (2352, 2052, 2340, 2060, 2340),
    0x78: (2352, 2340, 2340, 2340, 2340),
    0x80: (2352, 12, 12, 12, 12),
    0x88: (2352, None, None, None, None),
    0x90: (2352, None, None, None, None),
    0x98: (2352, None, None, None, None),
    0xA0: (2352, 16, 16, 16, 16),
    0xA8: (2352, None, None, None, None),
    0xB0: (2352, 2064, 2352, None, None),
    0xB8: (2352, 2352, 2352, None, None),
    0xC0: (2352, None, None, None, None),
    0xC8: (2352, None, None, None, None),
    0xD0: (2352, None, None, None, None),
    0xD8: (2352, None, None, None, None),
    0xE0: (2352, 16, 16, 24, 24),
    0xE8: (2352, None, None, None, None),
    0xF0: (2352, 2064, 2352, 2072, 2352),
    0xF8: (2352, 2352, 2352, 2352, 2352),
}


def disc(kind: str) -> Bench:
    """A disc with one track of such sectors."""
    mode, _, sector, _, _ = KINDS[kind]
    sheet = f"FILE {{0}} BINARY\nTRACK 01 {mode}\nINDEX 01 00:00:00\n"
    return Bench(bundle(sheet, b"".join(sector(lba) for lba in range(BLOCKS))))


def chosen(byte: int) -> dict[str, int]:
    """The fields of byte 9."""
    return {
        "sync": byte >> 7, "header_codes": byte >> 5 & 3, "user_data": byte >> 4 & 1, "edc_ecc": byte >> 3 & 1,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_read_cd_main_channel_selection(kind: str) -> None:
    """Every choice of parts brings as many bytes as the table has, from where the first part is, or is refused."""
    bench = disc(kind)
    _, number, sector, user, edc = KINDS[kind]
    whole = sector(5)

    for byte, sizes in CHOICES.items():
        size = sizes[list(KINDS).index(kind)]
        places = ((0x80, 0), (0x20, 12), (0x40, 16), (0x10, user), (0x08, edc))
        start = 0 if kind == "audio" else next((at for bit, at in places if byte & bit), 0)
        for expected in (0, number):
            result = bench.do("READ CD", lba=5, transfer_length=1, sector_type=expected, **chosen(byte))
            if size is None:
                assert result.code == asc.INVALID_FIELD_IN_CDB, f"{byte:02x}"
            else:
                assert (result.code, result.data) == (None, whole[start : start + size]), f"{byte:02x}"


@pytest.mark.parametrize("kind", KINDS)
def test_read_cd_expected_sector_type(kind: str) -> None:
    """A type that is expected has to be there; types 6 and 7 are reserved. READ CD MSF does the same."""
    bench = disc(kind)
    wrong = asc.ILLEGAL_MODE_FOR_THIS_TRACK

    for expected in range(8):
        code = asc.INVALID_FIELD_IN_CDB if expected > 5 else None if expected in (0, KINDS[kind][1]) else wrong
        assert bench.do("READ CD", lba=5, transfer_length=2, sector_type=expected, user_data=1).code == code
        assert bench.do(
            "READ CD MSF", start_s=2, start_f=5, end_s=2, end_f=7, sector_type=expected, user_data=1
        ).code == code


@pytest.mark.parametrize("kind", KINDS)
def test_read_cd_errors_and_channels_follow(kind: str) -> None:
    """C2 error bits come behind the main channel, sub-channels behind those; what is reserved is refused."""
    bench = disc(kind)
    whole = KINDS[kind][2](5)

    for c2, bits in ((0, 0), (1, 294), (2, 296)):
        for channel, size in ((0, 0), (1, 96), (2, 16), (4, 96)):
            data = bench.data("READ CD", lba=5, transfer_length=1, c2=c2, sub_channel=channel, **chosen(0xF8))
            alone = bench.data("READ CD", lba=5, transfer_length=1, sub_channel=channel)
            assert data == whole + bytes(bits) + alone
            assert len(alone) == size
    assert bench.do("READ CD", lba=5, transfer_length=1, c2=3).code == asc.INVALID_FIELD_IN_CDB
    for channel in (3, 5, 6, 7):
        assert bench.do("READ CD", lba=5, transfer_length=1, sub_channel=channel).code == asc.INVALID_FIELD_IN_CDB


def test_read_cd_ends_where_sound_begins() -> None:
    """Of any type, a command ends at the sector where data turns into sound or sound into data."""
    bench = mixed()

    result = bench.do("READ CD", lba=298, transfer_length=4, **chosen(0xF8))
    assert result.code == asc.ILLEGAL_MODE_FOR_THIS_TRACK
    assert result.sense is not None
    assert result.sense.information == 300
    assert bench.do("READ CD", lba=298, transfer_length=2, **chosen(0xF8)).good
    assert bench.do("READ CD", lba=300, transfer_length=700, user_data=1).good


def test_read_cd_forms_take_turns() -> None:
    """Sectors of form 1 and form 2 are of one track: no transition."""
    sectors = [KINDS["form 2" if lba % 2 else "form 1"][2](lba) for lba in range(BLOCKS)]
    bench = Bench(bundle("FILE {0} BINARY\nTRACK 01 MODE2/2352\nINDEX 01 00:00:00\n", b"".join(sectors)))

    assert bench.data("READ CD", lba=0, transfer_length=BLOCKS, **chosen(0xF8)) == b"".join(sectors)
    assert bench.data("READ CD", lba=0, transfer_length=2, user_data=1) == sectors[0][24:2072] + sectors[1][24:]
    result = bench.do("READ CD", lba=0, transfer_length=2, sector_type=4, user_data=1)
    assert result.code == asc.ILLEGAL_MODE_FOR_THIS_TRACK
    assert result.sense is not None
    assert result.sense.information == 1


def test_read_cd_formatted_q_of_kept_channels() -> None:
    """Formatted Q of sub-channels that are kept has their P in its last byte, as a computed one has."""
    q = bytes.fromhex("010101000000000002000000")
    kept = [image(1, 2352) + interleaved_of(q, top=top) for top in (0x80, 0)]
    bench = Bench(bundle("FILE {0} BINARY\nTRACK 01 CDG\nINDEX 01 00:00:00\n", b"".join(kept)))

    assert bench.data("READ CD", lba=0, transfer_length=2, sub_channel=2) == (
        q + bytes((0, 0, 0, 0x80)) + q + bytes(4)
    )


def test_read_cd_addresses() -> None:
    """The pause of the first track has negative addresses; before it and in the lead-out nothing can be read."""
    bench = disc("mode 1")
    beyond = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE

    for start in (-150, -20):
        assert bench.data("READ CD", lba=start & 0xFFFFFFFF, transfer_length=20, **chosen(0xF8)) == b"".join(
            mode_1_sector(lba, bytes(2048)) for lba in range(start, start + 20)
        )
    assert bench.data("READ CD MSF", start_s=1, end_s=1, end_f=20, user_data=1) == bytes(20 * 2048)
    for lba in (-151, -45150, -45151, 0xF0000000, BLOCKS, BLOCKS - 1):
        assert bench.do("READ CD", lba=lba & 0xFFFFFFFF, transfer_length=2, user_data=1).code == beyond
    assert bench.do("READ CD", lba=BLOCKS, transfer_length=0, user_data=1).good
    assert bench.do("READ CD MSF", start_s=2, end_s=1, user_data=1).code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("READ CD MSF", start_s=2, start_f=75, end_s=4, user_data=1).code == asc.INVALID_FIELD_IN_CDB
