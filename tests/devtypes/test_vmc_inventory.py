"""Each volume is in exactly one element, whatever is asked, whenever the process dies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from vmc_bench import DRIVE, PORT, SLOT, Library

from devtypes.vmc import Inventory, Volume, VolumeTag
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, SaveState
from scsiemu.sam import TaskManagementFunction
from scsiemu.testing.initiator import StateDictionary

NAMES = [f"A0000{n}L8" for n in range(1, 5)]


def shelf_of_four() -> Shelf:
    """Four blank cartridges."""
    return Shelf({name: open_store(size=4096) for name in NAMES})


class Dying(StateDictionary):
    """A state store whose process dies at save number `dies`: before it, or after it but before the answer."""

    def __init__(self, kept: dict[str, bytes], dies: int, *, saved: bool) -> None:
        super().__init__()
        self.kept = kept
        self._left = dies
        self._saved = saved

    def __call__(self, request: Any, ticket: Any, /) -> Any:
        if isinstance(request, SaveState):
            self._left -= 1
            if self._left == 0:
                if self._saved:
                    super().__call__(request, ticket)
                raise ConnectionAbortedError
        return super().__call__(request, ticket)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("dies", range(1, 9))
def test_inventory_survives_every_cut(dies: int, saved: bool) -> None:
    """At whichever save the process dies, each volume is in one element then: where it was, or where it went."""
    kept: dict[str, bytes] = {}
    before: dict[int, str] = {}
    state = Dying(kept, dies, saved=saved)
    try:
        library = Library(state=state, shelf=shelf_of_four())
        for source, destination in ((SLOT, DRIVE), (SLOT + 1, PORT), (DRIVE, SLOT + 5), (PORT, DRIVE + 1)):
            before = library.places
            library.move(source, destination)
        before = library.places
        library.exchange(SLOT + 2, DRIVE + 1, SLOT)
        before = library.places
        library.do("SEND VOLUME TAG", send_action_code=12, element_address=SLOT)
    except ConnectionAbortedError:
        pass

    survivor = StateDictionary()
    survivor.kept = kept
    after = Library(state=survivor, shelf=shelf_of_four())
    assert sorted(after.places.values()) == NAMES
    moved = {name for address, name in after.places.items() if before.get(address) != name}
    assert len(moved) <= 2 or not before
    for number in (1, 2):
        assert after.drive(number).medium == after.places.get(DRIVE + number - 1)


def test_inventory_save_fails() -> None:
    """A movement that cannot be saved does not happen: the cartridge is back in its drive."""
    class Full(StateDictionary):
        full = False

        def __call__(self, request: Any, ticket: Any, /) -> Any:
            if self.full and isinstance(request, SaveState):
                return IoFailed(IoFault.NO_SPACE)
            return super().__call__(request, ticket)

    state = Full()
    library = Library(state=state)
    library.move(SLOT, DRIVE)
    state.full = True
    result = library.move(DRIVE, SLOT)

    assert result.code == asc.INTERNAL_TARGET_FAILURE
    assert library.places[DRIVE] == "A00001L8"
    assert library.drive(1).medium == "A00001L8"


def test_inventory_aborted_while_saving() -> None:
    """A movement that is aborted while its inventory is saved has happened, whole."""
    class Late(StateDictionary):
        late = False

        def __call__(self, request: Any, ticket: Any, /) -> Any:
            answer = super().__call__(request, ticket)
            return PENDING if self.late and isinstance(request, SaveState) else answer

    state = Late()
    library = Library(state=state)
    state.late = True
    cdb = library.initiator.cdb("MOVE MEDIUM", source_address=SLOT, destination_address=DRIVE)
    exchange = library.initiator.start(0, cdb)
    ticket = exchange.command
    library.target.manage(TaskManagementFunction.ABORT_TASK_SET, library.initiator.nexus, 0)
    library.target.complete(ticket, None)

    assert library.places[DRIVE] == "A00001L8"
    assert library.drive(1).medium == "A00001L8"


def test_inventory_foreign_record() -> None:
    """A saved record that is none is as good as none: the volumes come from the shelf."""
    state = StateDictionary()
    first = Library(state=state)
    (key,) = [key for key in state.kept if key.endswith("inventory")]
    for record in (b"", b"{}", b"[1]", b'{"version": 1, "volumes": [{"element": "x", "name": 1}], "outside": []}'):
        state.kept[key] = record
        assert Library(state=state).places == first.places


def test_inventory_fewer_slots() -> None:
    """A volume in an element that the library has no more is counted anew."""
    state = StateDictionary()
    library = Library(state=state)
    library.move(SLOT, SLOT + 5)
    smaller = Library(state=state, slots=4)

    assert sorted(smaller.places.values()) == NAMES
    assert max(smaller.places) == SLOT + 3


def test_inventory_homeless() -> None:
    """What finds no slot is in no element, and TapeAlert tells of it."""
    library = Library(slots=3)

    assert len(library.places) == 3
    assert library.changer.homeless == ("A00004L8",)
    assert 24 in library.changer.active_alerts


def test_inventory_twice() -> None:
    """No inventory has a volume in two places."""
    with pytest.raises(ValueError, match="two places"):
        Inventory({1: Volume("a"), 2: Volume("a")})
    with pytest.raises(ValueError, match="two places"):
        Inventory({1: Volume("a")}, outside=["a"])


def test_inventory_round_trip() -> None:
    """What is saved is what is read."""
    inventory = Inventory(
        {1: Volume("a", VolumeTag("A", 3), VolumeTag("B"), 7, True), 9: Volume("b")}, outside=["c"]
    )

    assert Inventory.decode(inventory.encode()) == inventory


class InventoryMachine(RuleBasedStateMachine):
    """A library against a dictionary of where volumes are; now and then its process ends and another begins."""

    def __init__(self) -> None:
        super().__init__()
        self.state = StateDictionary()
        self.library = Library(state=self.state)
        self.model = {SLOT + number: name for number, name in enumerate(NAMES)}

    elements = st.sampled_from([*range(SLOT, SLOT + 6), PORT, PORT + 1, DRIVE, DRIVE + 1])

    @rule(source=elements, destination=elements)
    def move(self, source: int, destination: int) -> None:
        possible = source in self.model and (destination not in self.model or destination == source)
        assert self.library.move(source, destination).good == possible
        if possible:
            self.model[destination] = self.model.pop(source)

    @rule(source=elements, first=elements, second=elements)
    def exchange(self, source: int, first: int, second: int) -> None:
        possible = (
            source in self.model and first in self.model and source != first != second
            and (second == source or second not in self.model)
        )
        assert self.library.exchange(source, first, second).good == possible
        if possible:
            taken, other = self.model.pop(source), self.model.pop(first)
            self.model[first], self.model[second] = taken, other

    @rule()
    def initialize(self) -> None:
        assert self.library.do("INITIALIZE ELEMENT STATUS").good

    @rule()
    def restart(self) -> None:
        self.library = Library(state=self.state)

    @invariant()
    def agrees(self) -> None:
        assert self.library.places == self.model
        for number in (1, 2):
            assert self.library.drive(number).medium == self.model.get(DRIVE + number - 1)


InventoryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
test_inventory_machine = InventoryMachine.TestCase
