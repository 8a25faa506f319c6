"""A library whose drives are removable disks, or optical drives: cartridges move as those of tapes do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scsiemu import asc
from scsiemu.testing.initiator import Initiator, Result
from scsiemu.testing.served import ScsiTarget

SLOT, DRIVE = 0x1000, 0x100
OPTIONS = {
    "disk": "drive=disk,capacity=1M", "optical": "drive=optical,,blank=dvd+rw,capacity=4M",
    "tape": "drive=tape,capacity=1M",
}


class Libraries:
    """A library of a kind of drives, opened again and again."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.option = f"{folder}/lib,drives=2,slots=4,create=3,{OPTIONS[kind]}"
        self.kind = kind

    def __enter__(self) -> Libraries:
        self.target = ScsiTarget("--library", self.option).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.target.close()

    def do(self, name: str, lun: int = 0, **options: int | bytes) -> Result:
        """A command, whose unit attentions are taken before."""
        self.target.initiator.clear_attentions()
        return self.target.initiator.command(name, lun=lun, **options)  # type: ignore[arg-type]  # fields and data

    def move(self, source: int, destination: int) -> Result:
        """MOVE MEDIUM."""
        return self.do("MOVE MEDIUM", source_address=source, destination_address=destination)

    def eject(self, lun: int) -> Result:
        """What lets a drive give its medium."""
        if self.kind == "tape":
            return self.do("LOAD UNLOAD", lun)
        return self.do("START STOP UNIT", lun, loej=1)

    def write(self, lun: int, data: bytes) -> Result:
        """A block or more at the beginning."""
        if self.kind == "tape":
            return self.do("WRITE(6)", lun, transfer_length=len(data), data_out=data)
        return self.do("WRITE(10)", lun, transfer_length=len(data) // self.block, data_out=data)

    def read(self, lun: int, length: int) -> bytes:
        """The same."""
        if self.kind == "tape":
            return self.do("READ(6)", lun, transfer_length=length, data_in=length).data
        return self.do("READ(10)", lun, transfer_length=length // self.block, data_in=length).data

    @property
    def block(self) -> int:
        return 512 if self.kind == "disk" else 2048


@pytest.fixture(params=["disk", "optical", "tape"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Libraries]:
    """Three media in four slots, two drives."""
    with Libraries(tmp_path, request.param) as library:
        if request.param == "optical":      # no DVD+RW comes formatted
            library.move(SLOT + 2, DRIVE)
            library.do("FORMAT UNIT", 1, fmtdata=1, format_code=1, data_out=bytes((0, 0x82, 0, 8)) + FORMAT)
            library.eject(1)
            assert library.move(DRIVE, SLOT + 2).good
        yield library


FORMAT = (2048).to_bytes(4, "big") + bytes((0x26 << 2, 0, 0, 0))


def test_drives_write_move_read(library: Libraries) -> None:
    """What is written in one drive is read in the other; a medium in use stays where it is."""
    data = bytes(range(256)) * 16
    source = SLOT + 2
    assert library.do("TEST UNIT READY", 1).code in (asc.MEDIUM_NOT_PRESENT, asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED,
                                                     asc.MEDIUM_NOT_PRESENT_TRAY_OPEN)
    assert library.move(source, DRIVE).good
    assert library.write(1, data).good
    refused = library.move(DRIVE, DRIVE + 1)
    assert refused.code == asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT
    assert library.eject(1).good
    assert library.move(DRIVE, DRIVE + 1).good

    assert library.read(2, len(data)) == data
    assert library.do("TEST UNIT READY", 1).code is not None


def test_drives_tell_every_nexus(library: Libraries) -> None:
    """Each nexus of a drive hears that a medium has come, and only those of that drive."""
    other = Initiator(library.target.target, "iqn.2026-11.org.example:other")
    other.clear_attentions()
    assert library.move(SLOT + 2, DRIVE + 1).good
    library.do("TEST UNIT READY", 2)

    assert other.command("TEST UNIT READY", lun=2).code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert other.command("TEST UNIT READY", lun=2).good


def test_drives_prevented(library: Libraries) -> None:
    """PREVENT ALLOW MEDIUM REMOVAL of the drive keeps its medium there."""
    library.move(SLOT + 2, DRIVE)
    assert library.do("PREVENT ALLOW MEDIUM REMOVAL", 1, prevent=1).good
    assert library.eject(1).code == asc.MEDIUM_REMOVAL_PREVENTED

    assert library.move(DRIVE, SLOT + 2).code == asc.MEDIUM_REMOVAL_PREVENTED


def test_drives_load_again(library: Libraries) -> None:
    """An ejected medium that was not taken is loaded again by the drive's own command."""
    library.move(SLOT + 2, DRIVE)
    library.eject(1)
    assert not library.do("TEST UNIT READY", 1).good
    if library.kind == "tape":
        assert library.do("LOAD UNLOAD", 1, load=1).good
    else:
        assert library.do("START STOP UNIT", 1, loej=1, start=1).good

    assert library.do("TEST UNIT READY", 1).good


def test_drives_restart(library: Libraries) -> None:
    """A medium that was in a drive is in it again after a restart, with what is on it."""
    data = b"kept" * 512
    library.move(SLOT + 2, DRIVE + 1)
    assert library.write(2, data).good
    if library.kind == "tape":
        library.do("WRITE FILEMARKS(6)", 2, filemark_count=1)
    else:
        library.do("SYNCHRONIZE CACHE(10)" if library.kind == "disk" else "SYNCHRONIZE CACHE", 2)
    library.target.close()
    with library:
        assert library.read(2, len(data)) == data


def test_disk_sizes_by_medium(tmp_path: Path) -> None:
    """A disk is as large as what is put into it; what is smaller than a block cannot be used."""
    folder = tmp_path / "lib"
    folder.mkdir()
    for name, size in (("A", 1 << 20), ("B", 1 << 16), ("C", 100)):
        (folder / name).write_bytes(bytes(size))
    with ScsiTarget("--library", f"{folder},drives=1,slots=3,drive=disk") as target:
        found = []
        for number in range(3):
            addresses = {"source_address": SLOT + number, "destination_address": DRIVE}
            assert target.initiator.command("MOVE MEDIUM", **addresses).good
            target.initiator.clear_attentions()
            found.append(target.initiator.command("READ CAPACITY(10)", lun=1))
            target.initiator.command("START STOP UNIT", lun=1, loej=1)
            assert target.initiator.command(
                "MOVE MEDIUM", source_address=DRIVE, destination_address=SLOT + number
            ).good

    assert [int.from_bytes(each.data[:4], "big") for each in found[:2]] == [2047, 127]
    assert found[2].code == asc.CANNOT_READ_MEDIUM_UNKNOWN_FORMAT
