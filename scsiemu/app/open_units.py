"""Units with their stores open: what `serve` and `exec` begin with and end with.

It does NOT: wait for commands under way (whoever serves them does), or think of anything but one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from scsiemu._value import value
from scsiemu.app.failure import Failure
from scsiemu.app.units import flush_store, open_state, open_stores
from scsiemu.errors import IoFailed
from scsiemu.io_requests import Store
from scsiemu.logical_unit import LogicalUnit
from scsiemu.target import Target
from scsiemu.unit_options import UnitPlan

__all__ = ["OpenStores", "OpenUnits", "open_plan"]


@value
class OpenStores:
    """The stores of a unit.

    Args:
        medium: None for units without a medium.
        state: a state store of its own, if it has one.
    """

    medium: Store | None
    state: Store | None

    @property
    def all(self) -> tuple[Store, ...]:
        """Those that are there."""
        return tuple(store for store in (self.medium, self.state) if store is not None)

    def close(self) -> None:
        """Close what nobody has used."""
        for store in self.all:
            store.close()


def open_plan(plan: UnitPlan) -> OpenStores:
    """Open the stores of a unit. May block. Raises Failure."""
    medium = open_stores(plan.store) if plan.store is not None else None
    try:
        return OpenStores(medium, open_stores(plan.state) if plan.state is not None else None)
    except Failure:
        if medium is not None:
            medium.close()
        raise


class OpenUnits:
    """Units of targets and their stores.

    Args:
        log: takes lines for the operator.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._stores: dict[LogicalUnit, OpenStores] = {}
        self._state: Store | None = None

    @property
    def stores(self) -> tuple[Store, ...]:
        """All that are open, the state store last."""
        found = [store for opened in self._stores.values() for store in opened.all]
        return (*found, *((self._state,) if self._state is not None else ()))

    def open_state(self, path: str) -> None:
        """Open the state store of all units. Raises Failure."""
        self._state = open_state(path)

    def start(self, target: Target, lun: int, plan: UnitPlan) -> None:
        """Open the stores of a unit and add it. May block. Raises Failure."""
        opened = open_plan(plan)
        try:
            self.attach(target, lun, plan, opened)
        except ValueError as error:
            opened.close()
            raise Failure(f"LUN {lun} of {target.name}: {error}") from None

    def attach(self, target: Target, lun: int, plan: UnitPlan, opened: OpenStores) -> LogicalUnit:
        """Add a unit whose stores are open. Raises ValueError; they stay open then."""
        medium, state = opened.medium, opened.state if opened.state is not None else self._state
        server = plan.make(medium.capabilities if medium is not None else None)
        unit = target.add_unit(
            lun,
            server,
            performer=medium.submit if medium is not None else None,
            state_performer=state.submit if state is not None else None,
            capabilities=(lambda: medium.capabilities) if medium is not None else None,
        )
        self._stores[unit] = opened
        return unit

    def detach(self, unit: LogicalUnit) -> OpenStores:
        """The stores of a unit that has gone; none where it had none."""
        return self._stores.pop(unit, OpenStores(None, None))

    def flush_and_close(self, unit: LogicalUnit, opened: OpenStores) -> None:
        """The end of the stores of a unit. May block."""
        for store in opened.all:
            try:
                flush_store(store)
            except IoFailed as failure:
                self._log(f"{unit.target.name}: data may be lost, the last flush failed: {failure}")
            store.close()

    def close(self) -> None:
        """Flush and close every store; the state store last. May block."""
        stores, self._stores = self._stores, {}
        state, self._state = self._state, None
        for unit, opened in stores.items():
            self.flush_and_close(unit, opened)
        if state is not None:
            state.close()
