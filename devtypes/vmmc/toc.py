"""READ TOC/PMA/ATIP: what a disc says of itself (MMC-5 6.26, ECMA-130 22.3).

On CDs the table of contents is that of the closed sessions, as their lead-ins have it. On others the drive makes one
up from tracks (MMC-5 6.26.3.2.3).
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.disc import Disc, Session, Track
from devtypes.vmmc.features import Features
from devtypes.vmmc.sector import lba_to_msf
from devtypes.vmmc.subchannel import LEAD_OUT
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["TableOfContents", "address"]

_POSITION: Final = 1            # ADR
_LEGACY: Final = 6              # shift of the format in CONTROL, where drives older than MMC had it

# ATIP: writing power, reference speed; lead-in of a CD-R starts at 97:26:66 (a made-up but well-formed disc).
_ATIP_LEAD_IN: Final = (97, 26, 66)


def address(lba: int, *, msf: bool) -> bytes:
    """A four-byte address, as LBA or as minute, second, frame."""
    if msf:
        return bytes((0, *lba_to_msf(lba)))
    return (lba & 0xFFFFFFFF).to_bytes(4, "big")


class TableOfContents(Features):
    """Tables of contents."""

    @operation(
        0x43, "READ TOC/PMA/ATIP", layouts.READ_TOC, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, allocation="allocation_length", standard="MMC-5 6.26",
    )
    def read_toc(self, command: Command, cdb: CdbFields) -> Completion:
        """Formats 0 to 5."""
        form = cdb.format or cdb.control >> _LEGACY
        readers = (self._toc, self._sessions, self._full, self._pma, self._atip, self._cd_text)
        if form >= len(readers):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        disc = self.loaded
        if form > 1 and not disc.kind.is_cd:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        body = readers[form](disc, cdb)
        return Completion((len(body)).to_bytes(2, "big") + body)

    def toc_tracks(self, disc: Disc) -> list[Track]:
        """The tracks of the table of contents. Raises CheckCondition where there is none."""
        closed = {session.number for session in disc.sessions}
        tracks = [track for track in disc.tracks if track.session in closed or not disc.kind.is_cd]
        tracks = [track for track in tracks if track.complete or disc.random]
        if not tracks:
            raise CheckCondition(asc.UNABLE_TO_RECOVER_TABLE_OF_CONTENTS)
        return tracks

    def _toc(self, disc: Disc, cdb: CdbFields) -> bytes:
        tracks = self.toc_tracks(disc)
        wanted = cdb.track_session
        if wanted > tracks[-1].number and wanted != LEAD_OUT:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="track_session")
        msf = bool(cdb.msf)
        rows = [
            _entry(track.control, track.number, track.start, msf=msf) for track in tracks if track.number >= wanted
        ]
        end = disc.sessions[-1].lead_out if disc.sessions and disc.kind.is_cd else disc.capacity_end
        rows.append(_entry(tracks[-1].control, LEAD_OUT, end, msf=msf))
        return bytes((tracks[0].number & 0xFF, tracks[-1].number & 0xFF)) + b"".join(rows)

    def _sessions(self, disc: Disc, cdb: CdbFields) -> bytes:
        tracks = self.toc_tracks(disc)
        last = disc.sessions[-1] if disc.sessions else None
        first = next((track for track in tracks if last is not None and track.session == last.number), tracks[0])
        number = last.number if last is not None else 1
        return bytes((1, number & 0xFF)) + _entry(first.control, first.number, first.start, msf=bool(cdb.msf))

    def _full(self, disc: Disc, cdb: CdbFields) -> bytes:
        """Q of the lead-ins: for each session points A0, A1, A2, its tracks, and B0, C0 where more may come."""
        self.toc_tracks(disc)
        wanted = [session for session in disc.sessions if session.number >= cdb.track_session]
        if not wanted:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="track_session")
        rows = [row for session in wanted for row in self._full_rows(disc, session)]
        return bytes((disc.sessions[0].number, disc.sessions[-1].number)) + b"".join(rows)

    def _full_rows(self, disc: Disc, session: Session) -> list[bytes]:
        tracks = disc.in_session(session.number)
        head, tail = tracks[0].control, tracks[-1].control
        rows = [
            _point(session.number, head, 0xA0, pmsf=(session.first, session.disc_type, 0)),
            _point(session.number, tail, 0xA1, pmsf=(session.last, 0, 0)),
            _point(session.number, tail, 0xA2, pmsf=lba_to_msf(session.lead_out)),
        ]
        rows += [_point(session.number, track.control, track.number, pmsf=lba_to_msf(track.start)) for track in tracks]
        if session.next_start >= 0:
            latest = lba_to_msf(disc.capacity)
            rows.append(_point(
                session.number, tail, 0xB0, msf=lba_to_msf(session.next_start), zero=2, pmsf=latest, adr=5
            ))
            if session.number == 1:
                rows.append(_point(session.number, tail, 0xC0, msf=(0, 0, 0), pmsf=_ATIP_LEAD_IN, adr=5))
        return rows

    def _pma(self, disc: Disc, cdb: CdbFields) -> bytes:
        """The program memory area: every track that was written or reserved, in closed sessions or not."""
        if disc.kind.pressed:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        rows = [
            _point(0, track.control, track.number, msf=lba_to_msf(track.physical_end), pmsf=lba_to_msf(track.start))
            for track in disc.tracks
        ]
        return bytes(2) + b"".join(rows)

    def _atip(self, disc: Disc, cdb: CdbFields) -> bytes:
        """What the groove of recordable discs tells. The lead-out is the last one that is possible."""
        if disc.kind.pressed:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        erasable = disc.kind.erasable
        return bytes((
            0, 0,                                       # reserved
            0xC0 | (2 if erasable else 0),              # indicative target writing power; reference speed
            0x00,                                       # unrestricted use
            0x80 | (0x40 if erasable else 0x00), 0,     # disc type CD-RW; subtype
            *_ATIP_LEAD_IN, 0,
            *lba_to_msf(disc.capacity), 0,
            0, 0, 0, 0,                                 # A1
            0, 0, 0, 0,                                 # A2
            0, 0, 0, 0,                                 # A3
            0, 0, 0, 0,                                 # S4
        ))

    def _cd_text(self, disc: Disc, cdb: CdbFields) -> bytes:
        return bytes(2) + disc.cd_text


def _entry(control: int, number: int, lba: int, *, msf: bool) -> bytes:
    """A TOC track descriptor."""
    return bytes((0, _POSITION << 4 | control, number & 0xFF, 0)) + address(lba, msf=msf)


def _point(
    session: int, control: int, point: int, *, msf: tuple[int, int, int] = (0, 0, 0), zero: int = 0,
    pmsf: tuple[int, int, int] = (0, 0, 0), adr: int = _POSITION,
) -> bytes:
    """A descriptor of formats 2 and 3: numbers in binary here, as MMC has them."""
    return bytes((session, adr << 4 | control, 0, point, *msf, zero, *pmsf))
