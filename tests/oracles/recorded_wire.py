"""What goes over a connection, as a capture file that Wireshark reads: no capturing on an interface, so no root.

    with RecordedWire(served.portal) as wire:
        client = connect(f"iscsi://{wire.portal}/{target}/0")
        ...
    wire.write(path)
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["ISCSI_PORT", "RecordedWire"]

ISCSI_PORT: Final = 3260            # in the capture, so that it is known for iSCSI
_CLIENT_PORT: Final = 50000
_RAW_IP: Final = 101                # link type: packets begin with their IP header
_MOST: Final = 32768                # bytes of a packet
_SECONDS: Final = 60.0


class RecordedWire:
    """One connection to `portal` (HOST:PORT), forwarded and recorded.

    Attributes:
        portal: HOST:PORT to connect to instead.
    """

    def __init__(self, portal: str) -> None:
        host, _, port = portal.rpartition(":")
        self._there = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_SECONDS)
        self.portal = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._passed: list[tuple[bool, bytes]] = []
        self._thread = threading.Thread(target=self._forward, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(_SECONDS)
        self._listener.close()
        assert kind is not None or not self._thread.is_alive(), "the connection was not ended"

    def _forward(self) -> None:
        try:
            near, _ = self._listener.accept()
        except TimeoutError:
            return
        with near, socket.create_connection(self._there) as far:
            while True:
                ready, _, _ = select.select([near, far], [], [], _SECONDS)
                if not ready:
                    return
                for each in ready:
                    data = each.recv(65536)
                    if not data:
                        return
                    self._passed.append((each is near, data))
                    (far if each is near else near).sendall(data)

    def write(self, path: Path) -> None:
        """Write what passed."""
        parts = [struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP)]
        sequence = {True: 1, False: 1}
        moment = 0
        for sent, data in self._passed:
            for at in range(0, len(data), _MOST):
                packet = _packet(sent, sequence[sent], sequence[not sent], data[at : at + _MOST])
                sequence[sent] += len(data[at : at + _MOST])
                parts += [struct.pack("=IIII", 1_700_000_000, moment, len(packet), len(packet)), packet]
                moment += 1
        path.write_bytes(b"".join(parts))


def _packet(sent: bool, number: int, acknowledged: int, data: bytes) -> bytes:
    """An IPv4 packet with a TCP segment; checksums are zero."""
    near, far = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
    ports = (_CLIENT_PORT, ISCSI_PORT) if sent else (ISCSI_PORT, _CLIENT_PORT)
    tcp = struct.pack(">HHIIBBHHH", *ports, number, acknowledged, 5 << 4, 0x18, 65535, 0, 0) + data
    addresses = near + far if sent else far + near
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses + tcp
