"""A model of sequential discs: tracks as lists of blocks, sessions as their ends. It knows nothing of the drive."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmmc_bench import BLOCK

__all__ = ["DISCS", "FIXED", "LINK", "Model", "Track", "end"]

# Capacity, blocks of an ECC block, between tracks, between the first session and the next, between later ones.
DISCS = {
    "cd-rw": (26000, 1, 150, 11400, 6900), "cd-r": (26000, 1, 150, 11400, 6900), "dvd+r": (12000, 16, 0, 2048, 2048),
    "bd-r": (2400, 32, 0, 0, 0), "dvd-rw": (30400, 16, 0, 28672, 28672), "dvd-r": (30400, 16, 0, 28672, 28672),
    "dvd-r-dl": (30400, 16, 0, 28672, 28672), "dvd+r-dl": (12000, 16, 0, 2048, 2048),
}
FIXED = 32              # blocks of a packet of fixed size
LINK = 7                # blocks between packets
_LOST = 16              # of a DVD-R, where recording stopped


@dataclass
class Track:
    """A track: where it begins, its blocks (None: of a link), the room that was reserved for it.

    `how`: "once", "variable" or "fixed" on a CD that has something in it; `gap`: blocks to the next writable address.
    """

    start: int
    session: int
    room: int = 0
    blocks: list[bytes | None] = field(default_factory=list)
    complete: bool = False
    how: str = ""
    gap: int = 0

    @property
    def next(self) -> int:
        """Where the next block goes."""
        return self.start + len(self.blocks) + self.gap

    @property
    def told(self) -> int:
        """The next writable address that READ TRACK INFORMATION has."""
        if self.complete:
            return 0
        return min(self.next, self.start + self.room) if self.room else self.next

    @property
    def end(self) -> int:
        """Behind its last block, or its room."""
        return self.start + (self.room or len(self.blocks))

    @property
    def extent(self) -> int:
        """As `end`, as a time on the disc: the links of fixed packets count."""
        length = self.end - self.start
        return self.end + LINK * ((length - 1) // FIXED) if self.how == "fixed" and length else self.end

    @property
    def full(self) -> bool:
        """Whether a reserved track has room for nothing more."""
        return len(self.blocks) + self.gap >= self.room

    @property
    def partial(self) -> bool:
        """Whether it keeps its session from being closed."""
        return bool(self.room) and not self.complete and not self.full

    @property
    def open(self) -> bool:
        """Whether something is in it, and it can be gone on with."""
        return bool(self.blocks) and not self.complete

    def runs(self) -> list[tuple[int, list[bytes]]]:
        """Addresses and blocks of what can be read in one piece."""
        found: list[tuple[int, list[bytes]]] = []
        fresh = True
        for at, block in enumerate(self.blocks):
            if block is None:
                fresh = True
            elif fresh:
                found.append((self.start + at, [block]))
                fresh = False
            else:
                found[-1][1].append(block)
        return found


@dataclass
class Model:
    """A disc: what is on it, in which order. `unsaved`: something was written since it was last synchronised."""

    kind: str
    tracks: list[Track] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)       # of the sessions
    final: bool = False
    unsaved: bool = False

    @property
    def cd(self) -> bool:
        """Whether it is a CD."""
        return self.kind.startswith("cd")

    @property
    def session(self) -> int:
        """Number of the session that tracks are added to."""
        return len(self.ends) + 1

    def begin(self) -> int:
        """Where a further track would begin."""
        _, step, pause, first, later = DISCS[self.kind]
        if not self.tracks:
            return 0
        if self.tracks[-1].session < self.session:
            start = self.ends[-1] + (first if len(self.ends) == 1 else later)
            return start + -start % step
        return self.tracks[-1].extent + pause

    def opened(self) -> Track | None:
        """The track that takes all the room that is left."""
        return next((track for track in self.tracks if not track.complete and not track.room), None)

    def limit(self, track: Track, how: str) -> int:
        """Blocks that a track has room for, written so."""
        room = track.room or DISCS[self.kind][0] - track.start
        return room // (FIXED + LINK) * FIXED if self.cd and how == "fixed" and not track.blocks else room

    def write(self, track: Track, blocks: list[bytes], how: str) -> None:
        """Blocks at the end of a track."""
        if track not in self.tracks:
            self.tracks.append(track)
        if self.cd and not track.blocks:
            track.how = how
            if track.room:
                track.room = self.limit(track, how)
        if track.gap:
            track.blocks += [None if self.cd else bytes(BLOCK)] * track.gap
            track.gap = 0
        track.blocks += blocks
        self.unsaved = True

    def pad(self, *, lossy: bool = False) -> None:
        """What SYNCHRONIZE CACHE does to tracks. `lossy`: linking loses an ECC block."""
        if not self.unsaved:
            return
        self.unsaved = False
        step = DISCS[self.kind][1]
        for track in self.tracks:
            if not track.open:
                continue
            if track.how == "fixed":
                track.blocks += [bytes(BLOCK)] * (-len(track.blocks) % FIXED)
            elif track.how == "variable":
                track.gap = LINK
            elif self.cd:
                if not track.room or track.full:
                    end(track)
            else:
                track.blocks += [bytes(BLOCK)] * (-len(track.blocks) % step)
                if lossy and self.kind.startswith("dvd-r"):
                    track.gap = _LOST

    def power_on(self) -> None:
        """What a cut left open is ended when the disc is read in."""
        step = DISCS[self.kind][1]
        self.unsaved = False
        for track in self.tracks:
            if track.open:
                unit = FIXED if track.how == "fixed" else step
                self.unsaved = self.unsaved or bool(len(track.blocks) % unit)
                if track.how == "variable":
                    track.gap = LINK


def end(track: Track) -> None:
    """Nothing can be added."""
    track.complete, track.room, track.gap = True, 0, 0
