"""Object commands of one version to the unit under test, whatever it is."""

from __future__ import annotations

import struct
from typing import Any, Final

from conformance import Answer, ConformanceUnit

from devtypes.osd import ObjectStorageDevice
from devtypes.osd.config import OsdConfig
from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.requests import Request, parse_attributes, parse_ids, request
from iohandlers.objects_memory import open_store
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.sense import FieldPointer, Sense, SenseCode
from scsiemu.target import Target

__all__ = [
    "COMMAND", "NAME", "OBJECT", "OID", "PID", "Osd", "criterion", "found_ids", "local_target", "number",
    "pointer",
]

PID: Final = 0x10000
OID: Final = 0x10000
COMMAND: Final = 0xFFFFFFFE         # current command attributes page
NAME: Final = (1, 9)                # USERNAME of a user object
OBJECT: Final = {"partition_id": PID, "object_id": OID}


def number(value: int, length: int = 8) -> bytes:
    """A number as an attribute has it."""
    return value.to_bytes(length, "big")


class Osd:
    """Commands of one version to the unit under test, which is formatted: partition `PID` with object `OID`."""

    def __init__(self, unit: ConformanceUnit, version: int) -> None:
        self.unit = unit
        self.version = version
        self.good("FORMAT OSD")
        self.good("CREATE PARTITION", partition_id=PID)
        self.good("CREATE", **OBJECT)

    def request(self, name: str, **rest: Any) -> Request:
        """The command."""
        return request(name, version=self.version, **rest)

    def execute(self, name: str, **rest: Any) -> Answer:
        """A command, however it ends."""
        sent = self.request(name, **rest)
        return self.unit.execute(sent.cdb, sent.data_out, sent.data_in)

    def good(self, name: str, **rest: Any) -> bytes:
        """A command that must end with GOOD."""
        sent = self.request(name, **rest)
        return self.unit.good(sent.cdb, sent.data_out, sent.data_in)

    def refused(self, name: str, code: SenseCode, **rest: Any) -> Sense:
        """A command that must be refused."""
        sent = self.request(name, **rest)
        return self.unit.refused(sent.cdb, code, sent.data_out, sent.data_in)

    def attributes(self, name: str, get: tuple[tuple[int, int], ...], **rest: Any) -> list[bytes]:
        """A command that gets attributes: their values, empty where there are none."""
        sent = self.request(name, get=get, **rest)
        data = self.unit.good(sent.cdb, sent.data_out, sent.data_in)
        return [each.value or b"" for each in parse_attributes(sent, data, version=self.version)]

    def get(self, pid: int, oid: int, *wanted: tuple[int, int], **rest: Any) -> list[bytes]:
        """GET ATTRIBUTES."""
        return self.attributes("GET ATTRIBUTES", wanted, partition_id=pid, object_id=oid, **rest)

    def set(self, pid: int, oid: int, *attributes: tuple[int, int, bytes]) -> None:
        """SET ATTRIBUTES that must end with GOOD."""
        self.good("SET ATTRIBUTES", partition_id=pid, object_id=oid, set=attributes)

    def ids(self, name: str, **rest: Any) -> list[int]:
        """The ids of LIST or LIST COLLECTION."""
        return parse_ids(self.good(name, data_in=4096, allocation_length=4096, **rest))[0]

    def write(self, data: bytes, at: int = 0, **rest: Any) -> None:
        """WRITE to the object."""
        self.good("WRITE", data=data, length=len(data), starting_byte_address=at, **{**OBJECT, **rest})

    def read(self, length: int, at: int = 0, **rest: Any) -> bytes:
        """READ from the object."""
        return self.good("READ", data_in=length, length=length, starting_byte_address=at, **{**OBJECT, **rest})

    def continued(self, name: str, *descriptors: tuple[int, bytes], data: bytes = b"", **rest: Any) -> Answer:
        """A command with a CDB continuation segment."""
        action = int.from_bytes(self.request(name).cdb[8:10], "big")
        segment = encode_segment(action, list(descriptors))
        return self.execute(name, data=segment + data, cdb_continuation_length=len(segment), **rest)

    def query(self, cid: int, *criteria: bytes, every: bool = False, room: int = 4096, **rest: Any) -> Answer:
        """QUERY with the entries of a query list."""
        text = bytes((every, 0, 0, 0)) + b"".join(struct.pack(">2xH", len(each)) + each for each in criteria)
        fields = {"partition_id": PID, "object_id": cid, "allocation_length": room, "data_in": room, **rest}
        return self.continued("QUERY", (DescriptorType.QUERY, text), **fields)

    def collection(self, cid: int, *members: int, number: int = 1) -> None:
        """A linked collection with members, which get `number` of their collections page for it."""
        self.good("CREATE COLLECTION", partition_id=PID, object_id=cid)
        for oid in members:
            self.set(PID, oid, (4, number, cid.to_bytes(8, "big")))

    def copy(self, name: str, pid: int = PID, **rest: Any) -> int:
        """CREATE SNAPSHOT or CREATE CLONE; the partition id of the copy."""
        (made,) = self.attributes(name, ((COMMAND, 3),), partition_id=pid, **rest)
        return int.from_bytes(made, "big")

    def page(self, page: int, pid: int = PID, oid: int = OID, name: str = "GET ATTRIBUTES", **rest: Any) -> bytes:
        """An attribute page in page form, with its header."""
        words = struct.pack(">7I", page, 4096, 0, 0, 0, 0, 0)
        return self.good(
            name, data_in=4096, partition_id=pid, object_id=oid, cdbfmt=2, attributes=int.from_bytes(words, "big"),
            **rest,
        )


def pointer(sense: Sense) -> FieldPointer:
    """The field pointer, which has to be there."""
    assert isinstance(sense.specific, FieldPointer)
    return sense.specific


def criterion(page: int, attribute: int, least: bytes = b"", greatest: bytes = b"") -> bytes:
    """An entry of a query list, without its length."""
    return struct.pack(">IIH", page, attribute, len(least)) + least + struct.pack(">H", len(greatest)) + greatest


def found_ids(data: bytes) -> list[int]:
    """The ids in the parameter data of QUERY."""
    return [oid for (oid,) in struct.iter_unpack(">Q", data[12:])]


def local_target(config: OsdConfig | None = None) -> Target:
    """A target with a unit in memory, LUN 0."""
    store = open_store()
    target = Target("iqn.2026-11.org.example:osd")
    target.add_port(TargetPort("iqn.2026-11.org.example:osd,t,0x0001", 1, 1, Protocol.ISCSI))
    target.add_unit(
        0, ObjectStorageDevice(config), performer=store.submit, capabilities=lambda: store.capabilities
    )
    return target
