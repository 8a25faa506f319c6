"""The virtual disk on the command line: `--disk SIZE|PATH[,option...]`."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from devtypes.vd.config import BLOCK_SIZES, PI_SIZE, DiskConfig
from scsiemu.device_server import DeviceServer
from scsiemu.identity import Identity
from scsiemu.io_requests import StoreCapabilities
from scsiemu.unit_options import (
    BYTE_STORE_OPTIONS,
    IDENTITY_OPTIONS,
    StoreSpec,
    UnitArgument,
    UnitDeclaration,
    UnitOption,
    UnitPlan,
    byte_store,
    parse_number,
    parse_seconds,
    parse_size,
    parse_switch,
)

__all__ = ["DISK"]

_SIZES: Final = ", ".join(map(str, BLOCK_SIZES))

# Long enough for an initiator to meet it under way, as it would for hours on a real medium.
_SANITIZE_SECONDS: Final = 6.0

_OPTIONS: Final = (
    UnitOption("block", f"bytes of a logical block: {_SIZES}", parse_number, "BYTES"),
    UnitOption("physical", "a physical block is 2^N logical ones", parse_number, "N"),
    UnitOption("aligned", "lowest aligned logical block address", parse_number, "LBA"),
    UnitOption("removable", "the medium can be ejected and loaded"),
    UnitOption("shelf", "PATH is a folder of removable media that are put in and taken out: by a changer, over HTTP"),
    UnitOption("thick", "fully provisioned: no UNMAP"),
    UnitOption("pi", "protection information type 1, 2 or 3", parse_number, "TYPE"),
    UnitOption("wce", "write cache enabled at power on: on (default) or off", parse_switch, "on|off"),
    UnitOption("rpm", "medium rotation rate; 1, the default, is a solid state disk", parse_number, "N"),
    UnitOption("lbprz", "promise that unmapped blocks read as zeros: on (default) or off", parse_switch, "on|off"),
    UnitOption("max-transfer", "most bytes in a command", parse_size, "SIZE"),
    UnitOption("max-unmap", "most blocks in an UNMAP", parse_number, "BLOCKS"),
    UnitOption("max-write-same", "most blocks in a WRITE SAME", parse_number, "BLOCKS"),
    UnitOption("atomic", "WRITE ATOMIC takes multiples of so many blocks, aligned to it", parse_number, "BLOCKS"),
    UnitOption("format-seconds", "FORMAT UNIT takes at least so long", parse_seconds, "SECONDS"),
    UnitOption(
        "sanitize-seconds", f"an overwriting SANITIZE takes at least so long (default {_SANITIZE_SECONDS:g})",
        parse_seconds, "SECONDS",
    ),
)

# Options that are arguments of DiskConfig as they are.
_CONFIG: Final = {
    "block": "block_size",
    "physical": "physical_exponent",
    "aligned": "lowest_aligned",
    "removable": "removable",
    "lbprz": "promises_zeros",
    "pi": "pi_type",
    "wce": "write_cache",
    "rpm": "rotation_rate",
    "max-unmap": "max_unmap_blocks",
    "max-write-same": "max_write_same",
    "format-seconds": "format_seconds",
    "sanitize-seconds": "sanitize_seconds",
    "ro": "write_protect",
}


def _plan(argument: UnitArgument) -> tuple[UnitPlan, ...]:
    """One unit: the disk."""
    settings: dict[str, Any] = {
        _CONFIG[name]: given for name, given in argument.options.items() if name in _CONFIG
    }
    atomic = argument.get("atomic", 0)
    settings |= {"atomic_alignment": atomic, "atomic_granularity": atomic}
    settings.setdefault("sanitize_seconds", _SANITIZE_SECONDS)
    settings["thin"] = not argument.get("thick", False)
    block = argument.get("block", 512)
    if block not in BLOCK_SIZES:
        raise ValueError(f"block: {block} is not one of {_SIZES}")
    most = argument.get("max-transfer")
    if most is not None:
        if most < block:
            raise ValueError("max-transfer is less than a block")
        settings["max_transfer"] = most // block
    protected = bool(argument.get("pi"))

    def stored(size: int) -> int:
        # A size that the user gives is what the initiator sees: protection information comes on top.
        if size < block:
            raise ValueError(f"{size} bytes are less than a block of {block} bytes")
        return size // block * (block + PI_SIZE) if protected else size

    if argument.get("shelf"):
        settings |= {"removable": True, "shelf": True}
    # Wrong settings are told before any store is opened or created.
    DiskConfig(capacity=1, **settings)
    fields = {field.name for field in dataclasses.fields(Identity)}
    identity = Identity(**{name: given for name, given in argument.options.items() if name in fields})

    def make(store: StoreCapabilities | None) -> DeviceServer:
        from devtypes.vd import VirtualDisk  # here, so that help and refusals do not load all of the disk

        assert store is not None
        if argument.get("shelf"):
            return VirtualDisk(DiskConfig(capacity=1, **settings), identity)
        return VirtualDisk(DiskConfig.for_store(store, **settings), identity)

    if argument.get("shelf"):
        return (UnitPlan("vd", StoreSpec("folder", {"path": argument.subject}), make),)
    return (UnitPlan("vd", byte_store(argument, stored=stored), make),)


DISK: Final = UnitDeclaration(
    "SIZE|PATH",
    "a virtual disk, in memory (SIZE) or in a file or block device (PATH)",
    _OPTIONS + BYTE_STORE_OPTIONS + IDENTITY_OPTIONS,
    _plan,
)
