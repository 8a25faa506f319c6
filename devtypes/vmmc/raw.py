"""RAW writing of a CD: the host makes everything, lead-in, sectors, sub-channels, lead-out (MMC-6 7.5.4.10).

Sectors come with Q (16 bytes) or with raw P to W (96 bytes); what the disc has follows from Q. Points of the lead-in
are its table of contents; index 0 is where a pause begins; modes 2 and 3 have the media catalogue number and ISRCs. The
CRC of 16 bytes of Q is made here, as that field need not be valid. Data sectors come scrambled, as a laser writes
them. What comes is one session, and the disc takes no other.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import CD_PREGAP, Asking, Control, Disc, Session
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
_POSITION, _MCN, _ISRC = 1, 2, 3        # ADR
_Q: Final = 10                          # without CRC


class RawSession:
    """What has come of a session.

    Attributes:
        next: the address of the next block, of the lead-in at first.
        complete: its lead-out has begun.
    """

    def __init__(self) -> None:
        self.next = LEAD_IN_START
        self.complete = False
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
        first = max(self.next, -CD_PREGAP)
        for at in range(0, len(view) - size + 1, size):
            block = view[at : at + size]
            if size == RAW_BLOCKS[1]:
                q = bytes(block[RAW_SIZE : RAW_SIZE + _Q])
                q += crc_16(q)
            else:
                q = q_of_raw(bytes(block[RAW_SIZE:]))
            if self.next < -CD_PREGAP:
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
        if q[0] & 0xF == _POSITION and q[1] == 0 and crc_16(q[:_Q]) == q[_Q:]:
            self._points[q[2]] = (q[0] >> 4, q[7:10])

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

    def tell(self, disc: Disc) -> bool:
        """Put tracks and session into the disc; False where the lead-in does not make sense."""
        starts: list[tuple[int, int, int]] = []
        for number in range(1, 100):
            if bcd(number) in self._points:
                control, at = self._points[bcd(number)]
                starts.append((number, control, _address(at)))
        if not starts or 0xA2 not in self._points:
            return False
        lead_out = _address(self._points[0xA2][1])
        ends = [self._pauses.get(number, start) for number, _, start in starts[1:]] + [lead_out]
        last = -CD_PREGAP
        for (number, control, start), end in zip(starts, ends, strict=True):
            pause = min(self._pauses.get(number, start), start)
            if not last <= pause <= start < end <= min(lead_out, disc.capacity) or start < 0:
                disc.tracks.clear()
                return False
            form = "audio+sub" if not control & Control.DATA else f"raw{2 if self._modes.get(number) == 2 else 1}+sub"
            track = native_track(
                disc, number, 1, start, end, form, pregap=start - pause, control=control, recorded=end
            )
            track.isrc = self._isrcs.get(number, "")
            disc.tracks.append(track)
            last = end
        disc_type = from_bcd(self._points[0xA0][1][1]) if 0xA0 in self._points else 0
        disc.sessions = [Session(1, starts[0][0], starts[-1][0], lead_out, disc_type)]
        disc.mcn = self._mcn
        disc.finalized = True
        return True


def _address(at: bytes) -> int:
    return msf_to_lba(*(from_bcd(digits) for digits in at))
