"""Login and text negotiation by a peer that may send anything (RFC 7143 clauses 6, 12, 13)."""

from __future__ import annotations

import hashlib
import struct

from scsiemu.target import Target
from transports.iscsi.node import IscsiTarget, NodeLimits, TargetNode

__all__ = ["fuzz_login"]

_SEPARATOR = b"\xff\x00\xff"
_LIMIT_OUT = 1 << 20


def _random(count: int) -> bytes:
    """Not random, but as many bytes as asked: a fuzzer wants to see the same thing twice."""
    return hashlib.shake_128(b"fuzz").digest(count)


def fuzz_login(data: bytes) -> None:
    """No login text makes the target raise, answer without bound, or log in without a good reason.

    The input is a row of login PDUs, cut at FF 00 FF: flags, then the text of one. No exception is allowed.
    """
    node = TargetNode(random_bytes=_random, limits=NodeLimits())
    node.add_target(IscsiTarget(Target("iqn.2026-11.fuzz:a")))
    connection = node.accept(peer="127.0.0.1", local=("127.0.0.1", 3260), now=0.0)
    assert connection is not None
    sent = 0
    for number, part in enumerate(data.split(_SEPARATOR)[:64]):
        flags, text = (part[0], part[1:9000]) if part else (0, b"")
        connection.receive_data(memoryview(_login_pdu(flags, number, text)))
        sent += connection.queued
        connection.data_sent(connection.queued)
        assert sent <= _LIMIT_OUT, "answers without bound"
        if connection.closed or connection.session is not None:
            break
    if connection.session is not None:
        assert b"InitiatorName=" in data, "logged in without a name"
    connection.lost()
    assert not node.connections


def _login_pdu(flags: int, number: int, text: bytes) -> bytes:
    """A login request with these flags and this text."""
    header = struct.pack(
        ">BBBBI6sHIHHIIQQ", 0x43, flags, 0, 0, len(text), b"\x80fuzz\x00", 0, 1, 0, 0, 1, number, 0, 0
    )
    return header + text + bytes(-len(text) % 4)
