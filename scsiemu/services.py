"""What the program asks of a transport that serves targets over a network, as values that belong to no transport.

    iscsi = "transports.iscsi.service:ISCSI"        # entry point of group scsiemu.services: a ServiceDeclaration

A transport's declaration names its limits (each becomes an option of the command line) and opens it. So the program
knows neither the classes of a transport nor which transports there are. Several may serve the same targets at once:
whoever empties a target's queues hands what is another's to its origin (docs/front-and-back-ends.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from scsiemu._value import value
from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.logical_unit import LogicalUnit
from scsiemu.sam import TaskManagementFunction
from scsiemu.target import Target

__all__ = [
    "AccessRule",
    "Authentication",
    "Client",
    "Conflict",
    "ConnectRequest",
    "Limit",
    "ListenOption",
    "Listener",
    "Offer",
    "Outcome",
    "Service",
    "ServiceDeclaration",
    "ServiceRequest",
    "UnitControl",
]


@value
class AccessRule:
    """Initiators that may use a target, and how.

    Args:
        name: of the initiator, perhaps with `*` at the end.
        networks: addresses that they may come from, in CIDR form; none: any.
        luns: LUN masking: the LUN that they see to the LUN of the unit; None: all units as they are.
        read_only: they may not change media.
    """

    name: str = "*"
    networks: tuple[str, ...] = ()
    luns: Mapping[int, int] | None = None
    read_only: bool = False


@value
class Authentication:
    """What initiators must prove.

    Args:
        users: their names and secrets.
        own: our own name and secret, for initiators that want to know who we are.
        allow_weak: short secrets are allowed.
    """

    users: Mapping[str, bytes] = dataclasses.field(repr=False)
    own: tuple[str, bytes] | None = dataclasses.field(default=None, repr=False)
    allow_weak: bool = False


@value
class Offer:
    """A target that is to be served.

    Args:
        target: with its units; its name is what initiators call it.
        access: the first rule that admits an initiator counts; none: nobody.
        authentication: None for none.
    """

    target: Target
    access: tuple[AccessRule, ...] = (AccessRule(),)
    authentication: Authentication | None = None


@value
class Listener:
    """An address to listen on, or that is listened on.

    Args:
        host, port: of an Internet address. Port 0 lets the system choose.
        path: of a Unix socket; the others are then not used.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@value
class Limit:
    """A limit of a transport, which becomes the option `--name`.

    Args:
        name: with dashes between words.
        help: one line.
        default: a whole number for counts and sizes, a fraction for seconds.
        size: it is a number of bytes.
    """

    name: str
    help: str
    default: float
    size: bool = False


class Conflict(ValueError):
    """What is asked for cannot be done as things are."""


class UnitControl(Protocol):
    """Units that come, change and go while they are served. Every error is one sentence; LUNs are plain or 64-bit."""

    async def add(self, target: Target, lun: int | None, option: str, text: str) -> LogicalUnit:
        """Add the unit that `--option text` of the command line stands for; without a LUN at the lowest free one.

        Raises ValueError for what the command line would refuse, and Conflict where the LUN is in use.
        """

    async def remove(self, target: Target, lun: int) -> None:
        """Remove a unit, with its commands; returns when these have ended and its stores are flushed and closed.

        Raises LookupError where there is none, and Conflict for a well-known one.
        """

    async def resize(self, target: Target, lun: int, size: str) -> LogicalUnit:
        """Give a unit another size (bytes, as on the command line); returns when it has that.

        Raises LookupError where there is no such unit, ValueError for what is no size, Conflict where the unit or its
        store cannot have it.
        """

    # What somebody does by hand. They wait for commands under way, and return when it is done. All raise LookupError
    # where there is no such unit (or medium), and Conflict where that cannot be.

    async def insert(self, target: Target, lun: int, name: str | None) -> LogicalUnit:
        """Put a medium of its shelf into a drive; without a name, load again what was ejected and not removed."""

    async def eject(self, target: Target, lun: int, *, force: bool) -> LogicalUnit:
        """Have a drive give out its medium, which goes back to the shelf where there is one; with `force` although
        removal is prevented."""

    async def protect(self, target: Target, lun: int, protected: bool) -> LogicalUnit:
        """Write protect the medium of a unit, or lift that."""

    def ports(self, target: Target, lun: int) -> Mapping[int, str | None]:
        """The media in the import/export elements of a changer, by element address."""

    async def import_medium(self, target: Target, lun: int, name: str, *, force: bool) -> None:
        """Put a medium of the shelf into a free import/export element of a changer."""

    async def export_medium(self, target: Target, lun: int, name: str, *, force: bool) -> None:
        """Take a medium out of an import/export element."""


def _do_nothing() -> None:
    """Nobody is to be told."""


