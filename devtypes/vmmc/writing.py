"""The writing commands: WRITE, SEND CUE SHEET, RESERVE TRACK, CLOSE TRACK/SESSION, REPAIR TRACK, SEND OPC INFORMATION,
SEND DISC STRUCTURE (MMC-5 6.44, 6.45, 6.33, 6.31, 6.3, 6.28, 6.34).
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.base import BLOCK
from devtypes.vmmc.borders import close_border, open_border
from devtypes.vmmc.cue_sheet import parse_cue_sheet
from devtypes.vmmc.defects import is_managed, verify_managed
from devtypes.vmmc.disc import CD_PREGAP, Disc, Track
from devtypes.vmmc.disc_format import native_track
from devtypes.vmmc.layers import LAYER_STRUCTURES, set_layers
from devtypes.vmmc.modes import WriteType
from devtypes.vmmc.profiles import Family, Recording
from devtypes.vmmc.recording import NOT_WRITABLE, Recorder
from devtypes.vmmc.structures import WriteProtection
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import DataOut, Fill
from scsiemu.operations import DataDirection, Result, operation
from scsiemu.sense import CheckCondition

__all__ = ["CloseFunction", "Writing"]

_MOST_BLOCKS: Final = 16384
_NEGATIVE: Final = (1 << 32) - 450150
_MOST_TRACKS_CD: Final = 99
_MOST_TRACKS: Final = 153
_INVISIBLE: Final = (0, 0xFF)
_ANY_MEDIUM: Final = range(4)           # close functions that random media take, whether they do anything or not


class CloseFunction:
    """CLOSE FUNCTION (MMC-6 table 232)."""

    STOP_FORMAT: Final = 0
    TRACK: Final = 1
    SESSION: Final = 2
    FINALIZE_RESTRICTED: Final = 3
    FINALIZE_MINIMUM: Final = 5
    FINALIZE: Final = 6


class Writing(Recorder):
    """Writing."""

    @operation(
        0x2A, "WRITE(10)", layouts.WRITE_10, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        standard="MMC-5 6.44",
    )
    @operation(
        0xAA, "WRITE(12)", layouts.WRITE_12, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        standard="MMC-5 6.45",
    )
    def write(self, command: Command, cdb: CdbFields) -> Steps:
        """Blocks, at the next writable address or anywhere, as the medium is."""
        if getattr(cdb, "streaming", 0) and cdb.fua:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fua")
        yield from self._write(command, cdb, compare=False)
        if cdb.fua and self.loaded.random:
            yield from self.bring_to_medium()
        return Completion()

    @operation(
        0x2E, "WRITE AND VERIFY(10)", layouts.WRITE_AND_VERIFY_10, data=DataDirection.OUT, needs_ready=True,
        exclusive=True, standard="MMC-5 6.46",
    )
    def write_and_verify(self, command: Command, cdb: CdbFields) -> Steps:
        """Blocks of random media, which are read again."""
        disc = self.check_recordable(command)
        if not disc.random and disc.kind.recording != Recording.OVERWRITE:      # what has no format yet says so itself
            raise CheckCondition(asc.INVALID_COMMAND_OPERATION_CODE)
        yield from self._write(command, cdb, compare=True)
        yield from self.bring_to_medium()
        return Completion()

    def _write(self, command: Command, cdb: CdbFields, *, compare: bool) -> Steps:
        disc = self.check_recordable(command)
        lba = cdb.lba - (1 << 32) if cdb.lba >= _NEGATIVE and disc.kind.is_cd else cdb.lba
        count = cdb.transfer_length
        if count > _MOST_BLOCKS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        self.stop_audio()
        if self.writes_raw(disc):
            yield from self.record_raw(disc, lba, count)
            return Completion()
        if self._in_lead_in(lba):
            return (yield from self._write_lead_in(count))
        track, size = self.place_to_write(disc, lba, count)
        self.counters.write_commands += 1
        self.counters.blocks_written += count
        if not count:
            return Completion()
        data = yield from DataOut(count * size)
        data = data[: len(data) // size * size]     # of a transfer that is shorter only whole blocks count
        yield from self.record(disc, track, lba, data, size)
        if compare:
            if is_managed(disc):
                yield from verify_managed(disc, track, lba, data)
            stored = yield from self.user_data(lba, len(data) // size)
            if bytes(stored) != bytes(data[: len(stored)]):
                raise CheckCondition(asc.MISCOMPARE_DURING_VERIFY_OPERATION)
        return Completion()

    def _in_lead_in(self, lba: int) -> bool:
        return self.plan is not None and self.plan.tracks[0].number == 1 and lba < -CD_PREGAP

    def _write_lead_in(self, count: int) -> Steps:
        """CD-TEXT: 96 bytes of R to W for each block of the lead-in."""
        if count:
            data = yield from DataOut(count * 96)
            assert self.plan is not None
            self.plan.lead_in(bytes(data))
        return Completion()

    @operation(
        0x5D, "SEND CUE SHEET", layouts.SEND_CUE_SHEET, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        parameter_list="cue_sheet_size", parameter_list_limit=0x4000, standard="MMC-5 6.33",
    )
    def send_cue_sheet(self, command: Command, cdb: CdbFields) -> Completion:
        """A session is announced: its tracks, and in what form their blocks come."""
        disc = self.check_recordable(command)
        if not disc.kind.is_cd:
            raise CheckCondition(NOT_WRITABLE)
        if self.parameters.write_type != WriteType.SESSION_AT_ONCE:
            raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
        if disc.finalized or (disc.in_session(disc.open_session) and self.plan is None):
            raise CheckCondition(asc.CURRENT_PROGRAM_AREA_IS_NOT_EMPTY)
        if self.plan is not None:                   # a new one replaces one that was not begun
            if self.plan.next != self.plan.tracks[0].base:
                raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
            del disc.tracks[-len(self.plan.tracks):]
            self.plan = None
        plan = parse_cue_sheet(disc, command.parameter_list, self.next_start(disc) - CD_PREGAP)
        self._rehearse(disc)
        disc.tracks += plan.tracks
        disc.mcn = plan.mcn or disc.mcn
        self.plan = plan
        return Completion()

    @operation(
        0x53, "RESERVE TRACK", layouts.RESERVE_TRACK, needs_ready=True, exclusive=True, standard="MMC-5 6.31",
    )
    def reserve_track(self, command: Command, cdb: CdbFields) -> Steps:
        """Room for a track: of so many blocks, or with ARSV up to an address."""
        disc = self.check_recordable(command)
        if cdb.rmz or cdb.high:                     # recording management area of DVD-R
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="rmz" if cdb.rmz else "high")
        room = self.invisible_track(disc)
        if room is None or disc.random or disc.kind.recording == "overwrite":
            raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
        if room.number > (_MOST_TRACKS_CD if disc.kind.is_cd else _MOST_TRACKS):
            raise CheckCondition(asc.NO_MORE_TRACK_RESERVATIONS_ALLOWED)
        size = cdb.size - room.start + 1 if cdb.arsv else cdb.size
        size += -size % disc.kind.blocks
        if not 0 < size <= room.end - room.start:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="size")
        form = "mode1" if disc.kind.is_cd else "block"
        track = native_track(
            disc, room.number, room.session, room.start, room.start + size, form, control=4, recorded=room.start,
            complete=False, reserved=True, incremental=self.writes_incrementally(disc),
        )
        track.pregap = CD_PREGAP * disc.kind.is_cd
        disc.tracks.append(track)
        yield from self.save_aside(disc)
        return Completion()

    # --- CLOSE TRACK/SESSION -----------------------------------------------------------------------------------

    @operation(
        0x5B, "CLOSE TRACK/SESSION", layouts.CLOSE_TRACK_SESSION, needs_ready=True, exclusive=True,
        standard="MMC-6 6.3",
    )
    def close_track_session(self, command: Command, cdb: CdbFields) -> Result:
        """Close a track, the session, or the disc."""
        disc = self.check_recordable(command)
        function = cdb.function
        if disc.random:
            if function not in (*_ANY_MEDIUM, *self._functions(disc)):
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="function")
            border = open_border(disc)
            if function == CloseFunction.FINALIZE and not disc.kind.erasable:       # random recording of a BD-R
                steps = self._finalize(disc)
            elif function != CloseFunction.SESSION or border is None:
                return self._synchronize()
            elif border.blank:
                raise CheckCondition(asc.CURRENT_PROGRAM_AREA_IS_EMPTY)
            else:
                steps = self._close_border(disc, border)
        elif function == CloseFunction.TRACK:
            track = self._track_to_close(disc, cdb)
            steps = self._close_track(disc, track)
        elif function in self._functions(disc):
            self._check_session(disc)
            steps = self._close_session(disc, final=self._finalizes(disc, function))
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="function")
        return self.perform_long(steps, immed=bool(cdb.immed), code=asc.LOGICAL_UNIT_NOT_READY_LONG_WRITE_IN_PROGRESS)

    def _finalize(self, disc: Disc) -> Steps:
        """Nothing more can be written."""
        disc.finalized = True
        yield from self.save_disc(disc)
        return Completion()

    def _close_border(self, disc: Disc, border: Track) -> Steps:
        """The intermediate state ends."""
        close_border(disc, border)
        yield from self.save_disc(disc)
        return Completion()

    @staticmethod
    def _functions(disc: Disc) -> tuple[int, ...]:
        """What a medium can have closed beside tracks."""
        if disc.kind.plus:
            return (CloseFunction.SESSION, CloseFunction.FINALIZE_MINIMUM, CloseFunction.FINALIZE)
        if disc.kind.family == Family.BD:
            return (CloseFunction.SESSION, CloseFunction.FINALIZE)
        if disc.kind.is_cd:
            return (CloseFunction.SESSION,)
        return (CloseFunction.SESSION, CloseFunction.FINALIZE_RESTRICTED)

    def _finalizes(self, disc: Disc, function: int) -> bool:
        if function != CloseFunction.SESSION:
            return True
        if disc.kind.plus or disc.kind.family == Family.BD:
            return False
        return self.parameters.multi_session != 3

    def _track_to_close(self, disc: Disc, cdb: CdbFields) -> Track | None:
        if cdb.track in _INVISIBLE and disc.track(cdb.track) is None:
            return next((each for each in disc.tracks if self.is_open(each)), None)
        track = disc.track(cdb.track)
        invisible = self.invisible_track(disc)
        if track is None and (invisible is None or invisible.number != cdb.track):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="track")
        if track is not None and not track.complete and track.reserved and disc.kind.is_cd and not track.full:
            raise CheckCondition(asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK)
        return track

    def _close_track(self, disc: Disc, track: Track | None) -> Steps:
        yield from self.bring_to_medium()
        if track is not None and not track.complete:
            missing = track.end - track.next if track.reserved and not disc.kind.is_cd else 0
            if missing:                             # all that was reserved belongs to the track: zeros fill it up
                yield from Fill(track.place(track.next), missing * BLOCK, bytes(BLOCK))
                track.next = track.end
            self.end_track(track)
            self.unsaved = True
            yield from self.save_disc(disc)
        return Completion()

    def _check_session(self, disc: Disc) -> None:
        if disc.finalized:
            return
        tracks = disc.in_session(disc.open_session)
        if self.plan is not None:
            raise CheckCondition(asc.SESSION_FIXATION_ERROR_INCOMPLETE_TRACK_IN_SESSION)
        if not tracks and not disc.sessions:
            raise CheckCondition(asc.CURRENT_PROGRAM_AREA_IS_EMPTY)
        if any(track.reserved and not track.full for track in tracks):
            raise CheckCondition(asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK)

    def _close_session(self, disc: Disc, *, final: bool) -> Steps:
        yield from self.bring_to_medium()
        tracks = disc.in_session(disc.open_session)
        if not disc.finalized and tracks:
            for track in tracks:
                if not track.complete:
                    self.end_track(track)
            self.end_session(disc, final=final)
        elif final:
            disc.finalized = True
        self.unsaved = True
        if self._before_rehearsal is not None:
            self.end_rehearsal()
            return Completion()
        yield from self.save_disc(disc)
        return Completion()

    # --- the rest ----------------------------------------------------------------------------------------------

    @operation(
        0x58, "REPAIR TRACK", layouts.REPAIR_TRACK, needs_ready=True, exclusive=True, standard="MMC-5 6.28",
    )
    def repair_track(self, command: Command, cdb: CdbFields) -> Completion:
        """No track is ever damaged: what a cut left out is recorded again."""
        disc = self.check_recordable(command)
        track = disc.track(cdb.track)
        if track is None or track.complete:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="track")
        return Completion()

    @operation(
        0x54, "SEND OPC INFORMATION", layouts.SEND_OPC_INFORMATION, data=DataDirection.OUT, needs_ready=True,
        exclusive=True, parameter_list="parameter_list_length", standard="MMC-5 6.36",
    )
    def send_opc_information(self, command: Command, cdb: CdbFields) -> Completion:
        """The laser is calibrated; OPC tables of 8 bytes each are taken."""
        self.check_recordable(command)
        if cdb.doopc and cdb.parameter_list_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
        if cdb.parameter_list_length % 8:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        return Completion()

    @operation(
        0xBF, "SEND DISC STRUCTURE", layouts.SEND_DISC_STRUCTURE, data=DataDirection.OUT, needs_ready=True,
        exclusive=True, parameter_list="parameter_list_length", standard="MMC-5 6.34",
    )
    def send_disc_structure(self, command: Command, cdb: CdbFields) -> Steps:
        """C0h is persistent write protection; 20h to 23h are of layers; 0Fh is a time, which is kept nowhere."""
        disc = self.loaded
        if disc.kind.pressed:
            raise CheckCondition(NOT_WRITABLE)
        data = command.parameter_list
        if cdb.format == 0x0F:
            if cdb.parameter_list_length < 18:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            return Completion()
        if LAYER_STRUCTURES.get(cdb.format) == disc.kind.name:
            self.check_recordable(command)
            if cdb.parameter_list_length < 12:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            set_layers(disc, cdb.format, int.from_bytes(data[8:12], "big"))
            yield from self.save_aside(disc)
            return Completion()
        if cdb.format != 0xC0 or not disc.takes_protection:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        if cdb.parameter_list_length < 8:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if not disc.writable:
            raise CheckCondition(asc.WRITE_PROTECTED)
        disc.protected = bool(data[4] & WriteProtection.PERSISTENT)
        yield from self.save_aside(disc)
        return Completion()
