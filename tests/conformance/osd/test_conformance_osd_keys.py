"""SET KEY, SET MASTER KEY, and what becomes of keys. The unit has keys; of one that is not ours the master key has to
be known (`--osd-master-key`). Nothing on it survives."""

from __future__ import annotations

from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_manager import Manager, icv_at, keyed_unit
from osd_unit import OID, PID, number, pointer

from devtypes.osd.key_commands import DH_BYTES, DH_PRIME
from devtypes.osd.keys import MASTER, ROOT_KEY
from devtypes.osd.security import derived_keys, integrity
from scsiemu import asc
from scsiemu.object_requests import ObjectKind

CDB = asc.INVALID_FIELD_IN_CDB
CAPKEY = 1


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """A unit in memory with keys."""
    return keyed_unit()


@about("SET KEY", "policy/security pages")
def test_set_key_identifiers(unit: ConformanceUnit, manager: Manager) -> None:
    """Key identifiers are attributes of the policy/security pages."""
    assert manager.set_key(PID, 3, key_version=4, key_identifier=0xABCDEF).good

    assert manager.get(0, 0, (0x90000005, 0x7FFE)) == [number(0x1234568, 7)]
    assert manager.get(PID, 0, (0x30000005, 0x7FFF)) == [number(0x1234569, 7)]
    assert manager.get(PID, 0, (0x30000005, 0x8004), (0x30000005, 0x8005)) == [number(0xABCDEF, 7), b""]


@about("SET KEY")
def test_set_key_version(unit: ConformanceUnit, manager: Manager) -> None:
    """Working keys of several versions are there at once; the capability says which one signed it."""
    seed = 0x2222222222222222222222222222222222222222
    assert manager.do(
        "SET KEY", ObjectKind.PARTITION, PID, 0, key=(PID, 0x10), key_to_set=3, key_version=2, seed=seed
    ).good
    manager.keys[PID, 0x22] = derived_keys(manager.keys[PID, 0x10], seed.to_bytes(20, "big"))

    assert manager.do("READ", key=(PID, 0x22), fields={"key_version": 2}, length=0).good
    assert manager.do("READ", length=0).good
    assert manager.do("READ", key=(PID, 0x22), length=0).code == CDB


@pytest.mark.parametrize(("pid", "what"), [(0, 1), (PID, 2), (PID, 3)], ids=["root", "partition", "working"])
@about("SET KEY")
def test_set_key_ends_keys_below(unit: ConformanceUnit, manager: Manager, pid: int, what: int) -> None:
    """A key that is set takes those below it away: what they signed is refused."""
    sent = manager.sign("READ", length=0)
    fresh: dict[str, Any] = {"seed": 0x3333333333333333333333333333333333333333}
    assert manager.set_key(pid, what, **fresh).good
    answer = manager.send(sent)

    assert answer.code == CDB
    assert answer.sense is not None
    assert pointer(answer.sense).byte == (icv_at(manager.version) if what == 3 else 81)


@pytest.mark.parametrize("method", [0, CAPKEY], ids=["nosec", "capkey"])
@about("SET KEY", "security methods")
def test_set_key_method(unit: ConformanceUnit, manager: Manager, method: int) -> None:
    """No key is set by less than CMDRSP."""
    answer = manager.set_key(PID, 3, method=method)

    assert answer.code == CDB
    assert answer.sense is not None
    assert pointer(answer.sense).byte == 82


@about("SET KEY")
def test_set_key_without_capability(unit: ConformanceUnit, manager: Manager) -> None:
    """No capability, no key."""
    sense = manager.refused("SET KEY", CDB, key_to_set=1)

    assert pointer(sense).byte == 80


@about("SET KEY")
def test_set_key_wrong_parent(unit: ConformanceUnit, manager: Manager) -> None:
    """It is signed with the key above, with no other."""
    answer = manager.set_key(PID, 3, key=(0, ROOT_KEY))

    assert answer.code == CDB
    assert answer.sense is not None
    assert pointer(answer.sense).byte == icv_at(manager.version)


