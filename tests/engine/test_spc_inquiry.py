"""INQUIRY, REPORT LUNS, REQUEST SENSE and TEST UNIT READY of every device type."""

from __future__ import annotations

import pytest
from engine_spc_unit import PlainServer, World

from scsiemu import asc
from scsiemu.identity import Identity
from scsiemu.sam import Status
from scsiemu.sense import FieldPointer, Progress, decode_sense
from scsiemu.testing.initiator import Initiator
from scsiemu.well_known import REPORT_LUNS_LUN, TARGET_LOG_PAGES_LUN, ReportLunsUnit, TargetLogPagesUnit


def test_inquiry_standard_data() -> None:
    """Standard INQUIRY data has 96 bytes, says SPC-5, NACA, hierarchical support, queueing and both ports."""
    data = World().one.command("INQUIRY").data

    assert len(data) == 96
    assert data[:8] == bytes((0x03, 0x00, 0x06, 0x32, 91, 0x30, 0x10, 0x02))
    assert data[8:36] == b"SCSIEMU PLAIN UNIT      0001"
    assert data[58:64] == bytes.fromhex("00a0 0460 0960")


def test_inquiry_page_code_without_evpd() -> None:
    """A page code without EVPD is refused with the field pointer at PAGE CODE (SPC-5 6.7.1)."""
    result = World().one.command("INQUIRY", page_code=0x80)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(2)


def test_inquiry_keeps_attentions() -> None:
    """INQUIRY and REPORT LUNS are performed while a unit attention is pending and do not clear it (SAM-5 5.14)."""
    world = World()
    fresh = Initiator(world.target, "iqn.2026-11.org.example:fresh", attentions=True)

    assert fresh.command("INQUIRY").good
    assert fresh.command("REPORT LUNS").good
    assert fresh.command("TEST UNIT READY").code == asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED
    assert fresh.command("TEST UNIT READY").good


def test_inquiry_identity_is_given() -> None:
    """Vendor, product, revision and serial number are the user's where given."""
    identity = Identity(vendor="ACME", product="ROCKET", revision="9.9", serial="42")
    one = World(server=PlainServer(identity)).one

    assert one.command("INQUIRY").data[8:36] == b"ACME    ROCKET          9.9 "
    assert one.command("INQUIRY", evpd=1, page_code=0x80).data[4:] == b"42"


@pytest.mark.parametrize("wrong", [{"vendor": "TOO LONG NAME"}, {"serial": "\x7f"}, {"naa": b"123"}, {"eui64": b"1"}])
def test_inquiry_identity_is_checked(wrong: dict[str, object]) -> None:
    """An identity that does not fit the fields is the caller's error."""
    with pytest.raises(ValueError, match=r"at most|bytes"):
        Identity(**wrong)  # type: ignore[arg-type]  # that is the test


def test_request_sense_returns_and_clears_attention() -> None:
    """REQUEST SENSE gives the pending unit attention with GOOD and clears it; then NO SENSE."""
    world = World()
    world.unit.attention(asc.MODE_PARAMETERS_CHANGED)
    first = world.one.command("REQUEST SENSE")
    second = world.one.command("REQUEST SENSE")

    assert first.good
    assert len(first.data) == 18
    sense = decode_sense(first.data)
    assert sense is not None
    assert sense.code == asc.MODE_PARAMETERS_CHANGED
    assert second.data == bytes.fromhex("70000000 0000000a 00000000 00000000 0000")


def test_request_sense_desc() -> None:
    """DESC decides the format, whatever D_SENSE is (SPC-5 6.44)."""
    assert World().one.command("REQUEST SENSE", desc=1).data == bytes.fromhex("7200000000000000")


def test_request_sense_self_test_progress() -> None:
    """While a background self-test runs, REQUEST SENSE reports its progress."""
    world = World()
    world.one.command("SEND DIAGNOSTIC", self_test_code=0b010)
    for second in range(1, 6):
        world.target.advance(second)
    sense = decode_sense(world.one.command("REQUEST SENSE").data)

    assert sense is not None
    assert sense.code == asc.LOGICAL_UNIT_NOT_READY_SELF_TEST_IN_PROGRESS
    assert sense.specific == Progress(5 * 65536 // 10)


def test_report_luns_select() -> None:
    """Each value of SELECT REPORT lists what it says; others are refused (SPC-5 6.38)."""
    world = World()
    world.target.add_unit(300, PlainServer())
    world.target.add_unit(REPORT_LUNS_LUN, ReportLunsUnit())
    plain = ["0000000000000000", "412c000000000000"]
    well_known = ["c101000000000000"]
    wanted = {0x00: plain, 0x01: well_known, 0x02: plain + well_known, 0x10: [], 0x11: plain, 0x12: []}

    for select, luns in wanted.items():
        data = world.one.command("REPORT LUNS", select_report=select).data
        assert data == (8 * len(luns)).to_bytes(4, "big") + bytes(4) + bytes.fromhex("".join(luns)), select
    result = world.one.command("REPORT LUNS", select_report=0x03)
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(2)


def test_report_luns_clears_its_attention() -> None:
    """REPORTED LUNS DATA HAS CHANGED is no longer news after REPORT LUNS; other attentions stay."""
    world = World()
    world.unit.attention(asc.TIMESTAMP_CHANGED)
    world.target.add_unit(1, PlainServer())
    world.one.command("REPORT LUNS")

    assert world.one.command("TEST UNIT READY").code == asc.TIMESTAMP_CHANGED
    assert world.one.command("TEST UNIT READY").good
    assert world.two.command("TEST UNIT READY").code == asc.TIMESTAMP_CHANGED
    assert world.two.command("TEST UNIT READY").code == asc.REPORTED_LUNS_DATA_HAS_CHANGED


def test_report_luns_obeys_the_mask() -> None:
    """A nexus sees the LUNs of its map only, by the numbers of the map."""
    world = World()
    world.target.add_unit(7, PlainServer())
    masked = Initiator(world.target, "iqn.2026-11.org.example:masked", luns={3: 7})

    assert masked.command("REPORT LUNS", lun=3).data[8:] == bytes.fromhex("0003000000000000")


def test_well_known_units() -> None:
    """The REPORT LUNS unit is of peripheral device type 1Eh and has few commands; TARGET LOG PAGES has LOG SENSE."""
    world = World()
    world.target.add_unit(REPORT_LUNS_LUN, ReportLunsUnit())
    world.target.add_unit(TARGET_LOG_PAGES_LUN, TargetLogPagesUnit())
    world.one.clear_attentions()

    assert world.one.command("INQUIRY", lun=REPORT_LUNS_LUN).data[0] == 0x1E
    assert world.one.command("TEST UNIT READY", lun=REPORT_LUNS_LUN).good
    mode_sense = world.one.execute(REPORT_LUNS_LUN, bytes((0x1A, 0, 0x3F, 0, 4, 0)))
    assert mode_sense.code == asc.INVALID_COMMAND_OPERATION_CODE
    pages = world.one.command("LOG SENSE", lun=TARGET_LOG_PAGES_LUN, pc=1).data
    assert pages == bytes.fromhex("8000000100")


def test_test_unit_ready_is_good() -> None:
    """A unit without a medium is ready."""
    assert World().one.command("TEST UNIT READY").status == Status.GOOD
