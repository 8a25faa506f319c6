"""CDB layouts: parsing, building, reserved bits and usage data, and the layouts of every device type against
the construct definitions, which were written apart from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu import registry
from scsiemu.cdb import CdbLayout
from scsiemu.formats.cdb import CDBS
from scsiemu.operations import Operation, OperationTable
from scsiemu.sense import FieldPointer
from scsiemu.spc import SpcDeviceServer

EXAMPLE = CdbLayout(
    "opcode:8 rdprotect:3 dpo fua rarc old? _:1 lba:32 _:2 group_number:6 transfer_length:16 control:8"
)
VALUES = st.fixed_dictionaries(
    {field.name: st.integers(0, (1 << field.width) - 1) for field in EXAMPLE.fields if field.name != "_"}
)

# A layout may name a field more plainly than the standard, where one method serves several commands.
PLAINER_NAMES = {
    "rdprotect": "protect",
    "wrprotect": "protect",
    "vrprotect": "protect",
    "expected_initial_logical_block_reference_tag": "expected_reference_tag",
    "expected_logical_block_application_tag": "expected_application_tag",
    "logical_block_application_tag_mask": "application_tag_mask",
    "verification_length": "transfer_length",
    "number_of_logical_blocks": "transfer_length",
    "starting_lba": "lba",
}


@given(VALUES)
def test_cdb_build_parse_round_trip(values: dict[str, int]) -> None:
    """What was built is parsed, under the same names."""
    assert dict(EXAMPLE.parse(EXAMPLE.build(**values)).items()) == values


@given(VALUES, st.binary(max_size=6))
def test_cdb_parse_ignores_padding(values: dict[str, int], padding: bytes) -> None:
    """Transports pad CDBs: what follows the layout changes nothing, in bytes or in a view."""
    cdb = EXAMPLE.build(**values)

    assert dict(EXAMPLE.parse(memoryview(cdb + padding)).items()) == values


@given(VALUES, st.integers(0, 79))
def test_cdb_reserved_bit_is_found(values: dict[str, int], bit: int) -> None:
    """One reserved bit that is set is pointed at, byte and bit; other bits never are."""
    cdb = bytearray(EXAMPLE.build(**values))
    reserved = {
        at for field in EXAMPLE.fields if field.name == "_" for at in range(field.start, field.start + field.width)
    }
    cdb[bit // 8] |= 0x80 >> bit % 8

    found = EXAMPLE.reserved_bit_set(cdb)

    assert found == (FieldPointer(bit // 8, 7 - bit % 8) if bit in reserved else None)


def test_cdb_first_reserved_bit_is_pointed_at() -> None:
    """Of several reserved bits that are set, the first from the left is reported."""
    assert EXAMPLE.reserved_bit_set(bytes.fromhex("28010000000080000000")) == FieldPointer(1, 0)


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("lba", FieldPointer(2)),
        ("rdprotect", FieldPointer(1, 7)),
        ("fua", FieldPointer(1, 3)),
        ("group_number", FieldPointer(6, 5)),
        ("transfer_length", FieldPointer(7)),
    ],
)
def test_cdb_field_pointer(field: str, pointer: FieldPointer) -> None:
    """SPC-5 4.4.2.4.2: the pointer is at the field's first byte, with its top bit unless it fills whole
    bytes."""
    assert EXAMPLE.field(field).pointer == pointer


@pytest.mark.parametrize(("length", "ignored"), [(6, True), (10, True), (12, True), (16, False)])
def test_cdb_lun_of_scsi_2(length: int, ignored: bool) -> None:
    """Where a device type ignores the LUN of SCSI-2, bits 7 to 5 of byte 1 may be set, and no other reserved bit."""
    layout = CdbLayout(f"opcode:8 _:{length * 8 - 16} control:8")

    for bit in range(8, length * 8 - 8):
        wrong = layout.reserved_bit_set((1 << length * 8 - 1 - bit).to_bytes(length, "big"), lun_ignored=True)
        assert (wrong is None) == (ignored and bit < 11)


def test_cdb_usage_data() -> None:
    """Ones where fields are evaluated, zeros in reserved bits and fields not looked at, the opcode as it
    is."""
    assert EXAMPLE.usage(opcode=0x28).hex() == "28fcffffffff3fffff04"


@pytest.mark.parametrize(("name", "value"), [("dpo", 2), ("lba", 1 << 32), ("lba", -1)])
def test_cdb_build_refuses_what_does_not_fit(name: str, value: int) -> None:
    """A value too large for its field is the caller's error, never a neighbour's bits."""
    with pytest.raises(ValueError, match="does not fit"):
        EXAMPLE.build(**{name: value})


def test_cdb_layout_of_part_bytes_refused() -> None:
    """A layout that does not end with a byte is a mistake of who wrote it."""
    with pytest.raises(ValueError, match="12 bits"):
        CdbLayout("opcode:8 a:4")


def test_cdb_unknown_field_is_attribute_error() -> None:
    """A field that the layout does not have is never silently zero."""
    fields = EXAMPLE.parse(bytes(10))

    with pytest.raises(AttributeError):
        _ = fields.nothing
    with pytest.raises(KeyError):
        EXAMPLE.field("nothing")


def declared() -> list[Operation]:
    """What the engine and all installed device types declare and the formats have, too: an opcode means something
    else in another command set."""
    classes = [SpcDeviceServer, *(registry.load(registry.DEVTYPES, name) for name in registry.names(registry.DEVTYPES))]
    found = {
        (operation.opcode, operation.service_action, operation.layout.text): operation
        for cls in classes
        for operation in OperationTable(cls)
        if (operation.opcode, operation.service_action) in CDBS and operation.standard.startswith(("SPC", "SBC"))
    }
    return list(found.values())


@pytest.mark.parametrize("operation", declared(), ids=lambda operation: operation.name)
@given(data=st.data())
def test_cdb_layout_is_construct(operation: Operation, data: st.DataObject) -> None:
    """Every CDB of an operation has the same bytes by its layout and by the construct definition."""
    _, definition = CDBS[operation.opcode, operation.service_action]
    names = {
        PLAINER_NAMES.get(field.name, field.name) if PLAINER_NAMES.get(field.name) in operation.layout else field.name:
        field.name
        for field in definition.subcon.subcons
        if field.name
    }
    values = {
        name: data.draw(st.integers(0, (1 << operation.layout.field(name).width) - 1), label=name) for name in names
    }

    cdb = operation.layout.build(**values)

    parsed = definition.parse(cdb)
    assert {name: int(parsed[standard]) for name, standard in names.items()} == values
    assert definition.build(parsed) == cdb
    evaluated = {field.name for field in operation.layout.fields if field.name != "_" and not field.ignored}
    assert evaluated == set(names)
