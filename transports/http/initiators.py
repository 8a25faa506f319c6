"""Who sends commands by HTTP: initiator ports by name, and how long their nexuses last.

    SCSI-Initiator: NAME        of a request; without it the name is "default"

An I_T nexus joins a name and a target. It is established by the first command, and lost when the name is deleted, or a
while after the last connection that used the name was closed: between two runs of curl a reservation stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from scsiemu.nexus import InitiatorPort, Nexus, Protocol
from scsiemu.target import Target
from transports.http.messages import Refusal

if TYPE_CHECKING:
    from transports.http.port import Exchange

__all__ = ["DEFAULT_INITIATOR", "Initiator", "Initiators"]

DEFAULT_INITIATOR: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Initiator:
    """An initiator port.

    Attributes:
        nexuses: by target.
        exchanges: its commands and functions under way.
        users: connections that used the name and are open.
        unused_since: when the last of them was closed.
    """

    __slots__ = ("exchanges", "name", "nexuses", "port", "unused_since", "users")

    def __init__(self, name: str) -> None:
        self.name = name
        # All bytes of a TransportID without a protocol identify (SPC-5 7.6.4 has none for HTTP).
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        self.port = InitiatorPort(f"http,{name}", bytes((Protocol.NONE, 0, 0, 0, 0, 0, 0, 0)) + digest, name)
        self.nexuses: dict[Target, Nexus] = {}
        self.exchanges: dict[Exchange, None] = {}
        self.users: set[object] = set()
        self.unused_since = 0.0


class Initiators:
    """All of them.

    Args:
        limit: how many at a time.
        seconds: that a name lasts after its last connection.
    """

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._known: dict[str, Initiator] = {}

    def __iter__(self) -> Iterator[Initiator]:
        return iter(self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def use(self, name: str, user: object) -> Initiator:
        """The initiator of that name, used by a connection. Raises Refusal."""
        found = self._known.get(name)
        if found is None:
            if not _NAME.fullmatch(name):
                raise Refusal(
                    HTTPStatus.BAD_REQUEST, "SCSI-Initiator is 1 to 64 letters, digits, periods, hyphens, underscores "
                    "and colons",
                )
            if len(self._known) >= self._limit:
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE, f"there are {self._limit} initiators already: delete one",
                    fields=(("Retry-After", "60"),),
                )
            found = self._known[name] = Initiator(name)
        found.users.add(user)
        return found

    def nexus(self, initiator: Initiator, target: Target) -> Nexus:
        """Its nexus with a target, established if need be."""
        nexus = initiator.nexuses.get(target)
        if nexus is None:
            nexus = initiator.nexuses[target] = target.nexus_established(
                initiator.port, target.port_of_protocol(Protocol.NONE, f"http,{target.name}")
            )
        return nexus

    def find(self, name: str) -> Initiator | None:
        """The initiator of that name."""
        return self._known.get(name)

    def lose(self, name: str) -> None:
        """Its nexuses are lost, and what it had begun ends."""
        lost = self._known.pop(name)
        for target, nexus in lost.nexuses.items():
            target.nexus_lost(nexus)
        # The engine says nothing of their commands (SAM-5 6.3.4).
        for exchange in list(lost.exchanges):
            exchange.lost()

    def closed(self, user: object, now: float) -> None:
        """A connection was closed."""
        for initiator in self:
            if user in initiator.users:
                initiator.users.remove(user)
                initiator.unused_since = now

    def advance(self, now: float) -> bool:
        """Forget those that were not used for too long. Whether there were any."""
        late = [each.name for each in self if not each.users and each.unused_since + self._seconds <= now]
        for name in late:
            self.lose(name)
        return bool(late)

    def deadline(self) -> float | None:
        """When the next one is to be forgotten."""
        return min((each.unused_since + self._seconds for each in self if not each.users), default=None)
