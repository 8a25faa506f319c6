"""The cue sheet of SEND CUE SHEET: all of a session before its first block (MMC-5 6.33).

Each line of eight bytes tells CONTROL and ADR, track, index, data form, and the time where that begins. Tracks may have
pauses that the host writes or leaves out. CD-TEXT comes as sub-channel R to W of the lead-in.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import Disc, Track
from devtypes.vmmc.disc_format import native_track
from devtypes.vmmc.sector import bcd, msf_to_lba
from scsiemu import asc
from scsiemu._value import value
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["CuePlan", "CueSegment", "parse_cue_sheet"]

_LINE: Final = 8
_LEAD_OUT: Final = 0xAA
_MCN, _ISRC = 2, 3                  # ADR
_LEAD_IN_BLOCK: Final = 96
_PACK: Final = 18
_MOST_CD_TEXT: Final = 8192
_WITH_CHANNELS: Final = 96

# By the low six bits of DATA FORM: bytes of a block as it comes, form that is kept. 0 bytes: the drive makes it.
_FORMS: Final = {
    0x00: (2352, "audio"), 0x01: (0, "audio"), 0x10: (2048, "mode1"), 0x11: (2352, "raw1"), 0x12: (2048, "mode1"),
    0x13: (2352, "raw1"), 0x14: (0, "mode1"), 0x20: (2336, "xa"), 0x21: (2352, "raw2"), 0x22: (2336, "xa"),
    0x23: (2352, "raw2"), 0x24: (0, "xa"), 0x30: (2336, "raw2"), 0x31: (2352, "raw2"), 0x34: (0, "raw2"),
}


@value
class CueSegment:
    """A run of blocks that come alike: from, up to, of so many bytes, for a track."""

    start: int
    end: int
    size: int
    track: Track


class CuePlan:
    """What is to be written next.

    Attributes:
        next: the address of the next block; of the lead-in while its CD-TEXT comes.
        segment: where it belongs; None when all is written.
        tracks: of the session.
    """

    def __init__(self, segments: list[CueSegment], tracks: list[Track], *, mcn: str) -> None:
        self.tracks = tracks
        self.mcn = mcn
        self._segments = [each for each in segments if each.size and each.start < each.end]
        self.segment: CueSegment | None = self._segments.pop(0)
        self.next = self.segment.start
        self.cd_text = b""

    def room(self) -> int:
        """Blocks that can come in one piece from here: up to where their size changes, or some are left out."""
        assert self.segment is not None
        end = self.segment.end
        for following in self._segments:
            if following.start != end or following.size != self.segment.size:
                break
            end = following.end
        return end - self.next

    def written(self, blocks: int) -> None:
        """So many blocks more of the segment are there."""
        segment = self.segment
        assert segment is not None
        self.next += blocks
        if self.next == segment.end:
            self.segment = self._segments.pop(0) if self._segments else None
            if self.segment is not None:
                self.next = self.segment.start

    def lead_in(self, data: bytes) -> None:
        """R to W of lead-in blocks: their packs, each once."""
        packed = bytearray()
        for at in range(0, len(data) - 3, 4):
            a, b, c, d = (byte & 0x3F for byte in data[at : at + 4])
            packed += (a << 18 | b << 12 | c << 6 | d).to_bytes(3, "big")
        for at in range(0, len(packed) - _PACK + 1, _PACK):
            pack = bytes(packed[at : at + _PACK])
            known = [self.cd_text[n : n + _PACK] for n in range(0, len(self.cd_text), _PACK)]
            if any(pack) and pack not in known and len(self.cd_text) < _MOST_CD_TEXT:
                self.cd_text += pack


def parse_cue_sheet(disc: Disc, sheet: bytes, begin: int) -> CuePlan:
    """What a cue sheet announces for the open session, whose pause begins at `begin`.

    Raises:
        CheckCondition: with the field pointer of what is wrong.
    """
    if len(sheet) < 3 * _LINE or len(sheet) % _LINE:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    lines = [sheet[at : at + _LINE] for at in range(0, len(sheet), _LINE)]
    mcn = ""
    isrcs: dict[int, str] = {}
    tracks: list[Track] = []
    segments: list[tuple[int, int, Track]] = []
    number = first = (disc.tracks[-1].number if disc.tracks else 0) + 1
    number -= 1
    pause = last = begin
    for at, line in enumerate(lines):
        control, adr = line[0] >> 4, line[0] & 0xF
        if adr in (_MCN, _ISRC):
            text = bytes(line[1:8]) if adr == _MCN else bytes(line[2:8])
            if adr == _MCN:
                mcn += _printable(text)
            else:
                isrcs[line[1]] = isrcs.get(line[1], "") + _printable(text)
            continue
        if adr != 1:
            raise _invalid(at * _LINE)
        if line[1] == 0:                            # lead-in
            continue
        lba = msf_to_lba(line[5], line[6], line[7])
        if lba < last or line[6] > 59 or line[7] > 74:
            raise _invalid(at * _LINE + 5)
        last = lba
        if line[1] == _LEAD_OUT:
            return _plan(disc, tracks, segments, lba, mcn[:13], isrcs, at)
        if line[3] & 0x3F not in _FORMS:
            raise _invalid(at * _LINE + 3)
        size = _size(line[3])
        if line[2] == 0:
            pause = lba
        if line[1] in (number + 1, bcd(number + 1)) and (line[2] == 1):
            number += 1
            start = pause if number == first and not tracks and pause > lba else lba
            track = native_track(
                disc, number, disc.open_session, start, start, _kept(line[3]), pregap=start - min(pause, start),
                control=control, recorded=start, complete=False, reserved=True,
            )
            tracks.append(track)
            segments.append((min(pause, start), _pause_size(lines, at, size), track))
            segments.append((start, size, track))
        elif line[2] == 0:
            if line[1] not in (number + 1, bcd(number + 1)):
                raise _invalid(at * _LINE + 1)
        elif tracks and line[1] in (number, bcd(number)) and line[2] == len(tracks[-1].indexes) + 2:
            tracks[-1].indexes = (*tracks[-1].indexes, lba)
        else:
            raise _invalid(at * _LINE + 1)
        if line[2] == 1:
            pause = 1 << 30
    raise _invalid(len(sheet) - _LINE + 1)          # no lead-out


def _plan(
    disc: Disc, tracks: list[Track], starts: list[tuple[int, int, Track]], lead_out: int, mcn: str,
    isrcs: dict[int, str], at: int,
) -> CuePlan:
    if not tracks or lead_out > disc.capacity:
        raise _invalid(at * _LINE + 5)
    segments = []
    for number, (start, size, track) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else lead_out
        segments.append(CueSegment(start, end, size, track))
    for track, following in zip(tracks, [*tracks[1:], None], strict=True):
        track.end = lead_out if following is None else following.start - following.pregap
        track.isrc = isrcs.get(track.number, isrcs.get(bcd(track.number), ""))[:12]
        if track.end <= track.start:
            raise _invalid(at * _LINE + 5)
        track.next = track.base
    if not any(each.size and each.start < each.end for each in segments):
        raise _invalid(at * _LINE + 3)
    return CuePlan(segments, tracks, mcn=mcn)


def _pause_size(lines: list[bytes], at: int, size: int) -> int:
    """Bytes of a block of the pause before a track, which may have a data form of its own."""
    before = lines[at - 1]
    own = before[0] & 0xF == 1 and before[1] == lines[at][1] and before[2] == 0
    return _size(before[3]) if own else size


def _size(form: int) -> int:
    size, _ = _FORMS[form & 0x3F]
    return size + _WITH_CHANNELS if size and form & 0xC0 else size


def _kept(form: int) -> str:
    _, name = _FORMS[form & 0x3F]
    return name + "+sub" if form & 0xC0 and name.startswith(("audio", "raw")) else name


def _printable(data: bytes) -> str:
    return "".join(chr(byte) for byte in data if 0x20 < byte < 0x7F)


def _invalid(byte: int) -> CheckCondition:
    pointer = FieldPointer(byte, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
