"""A tape drive for tests of the driver: as little of SSC as the driver asks for, written against the standard alone.

As a program it runs a command with the drive's nodes: `fake_tape.py CAPACITY COMMAND ...`.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from immediate_client import ImmediateClient

from scsiemu.services import Outcome

__all__ = ["FakeTape"]

_NO_SENSE, _NOT_READY, _MEDIUM, _ILLEGAL, _ATTENTION, _PROTECT, _BLANK, _OVERFLOW = 0, 2, 3, 5, 6, 7, 8, 13
_FILEMARK, _EOM, _ILI = 0x80, 0x40, 0x20
_INQUIRY: Final = bytes.fromhex("0180060233000002") + b"SCSIEMU FAKE TAPE       0001"


class FakeTape(ImmediateClient):
    """One cartridge of one partition: `records` are blocks, and None for filemarks.

    Args:
        capacity: bytes; early warning comes a quarter before, VOLUME OVERFLOW at the end.
    """

    def __init__(self, capacity: int = 1 << 30, *, least: int = 1, most: int = 1 << 20) -> None:
        super().__init__()
        self.capacity = capacity
        self.limits = (least, most)
        self.records: list[bytes | None] = []
        self.at = 0
        self.block_size = 0
        self.density = 0x42
        self.buffered = 1
        self.loaded = True
        self.protected = False
        self.prevented = False
        self.compression = 0xC0
        self.partition_page = b""
        self.answers: dict[int, Outcome] = {}
        self.selected: list[bytes] = []
        self.becoming_ready = 0
        self.attentions: list[tuple[int, int]] = [(0x29, 0)]
        self.cdbs: list[bytes] = []

    def execute(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> Outcome:
        """A command."""
        self.cdbs.append(cdb)
        if cdb[0] == 0x12:
            return Outcome(2, _sense(_ILLEGAL, 0x24)) if cdb[1] else Outcome(0, b"", _INQUIRY[:data_in_length])
        if self.attentions:
            return self._check(_ATTENTION, *self.attentions.pop(0))
        if self.becoming_ready and cdb[0] not in (0x1B, 0x1E):
            return self._check(_NOT_READY, 0x04, 0x01)
        if not self.loaded and cdb[0] not in (0x1B, 0x1E):
            return self._check(_NOT_READY, 0x3A)
        if cdb[0] in self.answers:
            return self.answers[cdb[0]]
        names = {
            0x00: self._good, 0x01: self._rewind, 0x05: self._limits, 0x08: self._read, 0x0A: self._write,
            0x10: self._filemarks, 0x11: self._space, 0x15: self._mode_select, 0x19: self._erase,
            0x1A: self._mode_sense, 0x04: self._good, 0x1B: self._load, 0x1E: self._prevent,
            0x2B: self._locate, 0x34: self._position,
        }
        method = names.get(cdb[0])
        return method(cdb, data_out) if method is not None else self._check(_ILLEGAL, 0x20)

    def time_passes(self) -> None:
        """A second."""
        self.becoming_ready = max(0, self.becoming_ready - 1)

    def _check(self, key: int, asc: int = 0, ascq: int = 0, flags: int = 0, residual: int | None = None) -> Outcome:
        return Outcome(2, _sense(key, asc, ascq, flags, residual))

    def _good(self, cdb: bytes, data: bytes) -> Outcome:
        return Outcome(0)

    def _rewind(self, cdb: bytes, data: bytes) -> Outcome:
        self.at = 0
        return Outcome(0)

    def _limits(self, cdb: bytes, data: bytes) -> Outcome:
        return Outcome(0, b"", bytes((0, *self.limits[1].to_bytes(3, "big"), *self.limits[0].to_bytes(2, "big"))))

    def _read(self, cdb: bytes, data: bytes) -> Outcome:
        count = int.from_bytes(cdb[2:5], "big")
        fixed = bool(cdb[1] & 1)
        if fixed and not self.block_size:
            return self._check(_ILLEGAL, 0x24)
        size = self.block_size if fixed else count
        got = b""
        for done in range(count if fixed else 1):
            left = count - done if fixed else count
            if self.at >= len(self.records):
                return Outcome(2, _sense(_BLANK, 0, 5, 0, left), got)
            record = self.records[self.at]
            self.at += 1
            if record is None:
                return Outcome(2, _sense(_NO_SENSE, 0, 1, _FILEMARK, left), got)
            if len(record) != size:
                if not fixed and cdb[1] & 2 and len(record) < size:
                    return Outcome(0, b"", record)
                residual = left if fixed else count - len(record)
                return Outcome(2, _sense(_NO_SENSE, 0, 0, _ILI, residual), got if fixed else record[:count])
            got += record
        return Outcome(0, b"", got)

    def _write(self, cdb: bytes, data: bytes) -> Outcome:
        if self.protected:
            return self._check(_PROTECT, 0x27)
        count = int.from_bytes(cdb[2:5], "big")
        size = self.block_size if cdb[1] & 1 else count
        blocks = [data[at : at + size] for at in range(0, len(data), size)]
        del self.records[self.at :]
        for done, block in enumerate(blocks):
            if self._used() + len(block) > self.capacity:
                return self._check(_OVERFLOW, 0, 2, _EOM, count - done if cdb[1] & 1 else count)
            self.records.append(block)
            self.at += 1
        return self._end(0)

    def _used(self) -> int:
        return sum(len(record or b"") for record in self.records)

    def _end(self, residual: int) -> Outcome:
        warned = self._used() > self.capacity * 3 // 4
        return self._check(_NO_SENSE, 0, 2, _EOM, residual) if warned else Outcome(0)

    def _filemarks(self, cdb: bytes, data: bytes) -> Outcome:
        if self.protected:
            return self._check(_PROTECT, 0x27)
        count = int.from_bytes(cdb[2:5], "big")
        if count:
            del self.records[self.at :]
        self.records += [None] * count
        self.at += count
        return self._end(0) if count else Outcome(0)

    def _space(self, cdb: bytes, data: bytes) -> Outcome:
        count = int.from_bytes(cdb[2:5], "big")
        count -= (count >> 23) << 24
        if cdb[1] & 7 == 3:
            self.at = len(self.records)
            return Outcome(0)
        marks = cdb[1] & 7 == 1
        left, step = abs(count), 1 if count > 0 else -1
        while left:
            if step < 0 and not self.at:
                return self._check(_NO_SENSE, 0, 4, _EOM, left)
            if step > 0 and self.at >= len(self.records):
                return self._check(_BLANK, 0, 5, 0, left)
            mark = self.records[self.at - (step < 0)] is None
            self.at += step
            if marks and not mark:
                continue
            if mark and not marks:
                return self._check(_NO_SENSE, 0, 1, _FILEMARK, left)
            left -= 1
        return Outcome(0)

    def _mode_sense(self, cdb: bytes, data: bytes) -> Outcome:
        pages = {0: b"", 0x0F: bytes((0x0F, 14, self.compression, 0x80, *bytes(12))), 0x11: self.partition_page}
        page = pages.get(cdb[2] & 0x3F)
        if page is None:
            return self._check(_ILLEGAL, 0x24)
        head = bytes((11 + len(page), 0, self.protected << 7 | self.buffered << 4, 8, self.density, 0, 0, 0, 0))
        return Outcome(0, b"", (head + self.block_size.to_bytes(3, "big") + page)[: cdb[4]])

    def _mode_select(self, cdb: bytes, data: bytes) -> Outcome:
        self.buffered, self.density = data[2] >> 4 & 7, data[4]
        self.block_size = int.from_bytes(data[9:12], "big")
        self.selected.append(data[12:])
        if data[12:13] == b"\x0F":
            self.compression = data[14]
        return Outcome(0)

    def _erase(self, cdb: bytes, data: bytes) -> Outcome:
        del self.records[self.at :]
        return Outcome(0)

    def _load(self, cdb: bytes, data: bytes) -> Outcome:
        if cdb[4] & 1 and not self.loaded:
            self.attentions.append((0x28, 0))
        elif not cdb[4] & 1 and self.prevented:
            return self._check(_ILLEGAL, 0x53, 2)
        self.loaded = bool(cdb[4] & 1)
        self.at = 0
        return Outcome(0)

    def _prevent(self, cdb: bytes, data: bytes) -> Outcome:
        self.prevented = bool(cdb[4] & 1)
        return Outcome(0)

    def _locate(self, cdb: bytes, data: bytes) -> Outcome:
        block = int.from_bytes(cdb[3:7], "big")
        self.at = min(block, len(self.records))
        return Outcome(0) if self.at == block else self._check(_BLANK, 0, 5)

    def _position(self, cdb: bytes, data: bytes) -> Outcome:
        here = self.at.to_bytes(4, "big")
        return Outcome(0, b"", bytes((0x80 if not self.at else 0, 0, 0, 0)) + here + here + bytes(8))


def _sense(key: int, asc: int = 0, ascq: int = 0, flags: int = 0, residual: int | None = None) -> bytes:
    valid = 0x80 if residual is not None else 0
    information = ((residual or 0) & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes((valid | 0x70, 0, flags | key, *information, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0))


def main() -> int:
    """Run a command."""
    from transports.devnode.device_nodes import DeviceNodes

    nodes = DeviceNodes()
    nodes.add_client(lambda: FakeTape(int(sys.argv[1])))
    try:
        return nodes.run(sys.argv[2:], os.environ)
    finally:
        nodes.close()


if __name__ == "__main__":
    sys.exit(main())
