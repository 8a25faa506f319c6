"""Vital product data pages."""

from __future__ import annotations

from engine_spc_unit import PlainServer, World

from scsiemu.command import Command
from scsiemu.identity import Identity, derive
from scsiemu.vpd import Association, Designator, DesignatorType, vpd_page


def designators(data: bytes) -> list[tuple[int, int, bytes]]:
    """Association, type and designator of each descriptor."""
    found = []
    at = 0
    while at < len(data):
        found.append((data[at + 1] >> 4 & 3, data[at + 1] & 0xF, data[at + 4 : at + 4 + data[at + 3]]))
        at += 4 + data[at + 3]
    return found


def test_inquiry_supported_pages() -> None:
    """Page 00h lists the pages in ascending order (SPC-5 7.7.17)."""
    assert World().one.command("INQUIRY", evpd=1).data == bytes.fromhex("03000006 00 80 83 86 87 88")


def test_inquiry_page_is_not_available() -> None:
    """A page that is not available is neither listed nor answered; a device type adds pages by declaring them."""

    class Switched(PlainServer):
        on = False

        @vpd_page(0xB0, "Switched", available=lambda server: server.on)
        def vpd_switched(self, command: Command) -> bytes:
            return b"body"

    server = Switched()
    one = World(server=server).one

    assert not one.command("INQUIRY", evpd=1, page_code=0xB0).good
    server.on = True
    assert one.command("INQUIRY", evpd=1, page_code=0xB0).data == b"\x03\xb0\0\x04body"
    assert one.command("INQUIRY", evpd=1).data.endswith(b"\xb0")


def test_inquiry_device_identification() -> None:
    """Page 83h has names of the unit, of the port that the command came through, and of the target device."""
    world = World()
    for initiator, number in ((world.one, 1), (world.two, 2)):
        found = designators(initiator.command("INQUIRY", evpd=1, page_code=0x83).data[4:])
        unit = [(kind, data) for association, kind, data in found if association == Association.LOGICAL_UNIT]
        port = [(kind, data) for association, kind, data in found if association == Association.TARGET_PORT]
        device = [(kind, data) for association, kind, data in found if association == Association.TARGET_DEVICE]

        assert [kind for kind, _ in unit] == [3, 1, 8]
        assert unit[0][1][0] >> 4 == 3
        assert unit[1][1].startswith(b"SCSIEMU PLAIN UNIT      ")
        assert unit[2][1].rstrip(b"\0") == b"naa." + unit[0][1].hex().upper().encode()
        assert port[0] == (4, bytes((0, 0, 0, number)))
        assert port[1] == (5, bytes((0, 0, 0, number)))
        assert port[2][1].rstrip(b"\0") == f"iqn.2026-11.org.example:spc,t,0x000{number}".encode()
        assert device == [(8, b"iqn.2026-11.org.example:spc\0")]
        assert all(len(data) % 4 == 0 for kind, data in unit + port + device if kind == 8)


def test_inquiry_designators_are_derived() -> None:
    """The same target name and LUN give the same names; another LUN or target gives others."""
    first = derive(Identity(), "iqn.a", 0, product="P")

    assert derive(Identity(), "iqn.a", 0, product="P") == first
    others = [derive(Identity(), "iqn.a", 1 << 48, product="P"), derive(Identity(), "iqn.b", 0, product="P")]
    assert len({first.naa, *(other.naa for other in others)}) == 3
    assert len({first.serial, *(other.serial for other in others)}) == 3


def test_inquiry_designators_follow_the_serial() -> None:
    """A serial number that the user gave decides the NAA designator, wherever the unit is."""
    identity = Identity(serial="S1")

    assert derive(identity, "iqn.a", 0, product="P").naa == derive(identity, "iqn.b", 5 << 48, product="P").naa


def test_inquiry_naa_6_and_eui_64() -> None:
    """A given NAA 6h designator and an EUI-64 are reported as they are."""
    naa = b"\x60" + bytes(range(15))
    one = World(server=PlainServer(Identity(naa=naa, eui64=bytes(range(12))))).one
    found = designators(one.command("INQUIRY", evpd=1, page_code=0x83).data[4:])

    assert (0, DesignatorType.NAA, naa) in found
    assert (0, DesignatorType.EUI_64, bytes(range(12))) in found


def test_designator_protocol_identifier() -> None:
    """PIV and PROTOCOL IDENTIFIER are there for ports and devices, not for units (SPC-5 7.7.6.1)."""
    port = Designator(DesignatorType.RELATIVE_TARGET_PORT, bytes(4), Association.TARGET_PORT, 5).encode()
    unit = Designator(DesignatorType.NAA, bytes(8), Association.LOGICAL_UNIT, 5).encode()

    assert port[:4] == bytes((0x51, 0x94, 0, 4))
    assert unit[:4] == bytes((0x01, 0x03, 0, 8))


def test_inquiry_extended_data() -> None:
    """Page 86h has 60 bytes: all task attributes, LUICLR, RTD_SUP, sense data up to 252 bytes."""
    data = World().one.command("INQUIRY", evpd=1, page_code=0x86).data

    assert data[:4] == bytes((0x03, 0x86, 0, 60))
    assert data[4:14] == bytes((0, 0x07, 0, 0x01, 0x08, 0, 0, 0, 0, 252))
    assert not any(data[14:])


def test_inquiry_mode_page_policy() -> None:
    """Page 87h lists every mode page that MODE SENSE has, as shared."""
    one = World().one
    data = one.command("INQUIRY", evpd=1, page_code=0x87).data[4:]

    assert data == bytes.fromhex("02000000 0a000000 0a010000 1a000000 1c000000")


def test_inquiry_scsi_ports() -> None:
    """Page 88h lists every port of the target, whichever the command came through."""
    world = World()
    data = world.two.command("INQUIRY", evpd=1, page_code=0x88).data

    assert data == world.one.command("INQUIRY", evpd=1, page_code=0x88).data
    assert data[4:8] == bytes((0, 0, 0, 1))
    assert b"spc,t,0x0001" in data
    assert b"spc,t,0x0002" in data
