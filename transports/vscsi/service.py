"""Virtual SCSI as a service of the program: a Unix socket for each target, the first for the first of them.

It does NOT: apply access rules or ask for secrets, which are for initiators of a network. The socket is its owner's:
who may open it may use the target.
"""

from __future__ import annotations

from functools import partial

from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.services import Listener, ListenOption, ServiceDeclaration, ServiceRequest
from scsiemu.target import Target
from transports.vscsi.server import VscsiTransport

__all__ = ["VSCSI", "VscsiService", "open_service"]


class VscsiService:
    """The sockets at work.

    Args:
        request: what to serve.

    Attributes:
        listeners: where they listen.
        transports: one for each target.
    """

    def __init__(self, request: ServiceRequest) -> None:
        self.listeners = request.listeners
        self._handed_over = request.handed_over
        self.transports = [
            VscsiTransport(
                offer.target,
                stores=() if number else request.stores,
                report=request.report,
                on_event=partial(request.event, offer.target),
                handed_over=partial(self._others_go_on, number),
            )
            for number, (offer, _) in enumerate(zip(request.offers, request.listeners, strict=False))
        ]

    async def start(self) -> None:
        """Listen. Raises OSError."""
        for transport, listener in zip(self.transports, self.listeners, strict=True):
            await transport.start(listener.path)

    def _others_go_on(self, teller: int) -> None:
        for number, transport in enumerate(self.transports):
            if number != teller:
                transport.go_on()
        self._handed_over()

    def told(self, target: Target, event: Event) -> None:
        """Another transport of the target fetched this event."""
        for transport in self.transports:
            if transport.port.target is target:
                transport.told(event)
                transport.go_on()

    def go_on(self) -> None:
        """Nothing to do: clients are interrupted as soon as something has come into their queues."""

    def add_store(self, store: Store) -> None:
        """A unit was added: watch its store."""
        self.transports[0].add_store(store)

    def remove_store(self, store: Store) -> None:
        """Watch it no more."""
        self.transports[0].remove_store(store)

    async def close(self) -> None:
        """Log every client out and close."""
        for transport in self.transports:
            await transport.stop()


async def open_service(request: ServiceRequest) -> VscsiService:
    """Serve. Raises OSError (a path cannot be listened at) and ValueError (more paths than targets)."""
    if len(request.listeners) > len(request.offers):
        raise ValueError(f"{len(request.listeners)} paths for {len(request.offers)} targets: --vscsi is once for each")
    service = VscsiService(request)
    try:
        await service.start()
    except OSError:
        await service.close()
        raise
    return service


def _url(listener: Listener, name: str, lun: int) -> str:
    return f"vscsi:{listener}/{name}/{lun}"


def _path(text: str) -> Listener:
    if not text:
        raise ValueError("write the path of a socket")
    return Listener(path=text)


VSCSI = ServiceDeclaration(
    url=_url,
    open=open_service,
    listen=ListenOption(
        "PATH", "virtual SCSI for other processes over a Unix socket, once for each target in their order", _path
    ),
)
