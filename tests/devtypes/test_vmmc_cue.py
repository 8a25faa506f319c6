"""CDs from cue sheets: where tracks are, what is in them, and sheets that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vmmc_bench import Bench, image
from vt_store import perform

from devtypes.vmmc.cue import open_cue
from devtypes.vmmc.disc import Disc, DiscUnusable
from devtypes.vmmc.sector import mode_1_sector
from iohandlers.memory import open_store
from scsiemu.io_requests import Write
from scsiemu.media import CUE_MAGIC
from scsiemu.testing.served import ScsiTarget

DATA = b"".join(mode_1_sector(lba, image(300)[lba * 2048 : (lba + 1) * 2048]) for lba in range(300))
SOUND = image(700, 2352)
MIXED = """
REM by hand
CATALOG 1234567890123
TITLE "Two songs"
FILE {data} BINARY
  TRACK 01 MODE1/2352
    INDEX 01 00:00:00
FILE {sound} BINARY
  TRACK 02 AUDIO
    FLAGS DCP PRE
    ISRC DEABC1234567
    INDEX 00 00:00:00
    INDEX 01 00:02:00
    INDEX 02 00:04:00
  TRACK 03 AUDIO
    PREGAP 00:01:00
    INDEX 01 00:05:25
"""


def bundle(sheet: str, *files: bytes) -> Any:
    """A store as `cue` makes it: `{0}`, `{1}` in the sheet are places of the files."""
    blank = ["0" * 8 + " " + "0" * 8] * len(files)
    at = len(CUE_MAGIC) + 4 + len(sheet.format(*blank).encode())
    places = []
    for file in files:
        places.append(f"{at:08} {len(file):08}")
        at += len(file)
    text = sheet.format(*places).encode()
    whole = CUE_MAGIC + len(text).to_bytes(4, "big") + text + b"".join(files)
    store = open_store(size=len(whole))
    store.submit(Write(0, len(whole), whole), None)  # type: ignore[arg-type]  # the ticket is opaque
    return store


def opened(sheet: str, *files: bytes) -> Disc | None:
    """The disc of a sheet."""
    store = bundle(sheet, *files)
    return perform(open_cue(store.capabilities), store)


def mixed() -> Bench:
    return Bench(bundle(MIXED.format(data="{0}", sound="{1}"), DATA, SOUND))


def test_cue_table_of_contents() -> None:
    """Tracks begin at INDEX 01; a PREGAP, which is in no file, moves what follows."""
    toc = mixed().data("READ TOC/PMA/ATIP", allocation_length=100)

    rows = [toc[at : at + 8] for at in range(4, 36, 8)]
    assert [(row[1] & 0xF, row[2], int.from_bytes(row[4:], "big")) for row in rows] == [
        (4, 1, 0), (3, 2, 450), (0, 3, 300 + 400 + 75), (0, 0xAA, 300 + 700 + 75),
    ]


def test_cue_sectors() -> None:
    """Each sector comes from its place in its file; the PREGAP is silence."""
    bench = mixed()

    assert bench.data("READ(10)", lba=10, transfer_length=20) == image(300)[10 * 2048 : 30 * 2048]
    whole = {"sync": 1, "header_codes": 3, "user_data": 1, "edc_ecc": 1}
    assert bench.data("READ CD", lba=299, transfer_length=1, **whole) == DATA[-2352:]
    assert bench.data("READ CD", lba=300, transfer_length=1, **whole) == SOUND[:2352]
    last, first = SOUND[399 * 2352 : 400 * 2352], SOUND[400 * 2352 : 401 * 2352]
    assert bench.data("READ CD", lba=699, transfer_length=2, user_data=1) == last + bytes(2352)
    assert bench.data("READ CD", lba=774, transfer_length=2, user_data=1) == bytes(2352) + first
    assert bench.data("READ CD", lba=1074, transfer_length=1, user_data=1) == SOUND[-2352:]


def test_cue_codes_and_indexes() -> None:
    """CATALOG, ISRC and indexes are in the sub-channel."""
    bench = mixed()
    assert bench.data("READ SUB-CHANNEL", subq=1, parameter_list=2, allocation_length=24)[9:22] == b"1234567890123"
    isrc = bench.data("READ SUB-CHANNEL", subq=1, parameter_list=3, track=2, allocation_length=24)
    assert isrc[9:21] == b"DEABC1234567"

    for lba, index in ((300, 0), (449, 0), (450, 1), (599, 1), (601, 2)):
        assert bench.data("READ CD", lba=lba, transfer_length=1, sub_channel=2)[1:3] == bytes((2, index))


@pytest.mark.parametrize(("mode", "size", "kind"), [
    ("MODE1/2048", 2048, 2), ("MODE1/2352", 2352, 2), ("MODE2/2336", 2336, 4), ("AUDIO", 2352, 1), ("CDG", 2448, 1),
])
def test_cue_modes(mode: str, size: int, kind: int) -> None:
    """Each mode of track, by how many bytes its sectors are and what READ CD finds them to be."""
    form_1 = bytes((0, 0, 8, 0)) * 2 + bytes(2328)
    sector = {"MODE1/2352": DATA, "MODE2/2336": form_1 * 20}.get(mode, bytes(size) * 20)
    sheet = f"FILE {{0}} BINARY\nTRACK 01 {mode}\nINDEX 01 00:00:00\n"
    bench = Bench(bundle(sheet, sector[: size * 20]))

    assert bench.data("READ CAPACITY")[:4] == (19).to_bytes(4, "big")
    assert bench.do("READ CD", lba=3, transfer_length=1, sector_type=kind, user_data=1).good


def test_cue_cd_text() -> None:
    """A CDTEXTFILE has packs, with or without the header of READ TOC."""
    packs = bytes(range(36))
    for file in (packs, bytes((0, 38, 0, 0)) + packs):
        sheet = "CDTEXTFILE {0}\nFILE {1} BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n"
        bench = Bench(bundle(sheet, file, SOUND))

        assert bench.data("READ TOC/PMA/ATIP", format=5, allocation_length=100) == bytes((0, 38, 0, 0)) + packs


FILE = "FILE {0} BINARY\n"
TRACK = "TRACK 01 AUDIO\n"


@pytest.mark.parametrize("sheet", [
    "", FILE, TRACK, FILE + TRACK, FILE + TRACK + "INDEX 02 00:00:00", FILE + TRACK + "INDEX 01 00:60:00",
    FILE + TRACK + "INDEX 01 00:00:75", FILE + TRACK + "INDEX 01 99:00:00", FILE + TRACK + "INDEX 01",
    FILE + TRACK + "INDEX 00 00:00:00", FILE + TRACK + "INDEX 01 00:02:00\nINDEX 02 00:01:00",
    FILE + TRACK + "INDEX 01 00:00:00\nTRACK 03 AUDIO\nINDEX 01 00:01:00", FILE + "TRACK 00 AUDIO\nINDEX 01 00:00:00",
    FILE + "TRACK 01 MODE3/2352\nINDEX 01 00:00:00", FILE + "TRACK 01\n", "CATALOG 123\n" + FILE,
    FILE + TRACK + "ISRC ??\nINDEX 01 00:00:00", FILE + TRACK + "FLAGS XYZ\nINDEX 01 00:00:00",
    "FILE {0} MP3\n" + TRACK, "FILE 0 99999999 BINARY\n" + TRACK, "FILE -1 5 BINARY\n", "INDEX 01 00:00:00",
    FILE + TRACK + "INDEX 01 00:00:00\nPREGAP 00:02:00", FILE + TRACK + "PREGAP 999:00:00\nINDEX 01 00:00:00",
    "FILE x y BINARY", FILE + TRACK + "INDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 01 00:00:00",
])
def test_cue_sheet_that_is_wrong(sheet: str) -> None:
    """A sheet that cannot be is told in one sentence."""
    with pytest.raises(DiscUnusable):
        opened(sheet, SOUND[: 400 * 2352])


WORDS = st.sampled_from((
    "FILE {0} BINARY", "FILE 100 200 BINARY", "TRACK 01 AUDIO", "TRACK 02 MODE1/2352", "TRACK 03 MODE2/2336",
    "TRACK 02 CDG", "INDEX 00 00:00:00", "INDEX 01 00:00:10", "INDEX 01 00:01:00", "INDEX 02 00:03:00",
    "PREGAP 00:02:00",
    "POSTGAP 00:02:00", "FLAGS DCP", "ISRC ABCDE1234567", "CATALOG 1234567890123", "TITLE \"x\"", "INDEX 01 00:04:74",
)) | st.text("FILETRACKINDEX 0123456789:/\"", max_size=30)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=12))
def test_cue_any_sheet(lines: list[str]) -> None:
    """Whatever the sheet: a disc whose sectors can all be read, or DiscUnusable."""
    sheet = "\n".join(lines)
    try:
        store = bundle(sheet, SOUND[: 400 * 2352])
    except (ValueError, IndexError, KeyError):          # of `format`
        return
    try:
        disc = perform(open_cue(store.capabilities), store)
    except DiscUnusable:
        return
    assert disc is not None
    bench = Bench(store)
    for track in disc.tracks:
        for lba in (track.start, track.end - 1, track.start - track.pregap):
            result = bench.do("READ CD", lba=lba & 0xFFFFFFFF, transfer_length=1, user_data=1, sub_channel=1)
            assert result.good
    assert bench.target.next_event() is None


def test_cue_on_the_command_line(tmp_path: Path) -> None:
    """`--optical disc.cue` is the disc of the sheet; what says how a plain image looks does not go with it."""
    (tmp_path / "a.bin").write_bytes(SOUND)
    (tmp_path / "disc.cue").write_text('FILE "a.bin" BINARY\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n')
    with ScsiTarget("--optical", str(tmp_path / "disc.cue")) as here:
        data = here.initiator.command("READ CD", lba=600, transfer_length=2, user_data=1).data
    assert data == SOUND[600 * 2352 : 602 * 2352]

    with pytest.raises(ValueError, match="audio"):
        ScsiTarget("--optical", f"{tmp_path / 'disc.cue'},audio")
