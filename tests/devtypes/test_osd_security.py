"""Security methods of object storage: what is signed is done, what is not, or not rightly, is refused (OSD-2 4.12)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from osd_bench import COMMAND, PID, Osd, Waiting
from osd_signer import SECRET, Signer, attributes

from devtypes.osd.attribute_lists import parse_set_list
from devtypes.osd.config import OsdConfig
from devtypes.osd.key_commands import DH_BYTES, DH_PRIME
from devtypes.osd.keys import MASTER, NonceList
from devtypes.osd.security import data_in_info, derived_keys, integrity, response_icv
from iohandlers.objects_sqlite import open_store
from scsiemu import asc
from scsiemu.object_requests import ObjectKind
from scsiemu.sense import CheckCondition, FieldPointer, Sense

USER = ObjectKind.USER
METHODS = pytest.mark.parametrize("method", [1, 2, 3], ids=["capkey", "cmdrsp", "alldata"])
VERSIONS = pytest.mark.parametrize("version", [1, 2], ids=["osd1", "osd2"])


def pointer(sense: Sense | None) -> FieldPointer:
    """The field pointer of sense data."""
    assert sense is not None
    assert isinstance(sense.specific, FieldPointer)
    return sense.specific


@METHODS
@VERSIONS
def test_security_signed(method: int, version: int) -> None:
    """Signed commands of every kind are done, with data and attributes both ways."""
    osd = Signer(method, version).ready()
    wrote = osd.do("WRITE", USER, PID, PID, data=b"hello", length=5, set=((0x10001, 1, b"x"),))
    read = osd.do("READ", USER, PID, PID, length=5, data_in=5, get=((0x10001, 1),))

    assert wrote.good, wrote
    assert read.data[:5] == b"hello"
    assert osd.do("LIST", ObjectKind.PARTITION, PID, allocation_length=99, data_in=99).good
    assert osd.do("LIST", ObjectKind.ROOT, 0, allocation_length=99, data_in=99).good


@METHODS
def test_security_unsigned_refused(method: int) -> None:
    """No capability, NOSEC and (where the unit wants more) a weaker method are refused at their fields."""
    osd = Signer(method).ready()
    unsigned = osd("READ", partition_id=PID, object_id=PID)
    osd.method = method - 1

    assert pointer(unsigned.sense) == FieldPointer(80, 3)
    assert pointer(osd.do("READ", USER, PID, PID, length=0).sense) == FieldPointer(82, 3)


@pytest.mark.parametrize(("method", "byte"), [(1, 184), (2, 184), (2, 40), (2, 220), (3, 30), (1, 100), (2, 100)])
def test_security_changed_bytes(method: int, byte: int) -> None:
    """One other bit anywhere that is covered, and the integrity check value is wrong."""
    osd = Signer(method).ready()
    sent = osd.sign("READ", USER, PID, PID, length=0, get=((1, 0x82),))
    cdb = bytearray(sent.cdb)
    cdb[byte] ^= 1
    result = osd.initiator.execute(0, bytes(cdb), sent.data_out, sent.data_in)

    assert pointer(result.sense) == FieldPointer(184)
    assert osd.send(sent).good


def test_security_capkey_binds_nexus() -> None:
    """A command that CAPKEY signed for one nexus is refused from another."""
    osd = Signer(1).ready()
    other = Osd(of=osd)
    sent = osd.sign("READ", USER, PID, PID, length=0)

    assert pointer(other.initiator.execute(0, sent.cdb).sense) == FieldPointer(184)
    assert len({osd.token(), other.initiator.command("INQUIRY", evpd=1, page_code=0xB1).data[4:]}) == 2


@pytest.mark.parametrize("method", [2, 3])
def test_security_replay(method: int) -> None:
    """A nonce is taken once, even when its command was refused; one from another time never."""
    osd = Signer(method).ready()
    sent = osd.sign("READ", USER, PID, PID, length=9)
    assert osd.send(sent).code is not None
    assert osd.send(sent).code == asc.NONCE_NOT_UNIQUE
    for time in (1_699_999_999_000, 1_700_000_100_000):
        late = osd.sign("READ", USER, PID, PID, length=0, nonce=time.to_bytes(6, "big") + bytes(6))

        assert osd.send(late).code == asc.NONCE_TIMESTAMP_OUT_OF_RANGE


def test_security_nonce_list_full() -> None:
    """Nonces past those that can be remembered freeze the key until the window has moved on; memory is bounded."""
    known = NonceList(most=4)
    for number in range(4):
        known.take(bytes(5) + bytes((10, *bytes(5), number)), now=10, oldest=0, newest=20)
    with pytest.raises(CheckCondition) as refused:
        known.take(bytes(5) + bytes((10, *bytes(5), 9)), now=10, oldest=0, newest=20)
    assert refused.value.sense.code == asc.SECURITY_WORKING_KEY_FROZEN
    known.take(bytes(5) + bytes((15, *bytes(5), 9)), now=15, oldest=11, newest=20)


@VERSIONS
def test_security_response_sense(version: int) -> None:
    """Sense data of CMDRSP has the response integrity check value over itself with zeros for it."""
    osd = Signer(2, version).ready()
    sent = osd.sign("READ", USER, PID, 0x77777, length=1)
    result = osd.send(sent)
    assert result.sense is not None
    raw = bytearray(result.sense.encode(descriptor=True))
    (descriptor,) = (each for each in result.sense.descriptors if each[0] == 7)
    at = bytes(raw).index(descriptor)
    raw[at + 2 : at + 34] = bytes(32)
    nonce = sent.cdb[216:228] if version == 2 else sent.cdb[180:192]

    key = _key_of(osd, sent.cdb)
    assert len(descriptor) == 34
    assert response_icv(key, nonce, 2, bytes(raw), version=version).ljust(32, b"\0") == descriptor[2:]


def _key_of(osd: Signer, cdb: bytes) -> bytes:
    """The capability key of a command to `PID`."""
    raw = cdb[80:184] if osd.version == 2 else cdb[80:160]
    return integrity(osd.keys[PID, 0x20].authentication, raw, osd.system_id)


def test_security_response_page() -> None:
    """With GOOD the current command page has it: over the page's other attributes."""
    osd = Signer(2).ready()
    wanted = tuple((COMMAND, number) for number in range(1, 7))
    sent = osd.sign("APPEND", USER, PID, PID, data=b"12345", length=5, get=wanted)
    first, *others = attributes(sent, osd.send(sent), 2)

    expected = response_icv(_key_of(osd, sent.cdb), sent.cdb[216:228], 0, b"".join(map(bytes, others)), version=2)
    assert first == expected


