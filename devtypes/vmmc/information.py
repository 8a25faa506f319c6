"""READ DISC INFORMATION, READ TRACK INFORMATION, READ FORMAT CAPACITIES, READ BUFFER CAPACITY (MMC-6 6.21, 6.23, 6.17;
MMC-5 6.27).

What programs decide by: whether a disc is blank, appendable or complete, where the next track begins, how much room
there is. Of media that are not CDs the tracks of a formatted disc are one, made up by the drive.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.base import BLOCK
from devtypes.vmmc.borders import open_border
from devtypes.vmmc.defects import spares_left
from devtypes.vmmc.disc import CD_PREGAP, FORMS, DataMode, Disc, Track, may_be_formatted
from devtypes.vmmc.layers import is_jumping, jump_address, last_jump, recorded_ranges
from devtypes.vmmc.sector import lba_to_msf
from devtypes.vmmc.tray_commands import TrayCommands
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["BUFFER_SIZE", "LEAD_IN", "LEAD_IN_START", "DiscStatus", "Information"]

BUFFER_SIZE: Final = 4 << 20
LEAD_IN_START: Final = -11634           # 97:26:66, of the first session of a CD-R
LEAD_IN: Final = 4500                   # sectors of a later session's lead-in
_NO_MSF: Final = bytes((0, 0xFF, 0xFF, 0xFF))
_NO_ADDRESS: Final = bytes((0xFF,)) * 4
_INVISIBLE: Final = 0xFF
_FORMATTED, _UNFORMATTED, _NO_MEDIUM = 2, 1, 3       # 3: or the last session has no lead-out yet
_AS_ASKED, _AT_INTERVALS = 1, 2         # LJRS
_PLUS_R: Final = ("dvd+r", "dvd+r-dl")      # RT with BLANK zero is a track that is complete
_BD_R: Final = 0x41


class DiscStatus:
    """DISC STATUS and STATE OF LAST SESSION (MMC-6 tables 369, 370)."""

    EMPTY: Final = 0
    INCOMPLETE: Final = 1
    COMPLETE: Final = 2
    OTHERS: Final = 3
    SESSION_COMPLETE: Final = 3


class Information(TrayCommands):
    """What a disc says of itself."""

    # --- READ DISC INFORMATION ---------------------------------------------------------------------------------

    @operation(
        0x51, "READ DISC INFORMATION", layouts.READ_DISC_INFORMATION, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, needs_ready=True, allocation="allocation_length", standard="MMC-6 6.21",
    )
    def read_disc_information(self, command: Command, cdb: CdbFields) -> Completion:
        """Data types: 0 the standard block, 1 tracks, 2 POW resources."""
        disc = self.loaded
        if cdb.data_type == 0:
            return Completion(self._disc_information(disc))
        if cdb.data_type == 1 and not disc.kind.pressed:
            most = 99 if disc.kind.is_cd else 2302
            open_tracks = sum(1 for track in disc.tracks if not track.complete)
            limit = 1 if disc.kind.is_cd else 3
            return Completion(struct.pack(">HBxHHHH", 10, 0x20, most, len(disc.tracks), limit, open_tracks))
        if cdb.data_type == 2 and disc.overwrites:
            return Completion(struct.pack(">HBxIII", 14, 0x40, *[spares_left(disc)] * 3))
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="data_type")

    def disc_status(self, disc: Disc) -> tuple[int, int]:
        """Disc status and state of the last session."""
        if open_border(disc) is not None:
            return (DiscStatus.INCOMPLETE, DiscStatus.INCOMPLETE)
        if disc.kind.name == "dvd-ram":                     # neither blank nor closed, ever
            return (DiscStatus.OTHERS, DiscStatus.SESSION_COMPLETE)
        if disc.random or disc.finalized:
            return (DiscStatus.COMPLETE, DiscStatus.SESSION_COMPLETE)
        if disc.blank:
            return (DiscStatus.EMPTY, DiscStatus.EMPTY)
        last = disc.in_session(disc.last_session)
        return (DiscStatus.INCOMPLETE, DiscStatus.INCOMPLETE if last else DiscStatus.EMPTY)

    def _disc_information(self, disc: Disc) -> bytes:
        status, state = self.disc_status(disc)
        sessions = disc.last_session
        tracks = self.all_tracks(disc)
        last = [track for track in tracks if track.session == sessions] or tracks[-1:]
        first_number, last_number = last[0].number, last[-1].number
        identified = 0x80 if disc.kind.is_cd and disc.identifier else 0
        lead_in, lead_out = bytes(4), bytes(4)
        if disc.kind.is_cd:
            complete = status == DiscStatus.COMPLETE
            start = LEAD_IN_START if sessions == 1 else last[0].start - CD_PREGAP - LEAD_IN
            lead_in = _NO_MSF if complete else bytes((0, *lba_to_msf(start)))
            lead_out = _NO_MSF if complete else bytes((0, *lba_to_msf(disc.capacity)))
        kind = 0xFF if disc.blank and disc.kind.is_cd else disc.sessions[0].disc_type if disc.sessions else 0
        return struct.pack(
            ">HBBBBBBBBBBI4s4s8sBB", 32, disc.rewritable << 4 | state << 2 | status, tracks[0].number & 0xFF,
            sessions & 0xFF, first_number & 0xFF, last_number & 0xFF, identified | 0x20 | self.background_format(disc),
            kind, sessions >> 8, first_number >> 8, last_number >> 8, disc.identifier, lead_in, lead_out, bytes(8),
            0, 0,
        )

    def background_format(self, disc: Disc) -> int:
        """BG FORMAT STATUS of media that are formatted in the background: 0 none, 1 begun, 2 under way, 3 complete."""
        return 3 if disc.formatted and disc.kind.name == "dvd+rw" else 0

    # --- READ TRACK INFORMATION --------------------------------------------------------------------------------

    def all_tracks(self, disc: Disc) -> list[Track]:
        """The tracks of a disc with the invisible or incomplete one at its end, where more can be recorded."""
        tracks = list(disc.tracks)
        room = self.invisible_track(disc)
        return tracks if room is None else [*tracks, room]

    def invisible_track(self, disc: Disc) -> Track | None:
        """The track that is not there yet: where the next one would be."""
        if disc.random and not disc.tracks:
            form = "mode1" if disc.kind.is_cd else "block"
            return self.new_track(disc, 1, 1, 0, disc.capacity, form)
        if disc.finalized or disc.random or disc.kind.pressed or any(self.is_open(track) for track in disc.tracks):
            return None
        number = (disc.tracks[-1].number if disc.tracks else 0) + 1
        start = self.next_start(disc)
        if start >= disc.capacity:
            return None
        return self.new_track(disc, number, disc.open_session, start, disc.capacity, "mode1")

    @staticmethod
    def is_open(track: Track) -> bool:
        """Whether it takes all the room that there is: it was not reserved and is not complete."""
        return not track.complete and not track.reserved

    def next_start(self, disc: Disc) -> int:
        """Where the next track would begin."""
        if not disc.tracks:
            return 0
        last = disc.tracks[-1]
        if disc.sessions and last.session == disc.sessions[-1].number:
            return disc.sessions[-1].next_start
        return last.physical_end + (CD_PREGAP if disc.kind.is_cd else 0)

    def new_track(self, disc: Disc, number: int, session: int, start: int, end: int, form: str) -> Track:
        """A track without anything in it."""
        return Track(number, session, start, end, FORMS[form], recorded=start, complete=False)

    @operation(
        0x52, "READ TRACK INFORMATION", layouts.READ_TRACK_INFORMATION, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, allocation="allocation_length", standard="MMC-5 6.27",
    )
    def read_track_information(self, command: Command, cdb: CdbFields) -> Completion:
        """A track by address, by number or as the first of a session; with OPEN the next open one."""
        disc = self.loaded
        track = self._asked_track(disc, cdb)
        if track is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="address")
        return Completion(self._track_information(disc, track))

    def _asked_track(self, disc: Disc, cdb: CdbFields) -> Track | None:
        tracks = self.all_tracks(disc)
        if cdb.address_type == 0:
            found = next((track for track in tracks if track.holds(cdb.address)), None)
        elif cdb.address_type == 1 and cdb.address == 0 and disc.kind.is_cd:
            start = LEAD_IN_START if disc.last_session == 1 else disc.sessions[-1].next_start - CD_PREGAP - LEAD_IN
            lead_in = self.new_track(disc, 0, disc.last_session, start, start, "mode1")
            return None if disc.finalized or disc.random else lead_in
        elif cdb.address_type == 1 and cdb.address == _INVISIBLE:
            found = next((track for track in tracks if self.is_open(track)), None)
        elif cdb.address_type == 1:
            found = next((track for track in tracks if track.number == cdb.address), None)
        elif cdb.address_type == 2:
            found = next((track for track in tracks if track.session == cdb.address), None)
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="address_type")
        if cdb.open and found is not None:
            return next((track for track in tracks if not track.complete and track.number >= found.number), None)
        return found

    def _track_information(self, disc: Disc, track: Track) -> bytes:
        random = disc.random
        blank = track.blank
        appendable = not track.complete and disc.takes_data
        end = disc.whole if random and appendable else track.end        # a border that grows
        free = max(end - self.next_writable(track), 0) if appendable else 0
        recorded = track.next > track.start and not random
        data_mode = track.form.data_mode if not blank else DataMode.UNKNOWN
        reserved = track.reserved or (disc.kind.name in _PLUS_R and track.complete)
        incremental = self.is_incremental(disc, track)
        flags = reserved << 7 | blank << 6 | incremental << 5 | bool(track.packet) << 4 | data_mode
        size = end - track.start
        mode, jump, jumped = 0, 0, 0
        if is_jumping(disc):
            mode, jumped = (_AT_INTERVALS if disc.jump_interval else _AS_ASKED), last_jump(disc)
            if appendable:
                jump = jump_address(disc, track)
                free = disc.capacity - sum(end - start for start, end in recorded_ranges(disc, track))
        return struct.pack(
            ">HBBBBBBIIIIIIBBHIII", 46, track.number & 0xFF, track.session & 0xFF, 0, mode << 6 | track.control, flags,
            recorded << 1 | appendable, track.start & 0xFFFFFFFF,
            self.next_writable(track) & 0xFFFFFFFF if appendable else 0, free,
            track.packet or disc.kind.blocks * random, size, max(track.next - 1, 0) if recorded else 0,
            track.number >> 8, track.session >> 8, 0,
            track.start & 0xFFFFFFFF, jump, jumped,
        )

    def is_incremental(self, disc: Disc, track: Track) -> bool:
        """PACKET/INC: written in packets. A BD-R always is."""
        return track.incremental or disc.profile == _BD_R

    def next_writable(self, track: Track) -> int:
        """The next writable address of a track; of one that is full its end."""
        return min(track.next + track.gap, track.end)

    # --- capacities --------------------------------------------------------------------------------------------

    @operation(
        0x23, "READ FORMAT CAPACITIES", layouts.READ_FORMAT_CAPACITIES, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, allocation="allocation_length", standard="MMC-6 6.23",
    )
    def read_format_capacities(self, command: Command, cdb: CdbFields) -> Completion:
        """The capacity now, and what FORMAT UNIT could make of the medium."""
        disc = self.disc
        if disc is None:
            most = 449849
            current = struct.pack(">II", most, _NO_MEDIUM << 24 | BLOCK)
            return Completion(bytes((0, 0, 0, len(current))) + current)
        if may_be_formatted(disc):
            current = struct.pack(">II", disc.capacity, _UNFORMATTED << 24 | BLOCK)
        elif open_border(disc) is not None:
            current = struct.pack(">II", disc.whole, _NO_MEDIUM << 24 | BLOCK)
        else:
            blocks = disc.capacity if disc.kind.name == "bd-r" else disc.capacity_end or disc.capacity
            current = struct.pack(">II", blocks, _FORMATTED << 24 | BLOCK)
        rows = b"".join(
            struct.pack(">II", blocks, form << 26 | parameter)
            for form, blocks, parameter in self.format_capacities(disc)
        )
        return Completion(bytes((0, 0, 0, len(current + rows))) + current + rows)

    def format_capacities(self, disc: Disc) -> tuple[tuple[int, int, int], ...]:
        """Format types of a medium: type, blocks, type dependent parameter."""
        return ()

    @operation(
        0x5C, "READ BUFFER CAPACITY", layouts.READ_BUFFER_CAPACITY, data=DataDirection.IN,
        conflict=ReservationClass.READ, allocation="allocation_length", standard="MMC-6 6.17",
    )
    def read_buffer_capacity(self, command: Command, cdb: CdbFields) -> Completion:
        """The buffer is empty: writing waits for the medium. In bytes, or in blocks."""
        unit = BLOCK if cdb.block else 1
        size = BUFFER_SIZE // unit
        return Completion(struct.pack(">HBBII", 10, 0, cdb.block, 0 if cdb.block else size, size))
