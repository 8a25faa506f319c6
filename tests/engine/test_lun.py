"""LUN forms: every method of addressing, there and back, and what sg_luns makes of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu import lun
from scsiemu.lun import AddressMethod, LunAddress

METHOD_BITS = {
    AddressMethod.PERIPHERAL: 8,
    AddressMethod.FLAT: 14,
    AddressMethod.EXTENDED_FLAT: 24,
    AddressMethod.LONG_EXTENDED_FLAT: 40,
    AddressMethod.WELL_KNOWN: 8,
}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 0x0000_0000_0000_0000),
        (1, 0x0001_0000_0000_0000),
        (255, 0x00FF_0000_0000_0000),
        (256, 0x4100_0000_0000_0000),
        (16383, 0x7FFF_0000_0000_0000),
        (16384, 0xD200_4000_0000_0000),
        (1 << 24, 0xE200_0100_0000_0000),
        ((1 << 40) - 1, 0xE2FF_FFFF_FFFF_0000),
    ],
)
def test_lun_encode_takes_shortest_method(number: int, expected: int) -> None:
    """SAM-5 4.7: below 256 peripheral, below 16384 flat, then the extended flat forms."""
    assert lun.encode(number) == expected


@given(st.sampled_from(list(METHOD_BITS.items())), st.data())
def test_lun_encode_round_trip(method_bits: tuple[str, int], data: st.DataObject) -> None:
    """Every number of every method comes back, with the method."""
    method, bits = method_bits
    number = data.draw(st.integers(0, (1 << bits) - 1))

    address = lun.decode(lun.encode(number, method))

    assert (method, number) == (address.method, address.number)


@given(st.sampled_from(list(METHOD_BITS.items())))
def test_lun_encode_refuses_what_does_not_fit(method_bits: tuple[str, int]) -> None:
    """A number past the method's bits is the caller's error, never a wrapped LUN."""
    method, bits = method_bits

    with pytest.raises(ValueError, match="does not fit"):
        lun.encode(1 << bits, method)
    with pytest.raises(ValueError, match="does not fit"):
        lun.encode(-1, method)


@given(st.integers(0, (1 << 64) - 1))
def test_lun_decode_answers_for_every_lun(number: int) -> None:
    """Hostile LUN fields have a decoding and a text; the levels take at most eight bytes."""
    found = lun.levels(number)

    assert sum(address.length for address in found) <= 8
    assert lun.decode(number) == found[0]
    assert str(found[0])
    assert lun.to_text(number)


@given(st.integers(0, (1 << 64) - 1))
def test_lun_bytes_round_trip(number: int) -> None:
    """The field's eight bytes are the integer."""
    assert lun.from_bytes(lun.to_bytes(number)) == number


def test_lun_from_bytes_single_level() -> None:
    """Two bytes are a single level; other lengths are refused."""
    assert lun.from_bytes(b"\x00\x05") == 0x0005_0000_0000_0000
    with pytest.raises(ValueError, match="3 bytes"):
        lun.from_bytes(b"\0\0\0")


@given(st.integers(0, (1 << 40) - 1))
def test_lun_unit_lun_takes_both_forms(number: int) -> None:
    """A plain number and its 64-bit form name the same unit."""
    assert lun.unit_lun(number) == lun.encode(number)
    assert lun.unit_lun(lun.encode(number)) == lun.encode(number)


def test_lun_unit_lun_refuses_neither() -> None:
    """A number between the two forms is neither."""
    for wrong in (-1, 1 << 40, (1 << 48) - 1, 1 << 64):
        with pytest.raises(ValueError, match="neither"):
            lun.unit_lun(wrong)


def test_lun_well_known_constants() -> None:
    """SPC-5 clause 8: the W-LUNs are C101h to C106h."""
    constants = [
        lun.REPORT_LUNS_W_LUN, lun.ACCESS_CONTROLS_W_LUN, lun.TARGET_LOG_PAGES_W_LUN,
        lun.SECURITY_PROTOCOL_W_LUN, lun.MANAGEMENT_PROTOCOL_W_LUN, lun.TARGET_COMMANDS_W_LUN,
    ]

    assert constants == [lun.encode(number, AddressMethod.WELL_KNOWN) for number in range(1, 7)]
    assert all(lun.is_well_known(constant) for constant in constants)
    assert not lun.is_well_known(lun.encode(300))