def test_security_alldata() -> None:
    """Data-Out that was changed is refused and changes nothing; Data-In carries its integrity information."""
    osd = Signer(3).ready()
    sent = osd.sign("WRITE", USER, PID, PID, data=b"hello", length=5, set=((0x10001, 1, b"x"),))
    for at in (0, 20, len(sent.data_out) - 20):
        bent = bytearray(sent.data_out)
        bent[at] ^= 1
        fresh = osd.sign("WRITE", USER, PID, PID, data=b"hello", length=5, set=((0x10001, 1, b"x"),))
        mixed = bytearray(fresh.data_out)
        mixed[at] ^= 1
        result = osd.initiator.execute(0, fresh.cdb, bytes(mixed))
        assert result.code == asc.INVALID_DATA_OUT_BUFFER_INTEGRITY_CHECK_VALUE
    assert osd.send(sent).good
    read = osd.sign("READ", USER, PID, PID, length=5, data_in=5)
    data = osd.send(read).data

    assert data[8:] == data_in_info(_key_of(osd, read.cdb), read.cdb[216:228], b"hello", b"", version=2)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"expiration": 1_600_000_000_000}, 84), ({"boot_epoch": 2}, 144), ({"key_version": 3}, 81),
        ({"permissions": 1 << 37}, 129), ({"created": 5}, 122), ({"policy_tag": 9}, 140),
        ({"range_length": 4, "range_start": 1}, 176),
    ],
)
def test_security_capability_fields(fields: dict[str, int], at: int) -> None:
    """A capability that is rightly signed and does not allow the command is refused at its field."""
    osd = Signer(2).ready()
    osd.keys[PID, 0x23] = osd.keys[PID, 0x20]
    result = osd.do("READ", USER, PID, PID, length=8, capability_fields=fields)

    assert pointer(result.sense).byte == at
    assert osd.do("READ", USER, PID, PID, length=0, capability_fields={"boot_epoch": 1, "range_length": 9}).good


