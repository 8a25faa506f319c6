"""Discs in files as formats of `scsiemu.media_formats`: our own (`disc_format`) and ISO images.

A disc is a row of tracks, each with its sectors. Sub-channels, pre-gaps with data and CD-TEXT are not converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from devtypes.vmmc.config import OpticalConfig
from devtypes.vmmc.defects import pieces
from devtypes.vmmc.disc import FORMS, Disc, DiscUnusable, Session, Track
from devtypes.vmmc.disc_format import DATA_START, make_blank, make_random, native_track, save, stored_size
from devtypes.vmmc.opening import open_disc
from devtypes.vmmc.packets import link_after, link_block
from devtypes.vmmc.profiles import KINDS, MediumKind, Recording
from scsiemu.command import Buffer
from scsiemu.io_requests import Flush, Read, Resize, StoreCapabilities, Write
from scsiemu.media_formats import Asking, MediaFormat, MediaReader, MediaWriter, Piece, unusable
from scsiemu.unit_options import UnitArgument, UnitOption, parse_number

__all__ = ["DISC", "ISO", "DiscSectors", "DiscTrack"]

_BLOCK: Final = 2048
_AT_ONCE: Final = 256                           # sectors that are read together
_MAGIC: Final = b"SCSIEMU DISC 1\r\n"
_ISO_MAGIC: Final = b"CD001"                    # of the first volume descriptor (ECMA-119 8.4)
_ISO_AT: Final = 16 * _BLOCK + 1
_BY_SIZE: Final = ("cd-r", "dvd+r", "dvd+r-dl", "bd-r")
_BLANKS: Final = tuple(name for name, kind in KINDS.items() if not kind.pressed)


class DiscTrack(Piece):
    """The beginning of a track; its sectors follow.

    Attributes:
        start, end: addresses of its first sector, and behind its last.
        form: a name of `FORMS`.
        control: CONTROL nibble.
    """

    __slots__ = ("control", "end", "form", "start")

    counted = "tracks"

    def __init__(self, start: int, end: int, form: str, control: int) -> None:
        self.start = start
        self.end = end
        self.form = form
        self.control = control


class DiscSectors(Piece):
    """Sectors of a track, in its form."""

    __slots__ = ("data", "form", "lba")

    counted = "runs"

    def __init__(self, lba: int, form: str, data: Buffer) -> None:
        self.lba = lba
        self.form = form
        self.data = data

    @property
    def size(self) -> int:
        """Bytes, as they are kept."""
        return len(self.data)

    def user_data(self) -> bytes:
        """What READ(10) would return of them. Raises IoFailed where that is nothing."""
        form = FORMS[self.form]
        if form.user_size != _BLOCK:
            raise unusable(f"sectors of the form {self.form} have no 2048 bytes of user data")
        if form.size == _BLOCK:
            return bytes(self.data)
        view = memoryview(self.data)
        return b"".join(
            view[at + form.user_at : at + form.user_at + _BLOCK] for at in range(0, len(view), form.size)
        )


class _Reader:
    def __init__(self, disc: Disc, only: int | None) -> None:
        self._disc = disc
        self._tracks = [track for track in disc.tracks if only in (None, track.number) and track.next > track.start]
        if only is not None and not self._tracks:
            raise unusable(f"there is nothing in a track {only}")
        self._shift = self._tracks[0].start if only is not None else 0
        self._track: Track | None = None
        self._next = 0
        self.total = sum((track.next - track.start) * track.form.size for track in self._tracks)
        self.done = 0

    @property
    def facts(self) -> Mapping[str, Any]:
        disc = self._disc
        return {
            "disc": disc.kind.name, "capacity": disc.capacity * _BLOCK, "blank": disc.blank,
            "finalized": disc.finalized, "sessions": len(disc.sessions),
            "tracks": [
                {"form": track.form.name, "session": track.session, "start": track.start,
                 "sectors": max(track.next - track.start, 0)}
                for track in disc.tracks
            ],
        }

    def next(self) -> Asking[Piece | None]:
        track = self._track
        if track is None or self._next >= track.next:
            if not self._tracks:
                return None
            track = self._track = self._tracks.pop(0)
            self._next = track.start
            shift = self._shift
            return DiscTrack(track.start - shift, track.next - shift, track.form.name, track.control)
        end = min(self._next + _AT_ONCE, track.next)
        if track.links and link_block(track.links, self._next) is not None:
            count = 1
            data: Buffer = bytes(track.form.size)           # what links packets holds no data
        else:
            end = link_after(track.links, self._next, end)
            at, count = next(pieces(self._disc, self._next, end - self._next))
            data = yield from Read(track.place(at), count * track.form.size)
        piece = DiscSectors(self._next - self._shift, track.form.name, data)
        self._next += count
        self.done += len(data)
        return piece


class _DiscWriter:
    def __init__(self, disc: Disc) -> None:
        self._disc = disc
        self._track: Track | None = None

    def put(self, piece: Any) -> Asking[None]:
        if isinstance(piece, DiscTrack):
            self._begin(piece)
            return
        if not isinstance(piece, DiscSectors):
            raise unusable("a disc has tracks and sectors only")
        track = self._track
        assert track is not None
        if track.form.user_size == _BLOCK and track.form.size == _BLOCK:
            data: Buffer = piece.user_data()
        else:
            data = piece.data
        if not _zeros(data):                    # what is not written reads as zeros, and takes no room
            yield from Write(track.place(piece.lba), len(data), bytes(data))

    def _begin(self, piece: DiscTrack) -> None:
        disc, kind = self._disc, self._disc.kind
        form = piece.form.removesuffix("+sub")
        if piece.form != form:
            raise unusable("a track with sub-channels is not converted")
        if FORMS[form].user_size == _BLOCK and not form.startswith("xa") and form != "raw2":
            form = "mode1" if kind.is_cd else "block"
        elif not kind.is_cd:
            raise unusable(f"a {kind.title} has no tracks of the form {form}: make a CD, with -o kind=cd-r")
        end = piece.end + -piece.end % kind.blocks
        if end > disc.capacity:
            raise unusable(f"{end} sectors do not fit onto a {kind.title} of {disc.capacity}")
        if disc.random or kind.recording == Recording.OVERWRITE:
            if not disc.random:
                make_random(disc, disc.capacity)
            self._track = disc.tracks[0]
            return
        before = disc.tracks[-1].end if disc.tracks else 0
        track = native_track(
            disc, len(disc.tracks) + 1, 1, piece.start, end, form, pregap=max(piece.start - before, 0),
            control=piece.control, recorded=end,
        )
        disc.tracks.append(track)
        self._track = track

    def finish(self) -> Asking[None]:
        disc = self._disc
        if disc.tracks and not disc.random:
            disc.sessions.append(Session(1, 1, len(disc.tracks), disc.tracks[-1].end))
            disc.finalized = True
        yield from save(disc)


class _IsoWriter:
    def __init__(self) -> None:
        self._end = 0

    def put(self, piece: Any) -> Asking[None]:
        if isinstance(piece, DiscTrack):
            if FORMS[piece.form].is_audio:
                raise unusable("an ISO image has no audio tracks: read a data track alone, with -i track=NUMBER")
            return
        if not isinstance(piece, DiscSectors):
            raise unusable("an ISO image has sectors of data only")
        data = piece.user_data()
        at = piece.lba * _BLOCK
        if at + len(data) > self._end:
            self._end = at + len(data)
            yield Resize(self._end)
        if not _zeros(data):
            yield from Write(at, len(data), data)

    def finish(self) -> Asking[None]:
        yield Resize(self._end)
        yield Flush()


def _zeros(data: Buffer) -> bool:
    return bytes(data).count(0) == len(data)


def _read(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaReader]:
    disc = yield from open_disc(capabilities, OpticalConfig())
    return _Reader(disc, argument.get("track"))


def _kind(argument: UnitArgument, source: int) -> MediumKind:
    """The kind that is asked for, or the smallest with room for so many bytes."""
    if "kind" in argument.options:
        return KINDS[argument.get("kind")]
    fitting = (KINDS[name] for name in _BY_SIZE if KINDS[name].capacity * _BLOCK >= source)
    return next(fitting, KINDS[_BY_SIZE[-1]])


def _size(argument: UnitArgument, source: int) -> int:
    kind = _kind(argument, source)
    return stored_size(kind, kind.capacity)


def _write_disc(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaWriter]:
    kind = _kind(argument, 0)
    if "kind" not in argument.options:
        sizes = {stored_size(KINDS[name], KINDS[name].capacity): KINDS[name] for name in _BY_SIZE}
        kind = sizes.get(capabilities.size, kind)
    return _DiscWriter((yield from make_blank(kind, capabilities)))


def _write_iso(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaWriter]:
    yield from ()
    if not capabilities.resize:
        raise DiscUnusable("an ISO image needs a regular file, whose length can change")
    return _IsoWriter()


def _blank(name: str) -> str:
    if name not in _BLANKS:
        raise ValueError(f"{name!r} is not one of {', '.join(_BLANKS)}")
    return name


_TRACK: Final = UnitOption("track", "this one alone", parse_number, "NUMBER")

DISC: Final = MediaFormat(
    "disc", "a recordable disc of ours", (".disc",),
    lambda head, size: size > DATA_START and _MAGIC in (head[:16], head[256 << 10 : (256 << 10) + 16]),
    _read, _write_disc, _size,
    options=(UnitOption("kind", f"of disc (default by size): {', '.join(_BLANKS)}", _blank, "NAME"),),
    read_options=(_TRACK,), blank=True,
)

ISO: Final = MediaFormat(
    "disc", "an image of a disc: user data of its sectors (made), or whole sectors (read)", (".iso", ".bin", ".img"),
    lambda head, size: head[_ISO_AT : _ISO_AT + 5] == _ISO_MAGIC, _read, _write_iso, read_options=(_TRACK,),
)
