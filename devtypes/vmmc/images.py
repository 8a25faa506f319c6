"""Pressed discs from images: ISO (user data alone), raw sectors of 2352 bytes, with sub-channels 2448.

A plain image is one track. What it is follows from its first bytes and its size, unless the user says so. Cue sheets
are `cue`'s, discs that were recorded here `disc_format`'s.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.config import OpticalConfig
from devtypes.vmmc.disc import FORMS, Asking, Control, Disc, DiscUnusable, Session, Track
from devtypes.vmmc.profiles import KINDS, MediumKind
from devtypes.vmmc.sector import RAW_SIZE, SYNC
from scsiemu.io_requests import Read, StoreCapabilities

__all__ = ["open_image", "pressed_disc"]

_USER: Final = 2048
_WITH_CHANNELS: Final = 2448
_LOOK: Final = 2 * _WITH_CHANNELS + 16
_XA: Final = 0x20


def open_image(capabilities: StoreCapabilities, config: OpticalConfig) -> Asking[Disc]:
    """The disc that a plain image is.

    Raises:
        DiscUnusable: it is empty, or too large for its kind.
    """
    if capabilities.size < _USER:
        raise DiscUnusable(f"{capabilities.size} bytes are less than a sector")
    head = bytes((yield from Read(0, min(_LOOK, capabilities.size))))
    size = config.sector or _sector_size(head)
    form_name = "mode1"
    if size != _USER:
        # Form 1 and 2 have a subheader; formless sectors are told apart when they are read.
        mode_2 = head[15:16] == b"\x02"
        form_name = "audio" if config.audio or head[:12] != SYNC else "raw2" if mode_2 else "raw1"
        form_name += "+sub" if size == _WITH_CHANNELS else ""
    blocks = capabilities.size // size
    if not blocks:
        raise DiscUnusable(f"{capabilities.size} bytes are less than a sector of {size} bytes")
    kind = KINDS[config.kind] if config.kind else _by_size(blocks, is_cd=size != _USER)
    if not kind.is_cd:
        if size != _USER:
            raise DiscUnusable(f"a {kind.title} has no sectors of {size} bytes")
        form_name = "block"
    if blocks > kind.capacity:
        raise DiscUnusable(f"{blocks} blocks are more than a {kind.title} has: {kind.capacity}")
    form = FORMS[form_name]
    control = 0 if form.is_audio else Control.DATA
    track = Track(1, 1, 0, blocks, form, control=control, pregap=150 if kind.is_cd else 0)
    return pressed_disc(kind, [track], disc_type=_XA if form.is_raw and form.data_mode == 2 else 0)


def pressed_disc(kind: MediumKind, tracks: list[Track], *, disc_type: int = 0, mcn: str = "", cd_text: bytes = b"",
                 ) -> Disc:
    """A pressed disc with these tracks, which end where the lead-out begins, all in one session."""
    end = tracks[-1].end
    session = Session(1, tracks[0].number, tracks[-1].number, end, disc_type)
    return Disc(kind, end, tracks=tracks, sessions=[session], finalized=True, mcn=mcn, cd_text=cd_text)


def _sector_size(head: bytes) -> int:
    """Bytes of a sector, by where the sync patterns are."""
    if head[:12] != SYNC:
        return _USER
    if head[_WITH_CHANNELS : _WITH_CHANNELS + 12] == SYNC and head[RAW_SIZE : RAW_SIZE + 12] != SYNC:
        return _WITH_CHANNELS
    return RAW_SIZE


def _by_size(blocks: int, *, is_cd: bool) -> MediumKind:
    """The smallest kind of pressed disc that has room."""
    if is_cd:
        return KINDS["cd-rom"]
    for name in ("cd-rom", "dvd-rom", "bd-rom"):
        if blocks <= KINDS[name].capacity:
            return KINDS[name]
    raise DiscUnusable(f"{blocks} blocks are more than any disc has")
