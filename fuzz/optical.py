"""CDBs with data for an optical drive, whatever disc is in it; cue sheets are among the parameter lists (MMC-6)."""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import OpticalConfig, OpticalDrive
from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from fuzz.commands import run_commands
from iohandlers.memory import open_store
from scsiemu.operations import OperationTable
from scsiemu.target import Target

__all__ = ["fuzz_optical"]

_OPERATIONS: Final = OperationTable(OpticalDrive).operations
_BLOCKS: Final = 4096
_BLANKS: Final = tuple(name for name, kind in KINDS.items() if not kind.pressed)
_PLAIN: Final = (
    OpticalConfig(), OpticalConfig(sector=2352, audio=True), OpticalConfig(sector=2448), OpticalConfig(kind="dvd-rom"),
    OpticalConfig(kind="bd-rom"),
)


def fuzz_optical(data: bytes) -> None:
    """Every command ends exactly once with a status of SAM, CHECK CONDITION has sense data, and no operation of ours
    breaks, whatever disc is in the drive.

    The first byte chooses the disc, the second whether it is written session at once; then as `commands`. No exception
    is allowed.
    """
    if len(data) < 2:
        return
    choice = data[0] % (len(_BLANKS) + len(_PLAIN))
    if choice < len(_BLANKS):
        kind = _BLANKS[choice]
        config = OpticalConfig(blank=kind, long_seconds=1.0)
        size = stored_size(KINDS[kind], _BLOCKS)
    else:
        config, size = _PLAIN[choice - len(_BLANKS)], _BLOCKS * 2448
    store = open_store(size=size)
    drive = OpticalDrive(config)
    target = Target("iqn.2026-11.fuzz:a")
    target.add_unit(0, drive, performer=store.submit, capabilities=lambda: store.capabilities)
    if data[1] & 1:
        page = drive.mode_pages.pages[0x05, 0]
        drive.mode_pages.current[0x05, 0] = page.layout.replace(drive.mode_pages.current[0x05, 0], write_type=2)
    run_commands(target, _OPERATIONS, data[2:])
