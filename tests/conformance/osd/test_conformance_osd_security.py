"""Security methods, keys, nonces, capabilities field by field. The unit has keys and takes NOSEC where nothing asks for
more; of a unit that is not ours the master key has to be known (`--osd-master-key`). Nothing on it survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_manager import Manager, icv_at, keyed_unit
from osd_unit import COMMAND, NAME, OBJECT, OID, PID, number, pointer

from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.keys import ROOT_KEY
from devtypes.osd.security import data_in_info, integrity, response_icv
from scsiemu import asc
from scsiemu.object_requests import ObjectKind
from scsiemu.sam import Status

CDB = asc.INVALID_FIELD_IN_CDB
CAPKEY, CMDRSP, ALLDATA = 1, 2, 3
METHODS = pytest.mark.parametrize("method", [CAPKEY, CMDRSP, ALLDATA], ids=["capkey", "cmdrsp", "alldata"])


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """A unit in memory with keys."""
    return keyed_unit()


# --- methods -----------------------------------------------------------------------------------------------------


@METHODS
@about("security methods")
def test_signed_data(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """A signed command is done: data and attributes go both ways."""
    wrote = manager.do("WRITE", method=method, data=b"signed", length=6, set=((*NAME, b"name"),))
    assert wrote.good, wrote
    sent = manager.sign("READ", method=method, data_in=6, length=6, get=(NAME,))
    answer = manager.send(sent)

    assert answer.good, answer
    assert answer.data[:6] == b"signed"
    assert b"name" in answer.data[sent.retrieved :]


@METHODS
@about("security methods", "security parameters")
def test_signed_by_another_key(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """What is signed with another key is refused at the integrity check value and does nothing."""
    sense = manager.do("WRITE", method=method, key=(0, ROOT_KEY), data=b"forged", length=6).sense

    assert sense is not None
    assert (sense.code, pointer(sense).byte) == (CDB, icv_at(manager.version))
    assert manager.get(PID, OID, (1, 0x82)) == [bytes(8)]


@METHODS
@about("security methods", "capability format")
def test_capability_altered(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """A capability that its holder changed is worth nothing: every byte of it is under the key."""
    for at in (85, 110, 129, 133, 142):
        sent = manager.sign("READ", method=method, length=0)
        cdb = bytearray(sent.cdb)
        cdb[at] ^= 1
        answer = unit.execute(bytes(cdb), sent.data_out, sent.data_in)
        assert answer.code == CDB, at


@about("security methods", "vital product data")
def test_capkey_another_nexus(unit: ConformanceUnit, manager: Manager) -> None:
    """CAPKEY signs the security token of one I_T nexus: by another one it is refused."""
    sent = manager.sign("READ", method=CAPKEY, length=0)
    other = unit.another()

    assert unit.execute(sent.cdb, sent.data_out, sent.data_in).good
    assert other.execute(sent.cdb, sent.data_out, sent.data_in).code == CDB


@pytest.mark.parametrize("at", [10, 12, 23, 31, 47, 60], ids=hex)
@pytest.mark.parametrize("method", [CMDRSP, ALLDATA], ids=["cmdrsp", "alldata"])
@about("security methods", "security parameters")
def test_cdb_altered(unit: ConformanceUnit, manager: Manager, method: int, at: int) -> None:
    """CMDRSP and ALLDATA sign the whole CDB."""
    sent = manager.sign("READ", method=method, length=0)
    cdb = bytearray(sent.cdb)
    cdb[at] ^= 0x10 if at == 10 else 0x7F if at == 12 else 1
    answer = unit.execute(bytes(cdb), sent.data_out, sent.data_in)

    assert answer.code == CDB


@pytest.mark.parametrize("method", [CMDRSP, ALLDATA], ids=["cmdrsp", "alldata"])
@about("security methods", "current command attributes page")
def test_response_signed(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """The current command page has the response integrity check value, over status and page."""
    nonce = manager.nonce()
    wanted = tuple((COMMAND, each) for each in range(1, 7))
    sent = manager.sign("APPEND", method=method, nonce=nonce, data=b"abc", length=3, get=wanted)
    answer = manager.send(sent)
    found = manager.current(sent, answer)
    _, secret = manager.credential(method=method)
    content = b"".join(found[each] for each in range(2, 7))

    assert found[1] == response_icv(secret, nonce, Status.GOOD, content, version=manager.version)


@about("security methods", "current command attributes page")
def test_response_not_signed(unit: ConformanceUnit, manager: Manager) -> None:
    """By CAPKEY the response integrity check value is zero."""
    sent = manager.sign("READ", method=CAPKEY, length=0, get=((COMMAND, 1),))

    assert manager.current(sent, manager.send(sent))[1] == bytes(32 if manager.version == 2 else 20)


@pytest.mark.parametrize("method", [CMDRSP, ALLDATA], ids=["cmdrsp", "alldata"])
@about("sense data", "security methods")
def test_sense_signed(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """Sense data has a response integrity check descriptor, 07h, whose value is over the sense data without it."""
    nonce = manager.nonce()
    answer = manager.send(manager.sign("PUNCH" if manager.version == 2 else "READ", method=method, nonce=nonce,
                                       length=9, data_in=9))
    assert answer.sense is not None
    (found,) = (each for each in answer.sense.descriptors if each[0] == 0x07)

    assert len(found) == 34
    assert found[2:] != bytes(32)


@about("sense data")
def test_sense_not_signed(unit: ConformanceUnit, manager: Manager) -> None:
    """By CAPKEY there is no such descriptor."""
    sense = manager.do("READ", method=CAPKEY, length=9, data_in=9).sense

    assert sense is not None
    assert not any(each[0] == 0x07 for each in sense.descriptors)


# --- ALLDATA -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["data", "attributes", "integrity"])
@about("the ALLDATA security method")
def test_alldata_data_out_altered(unit: ConformanceUnit, manager: Manager, part: str) -> None:
    """A bit of the data, of the set list or of the value itself that changed: nothing is written, nothing set."""
    sent = manager.sign("WRITE", method=ALLDATA, data=b"data", length=4, set=((*NAME, b"name"),))
    data = bytearray(sent.data_out)
    data[{"data": 1, "attributes": data.index(b"name"), "integrity": len(data) - 32}[part]] ^= 1
    answer = unit.execute(sent.cdb, bytes(data), sent.data_in)

    assert answer.code == asc.INVALID_DATA_OUT_BUFFER_INTEGRITY_CHECK_VALUE
    assert manager.get(PID, OID, (1, 0x82), NAME) == [bytes(8), b""]


@about("the ALLDATA security method")
def test_alldata_data_in(unit: ConformanceUnit, manager: Manager) -> None:
    """Data-in integrity information is at its offset: lengths of data and retrieved attributes, value over both."""
    manager.write(b"payload")
    nonce = manager.nonce()
    sent = manager.sign("READ", method=ALLDATA, nonce=nonce, data_in=7, length=7, get=(NAME,))
    data = manager.send(sent).data
    _, secret = manager.credential(method=ALLDATA)
    grain = 8 if manager.version == 2 else 256
    at = -(-(sent.retrieved + 65536) // grain) * grain
    size = 4 + 4 if manager.version == 2 else 4
    length = size + int.from_bytes(data[sent.retrieved :][size // 2 : size], "big")
    retrieved = data[sent.retrieved :][:length]

    assert data[:7] == b"payload"
    assert data[at:] == data_in_info(secret, nonce, b"payload", retrieved, version=manager.version)


# --- nonces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [CMDRSP, ALLDATA], ids=["cmdrsp", "alldata"])
@about("security parameters")
def test_nonce_twice(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """A command that is sent again is not done again."""
    sent = manager.sign("APPEND", method=method, data=b"once", length=4)
    assert manager.send(sent).good

    assert manager.send(sent).code == asc.NONCE_NOT_UNIQUE
    assert manager.get(PID, OID, (1, 0x82)) == [number(4)]


@pytest.mark.parametrize("shift", [-10_000_000_000, 10_000_000_000], ids=["old", "new"])
@about("security parameters", "policy/security pages")
def test_nonce_out_of_range(unit: ConformanceUnit, manager: Manager, shift: int) -> None:
    """Its time is within a window about the unit's clock."""
    answer = manager.do("READ", nonce=manager.nonce(shift), length=0)

    assert answer.code == asc.NONCE_TIMESTAMP_OUT_OF_RANGE


