"""vhost-user-scsi as a service of the program: sockets that QEMU connects to, every target behind each of them.

It does NOT: apply access rules or ask for secrets, which are for initiators of a network. The socket is its owner's:
who may open it may use the targets.
"""

from __future__ import annotations

from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.services import Listener, ListenOption, ServiceDeclaration, ServiceRequest
from scsiemu.target import Target
from transports.vhost.server import VhostTransport

__all__ = ["VHOST", "VhostService", "open_service"]


class VhostService:
    """The sockets at work.

    Attributes:
        listeners: where they listen.
        transport: which has the connections.
    """

    def __init__(self, transport: VhostTransport, listeners: tuple[Listener, ...]) -> None:
        self.transport = transport
        self.listeners = listeners

    def told(self, target: Target, event: Event) -> None:
        """Another transport of the target fetched this event."""
        self.transport.port.told(target, event)

    def go_on(self) -> None:
        """Nothing to do: a connection sends as soon as something was handed to it."""

    def add_store(self, store: Store) -> None:
        """A unit was added: watch its store."""
        self.transport.add_store(store)

    def remove_store(self, store: Store) -> None:
        """Watch it no more."""
        self.transport.remove_store(store)

    async def close(self) -> None:
        """End every connection and close."""
        await self.transport.stop()


async def open_service(request: ServiceRequest) -> VhostService:
    """Serve. Raises OSError (a path cannot be listened at) and ValueError (too many targets)."""
    transport = VhostTransport(
        tuple(offer.target for offer in request.offers),
        stores=request.stores,
        report=request.report,
        on_event=request.event,
        handed_over=request.handed_over,
    )
    try:
        await transport.start(*(listener.path for listener in request.listeners))
    except OSError:
        await transport.stop()
        raise
    return VhostService(transport, request.listeners)


def _url(listener: Listener, name: str, lun: int) -> str:
    return f"vhost-user-scsi:{listener}/{name}/{lun}"


def _to_paste(listener: Listener, name: str, lun: int) -> tuple[str, ...]:
    return (
        "qemu-system-x86_64 -m 256M -object memory-backend-memfd,id=mem,size=256M,share=on -numa node,memdev=mem "
        f"-chardev socket,id=scsi,path={listener} -device vhost-user-scsi-pci,chardev=scsi,bootindex=1",
    )


def _path(text: str) -> Listener:
    if not text:
        raise ValueError("write the path of a socket")
    return Listener(path=text)


VHOST = ServiceDeclaration(
    url=_url,
    open=open_service,
    listen=ListenOption("PATH", "a vhost-user-scsi socket, for QEMU's -device vhost-user-scsi-pci", _path),
    to_paste=_to_paste,
)
