"""Tracks, packets and sessions of recordable discs against a model of them, cuts of power among the steps."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_vmmc_recording import Burner, cue
from vmmc_bench import BLOCK
from vmmc_model import DISCS, FIXED, Model, Track, end
from vt_store import CutStore, perform

from devtypes.vmmc.disc_format import encode, open_native, stored_size
from devtypes.vmmc.profiles import KINDS
from scsiemu import asc
from scsiemu.io_requests import Flush

MULTI = 3
SYNC = "SYNCHRONIZE CACHE"
HOWS = {"once": {"write_type": 1}, "variable": {"write_type": 0, "fp": 0},
        "fixed": {"write_type": 0, "fp": 1, "packet_size": FIXED}}


class RecordingMachine(RuleBasedStateMachine):
    """A disc and its model. `safe` is what a cut leaves: the disc as it was at the last command that saved it."""

    burner: Burner
    seed = 0
    lossy = False       # linking of a DVD-R loses an ECC block

    @initialize(kind=st.sampled_from(sorted(DISCS)))
    def begin(self, kind: str) -> None:
        self.store = CutStore(stored_size(KINDS[kind], DISCS[kind][0]))
        self.disc = Model(kind)
        self.safe = Model(kind)
        self._open()

    def _open(self) -> None:
        self.burner = Burner(self.disc.kind, store=self.store)
        self.burner.parameters(multi_session=MULTI)
        self.lossy = False

    def _saved(self) -> None:
        self.safe = copy.deepcopy(self.disc)

    def _room(self) -> bool:
        return not self.disc.final and self.disc.begin() + 200 < DISCS[self.disc.kind][0]

    def _new(self, count: int) -> list[bytes]:
        self.seed += 1
        return [(self.seed * 1000 + at).to_bytes(4, "big") * 512 for at in range(count)]

    def _how(self, how: str) -> str:
        """Set the write parameters of a CD; how it is written."""
        how = how if self.disc.cd else "once"
        if self.disc.cd:
            self.burner.parameters(**HOWS[how])
        return how

    @precondition(lambda self: self.disc.kind.startswith("dvd-r"))
    @rule(lossy=st.booleans())
    def link_otherwise(self, lossy: bool) -> None:
        """Incremental recording, with buffer underrun protection or without."""
        self.burner.parameters(write_type=0, bufe=not lossy)
        self.lossy = lossy

    @precondition(_room)
    @rule(count=st.integers(1, 40), reserved=st.booleans(), how=st.sampled_from(sorted(HOWS)))
    def write(self, count: int, reserved: bool, how: str) -> None:
        track = next((each for each in self.disc.tracks if each.partial), None) if reserved else self.disc.opened()
        if track is None:
            if self.disc.opened() is not None:
                return
            track = Track(self.disc.begin(), self.disc.session)
        how = self._how(how)
        new = self._new(count)
        code = self.burner.write(track.next, b"".join(new))
        if len(track.blocks) + track.gap + count > self.disc.limit(track, how):
            assert code == (
                asc.END_OF_USER_AREA_ENCOUNTERED_ON_THIS_TRACK if how == "once"
                else asc.PACKET_DOES_NOT_FIT_IN_AVAILABLE_SPACE
            )
            return
        assert code is None
        self.disc.write(track, new, how)

    @precondition(lambda self: self._room() and self.disc.kind != "bd-r")
    @rule(count=st.integers(1, 40), how=st.sampled_from(sorted(HOWS)), synchronized=st.booleans(), more=st.booleans())
    def test_write(self, count: int, how: str, synchronized: bool, more: bool) -> None:
        """What a test write says can be done is done, and nothing of it stays."""
        track = copy.deepcopy(self.disc.opened()) or Track(self.disc.begin(), self.disc.session)
        rehearsed = copy.deepcopy(self.disc)
        how = self._how(how)
        self.burner.parameters(test_write=1)
        assert self.burner.write(track.next, b"".join(self._new(count))) is None
        if self.disc.cd:
            rehearsed.tracks = [each for each in rehearsed.tracks if each.start != track.start]
            rehearsed.write(track, self._new(count), how)
        if synchronized:
            self.burner.sync()
        if synchronized and more and self.disc.cd:
            rehearsed.pad()
            following = rehearsed.opened()
            assert self.burner.track(0xFF)["next"] == (following.next if following is not None else rehearsed.begin())
        self.burner.parameters(test_write=0)

    @rule(offset=st.sampled_from((-3, -1, 1, 2, 5000)))
    def write_elsewhere(self, offset: int) -> None:
        places = {track.next for track in self.disc.tracks if not track.complete} | {self.disc.begin()}
        lba = (self.disc.opened() or Track(self.disc.begin(), 0)).next + offset
        self._how("once")
        if lba >= 0 and lba not in places:
            assert self.burner.write(lba, bytes(BLOCK)) == asc.INVALID_ADDRESS_FOR_WRITE

    @rule()
    def synchronize(self) -> None:
        self.burner.sync()
        self.disc.pad(lossy=self.lossy)
        self._saved()

    @precondition(_room)
    @rule(size=st.integers(1, 64))
    def reserve(self, size: int) -> None:
        result = self.burner.do("RESERVE TRACK", size=size)
        if self.disc.opened() is not None:
            assert result.code == asc.COMMAND_SEQUENCE_ERROR
            return
        assert result.good, result
        size += -size % DISCS[self.disc.kind][1]
        self.disc.tracks.append(Track(self.disc.begin(), self.disc.session, size))
        self._saved()

    @precondition(lambda self: any(not track.complete for track in self.disc.tracks))
    @rule(data=st.data())
    def close_track(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([at for at, each in enumerate(self.disc.tracks) if not each.complete]))
        track = self.disc.tracks[number]
        code = self.burner.close(1, number + 1)
        if self.disc.cd and track.partial:
            assert code == asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK
            return
        assert code is None
        self.disc.pad(lossy=self.lossy)
        if track.room and not self.disc.cd:         # the rest of a reserved track is filled up
            track.blocks += [bytes(BLOCK)] * (track.room - len(track.blocks))
        end(track)
        self._saved()

    @rule(last=st.booleans())
    def close_session(self, last: bool) -> None:
        disc = self.disc
        plus = disc.kind in ("dvd+r", "dvd+r-dl", "bd-r")
        self.burner.parameters(multi_session=0 if last and not plus else MULTI)
        code = self.burner.close(6 if last and plus else 2)
        self.burner.parameters(multi_session=MULTI)
        tracks = [track for track in disc.tracks if track.session == disc.session]
        if disc.final:
            assert code is None
        elif not tracks and not disc.ends:
            assert code == asc.CURRENT_PROGRAM_AREA_IS_EMPTY
        elif any(track.partial for track in tracks):
            assert code == asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK
        else:
            assert code is None
            disc.pad(lossy=self.lossy)
            for track in tracks:
                end(track)
            if tracks:
                disc.ends.append(tracks[-1].extent)
            capacity, step = DISCS[disc.kind][:2]
            disc.final = last or (bool(tracks) and disc.begin() + step > capacity)
            self._saved()

    def _session_is_empty(self) -> bool:
        disc = self.disc
        return disc.cd and self._room() and all(each.session < disc.session for each in disc.tracks)

    @precondition(_session_is_empty)
    @rule(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=3), whole=st.booleans(), seed=st.integers(0, 9999))
    def session_at_once(self, lengths: list[int], whole: bool, seed: int) -> None:
        """A cue sheet and its blocks; where power fails before the last one nothing of it is on the disc."""
        start = at = self.disc.begin()
        first = len(self.disc.tracks) + 1
        lines = [(0x41, 0, 0, 0x14, start - 150), (0x41, first, 0, 0x14, start - 150)]
        tracks = []
        for number, length in enumerate(lengths, first):
            lines.append((0x41, number, 1, 0x10, at))
            tracks.append(Track(at, self.disc.session, 0, [*self._new(length)], complete=True))
            at += length
        lines.append((0x41, 0xAA, 1, 0x14, at))
        sheet = cue(*lines)
        self.burner.parameters(write_type=2)
        assert self.burner.do("SEND CUE SHEET", cue_sheet_size=len(sheet), data_out=sheet).good
        data = [block for track in tracks for block in track.blocks if block is not None]
        if not whole:
            data.pop()
        if data:
            assert self.burner.write(start, b"".join(data)) is None
        if not whole:
            self.burner.sync()
            self.cut(seed)
            return
        self.burner.parameters(write_type=1)
        self.disc.tracks += tracks
        self.disc.ends.append(at)
        self.disc.unsaved = False
        self.disc.final = self.disc.begin() + 1 > DISCS[self.disc.kind][0]
        self._saved()

    @precondition(lambda self: KINDS[self.disc.kind].erasable)
    @rule()
    def blank(self) -> None:
        assert self.burner.do("BLANK", type=1).good
        self.disc = Model(self.disc.kind)
        self._saved()

    @rule()
    def out_and_in(self) -> None:
        assert self.burner.do("START STOP UNIT", loej=1).good
        assert self.burner.do("START STOP UNIT", loej=1, start=1).good
        self.disc.pad(lossy=self.lossy)
        self._saved()

    @rule(seed=st.integers(0, 1 << 20))
    def cut(self, seed: int) -> None:
        """Power fails: the disc is the one that was saved last, whatever of the later writes is there."""
        self.store = self.store.cut(random.Random(seed))
        self.disc = copy.deepcopy(self.safe)
        self.disc.power_on()
        self._open()

    @invariant()
    def tells_the_truth(self) -> None:
        disc = self.disc
        open_tracks = any(track.session == disc.session for track in disc.tracks)
        status = 2 if disc.final else 1 if disc.tracks else 0
        state = 3 if disc.final else 1 if open_tracks else 0
        assert self.burner.disc() == (status, state, len(disc.ends) + (not disc.final))
        for number, track in enumerate(disc.tracks, 1):
            told = self.burner.track(number)
            assert (told["start"], told["session"]) == (track.start, track.session)
            assert bool(told["valid"] & 1) == (not track.complete)
            closed = track.complete and disc.kind.startswith("dvd+r")
            assert bool(told["flags"] & 0x80) == bool(track.room or closed)
            assert told["next"] == track.told
            if track.how:
                assert told["flags"] >> 4 & 3 == {"once": 0, "variable": 2, "fixed": 3}[track.how]
            if track.complete or track.room:
                assert told["size"] == (track.room or len(track.blocks))
        if self._room() and disc.opened() is None:
            assert self.burner.track(0xFF)["next"] == disc.begin()

    @invariant()
    def reads_what_was_written(self) -> None:
        end = int.from_bytes(self.burner.data("READ CAPACITY")[:4], "big")
        for lba, blocks in (run for track in self.disc.tracks for run in track.runs()):
            count = min(len(blocks), end + 1 - lba)
            if count > 0 and end:
                data = self.burner.data("READ(10)", lba=lba, transfer_length=count, data_in=count * BLOCK)
                assert data == b"".join(blocks[:count])
        for lba in (track.start + at for track in self.disc.tracks for at, each in enumerate(track.blocks) if not each):
            if lba <= end:
                code = self.burner.do("READ(10)", lba=lba, transfer_length=1).code
                assert code == asc.ILLEGAL_MODE_FOR_THIS_TRACK


TestRecordingMachine = RecordingMachine.TestCase
TestRecordingMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


class Watched(CutStore):
    """Keeps what was durable, and what was not, before each flush."""

    moments: list[CutStore]

    def submit(self, request: Any, ticket: Any) -> Any:
        """The performer."""
        if isinstance(request, Flush) and self.unflushed:
            moment = CutStore(0)
            moment.durable, moment.now = bytearray(self.durable), bytearray(self.now)
            moment.unflushed = list(self.unflushed)
            self.moments.append(moment)
        return super().submit(request, ticket)


@pytest.mark.parametrize("kind", ["cd-r", "dvd+r", "bd-r"])
def test_recorded_disc_cut_at_any_byte(kind: str) -> None:
    """A cut after any byte of what a command brings to the store leaves the disc before the command or after it."""
    store = Watched(stored_size(KINDS[kind], 640))
    store.moments = []
    burner = Burner(kind, store=store)
    assert burner.write(0, bytes(32 * BLOCK)) is None
    burner.sync()
    assert burner.close(1, 1) is None

    def write() -> None:
        assert burner.write(burner.track(2)["start"], bytes(32 * BLOCK)) is None

    for before_it, command in (
        (lambda: None, lambda: burner.do("RESERVE TRACK", size=32).good), (write, lambda: burner.do(SYNC).good),
        (lambda: None, lambda: burner.close(1, 2) is None), (lambda: None, lambda: burner.close(2) is None),
    ):
        before_it()
        before = encode(perform(open_native(store.capabilities), store))
        store.moments.clear()
        assert command()
        after = encode(perform(open_native(store.capabilities), store))
        found = []
        for moment in store.moments:
            length = sum(len(data) for _, data in moment.unflushed)
            for keep in range(0, length + 1, 1 if length < 4096 else 997):
                left = moment.cut(keep=keep)
                found.append(encode(perform(open_native(left.capabilities), left)))
        assert set(found) <= {before, after}
        assert found == sorted(found, key=[before, after].index)
        assert before == after or len(set(found)) == 2
