"""The decoder: never raises, says what there is of cut data, and gives values that JSON takes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu import asc, decode, lun
from scsiemu.cdb import CdbLayout
from scsiemu.formats.cdb import CDBS
from scsiemu.operations import DataDirection, OperationTable, operation
from scsiemu.sense import FieldPointer, Sense

KNOWN_CDBS = [bytes([opcode, action or 0]) + bytes(30) for opcode, action in CDBS]


def text_of(explanation: decode.Explanation) -> str:
    """Both renderings, so that each test proves both."""
    assert json.loads(json.dumps(explanation.as_json()))["title"] == explanation.title
    return "\n".join(explanation.lines())


@given(st.binary(max_size=64))
def test_decode_any_cdb(cdb: bytes) -> None:
    """No CDB makes the decoder raise."""
    assert text_of(decode.explain_cdb(cdb))


@given(st.one_of(st.binary(max_size=80), st.sampled_from([b"\x70", b"\x72"]).flatmap(
    lambda head: st.binary(max_size=80).map(lambda tail: head + tail)
)))
def test_decode_any_sense(data: bytes) -> None:
    """No sense bytes make the decoder raise."""
    assert text_of(decode.explain_sense(data))


@given(st.sampled_from(KNOWN_CDBS), st.integers(0, 7), st.binary(max_size=200))
def test_decode_any_data(cdb: bytes, option: int, data: bytes) -> None:
    """No data of a known command makes the decoder raise, in either direction."""
    cdb = cdb[:2] + bytes([option]) + cdb[3:]

    assert text_of(decode.explain_data_in(cdb, data))
    assert text_of(decode.explain_data_out(cdb, data))


@given(st.integers(0, 255), st.binary(max_size=120), st.integers(0, 80))
def test_decode_any_vpd_page(code: int, body: bytes, cut: int) -> None:
    """Every VPD page code with any content, whole or cut, has an explanation."""
    page = bytes([0, code]) + len(body).to_bytes(2, "big") + body

    assert text_of(decode.explain_data_in(bytes.fromhex("120100ff0000"), page[:cut]))
    assert text_of(decode.explain_data_in(bytes.fromhex("120100ff0000"), page))


def test_decode_cdb_by_format() -> None:
    """Without a table the name and fields come from the formats."""
    found = decode.explain_cdb(bytes.fromhex("28080000100000000800"))

    assert found.title == "READ(10)"
    assert found.fields["lba"] == 0x1000
    assert found.fields["transfer_length"] == 8
    assert found.fields["fua"] is True
    assert found.notes == ()


class Gadget:
    """A device type with an operation of its own."""

    @operation(0xC5, "TWIDDLE", CdbLayout("opcode:8 _:7 hard knob:8 _:16 control:8"), data=DataDirection.NONE)
    def twiddle(self, command: object, cdb: object) -> None:
        """Nothing."""


def test_decode_cdb_by_operation_table() -> None:
    """A table names what only its device type has; several tables are asked in order."""
    cdb = bytes.fromhex("c50107000000")

    one = decode.explain_cdb(cdb, OperationTable(Gadget))
    several = decode.explain_cdb(cdb, [OperationTable(object), OperationTable(Gadget)])

    assert one == several
    assert (one.title, one.fields["knob"], one.fields["hard"]) == ("TWIDDLE", 7, 1)
    assert decode.explain_cdb(cdb).title == "operation code C5h"


def test_decode_cdb_notes_reserved_bits() -> None:
    """A reserved bit that is set is noted, by table and by format alike."""
    assert decode.explain_cdb(bytes.fromhex("c58107000000")).notes == ("unknown or cut",)
    assert decode.explain_cdb(bytes.fromhex("c58107000000"), OperationTable(Gadget)).notes == (
        "a reserved bit is set",
    )
    assert decode.explain_cdb(bytes.fromhex("000100000000")).notes == ("a reserved bit is set",)


@pytest.mark.parametrize("descriptor", [False, True])
def test_decode_sense_both_formats(descriptor: bool) -> None:
    """Key, code, information and field pointer are found in both formats."""
    sense = Sense(asc.INVALID_FIELD_IN_CDB, information=5, specific=FieldPointer(2, 3))

    found = decode.explain_sense(sense.encode(descriptor=descriptor))

    assert found.title.startswith("ILLEGAL REQUEST: INVALID FIELD IN CDB")
    assert found.notes == ()
    text = text_of(found)
    assert "field pointer: 2" in text
    assert "bit pointer: 3" in text
    assert "information: 5" in text


def test_decode_standard_inquiry_cut() -> None:
    """Cut data shows the fields that are whole, and says that it is cut."""
    data = bytes.fromhex("000007025b000002") + b"SCSIEMU " + b"DISK            " + b"0001" + bytes(38 + 22)

    whole = decode.explain_data_in(bytes.fromhex("120000006000"), data)
    cut = decode.explain_data_in(bytes.fromhex("120000001200"), data[:18])

    assert whole.fields["product_identification"] == "DISK"
    assert whole.notes == ()
    assert cut.fields["t10_vendor_identification"] == "SCSIEMU"
    assert "product_identification" not in cut.fields
    assert cut.notes == ("cut: 18 of 96 bytes",)


def test_decode_report_luns() -> None:
    """LUNs are shown with their meaning; a cut list shows the whole ones."""
    luns = [lun.encode(0), lun.encode(300), lun.REPORT_LUNS_W_LUN]
    data = (8 * len(luns)).to_bytes(4, "big") + bytes(4) + b"".join(lun.to_bytes(number) for number in luns)
    cdb = bytes.fromhex("a00000000000000001000000")

    whole = decode.explain_data_in(cdb, data)
    cut = decode.explain_data_in(cdb, data[:20])

    assert [item["lun"] for item in whole.fields["luns"]] == [f"{number:016x}" for number in luns]
    assert "REPORT LUNS" in whole.fields["luns"][2]["meaning"]
    assert len(cut.fields["luns"]) == 1
    assert cut.notes == ("cut: 20 of 32 bytes",)


def test_decode_mode_sense_pages() -> None:
    """Pages in page_0 and sub_page format are named and laid out."""
    data = bytes.fromhex("2b000008 0000010000000200 8a0a0410" + "00" * 8 + "4a010004 01020304")

    found = decode.explain_data_in(bytes.fromhex("1a003fffff00"), data)

    control, extension = found.fields["pages"]
    assert (control["name"], control["d_sense"], control["queue_algorithm_modifier"]) == ("control", True, 1)
    assert (extension["name"], extension["parameters"]) == ("control extension", "01020304")
    assert found.fields["block_descriptors"][0]["logical_block_length"] == 512


def test_decode_read_capacity() -> None:
    """READ CAPACITY(16) data with its provisioning and protection fields."""
    data = (0x7FFF).to_bytes(8, "big") + (512).to_bytes(4, "big") + bytes.fromhex("0103c000") + bytes(16)

    found = decode.explain_data_in(bytes.fromhex("9e10") + bytes(14), data)

    assert found.fields["returned_logical_block_address"] == 0x7FFF
    assert found.fields["prot_en"] is True
    assert found.fields["lbpme"] is True
    assert found.fields["logical_blocks_per_physical_block_exponent"] == 3


def test_decode_reservation_parameters() -> None:
    """PERSISTENT RESERVE OUT parameter data and the READ RESERVATION answer."""
    out = bytes(8) + (0xABC).to_bytes(8, "big") + bytes(4) + b"\x01" + bytes(3)
    read = (7).to_bytes(4, "big") + (16).to_bytes(4, "big") + (0xABC).to_bytes(8, "big") + bytes(5) + b"\x05\0\0"

    written = decode.explain_data_out(bytes.fromhex("5f000000000000001800"), out)
    found = decode.explain_data_in(bytes.fromhex("5e010000000000002000"), read)

    assert written.fields["service_action_reservation_key"] == 0xABC
    assert written.fields["aptpl"] is True
    assert found.fields["reservations"][0]["type_name"] == "Write Exclusive - Registrants Only"


def test_decode_unknown_data_is_shown() -> None:
    """Data of a command that no format reads is shown as hex."""
    found = decode.explain_data_in(bytes(6), b"\x12\x34")

    assert found.fields == {"bytes": "1234"}