def test_lun_levels_of_a_bridge() -> None:
    """SAM-5 4.7.4: a peripheral address with a bus routes on; the next two bytes are the level below."""
    found = lun.levels(0x0103_4005_0000_0000)

    assert found == (
        LunAddress(AddressMethod.PERIPHERAL, 0, bus=1, target=3),
        LunAddress(AddressMethod.FLAT, 5),
    )


def test_lun_levels_extended_without_room() -> None:
    """A long form below a bus that would need more than the eight bytes is cut to them."""
    found = lun.levels(0x0100_FF00_0000_0000)

    assert [address.method for address in found] == [AddressMethod.PERIPHERAL, AddressMethod.RESERVED]
    assert sum(address.length for address in found) == 8


def test_lun_report_order() -> None:
    """REPORT LUNS: LUN 0 first, no LUN twice, well-known units last."""
    luns = [lun.REPORT_LUNS_W_LUN, lun.encode(300), lun.encode(0), lun.encode(7), lun.encode(7)]

    assert lun.report_order(luns) == [
        lun.encode(0), lun.encode(7), lun.encode(300), lun.REPORT_LUNS_W_LUN
    ]


def test_lun_to_text() -> None:
    """Plain numbers as such, W-LUNs by name, anything else in hex."""
    assert lun.to_text(lun.encode(5)) == "5"
    assert lun.to_text(lun.encode(300)) == "300"
    assert lun.to_text(lun.REPORT_LUNS_W_LUN) == "REPORT LUNS W-LUN"
    assert lun.to_text(lun.encode(5, AddressMethod.FLAT)) == "4005000000000000"
    assert lun.to_text(lun.NOT_SPECIFIED) == "ffffffffffffffff"


TOOL = {
    AddressMethod.PERIPHERAL: r"Peripheral device addressing: lun=(\d+)",
    AddressMethod.FLAT: r"Flat space addressing: lun=(\d+)",
    AddressMethod.EXTENDED_FLAT: r"Extended flat space addressing: lun=(\d+)",
    AddressMethod.LONG_EXTENDED_FLAT: r"Long extended flat space addressing: lun=(\d+)",
}


@pytest.mark.oracle
@pytest.mark.parametrize("method", list(TOOL))
def test_lun_encode_sg_luns_agrees(method: str, require_tool: Callable[[str], str]) -> None:
    """sg_luns reads method and number back from what we encode."""
    tool = require_tool("sg_luns")
    numbers = [1, 3, 0x7F, (1 << METHOD_BITS[method]) - 1]

    for number in numbers:
        text = f"{lun.encode(number, method):016x}"
        out = run(tool, f"--test={text}")
        found = re.search(TOOL[method], out)
        assert found, out
        assert int(found[1]) == number


@pytest.mark.oracle
def test_lun_logical_unit_method_sg_luns_agrees(require_tool: Callable[[str], str]) -> None:
    """Bus, target and LUN of the logical unit method are where sg_luns finds them."""
    tool = require_tool("sg_luns")

    for number in (0x8000, 0x80FF, 0xA1E5, 0xBFFF):
        out = run(tool, f"--test={number:04x}")
        ours = lun.decode(number << 48)
        assert f"Logical unit addressing: bus_id={ours.bus}, target={ours.target}, lun={ours.number}" in out


@pytest.mark.oracle
def test_lun_well_known_names_sg_luns_agrees(require_tool: Callable[[str], str]) -> None:
    """sg_luns names the well-known units as we do."""
    tool = require_tool("sg_luns")

    for number, name in lun.WELL_KNOWN_NAMES.items():
        out = run(tool, f"--test=c1{number:02x}")
        assert f"{name} well known logical unit" in out


def run(tool: str, argument: str) -> str:
    """What the tool prints."""
    return subprocess.run([tool, argument], capture_output=True, text=True, check=False).stdout
