"""What a disk answers, read by the formats: each is whole, laid out, and builds to the same bytes again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scsiemu import decode
from scsiemu.formats import inquiry, log, mode
from scsiemu.testing.served import ScsiTarget


@pytest.fixture(params=["64M", "64M,removable,block=4096", "64M,pi=1,thick"])
def disk(request: pytest.FixtureRequest) -> Iterator[ScsiTarget]:
    """Disks that differ in what they answer."""
    with ScsiTarget("--disk", request.param) as here:
        yield here


def answer(disk: ScsiTarget, name: str, **fields: int) -> tuple[bytes, bytes]:
    """A command's CDB and its Data-In."""
    result = disk.initiator.command(name, **fields)
    assert result.good, str(result)
    return disk.initiator.cdb(name, **fields), bytes(result.data)


def check(cdb: bytes, data: bytes) -> decode.Explanation:
    """It is explained without a note, and nothing is left as bytes that no format reads."""
    found = decode.explain_data_in(cdb, data)
    assert found.notes == ()
    assert "rest" not in found.fields
    assert "bytes" not in found.fields
    return found


def test_decode_disk_standard_inquiry(disk: ScsiTarget) -> None:
    """Standard INQUIRY data: the record is all of it."""
    cdb, data = answer(disk, "INQUIRY")

    found = check(cdb, data)

    assert found.fields["peripheral_device_type"] == 0
    assert found.fields["version_descriptor_1"] != 0
    size = inquiry.STANDARD_INQUIRY.sizeof()
    parsed = inquiry.STANDARD_INQUIRY.parse(data[:size])
    assert inquiry.STANDARD_INQUIRY.build(parsed) == data[:size]
    assert not any(data[size:])


def test_decode_disk_vpd_pages(disk: ScsiTarget) -> None:
    """Every VPD page that the disk lists has a format, which builds the same page again."""
    _, listed = answer(disk, "INQUIRY", evpd=1, page_code=0)

    for code in listed[4:]:
        cdb, data = answer(disk, "INQUIRY", evpd=1, page_code=code)
        found = check(cdb, data)
        if code in inquiry.VPD_PAGES:
            definition = inquiry.VPD_PAGES[code]
            parsed = definition.parse(data)
            assert definition.build(parsed) == data, found.title
            assert parsed.page.more == b"", found.title


@pytest.mark.parametrize("control", [0, 1, 2])
@pytest.mark.parametrize("name", ["MODE SENSE(6)", "MODE SENSE(10)"])
def test_decode_disk_mode_pages(disk: ScsiTarget, name: str, control: int) -> None:
    """All mode pages by either command: the list builds again, and so does each page that has a format."""
    # All subpages are more than the MODE DATA LENGTH of MODE SENSE(6) can say.
    subpages = 0xFF if name == "MODE SENSE(10)" else 0
    cdb, data = answer(disk, name, pc=control, page_code=0x3F, subpage_code=subpages)

    check(cdb, data)

    definition = mode.MODE_LIST_6 if name == "MODE SENSE(6)" else mode.MODE_LIST_10
    parsed = definition.parse(data)
    assert definition.build(parsed) == data
    keys = set()
    for item in parsed.pages:
        key = (item.page.header.page_code, item.page.header.get("subpage_code", 0))
        keys.add(key)
        if key in mode.MODE_PAGES:
            page = mode.MODE_PAGES[key]
            assert page.build(page.parse(item.page.parameters)) == item.page.parameters, key
    assert {(0x08, 0), (0x0A, 0), (0x1C, 0)} <= keys
    assert ((0x0A, 1) in keys) == (name == "MODE SENSE(10)")


def test_decode_disk_log_pages(disk: ScsiTarget) -> None:
    """Every log page that the disk lists, and the two lists, are made of whole parameters."""
    cdb, listed = answer(disk, "LOG SENSE", pc=1, page_code=0, subpage_code=0xFF)
    found = check(cdb, listed)

    assert found.fields["supported_subpages"]
    for item in found.fields["supported_subpages"]:
        code, subpage = item["supported_page_code"], item["supported_subpage_code"]
        cdb, data = answer(disk, "LOG SENSE", pc=1, page_code=code, subpage_code=subpage)
        check(cdb, data)
        if code != 0 and subpage != 0xFF:
            assert log.LOG_PAGE.build(log.LOG_PAGE.parse(data)) == data


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("READ CAPACITY(10)", {}),
        ("READ CAPACITY(16)", {}),
        ("REPORT LUNS", {"select_report": 2}),
        ("REPORT SUPPORTED OPERATION CODES", {"rctd": 1}),
        ("REPORT SUPPORTED OPERATION CODES", {"rctd": 1, "reporting_options": 1, "requested_operation_code": 0x28}),
        ("REPORT TARGET PORT GROUPS", {}),
        ("PERSISTENT RESERVE IN (READ KEYS)", {}),
        ("PERSISTENT RESERVE IN (READ RESERVATION)", {}),
        ("PERSISTENT RESERVE IN (REPORT CAPABILITIES)", {}),
        ("PERSISTENT RESERVE IN (READ FULL STATUS)", {}),
    ],
)
def test_decode_disk_reports(disk: ScsiTarget, name: str, fields: dict[str, int]) -> None:
    """The reports that have a format are read whole."""
    cdb, data = answer(disk, name, **fields)

    assert check(cdb, data).fields


def test_decode_disk_cdb_by_its_table(disk: ScsiTarget) -> None:
    """Table and formats name the same commands alike."""
    table = disk.initiator.nexus.units[0].unit.server.table

    for operation in table:
        values = {"opcode": operation.opcode}
        if operation.service_action is not None:
            values["service_action"] = operation.service_action
        cdb = operation.layout.build(**values)
        by_format = decode.explain_cdb(cdb).title
        assert decode.explain_cdb(cdb, table).title == operation.name
        if not by_format.startswith("operation code"):
            assert by_format == operation.name
