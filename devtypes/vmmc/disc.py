"""A disc: its tracks and sessions, what of it is recorded, and where in a store the sectors are (MMC-6 clause 4).

The model knows nothing of commands. Pressed discs come from images (`images`), recorded ones are kept in the native
format (`disc_format`). A track's sectors lie one behind the other in the store, each of `SectorForm.size` bytes;
what is not kept of a CD sector is computed (`sector`, `subchannel`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, TypeAlias, TypeVar

from devtypes.vmmc.packets import spread_to
from devtypes.vmmc.profiles import MediumKind, Recording
from scsiemu._value import value
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import IoRequest

__all__ = [
    "CD_PREGAP", "FORMS", "Asking", "Control", "DataMode", "Disc", "DiscUnusable", "SectorForm", "Session", "Track",
    "may_be_formatted",
]

T = TypeVar("T")

# What asks a store for things and comes to a T.
Asking: TypeAlias = Generator[IoRequest[Any], Any, T]

CD_PREGAP: Final = 150


class DiscUnusable(IoFailed):
    """A store holds no disc that can be used; one sentence says why."""

    def __init__(self, message: str) -> None:
        super().__init__(IoFault.MEDIUM, message)


class Control:
    """Bits of the CONTROL nibble of Q (ECMA-130 22.3.1)."""

    PRE_EMPHASIS: Final = 1
    COPY_PERMITTED: Final = 2
    DATA: Final = 4
    FOUR_CHANNELS: Final = 8
    INCREMENTAL: Final = 5      # a data track that was recorded incrementally


class DataMode:
    """DATA MODE of READ TRACK INFORMATION (MMC-6 table 503)."""

    MODE_1: Final = 1
    MODE_2: Final = 2
    UNKNOWN: Final = 0xF        # audio, or nothing was written


class SectorForm:
    """How the sectors of a track are kept: the name, bytes of each, and its data mode.

    Attributes:
        user_at, user_size: where in what is kept the user data is that READ(10) returns; size 0: none.
        channel_bits: 96 bytes of sub-channels P to W follow each sector.
    """

    __slots__ = ("channel_bits", "data_mode", "name", "size", "user_at", "user_size")

    def __init__(
        self, name: str, size: int, data_mode: int, user_at: int, user_size: int, *, channel_bits: bool = False
    ) -> None:
        self.name = name
        self.size = size
        self.data_mode = data_mode
        self.user_at = user_at
        self.user_size = user_size
        self.channel_bits = channel_bits

    def __repr__(self) -> str:
        return f"SectorForm({self.name})"

    @property
    def is_audio(self) -> bool:
        """Whether it is audio."""
        return self.name.startswith("audio")

    @property
    def is_raw(self) -> bool:
        """Whether whole data sectors are kept, headers and all."""
        return self.name.startswith("raw")


FORMS: Final = {
    form.name: form
    for form in (
        SectorForm("block", 2048, DataMode.MODE_1, 0, 2048),            # DVD, BD
        SectorForm("mode1", 2048, DataMode.MODE_1, 0, 2048),
        SectorForm("mode2", 2336, DataMode.MODE_2, 0, 2336),            # formless
        SectorForm("xa", 2336, DataMode.MODE_2, 8, 2048),               # subheader, data of form 1 or 2
        SectorForm("audio", 2352, DataMode.UNKNOWN, 0, 0),
        SectorForm("audio+sub", 2448, DataMode.UNKNOWN, 0, 0, channel_bits=True),
        SectorForm("raw1", 2352, DataMode.MODE_1, 16, 2048),
        SectorForm("raw1+sub", 2448, DataMode.MODE_1, 16, 2048, channel_bits=True),
        SectorForm("raw2", 2352, DataMode.MODE_2, 24, 2048),
        SectorForm("raw2+sub", 2448, DataMode.MODE_2, 24, 2048, channel_bits=True),
    )
}


class Track:
    """A track, or what there is of it (mutable: belongs to its disc).

    Attributes:
        number: from 1.
        session: number of its session.
        start: address of index 1.
        end: behind its last block; of a track that is being written behind the room that it has.
        form: of its sectors.
        control: CONTROL nibble.
        base: address whose sector is at `offset`.
        offset: in the store, bytes.
        pregap: blocks before `start` that belong to the track (index 0).
        next: behind what is recorded; `end` once it is complete.
        complete: nothing can be added.
        reserved: its room was reserved.
        packet: blocks of a packet, 0 where it has none or they vary.
        links: addresses behind packets of variable size, where link blocks are, ascending.
        gap: blocks that the next writable address is behind `next`, where what comes next has to be linked.
        indexes: addresses of index 2, 3, ...
        isrc: 12 characters, or empty.
        incremental: written in packets.
    """

    __slots__ = (
        "base", "complete", "control", "end", "form", "gap", "incremental", "indexes", "isrc", "links", "next",
        "number", "offset", "packet", "pregap", "reserved", "session", "start",
    )

    def __init__(
        self, number: int, session: int, start: int, end: int, form: SectorForm, *, control: int = Control.DATA,
        offset: int = 0, base: int | None = None, pregap: int = 0, recorded: int | None = None, complete: bool = True,
        reserved: bool = False, packet: int = 0, indexes: tuple[int, ...] = (), isrc: str = "",
        incremental: bool = False, links: list[int] | None = None, gap: int = 0,
    ) -> None:
        self.number = number
        self.session = session
        self.start = start
        self.end = end
        self.form = form
        self.control = control
        self.offset = offset
        self.base = start if base is None else base
        self.pregap = pregap
        self.next = end if recorded is None else recorded
        self.complete = complete
        self.reserved = reserved
        self.packet = packet
        self.indexes = indexes
        self.isrc = isrc
        self.incremental = incremental
        self.links = links or []
        self.gap = gap

    def __repr__(self) -> str:
        return f"Track({self.number}, {self.start}..{self.end}, {self.form.name})"

    @property
    def is_audio(self) -> bool:
        """Whether it is audio."""
        return self.form.is_audio

    @property
    def blank(self) -> bool:
        """Whether nothing is recorded in it."""
        return not self.complete and self.next <= self.start

    @property
    def full(self) -> bool:
        """Whether there is no room for another block."""
        return self.next + self.gap >= self.end

    @property
    def fixed(self) -> bool:
        """Whether it has packets of a fixed size, whose link blocks have no addresses."""
        return self.incremental and bool(self.packet)

    def physical(self, lba: int) -> int:
        """The time of a sector on a CD, as an address: link blocks without one count."""
        return self.start + spread_to(lba - self.start, self.packet) if self.fixed else lba

    @property
    def physical_end(self) -> int:
        """Behind its last block, as `physical`."""
        return self.physical(self.end - 1) + 1 if self.end > self.start else self.end

    def holds(self, lba: int) -> bool:
        """Whether a sector is in it, its pre-gap included."""
        return self.start - self.pregap <= lba < self.end

    def place(self, lba: int) -> int:
        """Where in the store a sector is; negative numbers and those before `base` are not kept."""
        return self.offset + (lba - self.base) * self.form.size

    def index_of(self, lba: int) -> int:
        """The index that a sector is in."""
        if lba < self.start:
            return 0
        return 1 + sum(1 for at in self.indexes if lba >= at)


@value
class Session:
    """A closed session.

    Args:
        number: from 1.
        first, last: numbers of its tracks.
        lead_out: address of its lead-out.
        disc_type: PSEC of point A0: 00h CD-DA or CD-ROM, 10h CD-i, 20h CD-ROM XA.
        next_start: where a further session may begin, -1 where none may.
    """

    number: int
    first: int
    last: int
    lead_out: int
    disc_type: int = 0
    next_start: int = -1


class Disc:
    """A disc.

    Args:
        kind: what it is.
        capacity: blocks of its user area.
        tracks, sessions: what there is.
        finalized: no further session can come.

    Attributes:
        random: it is written anywhere: formatted media of `Recording.OVERWRITE`, DVD-RW restricted overwrite, BD-R
            RRM. Otherwise in tracks, one block behind the other.
        formatted: a medium that needs a format has one.
        profile: its profile now.
        whole: blocks that there are at most, spare areas left out.
        generation: of the state that was last saved.
        recorded: clusters that a BD-R RRM has written, as bits; empty for others.
        mcn: media catalogue number, 13 digits, or empty.
        cd_text: packs of CD-TEXT, 18 bytes each.
        writable: the store takes it and it is no image of a pressed disc.
        protected: persistent write protection.
        overwrites: a BD-R of sequential recording that was formatted with pseudo-overwrite: spare clusters replace what
            is written again.
        jumps, jump_interval, manual_jump: of layer jump recording (`layers`): jump addresses that were, blocks between
            them, the block before the one that was asked for (0: none).
        primary: clusters of the spare area that a DVD-RAM always has.
        replaced: spare clusters by the cluster that each takes the place of (`defects`).
        spares_used: how many of the spare clusters were taken, or are defective themselves.
    """

    def __init__(
        self, kind: MediumKind, capacity: int, *, tracks: list[Track] | None = None,
        sessions: list[Session] | None = None, finalized: bool = False, random: bool = False, formatted: bool = False,
        profile: int | None = None, mcn: str = "", cd_text: bytes = b"", writable: bool = False,
        protected: bool = False, identifier: int = 0, overwrites: bool = False,
    ) -> None:
        self.kind = kind
        self.capacity = capacity
        self.tracks = tracks or []
        self.sessions = sessions or []
        self.finalized = finalized
        self.random = random
        self.formatted = formatted
        self.profile = kind.profile if profile is None else profile
        self.mcn = mcn
        self.cd_text = cd_text
        self.writable = writable
        self.protected = protected
        self.identifier = identifier
        self.overwrites = overwrites
        self.jumps: list[int] = []
        self.jump_interval = self.manual_jump = 0
        self.recorded = bytearray()
        self.primary = self.spares_used = 0
        self.replaced: dict[int, int] = {}
        self.generation = 0
        self.whole = capacity

    # --- what there is -----------------------------------------------------------------------------------------

    @property
    def blank(self) -> bool:
        """Whether nothing was ever recorded, or all of it was erased."""
        return not self.tracks and not self.sessions

    @property
    def open_session(self) -> int:
        """Number of the session that tracks can be added to; the last one of a disc that takes no more."""
        return len(self.sessions) + (0 if self.finalized or (self.random and self.tracks[-1].complete) else 1)

    @property
    def last_session(self) -> int:
        """Number of the last session, open or not; there always is one."""
        return max(self.open_session, 1)

    def in_session(self, number: int) -> list[Track]:
        """The tracks of a session."""
        return [track for track in self.tracks if track.session == number]

    def track(self, number: int) -> Track | None:
        """The track of a number."""
        return next((track for track in self.tracks if track.number == number), None)

    def track_at(self, lba: int) -> Track | None:
        """The track that a sector is in."""
        return next((track for track in self.tracks if track.holds(lba)), None)

    @property
    def recorded_end(self) -> int:
        """Behind the last block that can be read, 0 for a blank disc."""
        return max((track.end if track.complete else track.next for track in self.tracks), default=0)

    @property
    def capacity_end(self) -> int:
        """READ CAPACITY's number of blocks (MMC-6 6.18): of random media all of them, and of a BD-R that takes
        pseudo-overwrite; else up to the lead-out of the last session that is closed, else what is recorded."""
        if self.random:
            return max((track.end for track in self.tracks if track.next > track.start), default=0)
        if self.sessions and self.kind.is_cd:
            last = self.in_session(self.sessions[-1].number)[-1]
            return last.end if last.fixed else self.sessions[-1].lead_out
        if self.overwrites and self.tracks and not self.finalized:
            return self.capacity
        return self.recorded_end

    @property
    def has_audio(self) -> bool:
        """Whether a track is audio."""
        return any(track.is_audio for track in self.tracks)

    @property
    def has_data(self) -> bool:
        """Whether a track is data."""
        return any(not track.is_audio for track in self.tracks)

    @property
    def rewritable(self) -> bool:
        """Whether what is recorded can be written over or erased."""
        return self.kind.erasable

    @property
    def takes_protection(self) -> bool:
        """Whether persistent write protection can be set and taken off."""
        return self.kind.erasable and not self.kind.is_cd

    @property
    def takes_data(self) -> bool:
        """Whether anything could be recorded now."""
        if not self.writable or self.protected or self.kind.recording == Recording.PRESSED:
            return False
        return self.kind.erasable or not self.finalized


def may_be_formatted(disc: Disc) -> bool:
    """Whether a BD-R can still be formatted: that is possible once, before anything is recorded."""
    return disc.blank and not disc.formatted