@value
class ServiceRequest:
    """What to serve.

    Args:
        listeners: where.
        offers: what.
        stores: whose late answers the transport fetches, for the targets of their tickets' units. Where several
            transports serve, one has them all.
        limits: by the names of the declaration; those not given have their defaults.
        report: takes lines for the operator; what came from peers is not escaped in them.
        event: takes what happened in a target, from whoever fetched it; the other transports are told.
        discovery: what initiators must prove before they are told of targets; None for nothing.
        handed_over: to be called when something was handed to the origins of other transports, so that they send it.
        control: adds, removes and changes units; None where they stay as they are.
    """

    listeners: tuple[Listener, ...]
    offers: tuple[Offer, ...]
    stores: tuple[Store, ...]
    limits: Mapping[str, float]
    report: Callable[[str], None]
    event: Callable[[Target, Event], None]
    discovery: Authentication | None = None
    handed_over: Callable[[], None] = _do_nothing
    control: UnitControl | None = None


class Service(Protocol):
    """A transport at work."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Where it listens, with real ports."""

    def told(self, target: Target, event: Event) -> None:
        """Another transport of the target fetched this event."""

    def go_on(self) -> None:
        """Another transport has handed something to our origins: send it."""

    def add_store(self, store: Store) -> None:
        """A unit was added: fetch its store's late answers, too. Asked of the transport that has the stores."""

    def remove_store(self, store: Store) -> None:
        """That store is going to be closed: fetch them no more."""

    async def close(self) -> None:
        """Ask everybody to leave, wait for that within bounds, end what is left, listen no more."""


@value
class ConnectRequest:
    """A unit to log in to, as an initiator.

    Args:
        url: of the unit, in the form of the transport.
        initiator: our name; empty for the transport's own.
        user: our name and secret, where the target asks for them.
        target_user: what the target must prove.
        seconds: for the login, and for each command.
    """

    url: str
    initiator: str = ""
    user: tuple[str, bytes] | None = dataclasses.field(default=None, repr=False)
    target_user: tuple[str, bytes] | None = dataclasses.field(default=None, repr=False)
    seconds: float = 30.0


@value
class Outcome:
    """How a command of a `Client` ended.

    Args:
        status: one of `sam.Status`.
        sense: sense data, empty for none.
        data_in: what came.
        underflow: bytes that were offered or wanted and not transferred.
        overflow: bytes that could not be transferred because the expected length is too small.
    """

    status: int
    sense: bytes = b""
    data_in: bytes = b""
    underflow: int = 0
    overflow: int = 0


class Client(Protocol):
    """An initiator that is logged in to a unit, of one thread. All raise OSError when the connection is at its end.

    `execute` is for one command after the other; `begin`, `wait` and `manage` are for several at a time.
    """

    def execute(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> Outcome:
        """Execute a command, and wait for its end, but not for ever."""

    def begin(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> int:
        """Send a command; its tag, by which its end comes out of `wait`."""

    def wait(self, wake: int) -> list[tuple[int, Outcome]]:
        """What has ended, by tag. Waits until there is something, or the descriptor `wake` is readable."""

    def manage(self, function: TaskManagementFunction, tag: int = 0) -> bool:
        """Have the unit perform a task management function, and wait for that; whether it did.

        Commands that it ends do not come out of `wait`; only those of ABORT TASK, which is about `tag`, surely not.
        """

    def close(self) -> None:
        """Log out."""


@value
class ListenOption:
    """The option of the command line that asks for a transport: `--name VALUE` by its entry point's name, repeatable.

    Args:
        metavar, help: of the option.
        parse: its value. Raises ValueError, one sentence.
    """

    metavar: str
    help: str
    parse: Callable[[str], Listener]


def _same(name: str) -> str:
    return name


def _no_client(request: ConnectRequest) -> Client:
    raise ValueError("this transport has no initiator of its own")


def _nothing(listener: Listener, target: str, lun: int) -> tuple[str, ...]:
    return ()


@value
class ServiceDeclaration:
    """A transport that serves targets.

    Args:
        url: of a unit: listener, target name, LUN.
        open: begins to serve. Raises OSError and ValueError, one sentence each.
        limits: its limits.
        check_name: the normal form of a target name. Raises ValueError.
        connect: logs in to a unit. Raises ValueError for a URL that is none, and OSError, one sentence each.
        listen: how the command line asks for it; None: by `--listen`, which is for one transport alone.
        to_paste: commands that use a unit, with the arguments of `url`.
    """

    url: Callable[[Listener, str, int], str]
    open: Callable[[ServiceRequest], Awaitable[Service]]
    limits: tuple[Limit, ...] = ()
    check_name: Callable[[str], str] = _same
    connect: Callable[[ConnectRequest], Client] = _no_client
    listen: ListenOption | None = None
    to_paste: Callable[[Listener, str, int], tuple[str, ...]] = _nothing
