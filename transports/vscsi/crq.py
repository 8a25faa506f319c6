"""Command/response queues: rings of 16-byte elements in a page of the partition that receives (PAPR 17.2.3).

The sender (the hypervisor, on behalf of the partner) is a `CrqSender`, the receiver a `CrqReceiver`; both have their
own cursor over the same memory. Bit 7 of an element's first byte says that it is taken. The last free element is kept
for transport events, so that a partner's end is told even where its messages filled the queue.

It does NOT: know what an element means, or who may send what (hypervisor.py).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

__all__ = ["ELEMENT_LENGTH", "CrqElement", "CrqReceiver", "CrqSender"]

ELEMENT_LENGTH: Final = 16

_ELEMENT: Final = struct.Struct(">BBxBHHQ")
_TAKEN: Final = 0x80


class CrqElement(NamedTuple):
    """An element.

    Args:
        valid: one of `CrqValid`.
        format: of `CrqFormat`, `InitFormat` or `TransportEvent`, as `valid` says.
        status: of `CrqStatus` or `MessageStatus`.
        timeout: seconds that the partner may take, 0 for any.
        iu_length: bytes of the information unit.
        iu_address: of a request: where it is; of a response: the tag.
    """

    valid: int
    format: int
    status: int = 0
    timeout: int = 0
    iu_length: int = 0
    iu_address: int = 0

    def encode(self) -> bytes:
        """Its 16 bytes."""
        return _ELEMENT.pack(*self)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> CrqElement:
        """From 16 bytes. Every such has a meaning."""
        return cls(*_ELEMENT.unpack(data))


class CrqSender:
    """The end of a queue at which elements come in.

    Args:
        memory: the whole queue, a multiple of 16 bytes.
    """

    __slots__ = ("_cursor", "_memory")

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._cursor = 0

    def put(self, element: bytes, *, event: bool = False) -> bool:  # hot
        """Put an element. False: the queue is full (for messages: but for the last element)."""
        memory = self._memory
        size = len(memory)
        at = self._cursor
        end = at + ELEMENT_LENGTH
        if memory[at] & _TAKEN or not (event or not memory[end % size] & _TAKEN):
            return False
        # The first byte last: the receiver may look from another processor.
        memory[at + 1 : end] = element[1:]
        memory[at] = element[0]
        self._cursor = end % size
        return True


class CrqReceiver:
    """The end of a queue at which elements are taken out.

    Args:
        memory: the whole queue, a multiple of 16 bytes.
    """

    __slots__ = ("_cursor", "_memory")

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._cursor = 0

    def get(self) -> CrqElement | None:  # hot
        """The next element, None where there is none."""
        memory = self._memory
        at = self._cursor
        if not memory[at] & _TAKEN:
            return None
        end = at + ELEMENT_LENGTH
        element = CrqElement._make(_ELEMENT.unpack(memory[at:end]))
        memory[at] = 0
        self._cursor = end % len(memory)
        return element
