"""The targets as clients of HTTP see them, and what all connections share: initiators, bounds, counts.

    port = HttpPort((target,))
    connection = HttpConnection(port, host)             # for each socket
    port.advance(now); port.settle()

After anything was done to the targets, here or elsewhere, `settle()` brings what came out to the exchanges, which are
the origins of our commands and functions, and to the origins of other transports.

It does NOT: know HTTP (connection.py), or drive stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, Protocol

from scsiemu._value import value
from scsiemu.command import Command, Completion
from scsiemu.operations import OperationTable
from scsiemu.sam import TaskManagementFunction
from scsiemu.services import UnitControl
from scsiemu.target import Target
from scsiemu.task_manager import ManagementResponse
from transports.http.initiators import Initiator, Initiators

__all__ = ["Exchange", "HttpLimits", "HttpPort", "Waiter"]

# Task tags that clients choose are below.
_FIRST_TAG: Final = 1 << 32


@value
class HttpLimits:
    """What clients may ask for.

    Args:
        connections: open at a time; further ones are answered 503 and closed.
        head: bytes of a request line with its header fields.
        ahead: bytes that are read of requests behind the one that is at work.
        max_transfer: bytes of one command in one direction.
        buffers: bytes that all commands together may hold of content and of Data-In that was asked for.
        initiators: names in use.
        initiator_seconds: that a name, and its nexuses, outlive its last connection.
        login_seconds: for the first request with the token to come whole, where one is asked for.
        request_seconds: for a request to come whole.
        idle_seconds: that a connection may be open without one.
        send_seconds: without any progress of a response.
    """

    connections: int = 64
    head: int = 16384
    ahead: int = 65536
    max_transfer: int = 8 << 20
    buffers: int = 128 << 20
    initiators: int = 64
    initiator_seconds: float = 300.0
    login_seconds: float = 10.0
    request_seconds: float = 30.0
    idle_seconds: float = 60.0
    send_seconds: float = 30.0


class Waiter(Protocol):
    """Who is told how a command or function ended."""

    def ended(self, result: Completion | ManagementResponse | None) -> None:
        """It has. None: its nexus was lost."""


class Exchange:
    """A command or function of a client: the origin that its end is found by.

    Args:
        port: told of its end.
        initiator: whose it is.
        waiter: told, too.
        held: bytes that are counted for it until it ends.
    """

    __slots__ = ("_held", "_initiator", "_port", "_waiter")

    def __init__(self, port: HttpPort, initiator: Initiator, waiter: Waiter, *, held: int = 0) -> None:
        self._port = port
        self._initiator = initiator
        self._waiter: Waiter | None = waiter
        self._held = held
        initiator.exchanges[self] = None

    def complete(self, completion: Completion) -> None:
        """The command has ended."""
        self._end(completion)

    def answered(self, response: ManagementResponse) -> None:
        """The function was performed."""
        self._end(response)

    def lost(self) -> None:
        """The nexus was lost."""
        self._end(None)

    def forget_waiter(self) -> None:
        """Nobody waits any more."""
        self._waiter = None

    def _end(self, result: Completion | ManagementResponse | None) -> None:
        self._initiator.exchanges.pop(self, None)
        self._port.release(self._held)
        self._held = 0
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.ended(result)


class HttpPort:
    """Targets, served to clients.

    Args:
        targets: in the order of their numbers.
        tables: the operations of all device types there are, by name; for the table of what is supported.
        limits: see `HttpLimits`.
        control: adds, removes and changes units; None: clients cannot.
        run: does work that takes time, and calls with what it returned or raised.

    Attributes:
        handed_over: something was given to the origin of another transport.
        responses: how many of each status code were sent.
        connections: that are open.
    """

    def __init__(
        self, targets: tuple[Target, ...], *, tables: Mapping[str, OperationTable] | None = None,
        limits: HttpLimits | None = None, control: UnitControl | None = None,
        run: Callable[[Coroutine[Any, Any, Any], Callable[[Any], None]], None] | None = None,
    ) -> None:
        self.targets = targets
        self.control = control if run is not None else None
        self.run = run
        self.tables = tables if tables is not None else {}
        self.limits = limits if limits is not None else HttpLimits()
        self.initiators = Initiators(limit=self.limits.initiators, seconds=self.limits.initiator_seconds)
        self.handed_over = False
        self.responses: Counter[int] = Counter()
        self.connections = 0
        self.now = 0.0
        self.held = 0
        self._tag = _FIRST_TAG

    # --- told by connections -----------------------------------------------------------------------------------

    def reserve(self, length: int) -> bool:
        """Count so many bytes as held. False: there is no room."""
        if self.held and self.held + length > self.limits.buffers:
            return False
        self.held += length
        return True

    def release(self, length: int) -> None:
        """They are not held any more."""
        self.held -= length

    def submit(
        self,
        target: Target,
        lun: int,
        initiator: Initiator,
        exchange: Exchange,
        *,
        cdb: bytes,
        data_out: bytes,
        data_in_length: int,
        attribute: int,
        tag: int | None,
    ) -> Command:
        """Begin a command: its task."""
        if tag is None:
            self._tag += 1
            tag = self._tag
        nexus = self.initiators.nexus(initiator, target)
        command = Command(
            nexus, lun, cdb, tag, attribute, data_out, len(data_out), data_in_length, origin=exchange
        )
        target.submit(command)
        return command

    def abandon(self, command: Command, target: Target) -> None:
        """The client of a command has gone: abort it."""
        if not command.nexus.lost:
            target.manage(TaskManagementFunction.ABORT_TASK, command.nexus, command.lun, tag=command.tag)

    # --- what the targets give out -----------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring what the targets have to their initiators."""
        for target in self.targets:
            again = True
            while again:
                again = False
                while (completion := target.next_completion()) is not None:
                    self._tell(completion.command.origin, "complete", completion)
                    again = True
                # None of ours: all Data-Out comes with the command.
                while (request := target.next_data_out_request()) is not None:
                    self._tell(request.command.origin, "data_out_request", request)
                    again = True
                while (response := target.next_management_response()) is not None:
                    self._tell(response.origin, "answered", response)
                    again = True

    def _tell(self, origin: object, method: str, what: Any) -> None:
        if not isinstance(origin, Exchange):
            self.handed_over = True
        tell = getattr(origin, method, None)
        if tell is not None:
            tell(what)

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """The clock says `now`."""
        self.now = now
        for target in self.targets:
            target.advance(now)
        self.initiators.advance(now)
        self.settle()

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest; None for whenever."""
        deadlines = [target.deadline() for target in self.targets]
        deadlines.append(self.initiators.deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def date(self) -> str | None:
        """The time of day for the Date field (RFC 9110 6.6.1); None where the clock does not tell it."""
        epoch = next((target.epoch for target in self.targets if target.epoch is not None), None)
        if epoch is None:
            return None
        return format_datetime(datetime.fromtimestamp(self.now - epoch, UTC), usegmt=True)
