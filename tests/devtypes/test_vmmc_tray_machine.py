"""Tray, disc, prevention, events and unit attentions of two nexuses against a model of them, on a clock."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from vmmc_bench import Bench

from scsiemu import asc
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import SenseCode
from scsiemu.testing.initiator import Initiator

SECONDS = 5.0
CHANGED = asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
EJECT_REQUEST, NEW_MEDIA, REMOVAL = 1, 2, 3
NEXUSES = st.sampled_from((0, 1))
BY_HAND = -1


class TrayMachine(RuleBasedStateMachine):
    """The model: where the tray is, whether a disc is in it, until when it is read in, who prevents, what each nexus
    has not been told yet."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(load_seconds=SECONDS)
        self.nexuses = [self.bench.initiator, self.bench.another()]
        self.open, self.disc = False, True
        self.until = 0.0
        self.loader: int | None = None          # who closed the tray, while the disc is read in
        self.plain = [False, False]
        self.persistent = [False, False]
        self.attention = [False, False]
        self.events: list[list[int]] = [[], []]

    # --- the model ------------------------------------------------------------------------------------------------

    def _tell(self, code: int) -> None:
        for waiting in self.events:
            waiting.append(code)

    def _opens(self) -> None:
        if self.disc and not self.open:
            self._tell(REMOVAL)
        self.open, self.loader = True, None

    def _closes(self, by: int) -> None:
        self.open = False
        if self.disc:
            self.loader, self.until = by, self.bench.target.now + SECONDS

    def _time_has_gone(self) -> None:
        if self.loader is not None and self.bench.target.now >= self.until:
            self._tell(NEW_MEDIA)
            for nexus in (0, 1):
                self.attention[nexus] |= nexus != self.loader
            self.loader = None

    def _not_ready(self) -> SenseCode | None:
        if self.open:
            return asc.MEDIUM_NOT_PRESENT_TRAY_OPEN
        if not self.disc:
            return asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED
        return asc.LOGICAL_UNIT_IS_IN_PROCESS_OF_BECOMING_READY if self.loader is not None else None

    def _prevented(self) -> bool:
        return any(self.plain) or any(self.persistent)

    def _do(self, nexus: int, name: str, **fields: int) -> SenseCode | None:
        """A command; its sense code, after the unit attention that was pending."""
        code = self.nexuses[nexus].command(name, **fields).code
        if self.attention[nexus]:
            assert code == CHANGED
            self.attention[nexus] = False
            code = self.nexuses[nexus].command(name, **fields).code
        return code

    # --- what happens ---------------------------------------------------------------------------------------------

    @rule(nexus=NEXUSES, name=st.sampled_from(("START STOP UNIT", "LOAD/UNLOAD MEDIUM")), immed=st.integers(0, 1))
    def eject(self, nexus: int, name: str, immed: int) -> None:
        code = self._do(nexus, name, loej=1, immed=immed)
        if self._prevented():
            assert code == asc.MEDIUM_REMOVAL_PREVENTED
            return
        assert code is None
        self._opens()

    @rule(nexus=NEXUSES, name=st.sampled_from(("START STOP UNIT", "LOAD/UNLOAD MEDIUM")), immed=st.integers(0, 1))
    def load(self, nexus: int, name: str, immed: int) -> None:
        was_open = self.open
        if was_open:
            if self.attention[nexus]:
                self.look(nexus)
            self._closes(nexus)
        assert self._do(nexus, name, loej=1, start=1, immed=immed) is None
        self._time_has_gone()
        assert immed or self.loader is None

    @rule(seconds=st.sampled_from((1.0, 4.0, 6.0)))
    def wait(self, seconds: float) -> None:
        self.bench.target.advance(self.bench.target.now + seconds)
        self._time_has_gone()

    @rule()
    def press_eject(self) -> None:
        self.bench.drive.press_eject()
        if self._prevented():
            self._tell(EJECT_REQUEST)
        elif not self.open:
            self._opens()

    @rule()
    def press_eject_by_force(self) -> None:
        self.bench.drive.press_eject(force=True)
        if not self.open:
            self._opens()

    @rule()
    def take(self) -> None:
        if self.open and self.disc:
            assert self.bench.drive.remove() == "disc"
            self.disc = False

    @rule()
    def put(self) -> None:
        if not self.disc:
            self.bench.drive.insert("disc")
            self.disc = True
            self._closes(BY_HAND)

    @rule(nexus=NEXUSES, mode=st.integers(0, 3))
    def prevent(self, nexus: int, mode: int) -> None:
        code = self._do(nexus, "PREVENT ALLOW MEDIUM REMOVAL", prevent=mode)
        if mode & 2 and self.persistent[1 - nexus]:
            assert code == asc.PERSISTENT_PREVENT_CONFLICT
        elif mode == 3 and self.open:
            assert code == asc.MEDIUM_NOT_PRESENT_TRAY_OPEN
        else:
            assert code is None
            (self.persistent if mode & 2 else self.plain)[nexus] = bool(mode & 1)

    @rule(nexus=NEXUSES)
    def nexus_is_lost(self, nexus: int) -> None:
        """What it held ends with it; the one that comes has missed nothing."""
        name = self.nexuses[nexus].name
        self.nexuses[nexus].close()
        self.nexuses[nexus] = Initiator(self.bench.target, name)
        self.plain[nexus] = self.persistent[nexus] = self.attention[nexus] = False
        self.events[nexus] = []
        if self.loader == nexus:
            self.loader = BY_HAND

    @rule(nexus=NEXUSES)
    def reset(self, nexus: int) -> None:
        """A reset ends prevention; the disc goes on to be read in."""
        response = self.nexuses[nexus].manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
        assert response == TaskManagementResponse.FUNCTION_COMPLETE
        for each in self.nexuses:
            each.clear_attentions()
        self.plain, self.persistent, self.attention = [False, False], [False, False], [False, False]

    # --- what is seen ---------------------------------------------------------------------------------------------

    @rule(nexus=NEXUSES)
    def look(self, nexus: int) -> None:
        assert self._do(nexus, "TEST UNIT READY") == self._not_ready()

    @rule(nexus=NEXUSES)
    def poll(self, nexus: int) -> None:
        """Events come one behind the other; without one there is the state."""
        fields = {"polled": 1, "classes": 0x10, "allocation_length": 8}
        told = self.nexuses[nexus].command("GET EVENT STATUS NOTIFICATION", **fields).data
        if self.events[nexus]:
            assert told[4] & 0xF == self.events[nexus].pop(0)
        else:
            assert told[4:6] == bytes((0, self.open | (self.disc and not self.open) << 1))

    @invariant()
    def profile_is_that_of_the_disc(self) -> None:
        data = self.nexuses[0].command("GET CONFIGURATION", rt=2, allocation_length=8).data
        assert (data[7] != 0) == (self._not_ready() is None)
        assert self.bench.drive.medium == ("disc" if self.disc else None)


TestTrayMachine = TrayMachine.TestCase
TestTrayMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
