"""Playing audio on the target's clock: PLAY AUDIO and its kin, PAUSE/RESUME, SCAN, READ SUB-CHANNEL (MMC-4 6.29;
MMC-3 clause 5, annex C).

75 sectors are a second; what is played now follows from when playing began. No sound comes out. SCAN goes at eight
times the speed.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.disc import CD_PREGAP, Disc
from devtypes.vmmc.read import INCOMPATIBLE_MEDIUM
from devtypes.vmmc.read_cd import ReadCd
from devtypes.vmmc.sector import msf_to_lba
from devtypes.vmmc.toc import address
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["AudioPlay", "AudioStatus"]

_SECTORS_A_SECOND: Final = 75
_SCAN_SPEED: Final = 8
_HERE: Final = 0xFFFFFFFF           # PLAY AUDIO from where the pick-up is
_AUDIO_CONTROL: Final = 0x0E


class AudioStatus:
    """AUDIO STATUS of READ SUB-CHANNEL (MMC-6 table 397)."""

    NOT_SUPPORTED: Final = 0x00
    PLAYING: Final = 0x11
    PAUSED: Final = 0x12
    COMPLETED: Final = 0x13
    FAILED: Final = 0x14
    NONE: Final = 0x15


class AudioPlay(ReadCd):
    """Audio play."""

    _status: int = AudioStatus.NONE
    _from = 0                       # address where playing began, at the time `_began`
    _until = 0
    _floor = 0                      # what scanning backwards goes down to
    _began = 0.0
    _speed = 1                      # backwards below zero

    # --- where playing is --------------------------------------------------------------------------------------

    def audio_position(self) -> int:
        """The address under the pick-up."""
        if self._status != AudioStatus.PLAYING:
            return self._from
        gone = int((self.unit.now - self._began) * _SECTORS_A_SECOND) * self._speed
        return min(max(self._from + gone, self._floor), self._until - 1)

    def audio_status(self) -> int:
        """What is so now; playing that has come to its end is completed."""
        if self._status == AudioStatus.PLAYING:
            gone = int((self.unit.now - self._began) * _SECTORS_A_SECOND) * self._speed
            if self._from + gone >= self._until or (self._speed < 0 and self._from + gone <= self._floor):
                self._from = self.audio_position()
                self._status = AudioStatus.COMPLETED
        return self._status

    @property
    def scanning(self) -> bool:
        """Whether what is played is a scan."""
        return self.audio_status() == AudioStatus.PLAYING and self._speed != 1

    def stop_audio(self) -> None:
        if self.audio_status() in (AudioStatus.PLAYING, AudioStatus.PAUSED):
            self._from = self.audio_position()
            self._status = AudioStatus.NONE

    def disc_leaves(self) -> None:
        super().disc_leaves()
        self._status = AudioStatus.NONE
        self._from = 0

    def reset(self, kind: str) -> None:
        """Playing stops."""
        self._status = AudioStatus.NONE
        super().reset(kind)

    def _play(self, start: int, end: int, *, field: str) -> Completion:
        """Begin to play. Raises CheckCondition where it is not audio."""
        disc = self.loaded
        if not disc.kind.is_cd:
            raise CheckCondition(INCOMPATIBLE_MEDIUM)
        if start < -150 or start >= disc.capacity_end or end > disc.capacity_end:
            raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field=field)
        if end < start:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=field)
        if start == end:                # nothing to play is no error
            return Completion()
        track = disc.track_at(start)
        if track is None or not track.is_audio:
            raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK)
        # It ends where data begins (SOTC: where the track ends).
        stop = end
        for each in disc.tracks:
            if each.start > start and not each.is_audio:
                stop = min(stop, each.start - each.pregap)
        if self.mode_pages.fields(_AUDIO_CONTROL).sotc:
            stop = min(stop, track.end)
        self._from, self._until, self._began, self._speed = start, stop, self.unit.now, 1
        self._floor = min(start, max((each.end for each in disc.tracks if each.end <= start and not each.is_audio),
                                     default=disc.tracks[0].start))
        self._status = AudioStatus.PLAYING
        return Completion()

    @operation(
        0x45, "PLAY AUDIO(10)", layouts.PLAY_AUDIO_10, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-4 6.15",
    )
    @operation(
        0xA5, "PLAY AUDIO(12)", layouts.PLAY_AUDIO_12, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-4 6.16",
    )
    def play_audio(self, command: Command, cdb: CdbFields) -> Completion:
        """So many sectors from an address, or from where the pick-up is."""
        start = self.audio_position() if cdb.lba == _HERE else cdb.lba
        return self._play(start, start + cdb.transfer_length, field="lba")

    @operation(
        0x47, "PLAY AUDIO MSF", layouts.PLAY_AUDIO_MSF, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-4 6.17",
    )
    def play_audio_msf(self, command: Command, cdb: CdbFields) -> Completion:
        """From one time up to another; FF:FF:FF is where the pick-up is."""
        here = (cdb.start_m, cdb.start_s, cdb.start_f) == (0xFF, 0xFF, 0xFF)
        for name, limit in (("start_s", 60), ("start_f", 75), ("end_s", 60), ("end_f", 75)):
            if getattr(cdb, name) >= limit and not (here and name.startswith("start")):
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=name)
        start = self.audio_position() if here else msf_to_lba(cdb.start_m, cdb.start_s, cdb.start_f)
        return self._play(start, msf_to_lba(cdb.end_m, cdb.end_s, cdb.end_f), field="end_m")

    @operation(
        0x48, "PLAY AUDIO TRACK/INDEX", layouts.PLAY_AUDIO_TRACK_INDEX, conflict=ReservationClass.READ,
        needs_ready=True, standard="SCSI-2 14.2.5",
    )
    def play_audio_track_index(self, command: Command, cdb: CdbFields) -> Completion:
        """From an index of a track up to the end of an index of a track."""
        disc = self.loaded
        first = disc.track(cdb.start_track)
        last = disc.track(min(cdb.end_track, disc.tracks[-1].number if disc.tracks else 0))
        if first is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="start_track")
        if last is None or last.number < first.number:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="end_track")
        starts = (first.start, *first.indexes)
        ends = (last.start, *last.indexes, last.end)
        start = starts[min(max(cdb.start_index, 1), len(starts)) - 1]
        return self._play(start, ends[min(max(cdb.end_index, 1), len(ends) - 1)], field="start_track")

    @operation(
        0x49, "PLAY TRACK RELATIVE(10)", layouts.PLAY_TRACK_RELATIVE_10, conflict=ReservationClass.READ,
        needs_ready=True, standard="SCSI-2 14.2.6",
    )
    @operation(
        0xA9, "PLAY TRACK RELATIVE(12)", layouts.PLAY_TRACK_RELATIVE_12, conflict=ReservationClass.READ,
        needs_ready=True, standard="SCSI-2 14.2.7",
    )
    def play_track_relative(self, command: Command, cdb: CdbFields) -> Completion:
        """So many sectors from an address, in two's complement, relative to index 1 of a track."""
        track = self.loaded.track(cdb.track)
        if track is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="track")
        relative = cdb.relative - (1 << 32) if cdb.relative >> 31 else cdb.relative
        start = track.start + relative
        return self._play(start, start + cdb.transfer_length, field="relative")

    @operation(
        0x4B, "PAUSE/RESUME", layouts.PAUSE_RESUME, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-4 6.14",
    )
    def pause_resume(self, command: Command, cdb: CdbFields) -> Completion:
        """Pause, or go on; neither is an error when it is so already. A scan that was paused goes on as play."""
        status = self.audio_status()
        if status not in (AudioStatus.PLAYING, AudioStatus.PAUSED):
            raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
        if cdb.resume and status == AudioStatus.PAUSED:
            self._began, self._status, self._speed = self.unit.now, AudioStatus.PLAYING, 1
        elif not cdb.resume and status == AudioStatus.PLAYING:
            self._from = self.audio_position()
            self._status = AudioStatus.PAUSED
        return Completion()

    @operation(
        0x4E, "STOP PLAY/SCAN", layouts.STOP_PLAY_SCAN, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-3 5.35",
    )
    def stop_play_scan(self, command: Command, cdb: CdbFields) -> Completion:
        """The pick-up stays where it is."""
        self.stop_audio()
        return Completion()

    @operation(
        0xBA, "SCAN", layouts.SCAN, conflict=ReservationClass.READ, needs_ready=True, standard="MMC-3 5.32",
    )
    def scan(self, command: Command, cdb: CdbFields) -> Completion:
        """Quickly forward or back from an address, a time or a track, to the end or the beginning of the audio."""
        disc = self.loaded
        if cdb.type == 0:
            start = cdb.start
        elif cdb.type == 1:
            start = msf_to_lba(cdb.start >> 16 & 0xFF, cdb.start >> 8 & 0xFF, cdb.start & 0xFF)
        elif cdb.type == 2:
            track = disc.track(cdb.start & 0xFF)
            if track is None:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="start")
            start = track.start
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")
        done = self._play(start, disc.capacity_end, field="start")
        self._speed = -_SCAN_SPEED if cdb.direct else _SCAN_SPEED
        return done

    # --- READ SUB-CHANNEL --------------------------------------------------------------------------------------

    @operation(
        0x42, "READ SUB-CHANNEL", layouts.READ_SUB_CHANNEL, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, allocation="allocation_length", standard="MMC-4 6.29",
    )
    def read_sub_channel(self, command: Command, cdb: CdbFields) -> Completion:
        """Audio status, and with SUBQ the position, the media catalogue number, or the ISRC of a track."""
        disc = self.loaded
        if not disc.kind.is_cd:
            raise CheckCondition(INCOMPATIBLE_MEDIUM)
        body = b""
        if cdb.subq:
            if cdb.parameter_list == 1:
                body = self._position(disc, msf=bool(cdb.msf))
            elif cdb.parameter_list == 2:
                body = bytes((2, 0, 0, 0)) + _code(disc.mcn, 13)
            elif cdb.parameter_list == 3:
                track = disc.track(cdb.track)
                if track is None:
                    raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="track")
                body = bytes((3, 0x10 | track.control, track.number, 0)) + _code(track.isrc, 12)
            else:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list")
        status = self.audio_status()
        if status in (AudioStatus.COMPLETED, AudioStatus.FAILED):   # told once
            self._status = AudioStatus.NONE
        return Completion(bytes((0, status)) + len(body).to_bytes(2, "big") + body)

    def _position(self, disc: Disc, *, msf: bool) -> bytes:
        at = self.audio_position()
        track = disc.track_at(at)
        if track is None:
            return bytes((1, 0, 0, 0)) + address(at, msf=msf) + address(0 if not msf else -150, msf=msf)
        relative = at - track.start
        if msf:     # from 00:00:00, without the lead of 2 seconds; in a pause it counts down (ECMA-130 22.3.3.2)
            relative = (relative if relative >= 0 else -1 - relative) - CD_PREGAP
        head = bytes((1, 0x10 | track.control, track.number, track.index_of(at)))
        return head + address(at, msf=msf) + address(relative, msf=msf)


def _code(text: str, digits: int) -> bytes:
    """The flag that there is a code, its characters, and zeros: 16 bytes."""
    if not text:
        return bytes(16)
    return (b"\x80" + text.encode("ascii", "replace")[:digits].ljust(digits, b"0")).ljust(16, b"\0")
