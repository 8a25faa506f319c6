"""RAW writing of a CD: the host makes everything, lead-in, sectors, sub-channels, lead-out (MMC-6 7.5.4.10).

Sectors come with Q (16 bytes) or with raw P to W (96 bytes); what the disc has follows from Q. Points of the lead-in
are its table of contents; index 0 is where a pause begins; modes 2 and 3 have the media catalogue number and ISRCs. The
CRC of 16 bytes of Q is made here, as that field need not be valid. Data sectors come scrambled, as a laser writes
them. What comes is one session. It may follow others, however those were recorded, behind their lead-out; another one
may follow it where its lead-in points to that (B0h).
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import CD_PREGAP, Asking, Control, Disc
from devtypes.vmmc.disc_format import DATA_START, native_track
from devtypes.vmmc.information import LEAD_IN_START
from devtypes.vmmc.sector import RAW_SIZE, bcd, descramble, from_bcd, msf_to_lba
from devtypes.vmmc.subchannel import (
    CHANNEL_BYTES,
    LEAD_OUT,
    crc_16,
    interleaved_of,
    isrc_of_q,
    mcn_of_q,
    q_of_raw,
)
from scsiemu.command import Buffer
from scsiemu.io_requests import Write

__all__ = ["RAW_BLOCKS", "RawSession"]

# By data block type: bytes of a block.
RAW_BLOCKS: Final = {1: RAW_SIZE + 16, 3: RAW_SIZE + CHANNEL_BYTES}
_KEPT: Final = RAW_SIZE + CHANNEL_BYTES
_POSITION, _MCN, _ISRC, _POINTERS = 1, 2, 3, 5      # ADR
_NEXT_SESSION: Final = 0xB0
_Q: Final = 10                          # without CRC


class RawSession:
    """What has come of a session.

    Args:
        lead_in: where its lead-in begins.
        program: where its program area does, with the pause before its first track.

    Attributes:
        next: the address of the next block, of the lead-in at first.
        complete: its lead-out has begun.
        open: another session may follow.
    """

    def __init__(self, lead_in: int = LEAD_IN_START, program: int = -CD_PREGAP) -> None:
        self.next = lead_in
        self.complete = self.open = False
        self._program = program
        self._points: dict[int, tuple[int, bytes]] = {}      # by POINT: CONTROL, PMIN PSEC PFRAME
        self._pauses: dict[int, int] = {}                    # by track: where index 0 began
        self._modes: dict[int, int] = {}                     # by track: mode of its first data sector
        self._mcn = ""
        self._isrcs: dict[int, str] = {}                     # by track
        self._track = 0                                      # as Q said last

    def receive(self, data: Buffer, size: int) -> Asking[None]:
        """Blocks of `size` bytes, at `next`."""
        view = memoryview(data)
        kept: list[bytes] = []
        first = max(self.next, self._program)
        for at in range(0, len(view) - size + 1, size):
            block = view[at : at + size]
            if size == RAW_BLOCKS[1]:
                q = bytes(block[RAW_SIZE : RAW_SIZE + _Q])
                q += crc_16(q)
            else:
                q = q_of_raw(bytes(block[RAW_SIZE:]))
            if self.next < self._program:
                self._lead_in(q)
            elif not self.complete:
                sector = self._sector(block, q)
                if not self.complete:
                    channels = interleaved_of(q) if size == RAW_BLOCKS[1] else bytes(block[RAW_SIZE:])
                    kept.append(sector + channels)
            self.next += 1
        if kept:
            piece = b"".join(kept)
            yield Write(DATA_START + (first + CD_PREGAP) * _KEPT, len(piece), piece)

    def _lead_in(self, q: bytes) -> None:
        if q[1] or crc_16(q[:_Q]) != q[_Q:]:
            return
        if q[0] & 0xF == _POSITION:
            self._points[q[2]] = (q[0] >> 4, q[7:10])
        elif q[0] & 0xF == _POINTERS and q[2] == _NEXT_SESSION:
            self.open = q[3:6] != b"\xff\xff\xff"

    def _sector(self, block: memoryview, q: bytes) -> bytes:
        """The sector as it is kept; what Q says of it is noted."""
        position = q[0] & 0xF == _POSITION
        self.complete = position and q[1] == LEAD_OUT
        if position:
            self._track = from_bcd(q[1])
            if q[2] == 0:
                self._pauses.setdefault(self._track, self.next)
        elif crc_16(q[:_Q]) == q[_Q:]:
            if q[0] & 0xF == _MCN:
                self._mcn = mcn_of_q(q)
            elif q[0] & 0xF == _ISRC:
                self._isrcs[self._track] = isrc_of_q(q)
        if not q[0] >> 4 & Control.DATA:
            return bytes(block[:RAW_SIZE])
        plain = descramble(block[:RAW_SIZE])
        if position:
            self._modes.setdefault(self._track, plain[15])
        return plain

    def tell(self, disc: Disc) -> tuple[int, int] | None:
        """Put the tracks into the disc: where the lead-out is, and the disc type.

        None where the lead-in does not make sense: tracks that do not follow those that there are, or overlap.
        """
        following = (disc.tracks[-1].number if disc.tracks else 0) + 1
        starts: list[tuple[int, int, int]] = []
        for number in range(1, 100):
            if bcd(number) in self._points:
                control, at = self._points[bcd(number)]
                starts.append((number, control, _address(at)))
        if not starts or starts[0][0] != following or 0xA2 not in self._points:
            return None
        lead_out = _address(self._points[0xA2][1])
        ends = [self._pauses.get(number, start) for number, _, start in starts[1:]] + [lead_out]
        last = self._program
        tracks = []
        for (number, control, start), end in zip(starts, ends, strict=True):
            pause = min(self._pauses.get(number, start), start)
            if not last <= pause <= start < end <= min(lead_out, disc.capacity) or start < 0:
                return None
            form = "audio+sub" if not control & Control.DATA else f"raw{2 if self._modes.get(number) == 2 else 1}+sub"
            track = native_track(
                disc, number, disc.open_session, start, end, form, pregap=start - pause, control=control, recorded=end
            )
            track.isrc = self._isrcs.get(number, "")
            tracks.append(track)
            last = end
        disc.tracks += tracks
        disc.mcn = self._mcn or disc.mcn
        return lead_out, from_bcd(self._points[0xA0][1][1]) if 0xA0 in self._points else 0


def _address(at: bytes) -> int:
    return msf_to_lba(*(from_bcd(digits) for digits in at))
