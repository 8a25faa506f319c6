"""An optical drive for tests of the driver: as little of MMC as the driver asks for, written against the standard.

As a program it runs a command with the drive's node: `fake_disc.py KIND COMMAND ...`, KIND rom, ram, or none.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from immediate_client import ImmediateClient

from scsiemu.services import Outcome

__all__ = ["FakeDisc"]

_INQUIRY: Final = bytes.fromhex("0580060233000002") + b"SCSIEMU FAKE DISC       0001"
_BLOCKS: Final = 64
_NOT_READY, _ILLEGAL, _ATTENTION = 2, 5, 6


class FakeDisc(ImmediateClient):
    """A drive: one data track of 64 blocks, then one audio track; or a disc that is written like a disk."""

    def __init__(self, kind: str = "rom") -> None:
        super().__init__()
        self.data = bytearray(b"".join(bytes((block,)) * 2048 for block in range(_BLOCKS)))
        self.rewritable = kind == "ram"
        self.loaded = kind != "none"
        self.tray_open = False
        self.prevented = False
        self.attentions = [0x29]
        self.cdbs: list[bytes] = []
        self.sent: list[bytes] = []

    def execute(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> Outcome:
        """A command."""
        self.cdbs.append(cdb)
        if cdb[0] == 0x12:
            return _check(_ILLEGAL, 0x24) if cdb[1] else Outcome(0, b"", _INQUIRY[:data_in_length])
        if self.attentions:
            return _check(_ATTENTION, self.attentions.pop(0))
        if cdb[0] in (0xA3, 0xA4, 0xAD) or (cdb[0] in (0x55, 0x5A) and cdb[2] & 0x3F in (0, 0x0E)):
            return self._dvd(cdb, data_out)
        if cdb[0] in (0x1B, 0x1E, 0x35, 0x46, 0x5A, 0xBB):
            return self._without_disc(cdb)
        if not self.loaded or self.tray_open:
            return _check(_NOT_READY, 0x3A, 2 if self.tray_open else 1)
        return self._with_disc(cdb, data_out)

    def _without_disc(self, cdb: bytes) -> Outcome:
        if cdb[0] == 0x1B and cdb[4] & 2:
            if self.prevented and not cdb[4] & 1:
                return _check(_ILLEGAL, 0x53, 2)
            self.tray_open = not cdb[4] & 1
            if cdb[4] & 1:
                self.attentions.append(0x28)
        if cdb[0] == 0x1E:
            self.prevented = bool(cdb[4] & 1)
        if cdb[0] == 0x46:
            return Outcome(0, b"", bytes((0, 0, 0, 12, 0, 0, 0, 0x12 if self.rewritable else 0x10)) + bytes(8))
        if cdb[0] == 0x5A:
            return Outcome(0, b"", bytes((0, 26, *bytes(6), 0x2A, 18, 0x08, 0x20, 0x41, 0, 0x29, *bytes(13))))
        return Outcome(0)

    def _with_disc(self, cdb: bytes, data_out: bytes) -> Outcome:
        block = int.from_bytes(cdb[2:6], "big")
        match cdb[0]:
            case 0x00:
                return Outcome(0)
            case 0x25:
                return Outcome(0, b"", (_BLOCKS - 1).to_bytes(4, "big") + (2048).to_bytes(4, "big"))
            case 0x28 | 0x2A:
                count = int.from_bytes(cdb[7:9], "big")
                if block + count > _BLOCKS:
                    return _check(_ILLEGAL, 0x21)
                if cdb[0] == 0x2A:
                    self.data[block * 2048 : block * 2048 + len(data_out)] = data_out
                    return Outcome(0)
                return Outcome(0, b"", bytes(self.data[block * 2048 : (block + count) * 2048]))
            case 0x43:
                return self._toc(cdb)
            case 0x42:
                return Outcome(0, b"", bytes((0, 0x15, 0, 12, 1, 0x14, 2, 1, 0, 1, 2, 3, 0, 0, 1, 2)))
            case 0xBE:
                return Outcome(0, b"", bytes((block & 0xFF,)) * 2352 * int.from_bytes(cdb[6:9], "big"))
        return _check(_ILLEGAL, 0x20)

    def _dvd(self, cdb: bytes, data_out: bytes) -> Outcome:
        """Structures and keys whose bytes count up, and the audio control page."""
        if cdb[0] in (0x55, 0xA3):
            self.sent.append(data_out)
            return Outcome(0)
        if cdb[0] == 0x5A:
            page = b"\x0e\x0e\4\0\0\0\0\0\1\x80\2\x81\4\x82\x08\x83"
            mask = b"\x0e\x0e" + bytes(6) + b"\0\xff\0\xf0\0\xff\0\0"
            return Outcome(0, b"", bytes(8) + (mask if cdb[2] & 0x40 else page))
        if cdb[0] == 0xA4 and cdb[10] & 0x3F == 0x3F:
            return Outcome(0)
        length = int.from_bytes(cdb[8:10], "big")
        if cdb[0] == 0xAD and cdb[7] in (3, 4):
            return Outcome(0, b"", (b"\0\x10\0\0" + bytes(range(1, 200)))[:length])
        return Outcome(0, b"", bytes(at * 37 + 11 & 0xFF for at in range(length)))

    def _toc(self, cdb: bytes) -> Outcome:
        def address(lba: int) -> bytes:
            frames = lba + 150
            return bytes((0, frames // 4500, frames // 75 % 60, frames % 75)) if cdb[1] & 2 else lba.to_bytes(4, "big")

        if cdb[2] & 0xF == 1:
            return Outcome(0, b"", bytes((0, 10, 1, 2, 0, 0x14, 2, 0)) + address(_BLOCKS))
        rows = [(1, 0x14, 0), (2, 0x10, _BLOCKS), (0xAA, 0x10, _BLOCKS + 100)]
        if cdb[6] > 2 and cdb[6] != 0xAA:
            return _check(_ILLEGAL, 0x24)
        body = b"".join(bytes((0, kind, track, 0)) + address(lba) for track, kind, lba in rows if track >= cdb[6])
        return Outcome(0, b"", ((len(body) + 2).to_bytes(2, "big") + b"\1\2" + body)[: int.from_bytes(cdb[7:9], "big")])


def _check(key: int, asc: int, ascq: int = 0) -> Outcome:
    return Outcome(2, bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0)))


def main() -> int:
    """Run a command."""
    from transports.devnode.device_nodes import DeviceNodes

    nodes = DeviceNodes()
    nodes.add_client(lambda: FakeDisc(sys.argv[1]))
    try:
        return nodes.run(sys.argv[2:], os.environ)
    finally:
        nodes.close()


if __name__ == "__main__":
    sys.exit(main())
