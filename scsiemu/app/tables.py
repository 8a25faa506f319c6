"""The operation tables of the installed device types, for decoding: what every type declares, available or not."""

from __future__ import annotations

from scsiemu import registry
from scsiemu.app.failure import Failure
from scsiemu.operations import Operation, OperationTable

__all__ = ["find_operation", "operation_tables"]


def operation_tables() -> tuple[OperationTable, ...]:
    """One for each device type. Raises Failure for one that cannot be loaded."""
    try:
        types = [registry.load(registry.DEVTYPES, name) for name in registry.names(registry.DEVTYPES)]
    except registry.PluginError as error:
        raise Failure(str(error)) from None
    return tuple(OperationTable(device_type) for device_type in types)


def find_operation(cdb: bytes, tables: tuple[OperationTable, ...]) -> Operation | None:
    """The declaration of a CDB in the first table that has it."""
    return next((found for table in tables if (found := table.find(cdb)) is not None), None)