@pytest.mark.parametrize(
    ("pid", "fields", "byte"),
    [(0, {"key_to_set": 0}, 11), (PID, {"key_to_set": 1}, 16), (0, {"key_to_set": 1, "key_version": 1}, 24)],
    ids=["no key", "root key of a partition", "version of the root key"],
)
@about("SET KEY")
def test_set_key_field(unit: ConformanceUnit, manager: Manager, pid: int, fields: dict[str, int], byte: int) -> None:
    """Fields that do not go together."""
    kind = ObjectKind.PARTITION if pid else ObjectKind.ROOT
    answer = manager.do("SET KEY", kind, pid, 0, key=(0, MASTER), **fields)

    assert answer.code == CDB
    assert answer.sense is not None
    assert pointer(answer.sense).byte == byte


def exchange(manager: Manager, step: int, data: bytes, **rest: Any) -> tuple[Any, bytes]:
    """A step of SET MASTER KEY."""
    answer = manager.do(
        "SET MASTER KEY", ObjectKind.ROOT, 0, 0, key=(0, MASTER), dh_step=step, data=data, data_in=DH_BYTES,
        parameter_list_length=len(data), **{"allocation_length": 0 if step else DH_BYTES, **rest},
    )
    return answer, answer.data[:DH_BYTES]


OURS = 0x123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF01
PUBLIC = pow(2, OURS, DH_PRIME).to_bytes(DH_BYTES, "big")


@about("SET MASTER KEY")
def test_set_master_key(unit: ConformanceUnit, manager: Manager) -> None:
    """SEED EXCHANGE and CHANGE MASTER KEY make a new master key, which both sides know; keys below are gone."""
    answer, theirs = exchange(manager, 0, PUBLIC)
    assert answer.good, answer
    shared = pow(int.from_bytes(theirs, "big"), OURS, DH_PRIME).to_bytes(DH_BYTES, "big")
    answer, _ = exchange(manager, 1, PUBLIC + theirs, key_identifier=0x55)
    assert answer.good, answer
    old = manager.known.master
    manager.known.master = manager.keys[0, MASTER] = derived_keys(old, integrity(old.generation, shared))

    assert manager.get(0, 0, (0x90000005, 0x7FFD), (0x90000005, 0x7FFE)) == [number(0x55, 7), b""]
    assert manager.set_key(0, 1).good
    manager.keys[0, MASTER] = old
    assert manager.set_key(0, 1).code == CDB


@about("SET MASTER KEY")
def test_set_master_key_other_data(unit: ConformanceUnit, manager: Manager) -> None:
    """What is not what went over the wire before changes no key, and ends the exchange."""
    _, theirs = exchange(manager, 0, PUBLIC)
    answer, _ = exchange(manager, 1, theirs + PUBLIC)
    assert answer.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    answer, _ = exchange(manager, 1, PUBLIC + theirs)

    assert answer.code == CDB
    assert manager.set_key(0, 1).good


@about("SET MASTER KEY")
def test_set_master_key_out_of_order(unit: ConformanceUnit, manager: Manager) -> None:
    """The second step without the first, a reserved step, a list of another length, numbers that are no keys."""
    for step, data, code in (
        (1, PUBLIC * 2, CDB), (2, PUBLIC, CDB), (0, PUBLIC[1:], asc.PARAMETER_LIST_LENGTH_ERROR),
        (0, bytes(DH_BYTES), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (0, number(1, DH_BYTES), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (0, number(DH_PRIME - 1, DH_BYTES), asc.INVALID_FIELD_IN_PARAMETER_LIST),
    ):
        answer, _ = exchange(manager, step, data)
        assert answer.code == code, step


@about("FORMAT OSD", "SET KEY")
def test_format_keeps_master_key(unit: ConformanceUnit, manager: Manager) -> None:
    """FORMAT OSD takes all keys away but the master key."""
    manager.good("FORMAT OSD")

    assert manager.get(0, 0, (0x90000005, 0x7FFE)) == [b""]
    assert manager.set_key(0, 2).code == CDB
    assert manager.set_key(0, 1).good


@about("CREATE SNAPSHOT", "security methods")
def test_copy_has_no_keys(unit: ConformanceUnit, manager2: Manager) -> None:
    """Keys of a partition are no keys of its copy: what they sign is refused there."""
    pid = manager2.copy("CREATE CLONE")
    manager2.keys[pid, 0x20] = manager2.keys[PID, 0x20]
    sense = manager2.do("READ", ObjectKind.USER, pid, OID, length=0).sense

    assert sense is not None
    assert pointer(sense).byte == 81