def test_security_append_range() -> None:
    """APPEND writes behind the logical length: that has to be within the allowed range, too."""
    osd = Signer(2).ready()
    allowed = {"capability_fields": {"range_start": 2, "range_length": 8}}
    assert pointer(osd.do("APPEND", USER, PID, PID, data=b"12345", length=5, **allowed).sense).byte == 176
    assert osd.do("WRITE", USER, PID, PID, data=b"12", length=2).good
    assert osd.do("APPEND", USER, PID, PID, data=b"345", length=3, **allowed).good
    assert pointer(osd.do("APPEND", USER, PID, PID, data=b"678901", length=6, **allowed).sense).byte == 176

    assert osd.do("READ", USER, PID, PID, length=20, data_in=20).data == b"12345"


def test_security_policy_permission() -> None:
    """Setting attributes of a policy/security page takes the permission POL/SEC."""
    osd = Signer(2).ready()
    without = {"permissions": ((1 << 40) - 1) & ~(0x20 << 24)}
    setting = ((5, 0x40000001, bytes(4)),)
    refused = osd.do("SET ATTRIBUTES", USER, PID, PID, set=setting, capability_fields=without)

    assert pointer(refused.sense) == FieldPointer(129)
    assert osd.do("SET ATTRIBUTES", USER, PID, PID, set=setting).good


def test_security_method_attribute() -> None:
    """The security method of a partition is an attribute; one that is not supported is refused."""
    osd = Signer(1).ready()
    page = 0x30000005
    assert osd.do("SET ATTRIBUTES", ObjectKind.PARTITION, PID, set=((page, 1, b"\2"),)).good
    assert pointer(osd.do("READ", USER, PID, PID, length=0).sense) == FieldPointer(82, 3)
    osd.method = 2

    assert osd.do("READ", USER, PID, PID, length=0).good
    wrong = osd.do("SET ATTRIBUTES", ObjectKind.PARTITION, PID, set=((page, 1, b"\4"),))
    assert wrong.code == asc.INVALID_FIELD_IN_PARAMETER_LIST


def test_security_keys_above_invalidate() -> None:
    """A new partition key takes its working keys away, a new root key every key below it; identifiers tell."""
    osd = Signer(2).ready()
    assert osd.set_key(PID, 2).good
    assert pointer(osd.do("READ", USER, PID, PID, length=0).sense) == FieldPointer(81, 7)
    assert osd.set_key(PID, 3).good
    sent = osd.sign("GET ATTRIBUTES", ObjectKind.PARTITION, PID, get=((0x30000005, 0x7FFF), (0x30000005, 0x8000)))
    assert attributes(sent, osd.send(sent), 2) == [bytes(6) + b"\7"] * 2
    assert osd.set_key(0, 1).good

    assert pointer(osd.do("READ", USER, PID, PID, length=0).sense) == FieldPointer(81, 7)
    assert not osd.set_key(PID, 3).good


def test_security_master_key() -> None:
    """SET MASTER KEY: what both sides computed by Diffie-Hellman makes the key; the old one is worth nothing."""
    osd = Signer(2).ready()
    secret = 0x1234567890ABCDEF << 200
    ours = pow(2, secret, DH_PRIME).to_bytes(DH_BYTES, "big")
    fields = {"key": (0, MASTER), "parameter_list_length": DH_BYTES, "allocation_length": DH_BYTES}
    theirs = osd.do("SET MASTER KEY", ObjectKind.ROOT, 0, data=ours, data_in=DH_BYTES, **fields).data
    fields["parameter_list_length"] = 2 * DH_BYTES
    changed = osd.do("SET MASTER KEY", ObjectKind.ROOT, 0, data=ours + theirs, dh_step=1, **fields)
    assert changed.good, changed
    assert not osd.set_key(0, 1).good
    shared = pow(int.from_bytes(theirs, "big"), secret, DH_PRIME).to_bytes(DH_BYTES, "big")
    old = osd.keys[0, MASTER]
    osd.keys[0, MASTER] = derived_keys(old, integrity(old.generation, shared))

    assert osd.set_key(0, 1).good


