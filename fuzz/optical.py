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

# Write parameters: at once, a session at once, packets, incremental with linking loss, raw, layer jumps.
_WRITING: Final[tuple[dict[str, int], ...]] = (
    {}, {"write_type": 2}, {"write_type": 0}, {"write_type": 0, "fp": 1, "packet_size": 32},
    {"write_type": 0, "bufe": 0}, {"write_type": 3, "data_block_type": 1}, {"write_type": 4},
)


def fuzz_optical(data: bytes) -> None:
    """Every command ends exactly once with a status of SAM, CHECK CONDITION has sense data, and no operation of ours
    breaks, whatever disc is in the drive.

    The first byte chooses the disc, the second how it is written; then as `commands`. No exception is allowed.
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
    page = drive.mode_pages.pages[0x05, 0]
    fields = _WRITING[data[1] % len(_WRITING)]
    drive.mode_pages.current[0x05, 0] = page.layout.replace(drive.mode_pages.current[0x05, 0], **fields)
    run_commands(target, _OPERATIONS, data[2:])
