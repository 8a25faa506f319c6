"""Extension capabilities: commands about two objects with security (OSD-2 4.11.2)."""

from __future__ import annotations

import struct

import pytest
from osd_bench import PID
from osd_signer import Signer

from devtypes.osd.capability import Permission
from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.keys import WORKING_KEYS
from devtypes.osd.requests import capability, signing_key
from devtypes.osd.security import integrity, request_icv
from scsiemu import asc
from scsiemu.object_requests import ObjectKind
from scsiemu.sense import FieldPointer
from scsiemu.testing.initiator import Result

USER, COLLECTION = ObjectKind.USER, ObjectKind.COLLECTION
OID, COPY, CID, MATCHES = PID, PID + 1, PID + 2, PID + 3
ACTIONS = {"COPY USER OBJECTS": 0x8893, "QUERY": 0x88A0, "READ MAPS AND COMPARE": 0x88B2}


def key(osd: Signer, allowed: int) -> bytes:
    """The capability key of a credential of the partition."""
    return signing_key(osd.keys[PID, WORKING_KEYS], allowed, osd.system_id, version=2)


def send(
    osd: Signer, name: str, kind: int, oid: int, descriptors: list[tuple[int, bytes]], extension: int | None,
    *, spoil: bool = False, **fields: int,
) -> Result:
    """A signed command with a signed segment, and in it an extension capability with its proof."""
    nonce = (1_700_000_000_500).to_bytes(6, "big") + next(osd.nonces).to_bytes(6, "big")
    proof = bytes(32)
    for _ in range(2):
        parts = list(descriptors)
        if extension is not None:
            parts.append((DescriptorType.EXTENSION_CAPABILITIES, extension.to_bytes(104, "big") + proof))
        segment = encode_segment(ACTIONS[name], parts)
        signer = key(osd, capability(2, kind, PID, oid, method=osd.method))
        icv = integrity(signer, nonce, segment[:8], bytes(32), segment[40:]).ljust(32, b"\0")
        segment = segment[:8] + icv + segment[40:]
        sent = osd.sign(
            name, kind, PID, oid, nonce=nonce, data=segment, cdb_continuation_length=len(segment), **fields
        )
        if extension is not None:
            proof = request_icv(osd.method, key(osd, extension), sent.cdb, osd.token(), version=2)
            if spoil:
                proof = bytes((proof[0] ^ 1,)) + proof[1:]
    return osd.send(sent)


@pytest.fixture(name="osd", params=[1, 2, 3])
def fixture_osd(request: pytest.FixtureRequest) -> Signer:
    """A unit with an object, a collection of it, and a tracking collection, for each method."""
    osd = Signer(request.param).ready()
    assert osd.do("WRITE", USER, PID, OID, data=b"hello", length=5).good
    assert osd.do("CREATE COLLECTION", COLLECTION, PID, CID).good
    assert osd.do("CREATE USER TRACKING COLLECTION", COLLECTION, PID, MATCHES).good
    assert osd.do("SET ATTRIBUTES", USER, PID, OID, set=((4, 1, CID.to_bytes(8, "big")),)).good
    return osd


def extension(osd: Signer, kind: int, oid: int, permissions: int) -> int:
    """A capability for another object."""
    return capability(2, kind, PID, oid, method=osd.method, permissions=permissions)


SOURCE = [(DescriptorType.COPY_SOURCE, struct.pack(">QQBB2x", PID, OID, 0, 0))]


def refused(result: Result) -> bool:
    """For ALLOWED OBJECT_ID."""
    return result.code == asc.INVALID_FIELD_IN_CDB and result.sense.specific == FieldPointer(80 + 80)


def test_extension_copy(osd: Signer) -> None:
    """The source of a copy needs READ of its own: without, with another's, or with a wrong proof it is refused."""
    allowed = extension(osd, USER, OID, Permission.READ)
    assert refused(send(osd, "COPY USER OBJECTS", USER, COPY, SOURCE, None))
    for wrong in (
        extension(osd, USER, OID, Permission.WRITE), extension(osd, USER, OID + 9, Permission.READ),
        extension(osd, COLLECTION, OID, Permission.READ), allowed & ~(0xF << 824),
    ):
        assert refused(send(osd, "COPY USER OBJECTS", USER, COPY, SOURCE, wrong))
    assert refused(send(osd, "COPY USER OBJECTS", USER, COPY, SOURCE, allowed, spoil=True))

    copied = send(osd, "COPY USER OBJECTS", USER, COPY, SOURCE, allowed)
    assert copied.good, copied
    assert osd.do("READ", USER, PID, COPY, length=5, data_in=5).data[:5] == b"hello"


def test_extension_compare(osd: Signer) -> None:
    """The other object of a comparison needs READ."""
    other = [(DescriptorType.USER_OBJECT, struct.pack(">QQ", PID, OID))]
    allowed = extension(osd, USER, OID, Permission.READ)
    fields = {"allocation_length": 99, "data_in": 99}

    assert refused(send(osd, "READ MAPS AND COMPARE", USER, OID, other, None, **fields))
    assert send(osd, "READ MAPS AND COMPARE", USER, OID, other, allowed, **fields).good


def test_extension_query(osd: Signer) -> None:
    """The collection that gets the matches needs WRITE."""
    criteria = [(DescriptorType.QUERY, struct.pack(">4x2xHII4x", 12, 1, 0x82))]      # which objects have a length
    allowed = extension(osd, COLLECTION, MATCHES, Permission.WRITE)
    fields = {"matches_collection_id": MATCHES}

    assert refused(send(osd, "QUERY", COLLECTION, CID, criteria, None, **fields))
    assert send(osd, "QUERY", COLLECTION, CID, criteria, allowed, **fields).good
    listed = osd.do("LIST COLLECTION", COLLECTION, PID, MATCHES, allocation_length=99, data_in=99).data
    assert listed[24:32] == OID.to_bytes(8, "big")
