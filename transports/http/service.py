"""HTTP as a service of the program: `--http PATH`, or `--http HOST:PORT` with a token.

    --http /run/scsiemu/http                a Unix socket of its owner
    --http 127.0.0.1:8080,token=FILE        over TCP: clients send what is in the file
    --http 127.0.0.1:0                      the same, by SCSIEMU_HTTP_TOKEN, else one is made and told once

It does NOT: apply access rules or ask for CHAP secrets, which are for initiators of a network: who may open the socket,
or knows the token, may use the targets.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import stat
from dataclasses import dataclass
from typing import Final

from scsiemu import registry
from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.operations import OperationTable
from scsiemu.services import Listener, ListenOption, ServiceDeclaration, ServiceRequest
from scsiemu.target import Target
from transports.http.server import HttpTransport

__all__ = ["HTTP", "HttpListener", "HttpService", "open_service"]

_VARIABLE: Final = "SCSIEMU_HTTP_TOKEN"
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]{16,512}=*")       # RFC 6750 2.1, and not too short to be guessed


@dataclass(frozen=True, slots=True)
class HttpListener(Listener):
    """An address to listen on, and where the token is.

    Args:
        token_file: empty: in the environment, or there is none yet.
    """

    token_file: str = ""


class HttpService:
    """HTTP at work.

    Attributes:
        listeners: where it listens.
        transport: which has the connections.
    """

    def __init__(self, transport: HttpTransport, listeners: tuple[Listener, ...]) -> None:
        self.transport = transport
        self.listeners = listeners

    def told(self, target: Target, event: Event) -> None:
        """Another transport of the target fetched this event: clients ask for what they want to know."""

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


async def open_service(request: ServiceRequest) -> HttpService:
    """Serve. Raises OSError (it cannot be listened there) and ValueError (the token)."""
    over_tcp = [listener for listener in request.listeners if not listener.path]
    token = _find_token(request, over_tcp) if over_tcp else b""
    try:
        tables = {
            name: OperationTable(registry.load(registry.DEVTYPES, name)) for name in registry.names(registry.DEVTYPES)
        }
    except registry.PluginError as error:
        raise ValueError(str(error)) from None
    transport = HttpTransport(
        tuple(offer.target for offer in request.offers), stores=request.stores, tables=tables, on_event=request.event,
        handed_over=request.handed_over, token=token, control=request.control,
    )
    try:
        listeners = await transport.start(*request.listeners)
    except OSError:
        await transport.stop()
        raise
    for listener in over_tcp:
        if not ipaddress.ip_address(listener.host).is_loopback:
            request.report(f"http: {listener} is not encrypted: who sees the traffic sees the token")
    return HttpService(transport, listeners)


def _find_token(request: ServiceRequest, listeners: list[Listener]) -> bytes:
    """From the file, else the environment, else a new one, which is told. Raises ValueError."""
    files = {listener.token_file for listener in listeners if isinstance(listener, HttpListener)} - {""}
    if len(files) > 1:
        raise ValueError("--http: several token files; all addresses have one token")
    if files:
        return _read_token(files.pop())
    given = os.environ.get(_VARIABLE)
    if given is not None:
        return _check_token(given.encode(), _VARIABLE)
    token = secrets.token_urlsafe(32)
    request.report(f"http: the token is {token}")
    return token.encode()


def _read_token(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ValueError(f"--http: the token file {path} cannot be read: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"--http: {path} is to be a regular file that only its owner may use: run chmod 600")
        return _check_token(os.read(descriptor, 4096).strip(), path)
    finally:
        os.close(descriptor)


def _check_token(token: bytes, where: str) -> bytes:
    if not _TOKEN.fullmatch(token):
        # It may be a secret after all: it is not repeated.
        raise ValueError(f"--http: the token in {where} is to be 16 to 512 letters, digits and . _ ~ + / -")
    return token


def _parse(text: str) -> HttpListener:
    """The value of `--http`. Raises ValueError."""
    where, comma, option = text.partition(",token=")
    if not where:
        raise ValueError("write the path of a socket, or HOST:PORT")
    host, colon, port = where.rpartition(":")
    if "/" in where or not colon:
        if comma:
            raise ValueError("a Unix socket has no token: who may open it may use it")
        return HttpListener(path=where)
    if comma and not option:
        raise ValueError("token= is followed by the name of a file")
    try:
        address = ipaddress.ip_address({"localhost": "127.0.0.1"}.get(host, host.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address; a path of a socket has a slash in it") from None
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{port!r} is not a port from 0 to 65535")
    return HttpListener(str(address), int(port), token_file=option)


def _url(listener: Listener, name: str, lun: int) -> str:
    if listener.path:
        return f"http+unix:{listener.path}:/targets/{name}/units/{lun}"
    return f"http://{listener}/targets/{name}/units/{lun}"


def _to_paste(listener: Listener, name: str, lun: int) -> tuple[str, ...]:
    how = f"--unix-socket {listener.path} http://localhost" if listener.path else (
        f'-H "Authorization: Bearer $SCSIEMU_HTTP_TOKEN" http://{listener}'
    )
    return (
        f"curl {how}/targets",
        f"""curl --json '{{"cdb": "120000006000"}}' {how}/targets/{name}/units/{lun}/commands""",
    )


HTTP = ServiceDeclaration(
    url=_url,
    open=open_service,
    listen=ListenOption(
        "PATH|HOST:PORT[,token=FILE]", "CDBs, units and metrics over HTTP, on a Unix socket or with a token", _parse
    ),
    to_paste=_to_paste,
)
