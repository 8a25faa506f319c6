"""SCSI target emulation: an engine that takes commands in and gives I/O requests, data, status, sense out, as values.

    target = Target("iqn.2026-11.org.example:disk")
    target.add_unit(0, server, performer=store.submit)
    nexus = target.nexus_established(InitiatorPort("me", b""), TargetPort("here"))
    target.submit(Command(nexus, 0, cdb, data_in_length=96))
    completion = target.next_completion()

These are the names that embedding takes, each from the module that describes it; a name is imported when it is used.
See examples/embed.py for the whole of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from scsiemu.command import Command, Completion, DataOutRequest
    from scsiemu.device_server import DeviceServer
    from scsiemu.errors import IoFailed, IoFault, LocalProtocolError, RemoteProtocolError
    from scsiemu.identity import Identity
    from scsiemu.io_requests import PENDING, Store, StoreCapabilities
    from scsiemu.logical_unit import LogicalUnit
    from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
    from scsiemu.sam import Status, TaskAttribute, TaskManagementFunction, TaskManagementResponse
    from scsiemu.sense import CheckCondition, Sense, SenseCode, SenseKey, decode_sense
    from scsiemu.target import Target

__all__ = [
    "PENDING",
    "CheckCondition",
    "Command",
    "Completion",
    "DataOutRequest",
    "DeviceServer",
    "Identity",
    "InitiatorPort",
    "IoFailed",
    "IoFault",
    "LocalProtocolError",
    "LogicalUnit",
    "Nexus",
    "RemoteProtocolError",
    "Sense",
    "SenseCode",
    "SenseKey",
    "Status",
    "Store",
    "StoreCapabilities",
    "Target",
    "TargetPort",
    "TaskAttribute",
    "TaskManagementFunction",
    "TaskManagementResponse",
    "decode_sense",
]

# Where each name is from: importing the package alone imports none of them.
_MODULES: Final = {
    "command": ("Command", "Completion", "DataOutRequest"),
    "device_server": ("DeviceServer",),
    "errors": ("IoFailed", "IoFault", "LocalProtocolError", "RemoteProtocolError"),
    "identity": ("Identity",),
    "io_requests": ("PENDING", "Store", "StoreCapabilities"),
    "logical_unit": ("LogicalUnit",),
    "nexus": ("InitiatorPort", "Nexus", "TargetPort"),
    "sam": ("Status", "TaskAttribute", "TaskManagementFunction", "TaskManagementResponse"),
    "sense": ("CheckCondition", "Sense", "SenseCode", "SenseKey", "decode_sense"),
    "target": ("Target",),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
