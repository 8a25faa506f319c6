"""Targets at work: stores opened, units made, transports serving them; and their orderly end.

    async with Serving(configuration, log=say) as serving:
        serving.units, serving.listeners

Everything is found by entry point: stores, device types, transports. The first transport has the stores: it delivers
their late answers, and what comes of them reaches the others by the origins of their commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Callable
from functools import partial
from time import monotonic, time
from types import TracebackType
from typing import Any

from scsiemu._value import value
from scsiemu.app.configuration import ServeConfiguration, ServiceConfiguration, TargetConfiguration
from scsiemu.app.control import Control
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.service_plugins import FIRST_SERVICE, service_declaration
from scsiemu.events import Event, InternalFailure, StoreFailed
from scsiemu.lun import to_text
from scsiemu.services import Listener, Offer, Service, ServiceDeclaration, ServiceRequest
from scsiemu.target import Target
from scsiemu.well_known import REPORT_LUNS_LUN, ReportLunsUnit

__all__ = ["ServedUnit", "Serving", "shown_listener"]


@value
class ServedUnit:
    """A unit as initiators find it."""

    target: str
    lun: int
    type: str
    url: str


class Serving:
    """An asynchronous context: on entry everything is opened and listens, on exit all is closed in order.

    Args:
        configuration: what to serve.
        log: takes lines for the operator.

    Attributes:
        listeners: where it listens, with real ports, by transport; the first one's first.
        to_paste: commands for the first unit.
        units: in the order of targets and LUNs.
    """

    def __init__(self, configuration: ServeConfiguration, *, log: Callable[[str], None]) -> None:
        self._configuration = configuration
        self._log = log
        self._services: dict[str, Service] = {}
        self._control = Control(self._services, log=log, event=partial(self._event, ""))
        self.listeners: dict[str, tuple[Listener, ...]] = {}
        self.to_paste: list[str] = []
        self.units: list[ServedUnit] = []

    async def __aenter__(self) -> Serving:
        asyncio.get_running_loop().set_exception_handler(self._unexpected)
        _raise_descriptor_limit()
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        """The first transport last: the others still need late answers of stores."""
        try:
            async with contextlib.AsyncExitStack() as closing:
                for service in self._services.values():
                    closing.push_async_callback(service.close)
        finally:
            await self._control.close()

    async def _open(self) -> None:
        configuration = self._configuration
        declarations = {service.name: service_declaration(service.name) for service in configuration.services}
        if configuration.state:
            self._control.units.open_state(configuration.state)
        offers = tuple(self._offer(target, tuple(declarations.values())) for target in configuration.targets)
        stores = self._control.units.stores
        for service in configuration.services:
            request = ServiceRequest(
                service.listeners, offers, () if self._services else stores, configuration.limits, self._log,
                partial(self._event, service.name), configuration.discovery, partial(self._go_on, service.name),
                self._control,
            )
            try:
                opened = await declarations[service.name].open(request)
            except (OSError, ValueError) as error:
                raise Failure(_why(error, service)) from None
            self._services[service.name] = opened
            self.listeners[service.name] = opened.listeners
            shown = shown_listener(opened.listeners[0])
            self.to_paste += declarations[service.name].to_paste(shown, offers[0].target.name, 0)
        first = configuration.services[0].name
        shown = shown_listener(self.listeners[first][0])
        for offer, target in zip(offers, configuration.targets, strict=True):
            for lun, plan in enumerate(target.units):
                name = offer.target.name
                self.units.append(ServedUnit(name, lun, plan.type, declarations[first].url(shown, name, lun)))

    def _offer(self, configuration: TargetConfiguration, declarations: tuple[ServiceDeclaration, ...]) -> Offer:
        name = configuration.name
        try:
            for declared in declarations:
                name = declared.check_name(name)
        except ValueError as error:
            raise Failure(str(error), ExitCode.USAGE) from None
        now = monotonic()
        target = Target(name, now=now, epoch=now - time())
        for lun, plan in enumerate(configuration.units):
            self._control.units.start(target, lun, plan)
        target.add_unit(REPORT_LUNS_LUN, ReportLunsUnit())
        return Offer(target, configuration.access, configuration.authentication)

    def _go_on(self, teller: str) -> None:
        for name, service in self._services.items():
            if name != teller:
                service.go_on()

    def _event(self, teller: str, target: Target, event: Event) -> None:
        for name, service in self._services.items():
            if name != teller:
                service.told(target, event)
        self._control.told(event)
        if isinstance(event, StoreFailed):
            self._log(f"{target.name} LUN {to_text(event.unit.lun)}: {event.message}")
        elif isinstance(event, InternalFailure):
            cdb = bytes(event.command.cdb).hex()
            self._log(
                f"{target.name} LUN {to_text(event.unit.lun)}: a bug of ours, please report it: CDB {cdb} raised "
                f"{type(event.error).__name__}: {event.error}"
            )

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised in a callback of the loop: one line, and the others are served on."""
        error = context.get("exception")
        if os.environ.get("SCSIEMU_DEBUG"):
            loop.default_exception_handler(context)
        else:
            what = f"{type(error).__name__}: {error}" if error is not None else context.get("message")
            self._log(f"internal error: {what}; this is a bug: please report it (SCSIEMU_DEBUG=1 shows where)")


def shown_listener(listener: Listener) -> Listener:
    """A listener as somebody on this machine can reach it: a wildcard address becomes the loopback one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)
    return Listener(host, listener.port, listener.path)


def _raise_descriptor_limit() -> None:
    """Each connection is a descriptor: allow as many as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _why(error: OSError | ValueError, service: ServiceConfiguration) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    where = ", ".join(str(listener) for listener in service.listeners)
    if not isinstance(error, OSError):
        return text
    if service.name != FIRST_SERVICE:
        return f"cannot listen on {where}: {text}; choose another --{service.name}"
    return f"cannot listen on {where}: {text}; choose another --listen, port 0 is always free"
