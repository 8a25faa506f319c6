"""Pressed CDs from a cue sheet and its files (the sheets of CDRWIN): BIN/CUE.

What is read here is the store `cue`: `scsiemu.media.CUE_MAGIC`, four bytes with the length of the sheet, the sheet,
then the files that it names, one behind the other. In its FILE and CDTEXTFILE lines the names are replaced by offset
and length. Times in a file count from 00:00:00, the first block of the first file is address 0. A POSTGAP counts as
the pause of the track that follows. There is one session; TITLE, PERFORMER and REM are passed over.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import CD_PREGAP, FORMS, Asking, Control, Disc, DiscUnusable, SectorForm, Track
from devtypes.vmmc.images import pressed_disc
from devtypes.vmmc.profiles import KINDS
from scsiemu.io_requests import Read, StoreCapabilities
from scsiemu.media import CUE_MAGIC, MOST_CUE_BYTES

__all__ = ["open_cue"]

_PACK: Final = 18
_MOST_CD_TEXT: Final = 1 << 16
_MOST_TRACKS: Final = 99
_XA, _CD_I = 0x20, 0x10

# Form of the sectors by the words of TRACK.
_MODES: Final = {
    "AUDIO": "audio", "CDG": "audio+sub", "MODE1/2048": "mode1", "MODE1/2352": "raw1", "MODE1/2448": "raw1+sub",
    "MODE2/2336": "xa", "MODE2/2352": "raw2", "MODE2/2448": "raw2+sub", "CDI/2336": "xa", "CDI/2352": "raw2",
}
_FLAGS: Final = {"DCP": Control.COPY_PERMITTED, "4CH": Control.FOUR_CHANNELS, "PRE": Control.PRE_EMPHASIS, "SCMS": 0}


def open_cue(capabilities: StoreCapabilities) -> Asking[Disc | None]:
    """The disc of a cue sheet in a store, None where there is none. Raises DiscUnusable."""
    head = len(CUE_MAGIC) + 4
    if capabilities.size < head:
        return None
    start = bytes((yield from Read(0, head)))
    if start[: len(CUE_MAGIC)] != CUE_MAGIC:
        return None
    length = int.from_bytes(start[len(CUE_MAGIC) :], "big")
    if length > min(MOST_CUE_BYTES, capabilities.size - head):
        raise DiscUnusable("the cue sheet is too long")
    sheet = _Sheet(capabilities.size)
    text = bytes((yield from Read(head, length))).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            sheet.take(line.split())
        except (ValueError, IndexError, KeyError) as error:
            raise DiscUnusable(f"line {number} of the cue sheet, {line.strip()[:60]!r}: {error}") from None
    try:
        disc = sheet.disc()
    except ValueError as error:
        raise DiscUnusable(f"the cue sheet: {error}") from None
    if sheet.cd_text_length:
        packs = bytes((yield from Read(sheet.cd_text_at, sheet.cd_text_length)))
        packs = packs[4:] if len(packs) % _PACK == 4 else packs         # with the header of READ TOC
        disc.cd_text = packs[: len(packs) // _PACK * _PACK]
    return disc


class _Sheet:
    """A sheet as it is taken apart. What is wrong with a line raises ValueError, IndexError or KeyError."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = self._length = -1            # of the file in the store
        self._place = 0                         # in the store, of block `_frame` of the file
        self._frame = 0
        self._end = 0                           # address behind what there is of the files before this one
        self._shift = 0                         # from block of the file to address
        self._gap = 0                           # blocks of a pause that are in no file, before the track
        self._tracks: list[Track] = []
        self._form: SectorForm | None = None    # of the track whose TRACK line was the last
        self._indexes = 0                       # of it that were given
        self._xa = 0
        self._mcn = ""
        self.cd_text_at = self.cd_text_length = 0

    def take(self, words: list[str]) -> None:
        """One line."""
        taker = getattr(self, f"_{words[0].lower()}", None) if words else None
        if words and words[0].upper() in _LINES:
            assert taker is not None
            taker([word.upper() for word in words[1:]])

    def _catalog(self, words: list[str]) -> None:
        if len(words[0]) != 13 or not words[0].isdigit() or not words[0].isascii():
            raise ValueError("a catalogue number is 13 digits")
        self._mcn = words[0]

    def _cdtextfile(self, words: list[str]) -> None:
        at, length = self._range(words)
        if length > _MOST_CD_TEXT:
            raise ValueError("that is too much CD-TEXT")
        self.cd_text_at, self.cd_text_length = at, length

    def _range(self, words: list[str]) -> tuple[int, int]:
        at, length = int(words[0]), int(words[1])
        if not 0 <= at <= at + length <= self._size:
            raise ValueError("the file is not in the store")
        return at, length

    def _file(self, words: list[str]) -> None:
        if words[2] != "BINARY":
            raise ValueError(f"files of type {words[2]} cannot be read")
        at, length = self._range(words)
        if self._at >= 0:
            self._end = self._file_end()
            if at != self._at + self._length:
                raise ValueError("the files are not one behind the other")
        self._at, self._length = at, length
        self._place, self._frame, self._shift = at, 0, self._end

    def _file_end(self) -> int:
        """The address behind the last block of the file."""
        size = self._tracks[-1].form.size if self._tracks else 2352
        return self._frame + (self._at + self._length - self._place) // size + self._shift

    def _track(self, words: list[str]) -> None:
        number = int(words[0])
        if self._at < 0:
            raise ValueError("there is no FILE before it")
        self._check_last()
        expected = self._tracks[-1].number + 1 if self._tracks else number
        if number != expected or not 1 <= number <= _MOST_TRACKS:
            raise ValueError("tracks have numbers from 1 to 99, each one more than the one before")
        form = FORMS[_MODES[words[1]]]
        if form.data_mode == 2:
            self._xa = _CD_I if words[1].startswith("CDI") else _XA
        control = 0 if form.is_audio else Control.DATA
        self._tracks.append(Track(number, 1, -1, -1, form, control=control))
        self._indexes = 0

    def _check_last(self) -> None:
        if self._tracks and self._tracks[-1].start < 0:
            raise ValueError(f"track {self._tracks[-1].number} has no INDEX 01")

    def _last(self) -> Track:
        return self._tracks[-1]

    def _flags(self, words: list[str]) -> None:
        for word in words:
            self._last().control |= _FLAGS[word]

    def _isrc(self, words: list[str]) -> None:
        if len(words[0]) != 12 or not words[0].isalnum() or not words[0].isascii():
            raise ValueError("an ISRC is 12 letters and digits")
        self._last().isrc = words[0]

    def _pregap(self, words: list[str]) -> None:
        if self._indexes:
            raise ValueError("PREGAP comes before INDEX")
        self._gap += _frames(words[0])

    def _postgap(self, words: list[str]) -> None:
        self._gap += _frames(words[0])

    def _index(self, words: list[str]) -> None:
        number, frame = int(words[0]), _frames(words[1])
        track = self._last()
        if number != self._indexes and not (number == 1 and self._indexes == 0):
            raise ValueError("indexes come one behind the other, from 00 or 01")
        before = self._tracks[-2].form.size if not self._indexes and len(self._tracks) > 1 else track.form.size
        if frame < self._frame:
            raise ValueError("it is before the one before")
        place = self._place + (frame - self._frame) * before
        if place > self._at + self._length:
            raise ValueError("it is behind the end of the file")
        if self._gap and not self._indexes:
            self._shift, self._gap, gap = self._shift + self._gap, 0, self._gap
        else:
            gap = 0
        lba = frame + self._shift
        if not self._indexes:
            track.base, track.offset, track.pregap = lba, place, gap
        if number == 1:
            track.start = lba
            track.pregap += lba - track.base
        elif number:
            track.indexes = (*track.indexes, lba)
        self._place, self._frame, self._indexes = place, frame, number + 1

    def disc(self) -> Disc:
        """The disc."""
        if not self._tracks:
            raise ValueError("it has no track")
        self._check_last()
        first = self._tracks[0]
        first.pregap = first.start + CD_PREGAP
        ends = [track.start - track.pregap for track in self._tracks[1:]] + [self._file_end()]
        for track, end in zip(self._tracks, ends, strict=True):
            if end <= track.start:
                raise ValueError(f"track {track.number} is empty")
            track.end = track.next = end
            if track.place(end) > self._at + self._length:
                raise ValueError(f"track {track.number} is longer than its file")
        if ends[-1] > KINDS["cd-rom"].capacity:
            raise ValueError("it is longer than a CD")
        return pressed_disc(KINDS["cd-rom"], self._tracks, disc_type=self._xa, mcn=self._mcn)


_LINES: Final = frozenset((
    "CATALOG", "CDTEXTFILE", "FILE", "TRACK", "FLAGS", "ISRC", "PREGAP", "POSTGAP", "INDEX",
))


def _frames(text: str) -> int:
    """Blocks of mm:ss:ff."""
    minute, second, frame = text.split(":")
    if not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in (minute, second, frame)):
        raise ValueError(f"{text} is no time")
    if int(second) > 59 or int(frame) > 74:
        raise ValueError(f"{text} is no time")
    return (int(minute) * 60 + int(second)) * 75 + int(frame)
