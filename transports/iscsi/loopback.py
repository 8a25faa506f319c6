"""An initiator and a node in one process, joined by memory instead of TCP: for tests, embedding and benchmarks.

    link = Loopback(node, LoginOffer("iqn.2026-01.org.example:me", target_name="iqn..."), isid=bytes(6))
    link.login()
    result = link.execute(0, cdb, data_in_length=512)

Bytes go to and fro until both sides have nothing more to say; nothing waits. Stores that answer later are served by
whoever drives them: then `execute` is `start` and later `result`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from scsiemu.command import Buffer
from scsiemu.errors import LocalProtocolError
from scsiemu.lun import unit_lun
from transports.iscsi.chap import RandomBytes
from transports.iscsi.initiator import (
    CommandDone,
    CommandResult,
    FunctionDone,
    InitiatorEvent,
    InitiatorSession,
)
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.node import TargetNode

__all__ = ["Loopback", "Wire"]

# What is done to bytes on their way: cut into pieces, recorded, lost.
Wire: TypeAlias = Callable[[bytes], list[bytes]]


class Loopback:
    """A session over memory.

    Args:
        node: where to connect.
        offer: who we are and what we want.
        isid: 6 bytes.
        peer: the address that the node sees.
        wire: what happens to bytes on the way to the node.

    Attributes:
        session: the initiator's side.
        connection: the target's side.
        events: what happened, besides commands that have ended.
        results: of commands that have ended, by tag.
        sent, received: all bytes that went to the node, and came from it.
    """

    def __init__(
        self,
        node: TargetNode,
        offer: LoginOffer,
        *,
        isid: bytes = b"\x80\0\0\0\0\1",
        tsih: int = 0,
        peer: str = "127.0.0.1",
        now: float = 0.0,
        group: int = 1,
        random_bytes: RandomBytes | None = None,
        wire: Wire | None = None,
        cmd_sn: int = 1,
    ) -> None:
        connection = node.accept(peer=peer, local=("127.0.0.1", 3260), now=now, group=group)
        if connection is None:
            raise LocalProtocolError("the node takes no more connections")
        self.node = node
        self.connection = connection
        self.session = InitiatorSession(offer, isid=isid, tsih=tsih, random_bytes=random_bytes, cmd_sn=cmd_sn)
        self.events: list[InitiatorEvent] = []
        self.results: dict[int, CommandResult] = {}
        self.sent = bytearray()
        self.received = bytearray()
        self._wire: Wire = wire if wire is not None else lambda data: [data]
        self._lost = False

    def login(self) -> Loopback:
        """Log in. Raises what the login raises."""
        self.run()
        if not self.session.logged_in:
            raise LocalProtocolError(f"no login: {self.connection.close_reason}")
        return self

    # --- bytes -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Move bytes both ways until there are none."""
        while self.push() or self.pull():
            pass

    def push(self) -> bool:
        """Move what the initiator has to send. False: there was nothing."""
        out = b"".join(bytes(part) for part in self.session.take_output())
        if not out:
            return False
        self.inject(out)
        return True

    def inject(self, data: Buffer) -> None:
        """Give the target bytes that the initiator did not make."""
        self.sent += data
        for piece in self._wire(bytes(data)):
            connection = self.connection
            rest = memoryview(piece)
            while rest and (place := connection.wanted()) is not None:
                count = min(len(place), len(rest))
                place[:count] = rest[:count]
                rest = rest[count:]
                del place
                connection.received(count, memoryview(b""))
            if rest:
                connection.receive_data(rest)

    def pull(self, limit: int | None = None) -> bool:
        """Move what the target has to send, up to `limit` bytes. False: there was nothing."""
        connection = self.connection
        data = b"".join(bytes(part) for part in connection.out)
        if limit is not None:
            data = data[:limit]
        if data:
            connection.data_sent(len(data))
            self.received += data
            self.session.receive_data(memoryview(data))
        self._fetch_events()
        if connection.closed and not self._lost:
            self._lost = True
            connection.lost()
        return bool(data)

    def _fetch_events(self) -> None:
        while (event := self.session.next_event()) is not None:
            if isinstance(event, CommandDone):
                self.results[event.tag] = event.result
            else:
                self.events.append(event)

    @property
    def closed(self) -> bool:
        """Whether the target has closed the connection."""
        return self._lost

    def disconnect(self) -> None:
        """Break the connection."""
        if not self._lost:
            self._lost = True
            self.connection.lost()

    # --- requests ----------------------------------------------------------------------------------------------

    def start(
        self,
        lun: int,
        cdb: bytes,
        *,
        data_out: Buffer = b"",
        data_in_length: int = 0,
        data_out_length: int | None = None,
        attribute: int = 0,
        immediate: bool = False,
    ) -> int:
        """Send a command and run. Returns its tag; its result is in `results` when it has ended."""
        tag = self.session.execute(
            unit_lun(lun), cdb, data_out=data_out, data_in_length=data_in_length, data_out_length=data_out_length,
            attribute=attribute, immediate=immediate,
        )
        self.run()
        return tag

    def execute(
        self,
        lun: int,
        cdb: bytes,
        *,
        data_out: Buffer = b"",
        data_in_length: int = 0,
        data_out_length: int | None = None,
        attribute: int = 0,
        immediate: bool = False,
    ) -> CommandResult:
        """Send a command whose end comes at once."""
        tag = self.start(
            lun, cdb, data_out=data_out, data_in_length=data_in_length, data_out_length=data_out_length,
            attribute=attribute, immediate=immediate,
        )
        result = self.results.pop(tag, None)
        if result is None:
            raise LocalProtocolError("the command has not ended")
        return result

    def manage(self, function: int, lun: int = 0, *, referenced: int = 0xFFFFFFFF, immediate: bool = True) -> int:
        """Send a task management function, one of `TmfCode`. Returns its response code, -1 for none yet."""
        tag = self.session.manage(function, unit_lun(lun), referenced=referenced, immediate=immediate)
        self.run()
        for event in self.events:
            if isinstance(event, FunctionDone) and event.tag == tag:
                return event.response
        return -1
