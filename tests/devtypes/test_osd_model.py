"""An object storage device compared with a model over long histories: objects, attributes, collections, quotas,
snapshots; and the end of the process at any moment (the folder as it is then, opened by another server)."""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from osd_bench import Osd, Waiting, ids, ticking

from iohandlers.objects_sqlite import open_store
from scsiemu import asc

PIDS = (0x10000, 0x10001, 0x10002)
OIDS = (0x10000, 0x10001, 0x10002)
CIDS = (0x20000, 0x20001)
PAGE = 0x10001
LARGE = st.sampled_from((b"l" * 65536, b"m" * 66_000))     # some of it goes into the file beside the database

pids, oids, cids = st.sampled_from(PIDS), st.sampled_from(OIDS), st.sampled_from(CIDS)


class Partition:
    """What a partition holds.

    Attributes:
        objects: id to data, attributes, memberships by number.
        collections: their ids.
        quota: most objects and collections, None for any number.
        longest: id to the maximum length of an object.
        snapshot: partition that it is a snapshot of, None where it is none.
    """

    def __init__(self) -> None:
        self.objects: dict[int, tuple[bytearray, dict[int, bytes], dict[int, int]]] = {}
        self.collections: set[int] = set()
        self.quota: int | None = None
        self.longest: dict[int, int] = {}
        self.snapshot: int | None = None

    @property
    def full(self) -> bool:
        """Nothing can be added."""
        return self.quota is not None and len(self.objects) + len(self.collections) >= self.quota