@about("policy/security pages")
def test_nonce_window_set(unit: ConformanceUnit, manager: Manager) -> None:
    """Attribute 3 of the partition's policy/security page says how far in the future a nonce may be."""
    far = manager.nonce(1_000_000)
    assert manager.do("READ", nonce=far, length=0).code == asc.NONCE_TIMESTAMP_OUT_OF_RANGE
    manager.set(PID, 0, (0x30000005, 3, number(10_000_000, 6)))

    assert manager.do("READ", nonce=far, length=0).good


@about("security methods")
def test_nonce_not_for_capkey(unit: ConformanceUnit, manager: Manager) -> None:
    """CAPKEY has no use for nonces."""
    sent = manager.sign("APPEND", method=CAPKEY, nonce=bytes(12), data=b"two", length=3)

    assert manager.send(sent).good
    assert manager.send(sent).good


# --- what the partition asks for ---------------------------------------------------------------------------------


@about("policy/security pages", "security methods")
def test_default_method(unit: ConformanceUnit, manager: Manager) -> None:
    """What is below the partition's security method is refused at the method, without a capability at its format."""
    manager.set(PID, 0, (0x30000005, 1, b"\x02"))
    bare = manager.refused("READ", CDB, **OBJECT)
    low = manager.do("READ", method=CAPKEY, length=0)

    assert pointer(bare).byte == 80
    assert low.sense is not None
    assert (low.code, pointer(low.sense).byte) == (CDB, 82)
    assert manager.do("READ", method=CMDRSP, length=0).good
    assert manager.do("READ", method=ALLDATA, length=0).good


