"""The key tree of a unit in its store (OSD-2 4.12), and the nonces that it has seen.

Master, root, partition, working keys: attributes of a private page of the root and of partitions, sealed with the root
secret. A key that is set takes those below it away. Partition zero, whose working keys sign what concerns the root, is
the root object. Nonces are kept in memory: what is older than the start of the unit is refused, so that nothing that
an earlier run accepted is accepted again.
"""

from __future__ import annotations

import heapq
from typing import Final

from devtypes.osd.attribute_pages import NONCE_LIST_DEPTH
from devtypes.osd.objects import PAGE_BASE
from devtypes.osd.security import KeyPair, initial_master_key, unwrap, wrap
from scsiemu import asc
from scsiemu._value import value
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction
from scsiemu.sense import CheckCondition

__all__ = ["BOOT_EPOCH", "MASTER", "PARTITION_KEY", "ROOT_KEY", "WORKING_KEYS", "Boot", "KeyTree", "NonceList"]

BOOT_EPOCH: Final = 1
MASTER: Final = 2
ROOT_KEY: Final = 3
PARTITION_KEY: Final = 0x10
WORKING_KEYS: Final = 0x20          # and 15 more
_SOME: Final = 256
# Key identifiers in policy/security pages.
_IDENTIFIERS: Final = {MASTER: 0x7FFD, ROOT_KEY: 0x7FFE, PARTITION_KEY: 0x7FFF}


@value
class Boot:
    """What is new with each start of a unit.

    Args:
        epoch: BOOT EPOCH, 16 bits.
        started: milliseconds since 1970, by the store's clock.
        seed: random; security tokens are made of it.
    """

    epoch: int
    started: int
    seed: bytes


class KeyTree:
    """The keys of a unit, sealed with `root_secret`."""

    def __init__(self, root_secret: bytes) -> None:
        self._secret = root_secret

    def get(self, tx: ObjectTransaction, pid: int, number: int) -> KeyPair | None:
        """A key; None where it was never set, or was taken away."""
        sealed = tx.attribute(pid, 0, PRIVATE_PAGE, number)
        if sealed is None:
            return initial_master_key(self._secret) if number == MASTER else None
        return unwrap(self._secret, _label(pid, number), sealed)

    def put(self, tx: ObjectTransaction, pid: int, number: int, keys: KeyPair, identifier: bytes) -> None:
        """Set a key and its identifier; keys below it go."""
        self._remove_below(tx, pid, number)
        tx.set_attribute(pid, 0, PRIVATE_PAGE, number, wrap(self._secret, _label(pid, number), keys, tx.random(16)))
        tx.set_attribute(pid, 0, *_identifier(pid, number), identifier)

    def _remove_below(self, tx: ObjectTransaction, pid: int, number: int) -> None:
        if number in (MASTER, ROOT_KEY):
            if number == MASTER:
                _remove(tx, 0, ROOT_KEY)
            self.forget(tx, 0)
            start = 0
            while some := tx.objects(0, ObjectKind.PARTITION, start, _SOME):
                for each in some:
                    self.forget(tx, each)
                start = some[-1] + 1
        elif number == PARTITION_KEY:
            for version in range(16):
                _remove(tx, pid, WORKING_KEYS + version)

    @staticmethod
    def forget(tx: ObjectTransaction, pid: int) -> None:
        """Take the partition key and the working keys of a partition away."""
        for number in (PARTITION_KEY, *range(WORKING_KEYS, WORKING_KEYS + 16)):
            _remove(tx, pid, number)


def _remove(tx: ObjectTransaction, pid: int, number: int) -> None:
    tx.set_attribute(pid, 0, PRIVATE_PAGE, number, None)
    tx.set_attribute(pid, 0, *_identifier(pid, number), None)


def _identifier(pid: int, number: int) -> tuple[int, int]:
    base = PAGE_BASE[ObjectKind.PARTITION if pid else ObjectKind.ROOT]
    return base + 5, _IDENTIFIERS.get(number, 0x8000 + number - WORKING_KEYS)


def _label(pid: int, number: int) -> bytes:
    return pid.to_bytes(8, "big") + number.to_bytes(4, "big")


class NonceList:
    """Request nonces that were accepted, as long as they could come again.

    Args:
        most: how many it remembers; past it no nonce can be told from a new one.
    """

    def __init__(self, most: int = NONCE_LIST_DEPTH) -> None:
        self._most = most
        self._known: set[bytes] = set()
        self._heap: list[bytes] = []        # by timestamp, which a nonce begins with

    def take(self, nonce: bytes, *, now: int, oldest: int, newest: int) -> None:
        """Accept a nonce, once.

        Args:
            nonce: 12 bytes, the first 6 its time in milliseconds since 1970.
            now: the same.
            oldest, newest: the window of times that are accepted.

        Raises CheckCondition.
        """
        stamp = int.from_bytes(nonce[:6], "big")
        if not oldest <= stamp <= newest:
            raise CheckCondition(asc.NONCE_TIMESTAMP_OUT_OF_RANGE)
        if nonce in self._known:
            raise CheckCondition(asc.NONCE_NOT_UNIQUE)
        limit = oldest.to_bytes(6, "big")
        while self._heap and self._heap[0] < limit:
            self._known.discard(heapq.heappop(self._heap))
        if len(self._known) >= self._most:
            # No more can be told apart until the window has moved on.
            raise CheckCondition(asc.SECURITY_WORKING_KEY_FROZEN)
        self._known.add(nonce)
        heapq.heappush(self._heap, nonce)