@pytest.mark.parametrize("theirs", [0, 1, DH_PRIME - 1, DH_PRIME])
def test_security_master_key_weak(theirs: int) -> None:
    """Numbers that would fix the shared secret are refused; a second step alone, too."""
    osd = Signer(2).ready()
    fields = {"key": (0, MASTER), "parameter_list_length": DH_BYTES, "allocation_length": DH_BYTES}
    data = theirs.to_bytes(DH_BYTES, "big")
    assert osd.do("SET MASTER KEY", ObjectKind.ROOT, 0, data=data, **fields).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    fields["parameter_list_length"] = 2 * DH_BYTES

    alone = osd.do("SET MASTER KEY", ObjectKind.ROOT, 0, data=data * 2, dh_step=1, **fields)
    assert alone.code == asc.INVALID_FIELD_IN_PARAMETER_LIST


def test_security_keys_need_signature() -> None:
    """A unit whose method is NOSEC takes no unsigned keys all the same; a unit without a secret has no key commands."""
    osd = Signer(0)
    assert pointer(osd("SET KEY", key_to_set=1, seed=1).sense) == FieldPointer(80, 3)
    assert osd.set_key(0, 1).good
    assert pointer(Osd()("SET KEY", key_to_set=1, seed=1).sense) == FieldPointer(8)


def test_security_snapshot_keys() -> None:
    """A copy has no keys of its source; a partition that is restored keeps its own."""
    osd = Signer(2).ready()
    copy = PID + 9
    assert osd.do("CREATE SNAPSHOT", ObjectKind.PARTITION, PID, other_partition_id=copy).good
    stolen = osd.do("READ", USER, copy, PID, length=0, key=(PID, 0x20))
    assert pointer(stolen.sense) == FieldPointer(81, 7)
    restored = osd.do("RESTORE PARTITION FROM SNAPSHOT", ObjectKind.PARTITION, PID, other_partition_id=copy)

    assert restored.good, restored
    assert osd.do("READ", USER, PID, PID, length=0).good


def test_security_format_keeps_master() -> None:
    """FORMAT OSD leaves the master key and the boot epoch, and takes the keys below."""
    osd = Signer(2).ready()
    assert osd.do("FORMAT OSD", ObjectKind.ROOT, 0).good
    assert not osd.do("LIST", ObjectKind.ROOT, 0).good
    for what in (1, 2, 3):
        assert osd.set_key(0, what).good

    assert osd.do("LIST", ObjectKind.ROOT, 0, capability_fields={"boot_epoch": 1}).good


def test_security_folder(tmp_path: Path) -> None:
    """Keys outlive the server, boot epochs go on, and no key is in the folder as it is."""
    path = f"{tmp_path}/osd"
    store = Waiting(open_store(path=path, clock=lambda: 1_700_000_000_000))
    osd = Signer(2, store=store)
    assert osd.set_key(0, 1).good
    assert osd.set_key(0, 2).good
    assert osd.set_key(0, 3).good
    keys = osd.keys
    store.close()
    raw = (tmp_path / "osd" / "objects.sqlite").read_bytes()
    store = Waiting(open_store(path=path, clock=lambda: 1_700_000_000_000))
    again = Signer(2, store=store)
    again.keys = keys

    assert again.do("LIST", ObjectKind.ROOT, 0, capability_fields={"boot_epoch": 2}).good
    assert not any(each in raw for pair in keys.values() for each in (pair.authentication, pair.generation, SECRET))
    store.close()


def test_security_folder_with_the_highest_partition(tmp_path: Path) -> None:
    """Keys of all partitions are taken away, and all are checked, whatever their ids are."""
    store = Waiting(open_store(path=f"{tmp_path}/osd", clock=lambda: 1_700_000_000_000))
    osd = Signer(2, store=store).ready()
    assert osd.do("CREATE PARTITION", ObjectKind.PARTITION, (1 << 64) - 1).good

    assert osd.do("OBJECT STRUCTURE CHECK", ObjectKind.ROOT, 0).good
    assert osd.set_key(0, 1).good
    store.close()


def test_security_config() -> None:
    """A method without a secret, and a short secret, are refused."""
    for wrong in ({"security": 1}, {"root_secret": b"short"}):
        with pytest.raises(ValueError, match="secret"):
            OsdConfig(**wrong)


def test_security_information_page() -> None:
    """VPD page B0h has the OSD SYSTEM ID that the root information page has."""
    osd = Osd()
    data = osd.initiator.command("INQUIRY", evpd=1, page_code=0xB0).data[4:]

    assert [each.value for each in parse_set_list(data, version=2)] == osd.get(0, 0, (0x90000001, 3))
    assert struct.unpack(">II", data[8:16]) == (0x90000001, 3)
