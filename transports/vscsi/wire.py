"""The datagrams between a client process and the process that has its hypervisor, over AF_UNIX SOCK_SEQPACKET.

    client to server    HELLO, with the descriptor of the client's memory (a sealed memfd)
    server to client    WELCOME
    client to server    16 bytes: H_SEND_CRQ, not answered
    client to server    CALL: another hypervisor call of the client's adapter
    server to client    RETURN: its code
    server to client    INTERRUPT: look into your queue

The server never gives the client memory; what it sends to the client's queue it writes into the client's memory. A
send to a queue that is closed is lost, and the transport event says so; where it is full the socket makes the client
wait.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from scsiemu.errors import RemoteProtocolError

__all__ = [
    "CALL_LENGTH", "CRQ_LENGTH", "HELLO_LENGTH", "INTERRUPT", "MAGIC", "WELCOME_LENGTH", "Call", "Hello", "Refusal",
    "Welcome", "WireError", "decode_call", "decode_hello", "decode_return", "decode_welcome", "encode_return",
]

MAGIC: Final = b"scsiemu1"

_HELLO: Final = struct.Struct(">8sQQ96s")
_WELCOME: Final = struct.Struct(">8siIQ")
_CALL: Final = struct.Struct(">IIQQQ")
_RETURN: Final = struct.Struct(">4si")

HELLO_LENGTH: Final = _HELLO.size
WELCOME_LENGTH: Final = _WELCOME.size
CALL_LENGTH: Final = _CALL.size
CRQ_LENGTH: Final = 16
INTERRUPT: Final = b"intr"

_RETURN_MARK: Final = b"code"


class WireError(RemoteProtocolError):
    """A datagram that is none of these."""


class Refusal:
    """Why a server does not welcome a client; 0: it does."""

    NONE: Final = 0
    BAD_HELLO: Final = 1            # another protocol or version
    BAD_MEMORY: Final = 2           # no memfd that is sealed against shrinking, or its size is out of bounds
    IDENTITY_TAKEN: Final = 3       # a client with this identity is connected
    TOO_MANY: Final = 4             # clients


class Hello(NamedTuple):
    """What a client begins with.

    Args:
        size: bytes of memory, all of which are to be mapped at the bus addresses that they have in it.
        identity: which client it is; 0: the server may choose.
        name: of its partition.
    """

    size: int
    identity: int
    name: str

    def encode(self) -> bytes:
        """The datagram."""
        return _HELLO.pack(MAGIC, self.size, self.identity, self.name.encode()[:96])


def decode_hello(data: bytes) -> Hello:
    """Raises WireError."""
    if len(data) != HELLO_LENGTH:
        raise WireError(f"a greeting of {len(data)} bytes")
    magic, size, identity, name = _HELLO.unpack(data)
    if magic != MAGIC:
        raise WireError("a greeting of another protocol")
    text = name.partition(b"\0")[0].decode("ascii", "backslashreplace")
    return Hello(size, identity, "".join(character if character.isprintable() else "?" for character in text))


class Welcome(NamedTuple):
    """The server's answer.

    Args:
        refusal: of `Refusal`.
        unit: address of the client's virtual adapter.
        bus: of its window.
    """

    refusal: int
    unit: int = 0
    bus: int = 0

    def encode(self) -> bytes:
        """The datagram."""
        return _WELCOME.pack(MAGIC, self.refusal, self.unit, self.bus)


def decode_welcome(data: bytes) -> Welcome:
    """Raises WireError."""
    if len(data) != WELCOME_LENGTH or data[:8] != MAGIC:
        raise WireError("not a server of this protocol")
    _, refusal, unit, bus = _WELCOME.unpack(data)
    return Welcome(refusal, unit, bus)


class Call(NamedTuple):
    """A hypervisor call with up to three arguments after the unit or bus, which the server knows."""

    number: int
    first: int = 0
    second: int = 0
    third: int = 0

    def encode(self) -> bytes:
        """The datagram."""
        return _CALL.pack(self.number, 0, self.first, self.second, self.third)


def decode_call(data: bytes) -> Call:
    """Raises WireError."""
    if len(data) != CALL_LENGTH:
        raise WireError(f"a datagram of {len(data)} bytes")
    number, _, first, second, third = _CALL.unpack(data)
    return Call(number, first, second, third)


def encode_return(code: int) -> bytes:
    """The answer to a call."""
    return _RETURN.pack(_RETURN_MARK, code)


def decode_return(data: bytes) -> int | None:
    """The code of an answer; None: the datagram is something else."""
    if len(data) != _RETURN.size or data[:4] != _RETURN_MARK:
        return None
    code: int = _RETURN.unpack(data)[1]
    return code
