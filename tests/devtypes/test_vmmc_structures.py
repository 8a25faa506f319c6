"""READ DISC STRUCTURE and SEND DISC STRUCTURE: the list is what works, and write protection is where it belongs."""

from __future__ import annotations

import struct

import pytest
from test_vmmc_recording import Burner
from vmmc_bench import Bench

from devtypes.vmmc.profiles import KINDS
from scsiemu import asc

RECORDABLE = [kind for kind in KINDS.values() if not kind.pressed and not kind.is_cd]


def drive_with(name: str) -> Bench:
    """A drive with a pressed disc, or a blank one."""
    return Bench(kind=name) if KINDS[name].pressed else Burner(name)


@pytest.mark.parametrize("name", KINDS)
def test_structures_listed_are_those_that_work(name: str) -> None:
    """Format FFh lists each format that the medium has, with the length that it comes in, and no other one works."""
    bench = drive_with(name)
    media = int(KINDS[name].family == "bd")
    listed = bench.data("READ DISC STRUCTURE", media_type=media, format=0xFF, allocation_length=0xFFFF)
    lengths = {listed[at]: int.from_bytes(listed[at + 2 : at + 4], "big") for at in range(4, len(listed), 4)}

    found = {}
    for form in range(0xFF):
        result = bench.do("READ DISC STRUCTURE", media_type=media, format=form, allocation_length=0xFFFF)
        if result.good:
            assert int.from_bytes(result.data[:2], "big") == len(result.data) - 2
            found[form] = len(result.data)
    assert found == lengths
    assert (0xC0 in found) == (name in {kind.name for kind in RECORDABLE})


@pytest.mark.parametrize(("name", "form", "density", "start", "end", "layer"), [
    ("dvd-rom", 0x00, 0, 0x30000, 0x3003F, 0), ("dvd+rw", 0x00, 0, 0x30000, 0x34E1F, 0),
    ("dvd-ram", 0x00, 0x42, 0x31000, 0x35E1F, 0), ("dvd-r", 0x00, 0, 0x30000, 0x30000, 0),
    ("dvd-r", 0x10, 0, 0x30000, 0x34E1F, 0), ("dvd-r-dl", 0x00, 0x10, 0x30000, 0x30000, 0x3270F),
    ("dvd-r-dl", 0x10, 0x10, 0x30000, 0xFCFFFF, 0x3270F), ("dvd+r-dl", 0x00, 0x10, 0x30000, 0xFCFFFF, 0x3270F),
])
def test_structures_physical_format(name: str, form: int, density: int, start: int, end: int, layer: int) -> None:
    """Data begins at 30000h, of a DVD-RAM at 31000h; format 00h ends with what is recorded, 10h with the disc. Layer 1
    has inverted numbers: a full one ends opposite the first sector."""
    data = drive_with(name).data("READ DISC STRUCTURE", format=form, allocation_length=24)

    assert (data[7], *struct.unpack(">III", data[8:20])) == (density, start, end, layer)


def test_structures_physical_format_of_half_a_layer() -> None:
    """Two layers, of which the second is half recorded: the last sector is opposite the one in the middle of the
    first."""
    burner = Burner("dvd-r-dl")
    burner.parameters(write_type=2)
    for lba in range(0, 15008, 32):
        assert burner.write(lba, bytes(32 * 2048)) is None
    burner.sync()

    end = int.from_bytes(burner.data("READ DISC STRUCTURE", allocation_length=24)[12:16], "big")
    assert end == 0xFFFFFF - (0x30000 + 19999 - 15007)


@pytest.mark.parametrize("name", [kind.name for kind in RECORDABLE if kind.erasable])
def test_structures_write_protection(name: str) -> None:
    """Format C0h: bit 0 is SWPP of mode page 1Dh, bit 1 is PWP, which SEND DISC STRUCTURE sets; a DVD-RAM has PWP in
    its medium status, too, where bit 2 is of a cartridge, which no disc has."""
    bench = drive_with(name)
    media = int(KINDS[name].family == "bd")

    def status(form: int = 0xC0) -> bytes:
        return bench.data("READ DISC STRUCTURE", media_type=media, format=form, allocation_length=8)

    def protect(bits: int) -> None:
        sent = bytes((0, 6, 0, 0, bits, 0, 0, 0))
        assert bench.do("SEND DISC STRUCTURE", format=0xC0, parameter_list_length=8, data_out=sent).good

    def soft(bit: int) -> None:
        sent = bytes(8) + bytes((0x1D, 10, 0, 0, bit, 0, 1, 0x2C, 2, 0x58, 0, 0))
        assert bench.do("MODE SELECT(10)", pf=1, parameter_list_length=len(sent), data_out=sent).good

    assert status() == bytes((0, 6, 0, 0, 0, 0, 0, 0))
    protect(2)
    assert status()[4] == 2
    if name == "dvd-ram":
        assert status(9)[4] == 2
    if media:
        assert status(9)[4] == 0
    written = bench.do("WRITE(10)", lba=0, transfer_length=1, data_out=bytes(2048))
    assert written.code == asc.PERSISTENT_WRITE_PROTECT
    soft(1)
    assert status()[4] == 3
    protect(0)
    assert status()[4] == 1
    written = bench.do("WRITE(10)", lba=0, transfer_length=1, data_out=bytes(2048))
    assert written.code == asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED
    soft(0)
    assert status()[4] == 0
