"""The object storage device on the command line: `--osd DIR|:memory:|SIZE[,option...]`."""

from __future__ import annotations

import dataclasses
from typing import Final

from devtypes.osd.config import OsdConfig
from scsiemu.device_server import DeviceServer
from scsiemu.identity import Identity
from scsiemu.io_requests import StoreCapabilities
from scsiemu.unit_options import (
    IDENTITY_OPTIONS,
    StoreSpec,
    UnitArgument,
    UnitDeclaration,
    UnitOption,
    UnitPlan,
    parse_size,
)

__all__ = ["OSD"]

_MEMORY: Final = ":memory:"
_METHODS: Final = ("nosec", "capkey", "cmdrsp", "alldata")


def _method(text: str) -> int:
    if text not in _METHODS:
        raise ValueError(f"{text!r} is none of {', '.join(_METHODS)}")
    return _METHODS.index(text)


def _secret(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("the file holds no hexadecimal digits") from None


_OPTIONS: Final = (
    UnitOption("capacity", "total capacity that the unit tells of and keeps to", parse_size, "SIZE"),
    UnitOption("vendor-atomics", "have the atomic commands of the OSC target, which no standard has"),
    UnitOption("security", "least security method: nosec, capkey, cmdrsp, alldata", _method, "METHOD"),
    UnitOption("root-secret", "file with the secret, at least 40 hexadecimal digits", _secret, "FILE", file=True),
    UnitOption("max-transfer", "most bytes that a command moves each way", parse_size, "SIZE"),
)


def _plan(argument: UnitArgument) -> tuple[UnitPlan, ...]:
    """One unit: the object storage device."""
    config = OsdConfig(
        max_transfer=argument.get("max-transfer", 16 << 20), security=argument.get("security", 0),
        root_secret=argument.get("root-secret", b""), vendor_atomics=argument.get("vendor-atomics", False),
    )
    fields = {field.name for field in dataclasses.fields(Identity)}
    identity = Identity(**{name: given for name, given in argument.options.items() if name in fields})
    options = {}
    if argument.size is not None:
        if "capacity" in argument.options:
            raise ValueError("capacity goes with a folder, not with a size")
        options["size"] = argument.size
    elif "capacity" in argument.options:
        options["size"] = argument.get("capacity")
    if argument.size is not None or argument.subject == _MEMORY:
        store = StoreSpec("objects_memory", options)
    else:
        store = StoreSpec("objects_sqlite", {"path": argument.subject, **options})

    def make(capabilities: StoreCapabilities | None) -> DeviceServer:
        from devtypes.osd import ObjectStorageDevice  # here, so that help and refusals do not load all of it

        return ObjectStorageDevice(config, identity)

    return (UnitPlan("osd", store, make),)


OSD: Final = UnitDeclaration(
    "DIR|:memory:|SIZE",
    "an object storage device, in a folder (DIR) or in memory",
    _OPTIONS + IDENTITY_OPTIONS,
    _plan,
)
