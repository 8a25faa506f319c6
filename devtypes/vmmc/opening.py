"""What disc is in a store: one that was recorded here, a cue sheet with its files, or the image of a pressed one."""

from __future__ import annotations

from devtypes.vmmc.config import OpticalConfig
from devtypes.vmmc.cue import open_cue
from devtypes.vmmc.disc import Asking, Disc
from devtypes.vmmc.disc_format import make_blank, open_native
from devtypes.vmmc.images import open_image
from devtypes.vmmc.profiles import KINDS
from scsiemu.io_requests import StoreCapabilities

__all__ = ["open_disc"]


def open_disc(capabilities: StoreCapabilities, config: OpticalConfig) -> Asking[Disc]:
    """The disc in the store.

    Raises:
        DiscUnusable: it holds none.
        IoFailed: the store's own troubles.
    """
    disc = yield from open_native(capabilities)
    if disc is None and config.blank:
        disc = yield from make_blank(KINDS[config.blank], capabilities)
    if disc is not None:
        disc.protected = disc.protected or config.write_protect
        return disc
    disc = yield from open_cue(capabilities)
    if disc is not None:
        return disc
    return (yield from open_image(capabilities, config))