@about("policy/security pages")
def test_default_method_of_partition_alone(unit: ConformanceUnit, manager: Manager) -> None:
    """Other partitions go on as before."""
    manager.set(PID, 0, (0x30000005, 1, b"\x03"))
    manager.good("CREATE PARTITION", partition_id=PID + 1)
    manager.good("CREATE", partition_id=PID + 1, object_id=OID)


@about("policy/security pages")
def test_supported_methods(unit: ConformanceUnit, manager: Manager) -> None:
    """Attribute 7 of the root's policy/security page has the bits of what is served; another method cannot be set."""
    (bits,) = manager.get(0, 0, (0x90000005, 7))

    assert int.from_bytes(bits, "big") & 0x0E
    manager.refused(
        "SET ATTRIBUTES", asc.INVALID_FIELD_IN_PARAMETER_LIST, set=((0x30000005, 1, b"\x0F"),), partition_id=PID
    )


# --- capabilities ------------------------------------------------------------------------------------------------


FIELDS: list[tuple[str, dict[str, int], int, int]] = [
    ("expiration time", {"expiration": 1}, 84, 84),
    ("object created time", {"created": 1}, 122, 122),
    ("object type", {"object_type": ObjectKind.COLLECTION}, 128, 128),
    ("permissions", {"permissions": 0x40 << 32}, 129, 129),
    ("policy access tag", {"policy_tag": 99}, 136, 140),
    ("allowed partition", {"allowed_pid": PID + 1}, 140, 152),
    ("allowed object", {"allowed_oid": OID + 1}, 148, 160),
]
SIGNED = [("key version", {"key_version": 5}, 81, 81), ("algorithm", {"algorithm": 9}, 81, 81)]


