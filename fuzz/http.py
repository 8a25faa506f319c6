"""Clients of HTTP that send anything (RFC 9110, RFC 9112)."""

from __future__ import annotations

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.operations import OperationTable
from scsiemu.target import Target
from transports.http.connection import HttpConnection
from transports.http.port import HttpLimits, HttpPort

__all__ = ["fuzz_http"]

_LIMITS = HttpLimits(head=4096, ahead=4096, max_transfer=8192, buffers=32768, initiators=4)
_TABLES = {"vd": OperationTable(VirtualDisk)}


def fuzz_http(data: bytes) -> None:
    """Whatever a client sends and however it is cut, the same responses come, and nothing is left when it has gone.

    The first byte chooses the size of the pieces. No exception is allowed.
    """
    if len(data) < 2:
        return
    size, stream = data[0] % 61 + 1, data[1:]
    whole = _answers([stream])
    pieces = _answers([stream[at : at + size] for at in range(0, len(stream), size)])
    assert whole == pieces, (whole, pieces)


def _answers(pieces: list[bytes]) -> bytes:
    """What a server of a disk answers to these pieces."""
    target = Target("fuzz")
    store = open_store(size=1 << 20)
    target.add_unit(0, VirtualDisk(DiskConfig.for_store(store.capabilities)), performer=store.submit)
    port = HttpPort((target,), tables=_TABLES, limits=_LIMITS)
    connection = HttpConnection(port, lambda: None)
    sent = b""
    for piece in (*pieces, b""):
        connection.receive_data(piece)
        while answer := connection.data_to_send():
            sent += answer
            connection.unsent(0)
    assert connection.closing, "who sends no more is not waited for"
    connection.closed()
    for initiator in list(port.initiators):
        port.initiators.lose(initiator.name)
    port.settle()
    assert not port.held, "bytes are held for nobody"
    assert not target.nexuses
    assert all(unit.statistics()["pending"] == 0 for unit in target.units.values())
    return sent
