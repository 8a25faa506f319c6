"""A small initiator over a blocking TCP socket: for `scsiemu send`, tests and scripts.

    with connect("iscsi://127.0.0.1:3260/iqn.2026-11.org.example:disk/0") as client:
        result = client.execute(client.lun, cdb, data_in_length=36)
        result.status, result.sense, result.data_in, result.underflow

A URL is `iscsi://[user[%secret]@]host[:port][/target[/lun]]`, as libiscsi takes it, with the options
`target_user`, `target_password` (mutual CHAP), `header_digest=crc32c` and `data_digest=crc32c` after a `?`. Without a
target it is a discovery session. From LUN 256 on libiscsi wants the number that the LUN field has: 16384 and the LUN.

Several commands at once are begun at `session`; `wait` has what ended. It does NOT: follow redirections, reconnect.
"""

from __future__ import annotations

import secrets
import select
import socket
from collections import deque
from time import monotonic
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import RemoteProtocolError
from scsiemu.lun import unit_lun
from transports.iscsi.chap import ChapCredentials
from transports.iscsi.codes import NO_TAG
from transports.iscsi.initiator import (
    CommandDone,
    CommandResult,
    FunctionDone,
    InitiatorEvent,
    InitiatorSession,
    LoggedIn,
    LoggedOut,
    NopDone,
    Rejected,
    TextDone,
)
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.keys import OperationalSettings

__all__ = ["DEFAULT_INITIATOR", "Client", "ClientError", "IscsiUrl", "connect", "parse_url"]

DEFAULT_INITIATOR: Final = "iqn.2026-11.example.scsiemu:client"

_PORT: Final = 3260
_BUFFER_SIZE: Final = 256 * 1024 + 4096
_DIGESTS: Final = {"crc32c": ("CRC32C",), "none": ("None",), "": ("None", "CRC32C")}


class ClientError(RemoteProtocolError):
    """The connection ended, the target rejected a request, or it did not answer in time."""


@value
class IscsiUrl:
    """The parts of a URL.

    Args:
        target: its name, empty for discovery.
        lun: plain number or 64-bit form.
        chap: what we are called and prove it with.
        target_chap: what the target must prove.
    """

    host: str
    port: int = _PORT
    target: str = ""
    lun: int = 0
    chap: ChapCredentials | None = None
    target_chap: ChapCredentials | None = None
    header_digest: tuple[str, ...] = ("None", "CRC32C")
    data_digest: tuple[str, ...] = ("None", "CRC32C")


def parse_url(url: str) -> IscsiUrl:
    """The parts of a URL. Raises ValueError, one sentence."""
    # libiscsi has user%secret where others have user:secret: no escape can follow the user's name.
    scheme, separator, rest = url.partition("://")
    if scheme.lower() != "iscsi" or not separator:
        raise ValueError(f"not an iSCSI URL: {url}")
    user, at, place = rest.rpartition("@")
    name, _, secret = user.partition("%" if "%" in user else ":")
    split = urlsplit("//" + place)
    if not split.hostname:
        raise ValueError(f"no host in {url}")
    try:
        port = split.port or _PORT
    except ValueError:
        raise ValueError(f"not a port in {url}") from None
    target, _, lun_text = split.path.strip("/").partition("/")
    try:
        lun = int(lun_text or "0", 0)
    except ValueError:
        raise ValueError(f"{lun_text!r} is not a LUN") from None
    if lun >> 14 == 1:
        lun &= 0x3FFF           # a LUN of flat space addressing, as its field has it
    options = {key: values[-1] for key, values in parse_qs(split.query).items()}
    target_user, target_secret = options.get("target_user", ""), options.get("target_password", "")
    try:
        header_digest = _DIGESTS[options.get("header_digest", "").lower()]
        data_digest = _DIGESTS[options.get("data_digest", "").lower()]
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not a digest: crc32c or none") from None
    return IscsiUrl(
        split.hostname, port, unquote(target), lun,
        ChapCredentials(name, secret.encode()) if at and name else None,
        ChapCredentials(target_user, target_secret.encode()) if target_secret else None,
        header_digest, data_digest,
    )