@pytest.mark.parametrize("method", [0, CAPKEY, CMDRSP, ALLDATA], ids=["nosec", "capkey", "cmdrsp", "alldata"])
@pytest.mark.parametrize(("fields", "first", "second"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
@about("capability format")
def test_capability_field(
    unit: ConformanceUnit, manager: Manager, fields: dict[str, int], first: int, second: int, method: int
) -> None:
    """A capability that does not allow the command is refused at its field, by every method and in both versions."""
    assert manager.do("READ", method=method, length=0).good
    sense = manager.do("READ", method=method, length=0, fields=fields).sense

    assert sense is not None
    assert (sense.code, pointer(sense).byte) == (CDB, second if manager.version == 2 else first)


@METHODS
@pytest.mark.parametrize(("fields", "byte"), [row[1:3] for row in SIGNED], ids=[row[0] for row in SIGNED])
@about("capability format", "security methods")
def test_capability_key_field(
    unit: ConformanceUnit, manager: Manager, fields: dict[str, int], byte: int, method: int
) -> None:
    """A key that was never set, an algorithm that is not there."""
    sense = manager.do("READ", method=method, length=0, fields=fields).sense

    assert sense is not None
    assert (sense.code, pointer(sense).byte) == (CDB, byte)


@about("capability format")
def test_capability_method_unknown(unit: ConformanceUnit, manager: Manager) -> None:
    """Security method 4 and more are reserved."""
    for method in (4, 15):
        sense = manager.do("READ", method=method, length=0).sense
        assert sense is not None
        assert pointer(sense).byte == 82


@METHODS
@pytest.mark.parametrize(
    ("fields", "byte"), [({"boot_epoch": 0xFFFE}, 144), ({"range_start": 1, "range_length": 4}, 176)],
    ids=["boot epoch", "range"],
)
@about("capability format")
def test_capability_field_osd2(
    unit: ConformanceUnit, manager2: Manager, fields: dict[str, int], byte: int, method: int
) -> None:
    """Fields that OSD-2 alone has."""
    manager2.write(b"12345678")
    sense = manager2.do("READ", method=method, length=4, data_in=4, fields=fields).sense

    assert sense is not None
    assert (sense.code, pointer(sense).byte) == (CDB, byte)


@METHODS
@about("capability format")
def test_capability_fields_that_allow(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """With the object's created time and policy access tag, and an expiration time to come, it is allowed."""
    manager.set(PID, OID, (5, 0x40000001, number(77, 4)))
    (created,) = manager.get(PID, OID, (3, 1))
    fields = {
        "created": int.from_bytes(created, "big"), "policy_tag": 77, "expiration": manager.clock() + 1_000_000,
        "permissions": 0x80 << 32,
    }

    assert manager.do("READ", method=method, length=0, fields=fields).good
    manager.set(PID, OID, (5, 0x40000001, number(78, 4)))
    assert manager.do("READ", method=method, length=0, fields=fields).code == CDB


READ, WRITE, GET, SET, CREATE, REMOVE, MANAGE, APPEND = (1 << 39 - at for at in range(8))
DEVICE, GLOBAL, SECURITY, MULTI, QUERY = (1 << 31 - at for at in range(5))
COLLECTION = ObjectKind.COLLECTION
PERMISSIONS: list[tuple[str, int, int, int, int, dict[str, Any]]] = [
    ("READ", ObjectKind.USER, PID, OID, READ, {}),
    ("WRITE", ObjectKind.USER, PID, OID, WRITE, {}),
    ("APPEND", ObjectKind.USER, PID, OID, APPEND, {}),
    ("CREATE", ObjectKind.USER, PID, OID + 5, CREATE, {}),
    ("CREATE AND WRITE", ObjectKind.USER, PID, OID + 5, CREATE | WRITE, {}),
    ("REMOVE", ObjectKind.USER, PID, OID, REMOVE, {}),
    ("FLUSH", ObjectKind.USER, PID, OID, MANAGE, {}),
    ("GET ATTRIBUTES", ObjectKind.USER, PID, OID, GET, {}),
    ("SET ATTRIBUTES", ObjectKind.USER, PID, OID, SET, {}),
    ("SET ATTRIBUTES", ObjectKind.USER, PID, OID, SET | SECURITY, {"set": ((5, 0x40000001, number(1, 4)),)}),
    ("READ", ObjectKind.USER, PID, OID, READ | GET, {"get": (NAME,)}),
    ("READ", ObjectKind.USER, PID, OID, READ | SET, {"set": ((*NAME, b"n"),)}),
    ("CREATE PARTITION", ObjectKind.PARTITION, PID + 5, 0, CREATE, {}),
    ("REMOVE PARTITION", ObjectKind.PARTITION, PID + 1, 0, REMOVE, {}),
    ("FLUSH PARTITION", ObjectKind.PARTITION, PID, 0, MANAGE, {}),
    ("LIST", ObjectKind.PARTITION, PID, 0, READ, {}),
    ("LIST", ObjectKind.ROOT, 0, 0, READ, {}),
    ("FLUSH OSD", ObjectKind.ROOT, 0, 0, MANAGE, {}),
    ("FORMAT OSD", ObjectKind.ROOT, 0, 0, MANAGE | GLOBAL, {}),
    ("CREATE COLLECTION", COLLECTION, PID, OID + 5, CREATE, {}),
    ("REMOVE COLLECTION", COLLECTION, PID, OID + 1, REMOVE, {}),
    ("LIST COLLECTION", COLLECTION, PID, OID + 1, READ, {}),
    ("FLUSH COLLECTION", COLLECTION, PID, OID + 1, MANAGE, {}),
]
PERMISSIONS_2: list[tuple[str, int, int, int, int, dict[str, Any]]] = [
    ("PUNCH", ObjectKind.USER, PID, OID, WRITE, {}),
    ("CLEAR", ObjectKind.USER, PID, OID, WRITE, {}),
    ("READ MAP", ObjectKind.USER, PID, OID, READ, {"allocation_length": 64, "data_in": 64}),
    ("GET MEMBER ATTRIBUTES", COLLECTION, PID, OID + 1, GET | MULTI, {}),
    ("SET MEMBER ATTRIBUTES", COLLECTION, PID, OID + 1, SET | MULTI, {}),
    ("REMOVE MEMBER OBJECTS", COLLECTION, PID, OID + 1, REMOVE | MULTI, {}),
    ("CREATE USER TRACKING COLLECTION", COLLECTION, PID, OID + 5, CREATE, {}),
    ("OBJECT STRUCTURE CHECK", ObjectKind.PARTITION, PID, 0, DEVICE, {}),
]


def check_permissions(
    manager: Manager, name: str, kind: int, pid: int, oid: int, needed: int, rest: dict[str, Any]
) -> None:
    """Each bit that is needed is missed when it is not there; with all of them, and no others, the command is done."""
    manager.good("CREATE PARTITION", partition_id=PID + 1)
    assert manager.set_key(PID + 1, 2).good
    assert manager.set_key(PID + 1, 3).good
    manager.good("CREATE COLLECTION", partition_id=PID, object_id=OID + 1)
    for bit in (1 << at for at in range(40)):
        if needed & bit:
            sense = manager.do(name, kind, pid, oid, fields={"permissions": (1 << 40) - 1 - bit}, **rest).sense
            assert sense is not None, hex(bit)
            assert (sense.code, pointer(sense).byte) == (CDB, 129)
    answer = manager.do(name, kind, pid, oid, fields={"permissions": needed}, **rest)

    assert answer.good, answer


def named(rows: list[Any]) -> list[str]:
    """Ids of the cases."""
    return [f"{row[0]} {row[4]:010x}" for row in rows]


@pytest.mark.parametrize(("name", "kind", "pid", "oid", "needed", "rest"), PERMISSIONS, ids=named(PERMISSIONS))
@about("capability format")
def test_capability_permissions(
    unit: ConformanceUnit, manager: Manager, name: str, kind: int, pid: int, oid: int, needed: int,
    rest: dict[str, Any],
) -> None:
    """The permissions that each command and its attributes need."""
    check_permissions(manager, name, kind, pid, oid, needed, rest)


@pytest.mark.parametrize(("name", "kind", "pid", "oid", "needed", "rest"), PERMISSIONS_2, ids=named(PERMISSIONS_2))
@about("capability format")
def test_capability_permissions_osd2(
    unit: ConformanceUnit, manager2: Manager, name: str, kind: int, pid: int, oid: int, needed: int,
    rest: dict[str, Any],
) -> None:
    """The same of what OSD-2 alone has."""
    check_permissions(manager2, name, kind, pid, oid, needed, rest)


@pytest.mark.parametrize("spoiled", [8, 39, 55], ids=["integrity check value", "its last byte", "range"])
@about("CDB continuation", "security methods")
def test_continuation_signed(unit: ConformanceUnit, manager2: Manager, spoiled: int) -> None:
    """A CDB continuation segment has an integrity check value of its own; what is not under it is refused."""
    nonce = manager2.nonce()
    _, secret = manager2.credential()
    ranges = (DescriptorType.SCATTER_GATHER, struct.pack(">QQ", 2, 3))
    plain = encode_segment(0x8886, [ranges])
    icv = integrity(secret, nonce, plain[:8], bytes(32), plain[40:]).ljust(32, b"\0")
    segment = encode_segment(0x8886, [ranges], icv)
    fields: dict[str, Any] = {"length": 3, "cdb_continuation_length": len(segment)}
    assert manager2.do("WRITE", nonce=nonce, data=segment + b"abc", **fields).good
    wrong = bytearray(segment)
    wrong[spoiled] ^= 0x08
    answer = manager2.do("WRITE", data=bytes(wrong) + b"xyz", **fields)

    assert answer.code == asc.INVALID_DATA_OUT_BUFFER_INTEGRITY_CHECK_VALUE
    assert manager2.read(5) == b"\0\0abc"
