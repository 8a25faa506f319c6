"""Quotas: what each limits, what comes from the root and the partition, and that a refused command leaves nothing."""

from __future__ import annotations

import pytest
from osd_bench import PID, Osd

from scsiemu import asc
from scsiemu.testing.initiator import Result

OID = 0x10000
ROOT_QUOTAS, QUOTAS = 0x90000002, 0x30000002
LENGTH, CAPACITY, COUNT, COLLECTIONS, PARTITIONS = 1, 0x10001, 0x10002, 0x10081, 0x20002


@pytest.fixture(name="osd")
def fixture_osd() -> Osd:
    """A unit with a partition and an object."""
    osd = Osd().formatted()
    assert osd("CREATE", partition_id=PID, object_id=OID).good
    return osd


def number(value: int, size: int = 8) -> bytes:
    """The value of an attribute."""
    return value.to_bytes(size, "big")


def write(osd: Osd, length: int, at: int = 0, oid: int = OID) -> Result:
    """WRITE of so many bytes."""
    return osd(
        "WRITE", bytes(length), partition_id=PID, object_id=oid, length=length, starting_byte_address=at
    )


def test_capacity(osd: Osd) -> None:
    """The capacity of a partition is what its objects use; what goes past it is undone."""
    assert osd.set(PID, 0, (QUOTAS, CAPACITY, number(8192))).good
    assert write(osd, 8192).good
    assert write(osd, 1, at=8192).code == asc.QUOTA_ERROR
    assert osd.get(PID, OID, (1, 0x82), (1, 0x81)) == [number(8192), number(8192)]
    assert write(osd, 8192).good                        # over what is there
    result = osd(
        "CREATE AND WRITE", b"x", partition_id=PID, object_id=OID + 1, length=1
    )
    assert result.code == asc.QUOTA_ERROR
    assert osd("READ", partition_id=PID, object_id=OID + 1).code == asc.INVALID_FIELD_IN_CDB
    assert write(osd, 0, at=1 << 40).good               # a hole takes nothing

    assert osd.set(PID, 0, (QUOTAS, CAPACITY, b"")).good
    assert write(osd, 1, at=8192).good


def test_partition_count(osd: Osd) -> None:
    """The root limits partitions, snapshots among them."""
    assert osd.set(0, 0, (ROOT_QUOTAS, PARTITIONS, number(2))).good
    assert osd("CREATE SNAPSHOT", partition_id=PID).good
    for name, fields in (("CREATE PARTITION", {}), ("CREATE CLONE", {"partition_id": PID})):
        assert osd(name, **fields).code == asc.QUOTA_ERROR


def test_collections_per_object(osd: Osd) -> None:
    """A partition limits in how many collections an object is; one membership may give way to another."""
    cids = [OID + 10 + at for at in range(3)]
    for cid in cids:
        assert osd("CREATE COLLECTION", partition_id=PID, object_id=cid).good
    assert osd.set(PID, 0, (QUOTAS, COLLECTIONS, number(1, 4))).good
    assert osd.set(PID, OID, (4, 1, number(cids[0]))).good
    assert osd.set(PID, OID, (4, 2, number(cids[1]))).code == asc.QUOTA_ERROR
    assert osd.set(PID, OID, (4, 1, number(cids[2]))).good


def test_object_count(osd: Osd) -> None:
    """Collections count as objects do."""
    assert osd.set(PID, 0, (QUOTAS, COUNT, number(2))).good
    assert osd("CREATE COLLECTION", partition_id=PID).good
    for name in ("CREATE", "CREATE COLLECTION", "CREATE USER TRACKING COLLECTION"):
        assert osd(name, partition_id=PID).code == asc.QUOTA_ERROR


@pytest.mark.parametrize(
    ("name", "data", "fields"),
    [
        ("WRITE", b"12345", {"length": 5}), ("WRITE", b"x", {"length": 1, "starting_byte_address": 4}),
        ("CLEAR", b"", {"length": 5}), ("CREATE AND WRITE", b"12345", {"object_id": OID + 5, "length": 5}),
        ("APPEND", b"12345", {"length": 5}),
    ],
)
def test_object_length(osd: Osd, name: str, data: bytes, fields: dict[str, int]) -> None:
    """What a new object's maximum length is, its partition says, and what a partition says, the root."""
    assert osd.set(0, 0, (ROOT_QUOTAS, LENGTH, number(4))).good
    assert osd("CREATE PARTITION", partition_id=PID + 1).good
    assert osd("CREATE", partition_id=PID + 1, object_id=OID).good
    assert osd.get(PID + 1, 0, (QUOTAS, LENGTH)) == osd.get(PID + 1, OID, (2, 1)) == [number(4)]

    where = {"partition_id": PID + 1, "object_id": OID, **fields}
    assert osd(name, data, **where).code == asc.QUOTA_ERROR
    assert osd.set(PID + 1, OID, (1, 0x82, number(5))).code == asc.QUOTA_ERROR
    assert osd.set(PID + 1, OID, (1, 0x82, number(4))).good
    assert osd(name, data, **{**where, "partition_id": PID}).good