def connect(
    url: str | IscsiUrl,
    *,
    initiator_name: str = DEFAULT_INITIATOR,
    settings: OperationalSettings | None = None,
    isid: bytes | None = None,
    timeout: float = 30.0,
) -> Client:
    """Connect and log in.

    Args:
        settings: our part in the negotiation; digests of the URL come first.
        isid: 6 bytes; a random one unless told.
        timeout: seconds for each step.

    Raises:
        ValueError: the URL. OSError: no connection. LoginFailed: the target refuses.
    """
    place = parse_url(url) if isinstance(url, str) else url
    if settings is None:
        settings = OperationalSettings(header_digest=place.header_digest, data_digest=place.data_digest)
    offer = LoginOffer(
        initiator_name, target_name=place.target, settings=settings, chap=place.chap, target_chap=place.target_chap
    )
    # RFC 7143 11.12.5: type 10b, a random ISID.
    session = InitiatorSession(
        offer, isid=isid if isid is not None else b"\x80" + secrets.token_bytes(5), random_bytes=secrets.token_bytes
    )
    sock = socket.create_connection((place.host, place.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = Client(sock, session, lun=place.lun, timeout=timeout)
    try:
        client.wait_login()
    except BaseException:
        client.abandon()
        raise
    return client


class Client:
    """A session over a blocking socket. Made by `connect`.

    Attributes:
        session: may be used directly; `step` moves bytes.
        lun: of the URL.
        events: what came besides the answers that were waited for (asynchronous messages).
    """

    def __init__(self, sock: socket.socket, session: InitiatorSession, *, lun: int, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._output: deque[memoryview] = deque()
        self.session = session
        self.lun = lun
        self.events: list[InitiatorEvent] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def close(self) -> None:
        """Log out and close. A connection that is gone already is no error."""
        try:
            if self.session.logged_in and not self.session.ended:
                self._wait(self.session.logout(), LoggedOut)
        except (OSError, RemoteProtocolError):
            pass
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without a word."""
        self._sock.close()

    # --- requests ----------------------------------------------------------------------------------------------

    def execute(
        self,
        lun: int,
        cdb: bytes,
        data_out: Buffer = b"",
        data_in_length: int = 0,
        *,
        attribute: int = 0,
        timeout: float | None = None,
    ) -> CommandResult:
        """Send a command and wait for its end.

        Args:
            lun: plain number or 64-bit form.
            data_in_length: how many bytes we are ready to receive.

        Raises:
            OSError, RemoteProtocolError: there is no answer, and the connection cannot be used any more.
        """
        tag = self.session.execute(
            unit_lun(lun), cdb, data_out=data_out, data_in_length=data_in_length, attribute=attribute
        )
        event = self._wait(tag, CommandDone, timeout)
        assert isinstance(event, CommandDone)
        return event.result

    def manage(self, function: int, lun: int = 0, *, referenced: int = NO_TAG) -> int:
        """A task management function, one of `TmfCode`; its response, one of `TmfResponseCode`."""
        tag = self.session.manage(function, unit_lun(lun), referenced=referenced)
        event = self._wait(tag, FunctionDone)
        assert isinstance(event, FunctionDone)
        return event.response

    def ping(self, data: bytes = b"") -> bytes:
        """NOP-Out; the echo."""
        event = self._wait(self.session.nop(data), NopDone)
        assert isinstance(event, NopDone)
        return event.data

    def discover(self) -> dict[str, list[str]]:
        """SendTargets: addresses by target name."""
        event = self._wait(self.session.text([("SendTargets", "All")]), TextDone)
        assert isinstance(event, TextDone)
        found: dict[str, list[str]] = {}
        addresses: list[str] = []
        for key, text in event.pairs:
            if key == "TargetName":
                addresses = found.setdefault(text, [])
            elif key == "TargetAddress":
                addresses.append(text)
        return found

    # --- bytes -------------------------------------------------------------------------------------------------

    def wait_login(self) -> None:
        """Move bytes until the login is over. Raises what the login raises, or ClientError."""
        deadline = monotonic() + self._timeout
        while not self.session.logged_in:
            self.step(deadline)
        self.events = [event for event in self._take_events() if not isinstance(event, LoggedIn)]

    def _wait(self, tag: int, kind: type[InitiatorEvent], timeout: float | None = None) -> InitiatorEvent:
        """Move bytes until there is the answer of that tag."""
        deadline = monotonic() + (self._timeout if timeout is None else timeout)
        while True:
            answer = None
            for event in self._take_events():
                if isinstance(event, kind) and getattr(event, "tag", None) == tag:
                    answer = event
                elif isinstance(event, Rejected) and event.tag == tag:
                    raise ClientError(f"the target rejected it, reason {event.reason:#04x}")
                else:
                    self.events.append(event)
            if answer is not None:
                self.flush(deadline)
                return answer
            if self.session.ended and kind is not LoggedOut:
                raise ClientError("the target ended the session")
            self.step(deadline)

    def _take_events(self) -> list[InitiatorEvent]:
        events = []
        while (event := self.session.next_event()) is not None:
            events.append(event)
        return events

    def flush(self, deadline: float) -> None:
        """Send what the session has to send."""
        self._sock.settimeout(max(0.001, deadline - monotonic()))
        self._take_output()
        while self._output:
            self._sock.sendall(self._output.popleft())

    def step(self, deadline: float) -> None:
        """Send what there is, then receive once. Raises ClientError when the connection ends or time is over."""
        try:
            self.flush(deadline)
            self._receive()
        except TimeoutError:
            raise ClientError("no answer in time") from None

    def wait(self, wake: int) -> list[InitiatorEvent]:
        """What the target has said. Bytes go both ways until there is something, or `wake` is readable.

        Raises OSError, RemoteProtocolError: the connection cannot be used any more.
        """
        while True:
            found, self.events = self.events + self._take_events(), []
            if found:
                return found
            if self.session.ended:
                raise ClientError("the target ended the session")
            self._take_output()
            here = self._sock.fileno()
            readable, writable, _ = select.select((here, wake), (here,) if self._output else (), ())
            if writable:
                part = self._output.popleft()
                sent = self._sock.send(part)
                if sent < len(part):
                    self._output.appendleft(part[sent:])
            if here in readable:
                self._receive()
            elif wake in readable:
                return []

    def _take_output(self) -> None:
        self._output.extend(memoryview(part).cast("B") for part in self.session.take_output())

    def _receive(self) -> None:
        count = self._sock.recv_into(self._buffer)
        if not count:
            raise ClientError("the target closed the connection")
        self.session.receive_data(self._buffer[:count])
