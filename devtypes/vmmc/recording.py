"""What can be recorded where, and how it comes to the medium: the state that all writing commands share (MMC-6 4.3 to
4.5).

A sequential disc is written at the next writable address of a track: of the one that takes all the room that is left,
of a reserved one, or in session-at-once where the cue sheet says. Random media are written anywhere. Tracks and packets
end, and the state of the disc is saved, when the cache is synchronised. What follows a packet of variable size on a CD,
or what was written incrementally on a DVD-R without buffer underrun protection, has to be linked: the next writable
address leaps. Track at once leaves no run-out blocks here.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.base import Ongoing
from devtypes.vmmc.borders import extend, restricted, restricted_place
from devtypes.vmmc.cue_sheet import CuePlan
from devtypes.vmmc.defects import is_managed, spares_left, store_managed
from devtypes.vmmc.disc import CD_PREGAP, FORMS, Asking, Control, Disc, SectorForm, Session, Track
from devtypes.vmmc.disc_format import decode, encode, native_track, save
from devtypes.vmmc.information import LEAD_IN
from devtypes.vmmc.layers import LAYER_JUMP, advance, end_jumping, is_jumping, jump_address
from devtypes.vmmc.modes import TIMEOUT_AND_PROTECT, WRITE_PARAMETERS, OpticalModes, WriteType
from devtypes.vmmc.packets import LINK, fitting
from devtypes.vmmc.profiles import Family
from devtypes.vmmc.raw import RAW_BLOCKS, RawSession
from devtypes.vmmc.sector import RAW_SIZE, mode_2_sector
from devtypes.vmmc.subchannel import CHANNEL_BYTES
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut, Flush, Sleep, Write
from scsiemu.mode_pages import ModePage
from scsiemu.sense import CheckCondition, SenseCode, SenseKey

__all__ = ["NOT_WRITABLE", "Recorder"]

NOT_WRITABLE: Final = asc.with_key(asc.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT, SenseKey.ILLEGAL_REQUEST)
_UNFORMATTED: Final = asc.with_key(asc.MEDIUM_NOT_FORMATTED, SenseKey.NOT_READY)
_OPEN: Final = 3                # MULTI-SESSION: another session may come
_DATA_TRACK: Final = 4
_FIRST_GAP, _LATER_GAP = 11400, 6900     # lead-out, lead-in and pause between the sessions of a CD
# Between sessions of DVDs: lead-out and intro, or border-out and border-in.
_GAPS: Final = {"dvd+r": 2048, "dvd+r-dl": 2048, "dvd-r": 28672, "dvd-rw": 28672, "dvd-r-dl": 28672}
_BIT: Final = 8
_LONGEST_LEAD_OUT: Final = 6750         # 1:30
_MOST_PACKET: Final = 0xFFFF
_TWO_LAYERS: Final = "dvd-r-dl"
_NOT_INCREMENTAL: Final = frozenset((WriteType.SESSION_AT_ONCE, WriteType.LAYER_JUMP))
_LINKED: Final = ("dvd-r", "dvd-rw", "dvd-r-dl")        # have a linking loss area (ECMA-359, ECMA-338)

# By data block type: bytes of a block, name of the form that a data track keeps (MMC-6 table 654).
_BLOCK_TYPES: Final = {
    0: (2352, "raw1"), 1: (2368, "raw1"), 2: (2448, "raw1+sub"), 3: (2448, "raw1+sub"), 8: (2048, "mode1"),
    9: (2336, "mode2"), 10: (2048, "xa"), 11: (2056, "xa"), 12: (2324, "xa"), 13: (2332, "xa"),
}
_XA_KEPT: Final = 2336


class Recorder(OpticalModes):
    """Recording.

    Attributes:
        plan: what SEND CUE SHEET has announced, until all of it is written.
        raw: what has come of a session that the host makes.
    """

    plan: CuePlan | None = None
    raw: RawSession | None = None
    _before_rehearsal: bytes | None = None
    _unsaved_before = False

    # --- may it be written -------------------------------------------------------------------------------------

    def check_recordable(self, command: Command) -> Disc:
        """The disc. Raises CheckCondition where nothing can be recorded on it."""
        disc = self.loaded
        if disc.kind.pressed:
            raise CheckCondition(NOT_WRITABLE)
        if not disc.writable or self.config.write_protect or command.nexus_state.read_only:
            raise CheckCondition(asc.WRITE_PROTECTED)
        if disc.protected:
            raise CheckCondition(asc.PERSISTENT_WRITE_PROTECT)
        if self.software_protected():
            raise CheckCondition(asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED)
        return disc

    def software_protected(self) -> bool:
        return bool(self.control.swp or self.mode_pages.fields(*TIMEOUT_AND_PROTECT.key).swpp)

    @property
    def current_profile(self) -> int:
        """As the disc is; a blank DVD-R DL is what it would become by the write type."""
        disc = self.disc
        if disc is not None and disc.kind.name == _TWO_LAYERS and disc.blank:
            return LAYER_JUMP if self.parameters.write_type == WriteType.LAYER_JUMP else disc.kind.profile
        return super().current_profile

    @property
    def parameters(self) -> CdbFields:
        """The write parameters page."""
        return self.mode_pages.fields(*WRITE_PARAMETERS.key)

    def _rehearse(self, disc: Disc) -> bool:
        """Whether the laser stays at reading power. What was so before comes back when the rehearsal ends."""
        if not (self.parameters.test_write and disc.kind.family != Family.BD and not disc.random):
            return False
        if self._before_rehearsal is None:
            self._before_rehearsal, self._unsaved_before = encode(disc), self.unsaved
        return True

    def end_rehearsal(self) -> None:
        """The disc is as it was before the test writes."""
        before, self._before_rehearsal = self._before_rehearsal, None
        if before is None or self.disc is None:
            return
        old = decode(before, 1 << 60)
        self.disc.tracks, self.disc.sessions, self.disc.finalized = old.tracks, old.sessions, old.finalized
        self.disc.mcn, self.disc.cd_text = old.mcn, old.cd_text
        self.disc.jumps, self.disc.profile = old.jumps, old.profile
        self.plan = None
        self.unsaved = self._unsaved_before

    def mode_page_changed(self, page: ModePage, fields: CdbFields) -> None:
        super().mode_page_changed(page, fields)
        if page.key == WRITE_PARAMETERS.key and not fields.test_write:
            self.end_rehearsal()
        if page.key == WRITE_PARAMETERS.key and fields.write_type != WriteType.RAW:
            self.raw = None
        self.tell_features()        # a blank DVD-R DL has a profile by the write type; software write protection

    def disc_arrives(self) -> None:
        """What a power cut left of packets and ECC blocks is ended as what is in the cache is."""
        super().disc_arrives()
        disc = self.disc
        if disc is None or disc.random or not disc.writable:
            return
        for track in disc.tracks:
            if track.complete or track.blank:
                continue
            step = track.packet if track.fixed else disc.kind.blocks
            self.unsaved = self.unsaved or bool((track.next - track.start) % step)
            if disc.kind.is_cd and track.incremental and not track.fixed:
                track.gap = LINK

    def disc_leaves(self) -> None:
        super().disc_leaves()
        self.plan = self.raw = None
        self.unsaved = False
        self._before_rehearsal = None

    # --- where -------------------------------------------------------------------------------------------------

    def place_to_write(self, disc: Disc, lba: int, count: int) -> tuple[Track, int]:
        """The track that blocks go to, and how long a block is as it comes. Raises CheckCondition."""
        if disc.random:
            return self._random_place(disc, lba, count)
        if disc.kind.recording == "overwrite":
            raise CheckCondition(_UNFORMATTED)
        if self.plan is not None:
            return self._planned_place(self.plan, lba, count)
        if disc.overwrites and (over := disc.track_at(lba)) is not None and lba < over.next:
            return self._replaced_place(disc, over, lba, count)
        track = next((each for each in disc.tracks if not each.complete and each.start <= lba < each.end), None)
        track = track or self.invisible_track(disc)
        if track is None or disc.finalized or lba != track.next + track.gap:
            raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")
        if disc.kind.is_cd and self.parameters.write_type >= WriteType.SESSION_AT_ONCE:
            raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
        if disc.kind.is_cd and self._wants_packets() and not self._packet():
            raise CheckCondition(asc.INVALID_PACKET_SIZE)
        jumping = self.current_profile == LAYER_JUMP            # a blank disc is going to
        if jumping and lba + count > jump_address(disc, track):     # the host is told where that is
            raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")
        if lba + count > self._room_end(disc, track):
            packet = disc.kind.is_cd and self.parameters.write_type == WriteType.PACKET
            code = asc.PACKET_DOES_NOT_FIT_IN_AVAILABLE_SPACE if packet else (
                asc.END_OF_USER_AREA_ENCOUNTERED_ON_THIS_TRACK
            )
            raise CheckCondition(code)
        size = self.host_block() if disc.kind.is_cd else 2048
        kept = track.form if track.next > track.start or (track in disc.tracks and track.blank is False) else None
        if disc.kind.is_cd and kept is not None and kept.name != self._form_now():
            raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK)
        return track, size

    @staticmethod
    def _random_place(disc: Disc, lba: int, count: int) -> tuple[Track, int]:
        if restricted(disc):
            return restricted_place(disc, lba, count), 2048
        if lba < 0 or lba + count > disc.capacity:
            raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field="lba")
        step = disc.kind.blocks
        if disc.profile == 0x42:
            for cluster in range(lba // step, -(-(lba + count) // step)):
                if disc.finalized or disc.recorded[cluster // _BIT] >> cluster % _BIT & 1:
                    raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")
        return disc.tracks[0], 2048

    @staticmethod
    def _replaced_place(disc: Disc, track: Track, lba: int, count: int) -> tuple[Track, int]:
        """Pseudo-overwrite: what is recorded is replaced by clusters of the spare area (MMC-6 4.5.3.6)."""
        if lba + count > track.next:
            raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")
        if _clusters(disc, lba, count) > spares_left(disc):
            raise CheckCondition(asc.NO_DEFECT_SPARE_LOCATION_AVAILABLE)
        return track, 2048

    @staticmethod
    def _planned_place(plan: CuePlan, lba: int, count: int) -> tuple[Track, int]:
        segment = plan.segment
        if segment is None or lba != plan.next:
            raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")
        if count > plan.room():
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        return segment.track, segment.size

    def host_block(self) -> int:
        """Bytes of a block as it comes, by the write parameters."""
        return _BLOCK_TYPES[self.parameters.data_block_type][0]

    def _form_now(self) -> str:
        """The form that a CD track gets by the write parameters."""
        parameters = self.parameters
        form = _BLOCK_TYPES[parameters.data_block_type][1]
        if not parameters.track_mode & _DATA_TRACK and form.startswith("raw1"):
            return form.replace("raw1", "audio")
        return form

    def next_writable(self, track: Track) -> int:
        if self.plan is not None:
            return self.plan.next
        if self.writes_raw(self.loaded):
            return (self.raw or self._raw_session(self.loaded)).next
        # At once, a disc begins with the pause. Of later sessions programs reckon from their first block.
        at_once = self.parameters.write_type == WriteType.SESSION_AT_ONCE
        if at_once and self.loaded.kind.is_cd and self.loaded.blank:
            return -CD_PREGAP
        return super().next_writable(track)

    def _room_end(self, disc: Disc, track: Track) -> int:
        """Behind the last block that a track has room for: of one that begins as fixed packets are going to take it."""
        packet = self._packet()
        if not disc.kind.is_cd or not packet or track.next > track.start:
            return track.end
        return track.start + fitting(track.end - track.start, packet)

    def _packet(self) -> int:
        """Blocks of a packet of fixed size that a CD track gets, 0: it gets none."""
        size: int = self.parameters.packet_size
        return size if self._wants_packets() and size <= _MOST_PACKET else 0

    def _wants_packets(self) -> bool:
        """Whether packets of a fixed size are asked for."""
        return bool(self.parameters.write_type == WriteType.PACKET and self.parameters.fp)

    # --- RAW -------------------------------------------------------------------------------------------------------

    def writes_incrementally(self, disc: Disc) -> bool:
        """Whether the next track of a DVD-R or DVD-RW is written incrementally: neither at once nor in layer jumps."""
        return disc.kind.name in _LINKED and self.parameters.write_type not in _NOT_INCREMENTAL

    def is_incremental(self, disc: Disc, track: Track) -> bool:
        """What is not there yet is going to be as the write parameters say."""
        if track in disc.tracks or disc.random:
            return super().is_incremental(disc, track)
        return super().is_incremental(disc, track) or self.writes_incrementally(disc)

    def writes_raw(self, disc: Disc) -> bool:
        """Whether the host makes everything of the session that comes next."""
        if not disc.kind.is_cd or disc.finalized or disc.random or self.parameters.write_type != WriteType.RAW:
            return False
        return not disc.in_session(disc.open_session)

    def _raw_session(self, disc: Disc) -> RawSession:
        """A session of which nothing has come."""
        if not disc.sessions:
            return RawSession()
        program = self.next_start(disc) - CD_PREGAP
        return RawSession(program - LEAD_IN, program)

    def record_raw(self, disc: Disc, lba: int, count: int) -> Asking[None]:
        """Blocks of lead-in, program area or lead-out. Raises CheckCondition."""
        session = self.raw or self._raw_session(disc)
        if lba != session.next or lba + count > disc.capacity + _LONGEST_LEAD_OUT:
            raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")
        size = RAW_BLOCKS[self.parameters.data_block_type]
        if not count:
            return
        data = yield from DataOut(count * size)
        self.raw, self.unsaved = session, True
        for request in session.receive(data, size):
            if not self.parameters.test_write:
                yield request

    def _end_raw(self, disc: Disc) -> Asking[None]:
        """The last block has come, where the lead-out has begun: the session is what its lead-in says."""
        session = self.raw
        if session is None or not session.complete:
            yield Flush()
            return
        self.raw = None
        self.unsaved = False
        if not self.parameters.test_write:
            number = disc.open_session
            told = session.tell(disc)
            if told is None:
                raise CheckCondition(asc.SESSION_FIXATION_ERROR_WRITING_LEAD_IN)
            self._append_session(disc, number, *told, final=not session.open)
            yield from self.save_disc(disc)

    # --- recording ---------------------------------------------------------------------------------------------

    def record(self, disc: Disc, track: Track, lba: int, data: Buffer, size: int) -> Asking[int]:
        """Blocks go to the store; how many they were. A track that was invisible becomes one."""
        blocks = len(data) // size
        if not blocks:
            return 0
        rehearsal = self._rehearse(disc)
        self.unsaved = True
        if self.plan is not None:
            yield from self._record_planned(disc, self.plan, memoryview(data), size, rehearsal=rehearsal)
            return blocks
        if track not in disc.tracks:
            track = self._begin_track(disc, track)
        elif disc.kind.is_cd and track.blank and not disc.random:
            self._shape_track(track)
        if track.gap:
            yield from self._link(disc, track, rehearsal=rehearsal)
        if not rehearsal:
            yield from self._store(track, lba, data, size, blocks)
        if disc.random and not track.complete:
            extend(disc, track, lba + blocks)
        elif disc.random:
            self._mark(disc, lba, blocks)
        elif disc.overwrites and lba < track.next:
            disc.spares_used += _clusters(disc, lba, blocks)
        elif is_jumping(disc):
            advance(disc, track, lba + blocks)
        else:
            track.next = lba + blocks
        return blocks

    def _record_planned(
        self, disc: Disc, plan: CuePlan, data: memoryview, size: int, *, rehearsal: bool
    ) -> Asking[None]:
        """Blocks that a cue sheet has announced, perhaps of several tracks."""
        while len(data) >= size and (segment := plan.segment) is not None:
            blocks = min(len(data) // size, segment.end - plan.next)
            if not rehearsal:
                yield from self._store(segment.track, plan.next, data[: blocks * size], size, blocks)
            segment.track.next = plan.next + blocks
            plan.written(blocks)
            data = data[blocks * size :]
        if plan.segment is None:
            yield from self.finish_plan(disc)

    def _store(self, track: Track, lba: int, data: Buffer, size: int, blocks: int) -> Asking[None]:
        kept = self._kept(track.form, lba, data, size, blocks)
        if is_managed(self.loaded):
            yield from store_managed(self.loaded, track, lba, kept)
            return
        yield from Write(track.place(lba), len(kept), kept)

    @staticmethod
    def _link(disc: Disc, track: Track, *, rehearsal: bool) -> Asking[None]:
        """What comes next is linked to what is there."""
        at, length = track.next, track.gap
        track.next, track.gap = at + length, 0
        if disc.kind.is_cd:
            track.links.append(at)
        elif not rehearsal:                         # linking loss area: an ECC block of zeros
            yield from Write(track.place(at), length * 2048, bytes(length * 2048))

    @staticmethod
    def _mark(disc: Disc, lba: int, blocks: int) -> None:
        if disc.profile == 0x42:
            step = disc.kind.blocks
            for cluster in range(lba // step, -(-(lba + blocks) // step)):
                disc.recorded[cluster // _BIT] |= 1 << cluster % _BIT

    def _begin_track(self, disc: Disc, invisible: Track) -> Track:
        cd = disc.kind.is_cd
        track = native_track(
            disc, invisible.number, invisible.session, invisible.start, invisible.end,
            self._form_now() if cd else "block", control=self._control() if cd else Control.DATA,
            recorded=invisible.start, complete=False, incremental=not cd and self.writes_incrementally(disc),
        )
        if cd:
            self._shape_track(track)
        elif disc.blank:
            disc.profile = self.current_profile
        disc.tracks.append(track)
        return track

    def _control(self) -> int:
        return self.parameters.track_mode & 0xF

    def _shape_track(self, track: Track) -> None:
        """The first block decides what a CD track is."""
        parameters = self.parameters
        track.form = FORMS[self._form_now()]
        track.control = self._control()
        track.pregap = CD_PREGAP
        track.end = self._room_end(self.loaded, track)
        track.incremental = parameters.write_type == WriteType.PACKET
        track.packet = self._packet()
        if parameters.isrc >> 127:
            track.isrc = _text(parameters.isrc, 12)
        if parameters.mcn >> 127 and self.disc is not None:
            self.disc.mcn = _text(parameters.mcn, 13)

    def _kept(self, form: SectorForm, lba: int, data: Buffer, size: int, blocks: int) -> Buffer:
        """What is kept of blocks as they came, for this address."""
        if size == form.size:
            return data
        view = memoryview(data)
        if form.name == "xa":
            head = b""
            if size in (2048, 2324):            # the subheader comes from the write parameters
                four = self.parameters.sub_header.to_bytes(4, "big")
                head = four * 2
            parts = [head + view[at : at + min(size, _XA_KEPT)] for at in range(0, blocks * size, size)]
            return b"".join(bytes(part).ljust(_XA_KEPT, b"\0") for part in parts)
        if size in (_XA_KEPT, _XA_KEPT + CHANNEL_BYTES):        # mode 2 without sync and header
            rows = (view[at : at + size] for at in range(0, blocks * size, size))
            return b"".join(
                mode_2_sector(lba + number, row[:_XA_KEPT]) + row[_XA_KEPT:] for number, row in enumerate(rows)
            )
        # Whole sectors of which the sub-channels are left out.
        sectors = (view[at : at + RAW_SIZE].tobytes() for at in range(0, blocks * size, size))
        return b"".join(sector.ljust(form.size, b"\0") for sector in sectors)

    # --- bringing it to the medium -----------------------------------------------------------------------------

    def bring_to_medium(self) -> Asking[None]:
        disc = self.disc
        if disc is None or not self.unsaved or not disc.writable:
            yield Flush()
            return
        if self.raw is not None:
            yield from self._end_raw(disc)
            return
        if self._before_rehearsal is not None:
            if disc.kind.is_cd:
                yield from self._end_tracks(disc, rehearsal=True)
            return
        if not disc.random and self.plan is None:
            if disc.kind.is_cd:
                yield from self._end_tracks(disc, rehearsal=False)
            else:
                yield from self._pad(disc)
        yield from self.save_disc(disc)

    def before_leaving(self) -> Asking[None]:
        if self.unsaved:
            yield from self.bring_to_medium()

    def save_disc(self, disc: Disc) -> Asking[None]:
        """The state of the disc is safe when this returns."""
        if self._before_rehearsal is not None:
            return
        if self.plan is not None:               # half a session is none
            yield Flush()
            return
        yield from save(disc)
        self.unsaved = False
        self.tell_features()

    def save_aside(self, disc: Disc) -> Asking[None]:
        """As `save_disc`, for what is no recording: what the cache has is brought to the medium later."""
        before, self.unsaved = self.unsaved, True
        yield from self.save_disc(disc)
        self.unsaved = self.unsaved or before

    def _end_tracks(self, disc: Disc, *, rehearsal: bool) -> Asking[None]:
        """Track at once: the track ends with its last block. Of packets only the packet does."""
        for track in disc.tracks:
            if track.complete or track.blank:
                continue
            if track.fixed:
                missing = -(track.next - track.start) % track.packet
                size = missing * track.form.size
                if missing and not rehearsal:       # the rest of the packet
                    yield from Write(track.place(track.next), size, bytes(size))
                track.next += missing
            elif track.incremental:
                track.gap = LINK
            elif not track.reserved or track.full:
                self.end_track(track)

    def _pad(self, disc: Disc) -> Asking[None]:
        """What was begun of an ECC block is filled up with zeros (MMC-6 4.4)."""
        step = disc.kind.blocks
        for track in disc.tracks:
            missing = -track.next % step
            if not track.complete and missing and track.next + missing <= track.end:
                yield from self._store(track, track.next, bytes(missing * 2048), 2048, missing)
                if is_jumping(disc):
                    advance(disc, track, track.next + missing)
                else:
                    track.next += missing
            if self._loses_link(disc) and not track.complete and track.next > track.start:
                track.gap = step
            if self.parameters.write_type == WriteType.SESSION_AT_ONCE and track.reserved and track.next == track.end:
                self.end_track(track)           # disc at once: all of it is there
                self.end_session(disc, final=self.parameters.multi_session != _OPEN)

    def _loses_link(self, disc: Disc) -> bool:
        """Whether an ECC block is lost where incremental recording stops (MMC-5 7.5.4: BUFE, LINK SIZE)."""
        parameters = self.parameters
        dash = disc.kind.name in _LINKED and not is_jumping(disc)
        return dash and parameters.write_type == WriteType.PACKET and not parameters.bufe

    def end_track(self, track: Track) -> None:
        """Nothing can be added."""
        disc = self.loaded
        end = track.next
        if is_jumping(disc):
            end = end_jumping(disc, track)
        track.complete = True
        track.end = end
        track.reserved = False
        track.gap = 0

    def end_session(self, disc: Disc, *, final: bool) -> None:
        """Close the open session; all its tracks are complete."""
        number = disc.open_session
        disc_type = self.parameters.session_format * disc.kind.is_cd
        self._append_session(disc, number, disc.in_session(number)[-1].physical_end, disc_type, final=final)

    def _append_session(self, disc: Disc, number: int, lead_out: int, disc_type: int, *, final: bool) -> None:
        tracks = disc.in_session(number)
        if disc.kind.is_cd:
            gap = _FIRST_GAP if number == 1 else _LATER_GAP
        else:
            gap = _GAPS.get(disc.kind.name, 0)
        following = lead_out + gap
        step = disc.kind.blocks
        following += -following % step
        if following + step > disc.capacity or is_jumping(disc):
            final = True
        disc.sessions.append(Session(
            number, tracks[0].number, tracks[-1].number, lead_out, disc_type, -1 if final else following,
        ))
        disc.finalized = final
        self.unsaved = True

    def finish_plan(self, disc: Disc) -> Asking[None]:
        """Session at once: all blocks are there."""
        assert self.plan is not None
        final = self.parameters.multi_session != _OPEN
        for track in self.plan.tracks:
            track.complete, track.reserved, track.next = True, False, track.end
        if self.plan.cd_text:
            disc.cd_text = self.plan.cd_text
        self.plan = None
        self.end_session(disc, final=final)
        yield from self.save_disc(disc)

    # --- operations that take long -----------------------------------------------------------------------------

    def perform_long(self, steps: Steps, *, immed: bool, code: SenseCode) -> Completion | Steps:
        """Steps that keep the drive busy; with IMMED they go on when the command has ended."""
        seconds = self.config.long_seconds
        if immed and seconds:
            self.ongoing = Ongoing(code, self.unit.now, seconds)
            self.tell_busy()
            self.unit.start_background(self._busy(steps, seconds), "long operation")
            return Completion()
        return self._after(steps, seconds)

    def _busy(self, steps: Steps, seconds: float) -> Steps:
        try:
            return (yield from self._after(steps, seconds))
        finally:
            self.ongoing = None
            self.tell_busy()

    @staticmethod
    def _after(steps: Steps, seconds: float) -> Steps:
        if seconds:
            yield from Sleep(seconds)
        return (yield from steps)


def _clusters(disc: Disc, lba: int, count: int) -> int:
    """How many ECC blocks so many blocks are in."""
    step = disc.kind.blocks
    return -(-(lba + count) // step) - lba // step if count else 0


def _text(number: int, digits: int) -> str:
    """The characters behind the flag byte of MCN and ISRC fields."""
    data = number.to_bytes(16, "big")[1 : 1 + digits]
    return "".join(chr(byte) if 0x20 < byte < 0x7F else "0" for byte in data)
