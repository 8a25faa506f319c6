"""TransportIDs: building, parsing, what is refused, what is the same port."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu.transport_id import (
    TransportIdError,
    canonical_transport_id,
    iscsi_transport_id,
    parse_transport_id,
)

NAME = "iqn.2026-11.org.example:host"
ISID = bytes.fromhex("00023d000001")


def iscsi(text: bytes, *, first: int = 0x45, additional: int | None = None, pad: int = 0) -> bytes:
    """A TransportID by hand."""
    length = max(20, (len(text) + 4) // 4 * 4 + pad) if additional is None else additional
    return bytes((first, 0)) + length.to_bytes(2, "big") + text + bytes(max(0, length - len(text)))


def test_transport_id_iscsi_port():
    """SPC-4 7.6.4.6: name, ",i,0x", ISID in hex, null-terminated, padded to a multiple of four."""
    built = iscsi_transport_id(NAME, ISID)

    text = NAME.encode() + b",i,0x00023d000001"
    assert built == iscsi(text)
    assert len(built) % 4 == 0
    parsed = parse_transport_id(built + b"more")
    assert (parsed.canonical, parsed.length, parsed.device_name) == (built, len(built), NAME)
    assert not parsed.names_device


def test_transport_id_iscsi_device():
    """SPC-4 7.6.4.6: format code 00b has the name only and means all ports of the device; at least 20 bytes follow."""
    assert iscsi_transport_id("iqn.x") == b"\x05\0\0\x14iqn.x" + bytes(15)
    parsed = parse_transport_id(iscsi_transport_id(NAME))

    assert parsed.names_device
    assert parsed.device_name == NAME


def test_transport_id_first_null_ends():
    """SPC-4 7.6.4.6: the first null ends the name without regard for ADDITIONAL LENGTH and what follows."""
    junk = iscsi(NAME.encode() + b",i,0x1\0junk", pad=8)

    assert parse_transport_id(junk).canonical == iscsi_transport_id(NAME, b"\0\0\0\0\0\1")


def test_transport_id_case():
    """RFC 7143 4.2.7.2: iSCSI names are compared in lower case, the ISID is a number."""
    shouted = iscsi(NAME.upper().encode() + b",i,0x00023D000001")

    assert canonical_transport_id(shouted) == iscsi_transport_id(NAME, ISID)


@pytest.mark.parametrize(
    ("protocol", "name"), [(0, slice(8, 16)), (3, slice(8, 16)), (4, slice(8, 24)), (6, slice(4, 12))]
)
def test_transport_id_fixed_protocols(protocol, name):
    """SPC-4 tables 500 to 507: 24 bytes; only the name of the port tells ports apart, reserved bytes do not."""
    raw = bytearray(bytes((protocol,)) + bytes(range(1, 24)))
    parsed = parse_transport_id(bytes(raw))

    assert parsed.length == 24
    assert parsed.canonical[name] == raw[name]
    assert sum(parsed.canonical) == protocol + sum(raw[name])


BAD = [
    (iscsi(NAME.encode() + b",i,0x1", first=0x85), 0, 7),       # reserved format code
    (iscsi(NAME.encode() + b",i,0x1", first=0x55), 0, 4),       # reserved bit
    (bytes((0x40,)) + bytes(23), 0, 7),                         # format code of Fibre Channel
    (bytes((0x07,)) + bytes(23), 0, 3),                         # reserved protocol
    (iscsi(b"iqn.x,i,0x1", additional=16) + bytes(8), 2, None),  # ADDITIONAL LENGTH under 20
    (iscsi(NAME.encode() + b",i,0x1", additional=42), 2, None),  # no multiple of four
    (iscsi(b"iqn.aaaaaaaaa,i,0x12", additional=20), 23, None),  # no null
    (iscsi(NAME.encode()), 4, None),                            # a port without ISID
    (iscsi(NAME.encode() + b",i,0x1", first=0x05), 4 + len(NAME), None),  # a device with one
    (iscsi(b"host,i,0x1"), 4, None),                            # no iqn, eui, naa
    (iscsi(b",i,0x1"), 4, None),
    (iscsi(NAME.encode() + b" x,i,0x1"), 4, None),              # blank
    (iscsi(b"iqn.\xff\xfe,i,0x1"), 8, None),                    # not UTF-8
    (iscsi(b"iqn." + b"a" * 220 + b",i,0x1"), 4, None),         # 224 bytes
    (iscsi(NAME.encode() + b",i,0x"), 9 + len(NAME), None),     # empty ISID
    (iscsi(NAME.encode() + b",i,0x12g4"), 9 + len(NAME), None),
    (iscsi(NAME.encode() + b",i,0x1234567890abc"), 9 + len(NAME), None),  # 13 digits
]


@pytest.mark.parametrize(("raw", "offset", "bit"), BAD)
def test_transport_id_refused(raw, offset, bit):
    """A TransportID that the standard does not define is refused with the byte at fault."""
    with pytest.raises(TransportIdError) as caught:
        parse_transport_id(raw)

    assert (caught.value.offset, caught.value.bit, caught.value.truncated) == (offset, bit, False)


def test_transport_id_name_of_223_bytes():
    """RFC 7143 4.2.7.1: a name of 223 bytes is the longest; its TransportID is 228 or 248 bytes."""
    name = "iqn." + "a" * 219

    assert len(iscsi_transport_id(name)) == 228
    assert parse_transport_id(iscsi_transport_id(name, ISID)).device_name == name
    with pytest.raises(ValueError, match="iSCSI name"):
        iscsi_transport_id(name + "a")


def test_transport_id_truncated():
    """A TransportID cut at any byte is said to be truncated, never read beyond."""
    whole = iscsi_transport_id(NAME, ISID)

    for length in range(len(whole)):
        with pytest.raises(TransportIdError) as caught:
            parse_transport_id(whole[:length])
        assert caught.value.truncated


@settings(max_examples=200)
@given(st.binary(max_size=64) | st.builds(iscsi, st.binary(max_size=40)))
def test_transport_id_hostile(raw):
    """Any bytes parse or are refused; what parses is canonical, and stays so."""
    try:
        parsed = parse_transport_id(raw)
    except TransportIdError:
        parsed = None
    if parsed is not None:
        assert parsed.length <= len(raw)
        assert parse_transport_id(parsed.canonical).canonical == parsed.canonical
    assert canonical_transport_id(canonical_transport_id(raw)) == canonical_transport_id(raw)
