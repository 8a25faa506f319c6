"""The units of targets that are served, and their stores: added, removed, resized, and what is done to them by hand.

    control = Control(services, log=say, event=tell)
    control.units.start(target, 0, plan)        # before anything is served
    unit = await control.add(target, None, "disk", "1G")
    await control.close()

What may block (opening, flushing and closing of stores) is done in threads; all else in that of the loop. The first
transport is told of stores that come and go: it fetches their late answers.

It does NOT: keep what was changed for the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from scsiemu import asc
from scsiemu.app.failure import Failure
from scsiemu.app.open_units import OpenStores, OpenUnits, open_plan
from scsiemu.app.units import option_names, plan_units
from scsiemu.command import Completion, Steps
from scsiemu.errors import IoFailed, IoFault
from scsiemu.events import Event, UnitRemoved
from scsiemu.logical_unit import BackgroundTask, LogicalUnit
from scsiemu.lun import is_well_known, to_text, unit_lun
from scsiemu.media import AttendedDrive, Automation, ListMedia
from scsiemu.sense import CheckCondition, Sense
from scsiemu.services import Conflict, Service
from scsiemu.target import Target
from scsiemu.unit_options import UnitPlan, parse_size

__all__ = ["Control"]

_LUNS: Final = 1 << 14          # of the flat space addressing method (SAM-5 4.7.7.3)
_MOST_BYTES: Final = (1 << 63) - 1
_ENDING: Final = "the server is about to end"


@runtime_checkable
class _Resizable(Protocol):
    """A device server whose medium may get another number of blocks."""

    block_size: int

    def resize(self, capacity: int) -> BackgroundTask: ...


@runtime_checkable
class _Library(Protocol):
    """A changer with a door that an operator opens."""

    @property
    def ports(self) -> dict[int, str | None]: ...

    def open_ports(self, *, force: bool = False) -> None: ...

    def close_ports(self) -> None: ...

    def import_volume(self, name: str) -> BackgroundTask: ...

    def export_volume(self, address: int) -> BackgroundTask: ...


class Control:
    """The units of all targets, see `scsiemu.services.UnitControl`.

    Args:
        services: the transports at work by name, the first first; filled by whoever opens them.
        log: takes lines for the operator.
        event: takes what happened in a target, and tells all transports.

    Attributes:
        units: filled before anything is served.
    """

    def __init__(
        self, services: Mapping[str, Service], *, log: Callable[[str], None], event: Callable[[Target, Event], None]
    ) -> None:
        self.units = OpenUnits(log)
        self._services = services
        self._event = event
        self._adding = asyncio.Lock()
        self._ending = False
        self._leaving: dict[LogicalUnit, asyncio.Future[None]] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._closing: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """Close the units. What still waits for one ends with Conflict."""
        self._ending = True
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(Conflict(_ENDING))
        async with self._adding:
            pass                    # what is being opened is closed by whoever opened it
        if self._closing:
            await asyncio.wait(self._closing)
        await asyncio.to_thread(self.units.close)

    # --- while they are served ---------------------------------------------------------------------------------

    async def add(self, target: Target, lun: int | None, option: str, text: str) -> LogicalUnit:
        """See `UnitControl`. One after the other: a LUN that is free when it is looked for stays so."""
        async with self._adding:
            if self._ending or not self._services:
                raise Conflict(_ENDING if self._ending else "the server has not begun yet")
            lun = _free_lun(target) if lun is None else lun
            if unit_lun(lun) in target.units:
                raise Conflict(f"LUN {to_text(unit_lun(lun))} is in use")
            plan, opened = await asyncio.to_thread(_prepare, option, text)
            try:
                if self._ending:
                    raise Conflict(_ENDING)
                unit = self.units.attach(target, lun, plan, opened)
            except ValueError:
                await asyncio.to_thread(opened.close)
                raise
            for store in opened.all:
                self._first().add_store(store)
            self._settle(target)
            return unit

    async def remove(self, target: Target, lun: int) -> None:
        """See `UnitControl`. The unit is gone at once; this returns when its files may be used by others."""
        unit = _unit(target, lun)
        if is_well_known(unit.lun):
            raise Conflict("a well-known unit belongs to every target")
        gone = self._leaving[unit] = self._future()
        target.remove_unit(lun)
        self._settle(target)
        await gone
        opened = self.units.detach(unit)
        for store in opened.all:
            self._first().remove_store(store)
        closing = asyncio.ensure_future(asyncio.to_thread(self.units.flush_and_close, unit, opened))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await closing

    async def resize(self, target: Target, lun: int, size: str) -> LogicalUnit:
        """See `UnitControl`."""
        unit = _unit(target, lun)
        length = parse_size(size)
        server = unit.server
        if not isinstance(server, _Resizable):
            raise Conflict("units of this type have no size that could be changed")
        if not 0 < length <= _MOST_BYTES or length % server.block_size:
            raise ValueError(f"{size} is not a number of whole blocks of {server.block_size} bytes")
        capabilities = unit.capabilities
        if capabilities is not None and capabilities.size < length and not capabilities.resize:
            raise Conflict(f"its store has {capabilities.size} bytes and cannot be made longer")
        if any(task.name == "resize" for task in unit.background):
            raise Conflict("its size is being changed")
        try:
            task = server.resize(length // server.block_size)
        except ValueError as error:
            raise Conflict(str(error)) from None
        if await self._outcome(task) is not None:
            raise Conflict("its store failed: it has the size that it had")
        return unit

    # --- by hand -----------------------------------------------------------------------------------------------

    async def insert(self, target: Target, lun: int, name: str | None) -> LogicalUnit:
        """See `UnitControl`."""
        unit, drive = _drive(target, lun)
        if name is None:
            await self._by_hand(drive.press_load())
            return unit
        library = _library_of(target, drive)
        if library is not None:
            raise Conflict(f"the library at LUN {to_text(library.lun)} moves its media")
        await self._look_for(unit, name)
        if drive.medium is not None:
            raise Conflict(f"{drive.medium!r} is in it")
        earlier = set(unit.background)
        drive.insert(name)
        for task in set(unit.background) - earlier:
            await self._outcome(task)
        self._settle(target)
        return unit

    async def eject(self, target: Target, lun: int, *, force: bool) -> LogicalUnit:
        """See `UnitControl`."""
        unit, drive = _drive(target, lun)
        given = await self._shelf(unit) is not None and _library_of(target, drive) is None
        task = drive.press_eject(force=force)

        def take() -> None:                 # before anybody could load it again
            if given and drive.medium is not None and task.completion is not None and task.completion.sense is None:
                drive.remove()

        unit.when_ended([task], take)
        await self._by_hand(task)
        return unit

    async def protect(self, target: Target, lun: int, protected: bool) -> LogicalUnit:
        """See `UnitControl`."""
        unit = _unit(target, lun)
        if not isinstance(unit.server, AttendedDrive):
            raise Conflict("units of this type have no medium that could be write protected")
        await self._by_hand(unit.server.set_write_protect(protected))
        return unit

    def ports(self, target: Target, lun: int) -> Mapping[int, str | None]:
        """See `UnitControl`."""
        return _library(target, lun)[1].ports

    async def import_medium(self, target: Target, lun: int, name: str, *, force: bool) -> None:
        """See `UnitControl`."""
        unit, library = _library(target, lun)
        await self._look_for(unit, name)
        await self._through_the_door(library, partial(library.import_volume, name), force=force)

    async def export_medium(self, target: Target, lun: int, name: str, *, force: bool) -> None:
        """See `UnitControl`."""
        _, library = _library(target, lun)
        address = next((address for address, volume in library.ports.items() if volume == name), None)
        if address is None:
            raise LookupError(f"there is no medium {name!r} in its import/export elements")
        await self._through_the_door(library, partial(library.export_volume, address), force=force)

    async def _through_the_door(
        self, library: _Library, move: Callable[[], BackgroundTask], *, force: bool
    ) -> None:
        try:
            library.open_ports(force=force)
            await self._by_hand(move())
        except CheckCondition as refusal:
            raise _refused(refusal.sense) from None
        except ValueError as error:
            raise Conflict(str(error)) from None
        finally:
            library.close_ports()

    async def _look_for(self, unit: LogicalUnit, name: str) -> None:
        """Raises LookupError where there is no such medium on the shelf of the unit."""
        names = await self._shelf(unit)
        if names is None:
            raise Conflict("it has no shelf: no other medium can be put into it")
        if name not in names:
            raise LookupError(f"there is no medium {name!r} on its shelf")

    async def _shelf(self, unit: LogicalUnit) -> tuple[str, ...] | None:
        """The names of the media on the shelf of a unit; None where it has none."""
        found: list[tuple[str, ...]] = []

        def ask() -> Steps:
            try:
                found.append((yield from ListMedia()))
            except IoFailed as failure:
                if failure.fault != IoFault.UNSUPPORTED:
                    raise
            return Completion()

        await self._by_hand(unit.start_background(ask(), "list"))
        return found[0] if found else None

    async def _by_hand(self, task: BackgroundTask) -> None:
        sense = await self._outcome(task)
        if sense is not None:
            raise _refused(sense)

    async def _outcome(self, task: BackgroundTask) -> Sense | None:
        """Sense data of what goes on in the background, when it has ended; None where it went well."""
        ended, unit = self._future(), task.unit
        unit.when_ended([task], lambda: None if ended.done() else ended.set_result(None))
        self._settle(unit.target)
        await ended
        if task.completion is None:
            raise Conflict("the unit was removed or reset meanwhile")
        return task.completion.sense

    # --- what is told ------------------------------------------------------------------------------------------

    def told(self, event: Event) -> None:
        """Something happened in a target."""
        if isinstance(event, UnitRemoved):
            gone = self._leaving.pop(event.unit, None)
            if gone is not None and not gone.done():
                gone.set_result(None)

    def _future(self) -> asyncio.Future[None]:
        """One that `close` does not let wait for ever."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._ending:
            future.set_exception(Conflict(_ENDING))
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def _first(self) -> Service:
        return next(iter(self._services.values()))

    def _settle(self, target: Target) -> None:
        """Bring what came of a change to those whose it is: aborted commands to their origins, events to everybody."""
        while (completion := target.next_completion()) is not None:
            _tell(completion.command.origin, "complete", completion)
        while (request := target.next_data_out_request()) is not None:
            _tell(request.command.origin, "data_out_request", request)
        while (response := target.next_management_response()) is not None:
            _tell(response.origin, "answered", response)
        while (event := target.next_event()) is not None:
            self._event(target, event)
        for service in self._services.values():
            service.go_on()


