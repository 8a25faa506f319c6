"""An object storage device in a target, and CDBs of both versions for it."""

from __future__ import annotations

import itertools
import select
import struct
from collections.abc import Callable
from typing import Any

from devtypes.osd import ObjectStorageDevice
from devtypes.osd.attribute_lists import Attribute, encode_get_list, encode_set_list, parse_set_list
from devtypes.osd.config import OsdConfig
from devtypes.osd.offsets import encode_offset
from iohandlers.objects_memory import open_store
from scsiemu.io_requests import PENDING
from scsiemu.logical_unit import LogicalUnit
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result

PID = 0x10000
INFORMATION = 1
COMMAND = 0xFFFFFFFE


def ticking() -> Callable[[], int]:
    """A clock that goes on by a millisecond each time that it is asked."""
    return itertools.count(1_700_000_000_000).__next__


def add_osd(target: Target, store: Any = None, **options: Any) -> LogicalUnit:
    """Add a unit on a store in memory."""
    kept = store or open_store(clock=ticking())
    return target.add_unit(
        0, ObjectStorageDevice(OsdConfig(**options)), performer=kept.submit, capabilities=lambda: kept.capabilities
    )


class Waiting:
    """A store that is late, waited for: an initiator in this process does not wait by itself."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.close = store.close
        self.capabilities = store.capabilities

    def submit(self, request: Any, ticket: Any, /) -> Any:
        """The answer, when it is there."""
        answer = self.store.submit(request, ticket)
        while answer is PENDING:
            select.select([self.store.fileno()], [], [], 10)
            answer = next((late for _, late in self.store.reap()), PENDING)
        return answer


class Osd:
    """One initiator of a fresh unit, by one version of the command set; `of` is a unit that is there."""

    def __init__(self, version: int = 2, store: Any = None, *, of: Osd | None = None, **options: Any) -> None:
        self.version = version
        self.target = of.target if of is not None else Target("iqn.2026-11.org.example:osd")
        if of is None:
            add_osd(self.target, store, **options)
        name = "initiator" if of is None else "other"
        self.initiator = Initiator(self.target, f"iqn.2026-11.org.example:{name}")

    def __call__(self, name: str, data: bytes = b"", *, data_in: int = 1 << 20, **fields: int) -> Result:
        """A command by its name without version."""
        title = name if self.version == 2 else f"{name} (OSD-1)"
        return self.initiator.command(title, data_out=data, data_in=data_in, **fields)

    def formatted(self) -> Osd:
        """With a partition `PID`."""
        assert self("FORMAT OSD").good
        assert self("CREATE PARTITION", partition_id=PID).good
        return self

    def get(self, pid: int, oid: int, *wanted: tuple[int, int], name: str = "GET ATTRIBUTES", **fields: int) -> Any:
        """Values of attributes, None where there are none."""
        text = encode_get_list(list(wanted), version=self.version)
        retrieved = 4096
        parameters = struct.pack(
            ">7I", len(text), 0, 65536, encode_offset(retrieved, version=self.version), 0, 0, 0
        )
        result = self(
            name, text, partition_id=pid, object_id=oid, cdbfmt=3, attributes=int.from_bytes(parameters, "big"),
            **fields,
        )
        assert result.good, result
        found = parse_set_list(result.data[retrieved:], version=self.version)
        return [each.value or None for each in found]

    def set(self, pid: int, oid: int, *attributes: tuple[int, int, bytes]) -> Result:
        """SET ATTRIBUTES with a list."""
        text = encode_set_list([Attribute(*each) for each in attributes], version=self.version)
        parameters = struct.pack(">7I", 0, 0, 0, 0, len(text), 0, 0)
        return self(
            "SET ATTRIBUTES", text, partition_id=pid, object_id=oid, cdbfmt=3,
            attributes=int.from_bytes(parameters, "big"),
        )


def ids(data: bytes) -> list[int]:
    """The ids of LIST data."""
    return [int.from_bytes(data[at : at + 8], "big") for at in range(24, len(data), 8)]
