"""The tape drive on the command line: `--tape SIZE|PATH[,option...]`."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from devtypes.vt.personality import load_personality, parse_personality
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
    parse_size,
    parse_switch,
)

__all__ = ["TAPE"]


def _shares(text: str) -> tuple[int, ...]:
    """`1:3` is two partitions, the second three times as large."""
    return tuple(parse_number(share) for share in text.split(":"))


_OPTIONS: Final = (
    UnitOption("personality", "kind of drive, such as lto8; see `scsiemu personality list`", load_personality, "NAME"),
    UnitOption("personality-file", "kind of drive, from a file of its own", parse_personality, "PATH", file=True),
    UnitOption("compression", "compress blocks at power on: on or off (default)", parse_switch, "on|off"),
    UnitOption("early-warning", "writes are warned so long before the end of a partition", parse_size, "SIZE"),
    UnitOption("barcode", "of the cartridge that an empty store becomes", str, "TEXT"),
    UnitOption("worm", "an empty store becomes a WORM cartridge"),
    UnitOption("partitions", "an empty store gets partitions of such shares: 1:3", _shares, "N:N"),
    UnitOption("shelf", "PATH is a folder of cartridges that are put in and taken out: by a changer, over HTTP"),
    UnitOption("physics", "positioning, loading and stopping take their time"),
)

# Options that are arguments of TapeConfig as they are.
_CONFIG: Final = {
    "personality": "personality", "personality-file": "personality", "compression": "compression",
    "early-warning": "early_warning", "barcode": "barcode", "worm": "worm", "partitions": "partitions",
    "physics": "physics", "ro": "write_protect", "shelf": "shelf",
}


def _plan(argument: UnitArgument) -> tuple[UnitPlan, ...]:
    """One unit: the drive with its cartridge."""
    from devtypes.vt.config import TapeConfig  # here, so that help does not load all of the drive
    from devtypes.vt.medium_layout import DATA_START
    from devtypes.vt.medium_recovery import SMALLEST

    if "personality" in argument.options and "personality-file" in argument.options:
        raise ValueError("personality and personality-file are the same thing: give one")
    settings: dict[str, Any] = {
        _CONFIG[name]: given for name, given in argument.options.items() if name in _CONFIG
    }
    config = TapeConfig(**settings)
    fields = {field.name for field in dataclasses.fields(Identity)}
    identity = Identity(**{name: given for name, given in argument.options.items() if name in fields})

    def stored(size: int) -> int:
        # A size that the user gives is what blocks and filemarks share: what is kept beside them comes on top.
        if size < SMALLEST - DATA_START:
            raise ValueError(f"{size} bytes are too few for a cartridge: at least {SMALLEST - DATA_START}")
        return size + DATA_START

    def make(store: StoreCapabilities | None) -> DeviceServer:
        from devtypes.vt.drive import TapeDrive

        return TapeDrive(config, identity)

    if argument.get("shelf"):
        return (UnitPlan("vt", StoreSpec("folder", {"path": argument.subject}), make),)
    return (UnitPlan("vt", byte_store(argument, stored=stored), make),)


TAPE: Final = UnitDeclaration(
    "SIZE|PATH",
    "a tape drive with a cartridge, in memory (SIZE) or in a file (PATH)",
    _OPTIONS + BYTE_STORE_OPTIONS + IDENTITY_OPTIONS,
    _plan,
)
