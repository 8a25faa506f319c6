"""What a device type may ask of an object store: one request, a transaction.

A command's effects on an object store are one `Transact`: its `work` is called once with the open transaction, in
whatever thread the store uses, and asks it for objects, attributes, members and data. When it returns, everything it
did is kept and its result is the answer; when it raises `Rollback`, nothing is kept and `Rollback.answer` is the
answer. Transactions of a store come one after the other, so that each sees the whole effect of those before it and
nothing of others.

`work` keeps to values that it was made with and to the transaction: it touches no device server, and does no I/O of
its own. The store never sees a CDB; it knows objects by two numbers and never makes a path from anything in a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from scsiemu.command import Buffer
from scsiemu.io_requests import Extent, IoRequest

__all__ = ["PRIVATE_PAGE", "ObjectKind", "ObjectTransaction", "Rollback", "Transact"]

R = TypeVar("R")

# Attribute pages have 32 bits for an initiator: what a device type keeps for itself lies past them.
PRIVATE_PAGE: Final = 1 << 32


class ObjectKind:
    """Kinds of objects, by the OBJECT TYPE codes of OSD-2."""

    ROOT: Final = 0x01
    PARTITION: Final = 0x02
    COLLECTION: Final = 0x40
    USER: Final = 0x80


class Rollback(Exception):
    """Undo the transaction; `answer` is the answer of the request."""

    def __init__(self, answer: object) -> None:
        super().__init__(answer)
        self.answer = answer


class ObjectTransaction(Protocol):
    """An open transaction. Objects are (partition id, object id): the root is (0, 0), a partition (pid, 0).

    Ids have 64 bits, page numbers 33 (see `PRIVATE_PAGE`), attribute numbers 32. Every method but `create` and `kind`
    is asked only of objects that are there.

    Attributes:
        grain: bytes by which `used` grows and shrinks.
    """

    grain: int

    def clock(self) -> int:
        """Milliseconds since 1970."""

    def random(self, length: int) -> bytes:
        """Random bytes fit for keys."""

    def erase(self) -> None:
        """Remove every object, the root's attributes too; an empty root stays."""

    def kind(self, pid: int, oid: int) -> int | None:
        """The `ObjectKind`; None where there is no such object."""

    def create(self, pid: int, oid: int, kind: int) -> None:
        """Make an object of length 0 without attributes."""

    def remove(self, pid: int, oid: int) -> None:
        """Remove an object with its attributes, data and memberships."""

    def objects(self, pid: int, kind: int, start: int, limit: int) -> list[int]:
        """Ids of a kind in a partition (partitions where `pid` is 0), ascending from `start`, at most `limit`."""

    def last(self, pid: int) -> int:
        """The highest id in a partition (the highest partition id where `pid` is 0); 0 where there is none."""

    def count(self, pid: int, kind: int, start: int = 0) -> int:
        """How many objects of a kind from id `start` are in a partition (partitions where `pid` is 0)."""

    def attribute(self, pid: int, oid: int, page: int, number: int) -> bytes | None:
        """The value of an attribute, None where it is not there."""

    def attributes(self, pid: int, oid: int, page: int | None) -> list[tuple[int, int, bytes]]:
        """(page, number, value) of a page, or of all pages below `PRIVATE_PAGE`, ascending."""

    def set_attribute(self, pid: int, oid: int, page: int, number: int, value: bytes | None) -> None:
        """Keep a value, or forget it."""

    def join(self, pid: int, cid: int, oid: int, number: int) -> None:
        """Make an object a member of a collection; `number` is its own for the membership."""

    def leave(self, pid: int, cid: int, oid: int) -> None:
        """End a membership, if there is one."""

    def members(self, pid: int, cid: int, start: int, limit: int) -> list[int]:
        """Members of a collection, ascending from `start`, at most `limit`."""

    def member_count(self, pid: int, cid: int, start: int = 0) -> int:
        """How many members from id `start` a collection has."""

    def memberships(self, pid: int, oid: int) -> list[tuple[int, int]]:
        """(number, collection id) of a user object, ascending."""

    def changes(self, pid: int) -> int:
        """A number that grows whenever objects or memberships of a partition (partitions, where `pid` is 0) come or
        go, since the store was opened."""

    def free(self, pid: int, start: int, number: int) -> int | None:
        """The first of `number` consecutive ids that no object of a partition (no partition, where `pid` is 0) has,
        from `start` on; None where there are none."""

    def copy_partition(self, pid: int, new: int) -> None:
        """Make partition `new` with all that partition `pid` has: objects, attributes, members, data."""

    def copy_data(self, pid: int, oid: int, new_pid: int, new_oid: int) -> None:
        """Give a user object, which is empty, the data of another, holes included."""

    def length(self, pid: int, oid: int) -> int:
        """Logical length in bytes."""

    def used(self, pid: int, oid: int) -> int:
        """Bytes that the data of an object takes; of all in a partition, of all for the root."""

    def read(self, pid: int, oid: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, which lie below the logical length. Holes read as zeros."""

    def write(self, pid: int, oid: int, offset: int, data: Buffer) -> None:
        """Write; the object grows to the end of it."""

    def truncate(self, pid: int, oid: int, length: int) -> None:
        """Set the logical length; what is new is a hole."""

    def clear(self, pid: int, oid: int, offset: int, length: int) -> None:
        """Make a range below the logical length zeros, with holes where whole units of the store lie in it."""

    def extents(self, pid: int, oid: int, offset: int, limit: int) -> list[Extent]:
        """Data and holes in order from `offset` to the logical length, at most `limit` of them."""


class Transact(IoRequest[R]):
    """Call `work` in a transaction; its result is the answer.

    Args:
        work: see the module.
        durable: what it did is on stable storage when the answer comes.
    """

    __slots__ = ("durable", "work")

    def __init__(self, work: Callable[[ObjectTransaction], R], *, durable: bool = False) -> None:
        self.work = work
        self.durable = durable

    def __repr__(self) -> str:
        return f"Transact({self.work!r}, durable={self.durable})"