class ObjectModel(RuleBasedStateMachine):
    """See the module.

    Attributes:
        steps: commands that were sent but to look, and ends of the process; of all histories.
    """

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.number = 0
        self.clock = ticking()
        self.open()
        self.model: dict[int, Partition] = {}

    def open(self) -> None:
        """A server on the folder as it is."""
        path = str(self.folder / f"{self.number}")
        self.store = Waiting(open_store(path=path, clock=self.clock))
        self.osd = Osd(store=self.store)

    def teardown(self) -> None:
        """Close, and clean up."""
        self.store.close()
        shutil.rmtree(self.folder)

    @rule()
    def crash(self) -> None:
        """The process ends; what it answered is in the folder."""
        ObjectModel.steps += 1
        before = self.store
        shutil.copytree(self.folder / f"{self.number}", self.folder / f"{self.number + 1}")
        self.number += 1
        self.open()
        before.close()

    def expect(self, allowed: bool, name: str, *data: bytes, **fields: Any) -> bool:
        """A command that is done exactly where it is allowed."""
        ObjectModel.steps += 1
        result = self.osd(name, *data, **fields)
        assert result.good == allowed, f"{name} {fields}: {result}"
        return allowed

    def writable(self, pid: int) -> Partition | None:
        """The partition, where it is there and no snapshot."""
        found = self.model.get(pid)
        return found if found is not None and found.snapshot is None else None

    @rule(pid=pids)
    def create_partition(self, pid: int) -> None:
        """CREATE PARTITION."""
        if self.expect(pid not in self.model, "CREATE PARTITION", partition_id=pid):
            self.model[pid] = Partition()

    @rule(pid=pids)
    def remove_partition(self, pid: int) -> None:
        """REMOVE PARTITION of an empty one."""
        found = self.model.get(pid)
        empty = found is not None and not found.objects and not found.collections
        if self.expect(empty, "REMOVE PARTITION", partition_id=pid):
            del self.model[pid]

    @rule(pid=pids, oid=oids, data=st.binary(max_size=9), at=st.integers(0, 5000))
    def create_and_write(self, pid: int, oid: int, data: bytes, at: int) -> None:
        """CREATE AND WRITE."""
        found = self.writable(pid)
        allowed = found is not None and oid not in found.objects and not found.full
        fields = {"partition_id": pid, "object_id": oid, "length": len(data), "starting_byte_address": at}
        if self.expect(allowed, "CREATE AND WRITE", data, **fields) and found is not None:
            found.objects[oid] = (bytearray(at) + data if data else bytearray(), {}, {})

    @rule(pid=pids, oid=oids, data=st.binary(min_size=1, max_size=9) | LARGE, at=st.integers(0, 9000) | st.just(0))
    def write(self, pid: int, oid: int, data: bytes, at: int) -> None:
        """WRITE."""
        found = self.writable(pid)
        allowed = self.fits(found, oid, at + len(data))
        fields = {"partition_id": pid, "object_id": oid, "length": len(data), "starting_byte_address": at}
        if self.expect(allowed, "WRITE", data, **fields) and found is not None:
            there = found.objects[oid][0]
            there.extend(bytes(max(0, at + len(data) - len(there))))
            there[at : at + len(data)] = data

    def fits(self, found: Partition | None, oid: int, end: int) -> bool:
        """Whether the object is there and may be so long."""
        return found is not None and oid in found.objects and end <= found.longest.get(oid, end)

    @rule(pid=pids, oid=oids, data=st.binary(min_size=1, max_size=9))
    def append(self, pid: int, oid: int, data: bytes) -> None:
        """APPEND."""
        found = self.writable(pid)
        end = len(found.objects[oid][0]) + len(data) if found is not None and oid in found.objects else 0
        fields = {"partition_id": pid, "object_id": oid, "length": len(data)}
        if self.expect(self.fits(found, oid, end), "APPEND", data, **fields) and found is not None:
            found.objects[oid][0].extend(data)

    @rule(pid=pids, oid=oids, at=st.integers(0, 9000), length=st.integers(0, 9000))
    def clear(self, pid: int, oid: int, at: int, length: int) -> None:
        """CLEAR."""
        found = self.writable(pid)
        fields = {"partition_id": pid, "object_id": oid, "length": length, "starting_byte_address": at}
        if self.expect(self.fits(found, oid, at + length), "CLEAR", **fields) and found is not None:
            there = found.objects[oid][0]
            there.extend(bytes(max(0, at + length - len(there))))
            there[at : at + length] = bytes(length)

    @rule(pid=pids, oid=oids, length=st.integers(0, 9000))
    def set_length(self, pid: int, oid: int, length: int) -> None:
        """The logical length is an attribute."""
        found = self.writable(pid)
        allowed = self.fits(found, oid, length)
        assert self.osd.set(pid, oid, (1, 0x82, length.to_bytes(8, "big"))).good == allowed
        if allowed and found is not None:
            there = found.objects[oid][0]
            del there[length:]
            there.extend(bytes(length - len(there)))

    @rule(pid=pids, oid=oids, length=st.integers(0, 9000) | st.none())
    def set_longest(self, pid: int, oid: int, length: int | None) -> None:
        """The quota of an object: its maximum length."""
        found = self.writable(pid)
        data = b"" if length is None else length.to_bytes(8, "big")
        assert self.osd.set(pid, oid, (2, 1, data)).good == (found is not None and oid in found.objects)
        if found is not None and oid in found.objects:
            found.longest.pop(oid, None)
            found.longest |= {} if length is None else {oid: length}

    @rule(pid=pids, oid=oids, at=st.integers(0, 5000), length=st.integers(0, 5000))
    def punch(self, pid: int, oid: int, at: int, length: int) -> None:
        """PUNCH."""
        found = self.writable(pid)
        allowed = found is not None and oid in found.objects and at + length <= len(found.objects[oid][0])
        fields = {"partition_id": pid, "object_id": oid, "length": length, "starting_byte_address": at}
        if self.expect(allowed, "PUNCH", **fields) and found is not None:
            del found.objects[oid][0][at : at + length]

    @rule(pid=pids, oid=oids)
    def remove(self, pid: int, oid: int) -> None:
        """REMOVE."""
        found = self.writable(pid)
        allowed = found is not None and oid in found.objects
        if self.expect(allowed, "REMOVE", partition_id=pid, object_id=oid) and found is not None:
            del found.objects[oid]
            found.longest.pop(oid, None)

    @rule(pid=pids, oid=oids, number=st.integers(0, 2), data=st.binary(max_size=5), wrong=st.booleans())
    def set_attribute(self, pid: int, oid: int, number: int, data: bytes, wrong: bool) -> None:
        """SET ATTRIBUTES: one that may not be set takes the other back."""
        found = self.writable(pid)
        allowed = found is not None and oid in found.objects and not wrong
        others = [(1, 0x81, bytes(8))] if wrong else []
        result = self.osd.set(pid, oid, (PAGE, number, data), *others)
        assert result.good == allowed
        if allowed and found is not None:
            found.objects[oid][1][number] = data

    @rule(pid=pids, cid=cids)
    def create_collection(self, pid: int, cid: int) -> None:
        """CREATE COLLECTION."""
        found = self.writable(pid)
        allowed = found is not None and cid not in found.collections and not found.full
        if self.expect(allowed, "CREATE COLLECTION", partition_id=pid, object_id=cid) and found is not None:
            found.collections.add(cid)

    @rule(pid=pids, cid=cids, force=st.booleans())
    def remove_collection(self, pid: int, cid: int, force: bool) -> None:
        """REMOVE COLLECTION, with FCR although it has members."""
        found = self.writable(pid)
        members = [each for each in found.objects.values() if cid in each[2].values()] if found is not None else []
        allowed = found is not None and cid in found.collections and (force or not members)
        fields = {"partition_id": pid, "object_id": cid, "fcr": int(force)}
        if self.expect(allowed, "REMOVE COLLECTION", **fields) and found is not None:
            found.collections.remove(cid)
            for _, _, links in members:
                for number in [key for key, there in links.items() if there == cid]:
                    del links[number]

    @rule(pid=pids, oid=oids, cid=cids, number=st.integers(1, 2))
    def join(self, pid: int, oid: int, cid: int, number: int) -> None:
        """A membership is set."""
        found = self.writable(pid)
        known = found is not None and oid in found.objects and cid in found.collections
        links = found.objects[oid][2] if known and found is not None else {}
        allowed = known and all(there != cid for key, there in links.items() if key != number)
        assert self.osd.set(pid, oid, (4, number, cid.to_bytes(8, "big"))).good == allowed
        if allowed:
            links[number] = cid

    @rule(pid=pids, quota=st.integers(0, 3) | st.none())
    def set_quota(self, pid: int, quota: int | None) -> None:
        """The object count quota."""
        found = self.writable(pid)
        data = b"" if quota is None else quota.to_bytes(8, "big")
        assert self.osd.set(pid, 0, (0x30000002, 0x10002, data)).good == (found is not None)
        if found is not None:
            found.quota = quota

    @rule(pid=pids, new=pids)
    def create_snapshot(self, pid: int, new: int) -> None:
        """CREATE SNAPSHOT."""
        allowed = pid in self.model and new not in self.model
        if self.expect(allowed, "CREATE SNAPSHOT", partition_id=pid, other_partition_id=new):
            self.model[new] = copy.deepcopy(self.model[pid])
            self.model[new].snapshot = pid

    @rule(pid=pids, new=pids)
    def restore(self, pid: int, new: int) -> None:
        """RESTORE PARTITION FROM SNAPSHOT."""
        found = self.writable(pid)
        allowed = found is not None and new in self.model and self.model[new].snapshot == pid
        fields = {"partition_id": pid, "other_partition_id": new}
        if self.expect(allowed, "RESTORE PARTITION FROM SNAPSHOT", **fields):
            self.model[pid] = copy.deepcopy(self.model[new])
            self.model[pid].snapshot = None

    @invariant()
    def same(self) -> None:
        """Lists, data, attributes, members are the model's."""
        assert ids(self.osd("LIST", allocation_length=999).data) == sorted(self.model)
        for pid, found in self.model.items():
            assert ids(self.osd("LIST", partition_id=pid, allocation_length=999).data) == sorted(found.objects)
            for oid, (data, attributes, links) in found.objects.items():
                result = self.osd("READ", partition_id=pid, object_id=oid, length=len(data) + 1)
                assert result.code == asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, 1)
                assert result.data == data
                wanted = tuple((PAGE, number) for number in range(3))
                assert self.osd.get(pid, oid, *wanted) == [attributes.get(number) or None for number in range(3)]
                told = self.osd.get(pid, oid, (4, 1), (4, 2))
                assert [None if each is None else int.from_bytes(each, "big") for each in told] == [
                    links.get(1), links.get(2)
                ]
            for cid in found.collections:
                data = self.osd("LIST COLLECTION", partition_id=pid, object_id=cid, allocation_length=999).data
                assert ids(data) == sorted(oid for oid, (*_, links) in found.objects.items() if cid in links.values())
            assert self.osd("OBJECT STRUCTURE CHECK", partition_id=pid).good


TestObjectModel = ObjectModel.TestCase
TestObjectModel.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
