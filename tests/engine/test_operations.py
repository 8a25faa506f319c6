"""Declarations of operations and the table made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, OperationTable, ReservationClass, operation

SIX = CdbLayout("opcode:8 _:8 lba:16 length:8 control:8")
ACTION = CdbLayout("opcode:8 _:3 service_action:5 lba:64 length:32 _:8 control:8")
LONG = CdbLayout("opcode:8 control:8 _:48 service_action:16 lba:64 _:112")


class Base:
    """A device type."""

    @operation(0x00, "PLAIN", SIX, conflict=ReservationClass.ALWAYS)
    def plain(self, command: Command, cdb: CdbFields) -> Completion:
        """Nothing."""
        return Completion()

    @operation(0x9E, "ACTION 10", ACTION, service_action=0x10, data=DataDirection.IN, allocation="length")
    @operation(0x9E, "ACTION 12", ACTION, service_action=0x12, data=DataDirection.IN, allocation="length")
    def actions(self, command: Command, cdb: CdbFields) -> Completion:
        """Both."""
        return Completion()

    @operation(0x7F, "LONG", LONG, service_action=0x0123)
    def long(self, command: Command, cdb: CdbFields) -> Completion:
        """A service action of 16 bits."""
        return Completion()

    @operation(0x50, "OPTION", SIX, available=lambda server: server.has_option)
    def option(self, command: Command, cdb: CdbFields) -> Completion:
        """Depends on the server."""
        return Completion()

    has_option = False


class Derived(Base):
    """One that overrides without declaring anew, declares anew, and has the option."""

    has_option = True

    def plain(self, command: Command, cdb: CdbFields) -> Completion:
        """Another body, the same declaration."""
        return Completion(b"derived")

    @operation(0x7F, "LONG, AGAIN", LONG, service_action=0x0123)
    def long(self, command: Command, cdb: CdbFields) -> Completion:
        """A declaration of its own."""
        return Completion()


def test_operation_table_finds_by_opcode_and_service_action() -> None:
    """Opcode, then service action, five or sixteen bits wide."""
    table = OperationTable(Base())

    found = [
        table.find(bytes(6)),
        table.find(bytes.fromhex("9e10") + bytes(14)),
        table.find(bytes.fromhex("9e12") + bytes(14)),
        table.find(bytes.fromhex("7f000000000000000123") + bytes(22)),
    ]

    assert [one.name if one else None for one in found] == ["PLAIN", "ACTION 10", "ACTION 12", "LONG"]


def test_operation_table_does_not_find() -> None:
    """Unknown opcodes and service actions, cut CDBs and no CDB are all not found; `opcodes` tells them
    apart."""
    table = OperationTable(Base())

    assert table.find(b"") is None
    assert table.find(b"\x01" + bytes(5)) is None
    assert table.find(bytes.fromhex("9e11") + bytes(14)) is None
    assert table.find(bytes.fromhex("9e10") + bytes(13)) is None
    assert 0x9E in table.opcodes
    assert 0x01 not in table.opcodes


@given(st.binary(max_size=40))
def test_operation_table_takes_any_cdb(cdb: bytes) -> None:
    """No CDB makes the table raise; what it finds has that opcode."""
    found = OperationTable(Base()).find(cdb)

    assert found is None or found.opcode == cdb[0]


def test_operation_table_leaves_out_what_is_not_available() -> None:
    """`available` decides for a server; for a class everything that it declares is listed."""
    assert 0x50 not in OperationTable(Base()).opcodes
    assert 0x50 in OperationTable(Derived()).opcodes
    assert 0x50 in OperationTable(Base).opcodes


def test_operation_table_inherits_declarations() -> None:
    """An override keeps the declaration it overrides, unless it has its own."""
    table = OperationTable(Derived)

    plain = table.find(bytes(6))
    long = table.find(bytes.fromhex("7f000000000000000123") + bytes(22))

    assert plain is not None
    assert long is not None
    assert (plain.name, plain.function) == ("PLAIN", "plain")
    assert long.name == "LONG, AGAIN"
    assert len(table) == len(OperationTable(Base))


def test_operation_table_is_in_order() -> None:
    """REPORT SUPPORTED OPERATION CODES lists by opcode, then service action."""
    keys = [(one.opcode, one.service_action or 0) for one in OperationTable(Base)]

    assert keys == sorted(keys)


def test_operation_usage_has_opcode_and_service_action() -> None:
    """CDB USAGE DATA: opcode and service action as they are, ones in what is evaluated."""
    action = OperationTable(Base).find(bytes.fromhex("9e12") + bytes(14))

    assert action is not None
    assert action.usage.hex() == "9e12" + "ff" * 8 + "ff" * 4 + "0004"


@pytest.mark.parametrize("argument", [{"allocation": "nothing"}, {"parameter_list": "x"}, {"range": ("lba", "x")}])
def test_operation_refuses_unknown_fields(argument: dict[str, object]) -> None:
    """A declaration that names a field its layout lacks fails when the module is imported."""
    with pytest.raises(ValueError, match="has no field"):
        operation(0x00, "WRONG", SIX, **argument)  # type: ignore[arg-type]  # the table above is of several types