def _tell(origin: object, method: str, what: Any) -> None:
    tell = getattr(origin, method, None)
    if tell is not None:
        tell(what)


def _unit(target: Target, lun: int) -> LogicalUnit:
    unit = target.units.get(unit_lun(lun))
    if unit is None:
        raise LookupError("there is no such unit")
    return unit


def _drive(target: Target, lun: int) -> tuple[LogicalUnit, AttendedDrive]:
    unit = _unit(target, lun)
    if not isinstance(unit.server, AttendedDrive):
        raise LookupError("units of this type have no medium")
    if not unit.server.removable:
        raise Conflict("its medium cannot be removed")
    return unit, unit.server


def _library(target: Target, lun: int) -> tuple[LogicalUnit, _Library]:
    unit = _unit(target, lun)
    if not isinstance(unit.server, _Library):
        raise LookupError("units of this type have no import/export elements")
    return unit, unit.server


def _library_of(target: Target, drive: AttendedDrive) -> LogicalUnit | None:
    """The changer that moves the media of a drive."""
    changers = ((unit, unit.server) for unit in target.units.values() if isinstance(unit.server, Automation))
    return next((unit for unit, changer in changers if changer.element_of(drive) is not None), None)


def _refused(sense: Sense) -> Conflict:
    """The sense data of something that was done by hand, in words."""
    if sense.code == asc.MEDIUM_REMOVAL_PREVENTED:
        return Conflict("an initiator prevents the removal of the medium: do it by force, or have it allowed")
    return Conflict(asc.name_of(sense.code.asc, sense.code.ascq))


def _free_lun(target: Target) -> int:
    for lun in range(_LUNS):
        if unit_lun(lun) not in target.units:
            return lun
    raise Conflict(f"all {_LUNS} LUNs are in use")


def _prepare(option: str, text: str) -> tuple[UnitPlan, OpenStores]:
    """The plan of a unit and its stores, opened. May block. Raises ValueError."""
    if option not in option_names():
        raise ValueError(f"there is no unit {option!r}: it is one of {', '.join(option_names())}")
    try:
        plans = plan_units(option, text)
        if len(plans) != 1:
            raise ValueError(f"--{option} {text} asks for {len(plans)} units: one at a time can be added")
        return plans[0], open_plan(plans[0])
    except Failure as failure:
        raise ValueError(str(failure)) from None
