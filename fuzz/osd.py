"""CDBs of object storage with lists, segments and data (OSD-1, OSD-2)."""

from __future__ import annotations

import struct
from functools import cache

from devtypes.osd import ObjectStorageDevice
from devtypes.osd.config import OsdConfig
from devtypes.osd.layouts import OPCODE
from iohandlers.objects_memory import open_store
from scsiemu.command import Command
from scsiemu.events import InternalFailure
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.operations import Operation, OperationTable
from scsiemu.sam import Status
from scsiemu.sense import decode_sense
from scsiemu.target import Target

__all__ = ["fuzz_osd"]

_SECRET = b"the root secret of the fuzzer"
_TRANSFER = 1 << 20
_ROW = struct.Struct(">HHB")
_PID = 0x10000
# Fields that a row's bytes are put into, in this order; what is left of them is Data-Out.
_SMALL = frozenset(("partition_id", "object_id", "other_partition_id", "source_collection_id", "matches_collection_id"))
_LEFT_ALONE = frozenset(("opcode", "service_action", "additional_cdb_length", "control", "capability"))


def fuzz_osd(data: bytes) -> None:
    """Every command ends exactly once with a status of SAM, CHECK CONDITION has sense data in descriptor format that
    says which object it was, no more than a command may move comes back, and no operation of ours breaks; afterwards
    OBJECT STRUCTURE CHECK finds nothing.

    The input is a row of commands: choice of operation, length of the rest, seed, then the rest: a byte for each
    field that tells how it is filled, the fields' bytes, Data-Out. No exception is allowed.
    """
    target = Target("iqn.2026-11.fuzz:a")
    store = open_store(size=1 << 24, clock=lambda: 1_700_000_000_000)
    server = ObjectStorageDevice(OsdConfig(max_transfer=_TRANSFER, root_secret=_SECRET, vendor_atomics=True))
    target.add_unit(0, server, performer=store.submit, capabilities=lambda: store.capabilities)
    nexus = target.nexus_established(InitiatorPort("fuzz", b"fuzz".ljust(24, b"\0")), TargetPort("port"))
    for name in ("TEST UNIT READY", "CREATE PARTITION", "CREATE", "CREATE COLLECTION"):
        _send(target, nexus, _named(name).layout.build(**_fixed(_named(name)), **_beginning(name)), b"")
    at = count = 0
    while at + _ROW.size <= len(data) and count < 24:
        pick, length, seed = _ROW.unpack_from(data, at)
        at += _ROW.size
        rest = data[at : at + length % 4096]
        at += len(rest)
        count += 1
        operation = _operations()[pick % len(_operations())]
        cdb, out = _cdb(operation, seed, rest)
        _send(target, nexus, cdb, out)
    checked = _named("OBJECT STRUCTURE CHECK")
    status = Status.CHECK_CONDITION
    for _ in range(16):                                 # unit attentions come first
        status = _send(target, nexus, checked.layout.build(**_fixed(checked)), b"")
        if status == Status.GOOD:
            break
    assert status == Status.GOOD, "objects that do not fit together"


@cache
def _operations() -> tuple[Operation, ...]:
    return tuple(each for each in OperationTable(ObjectStorageDevice).operations if each.opcode == OPCODE)


@cache
def _named(name: str) -> Operation:
    return next(each for each in OperationTable(ObjectStorageDevice).operations if each.name == name)


def _fixed(operation: Operation) -> dict[str, int]:
    fields = {"opcode": operation.opcode}
    if operation.service_action is not None:
        fields["service_action"] = operation.service_action
        fields["additional_cdb_length"] = operation.layout.length - 8
    return fields


def _beginning(name: str) -> dict[str, int]:
    return {"partition_id": _PID} if "CREATE" in name else {}


def _cdb(operation: Operation, seed: int, rest: bytes) -> tuple[bytes, bytes]:
    """A CDB whose fields are the rest's bytes, or small numbers, or ids that are there; and Data-Out."""
    fields = _fixed(operation)
    for name, _ in operation.layout.parse(bytes(operation.layout.length)).items():
        if name in _LEFT_ALONE or not rest:
            continue
        how, rest = rest[0], rest[1:]
        field = operation.layout.field(name)
        width = field.width
        if name in _SMALL:
            fields[name] = (0, _PID, _PID + 1, _PID + 2, how, (1 << 64) - 1)[how % 6]
        elif how & 1 or width <= 8:
            fields[name] = how % (1 << width) if how & 2 else 0
        elif width <= 64:
            fields[name] = (how >> 2) * (8 if seed & 1 else 1) % (1 << width)
        else:
            size = min(width // 8, len(rest))
            fields[name] = int.from_bytes(rest[:size], "big")
            rest = rest[size:]
    return operation.layout.build(**fields), rest


def _send(target: Target, nexus: Nexus, cdb: bytes, out: bytes) -> int:
    """Send a command, bring its data, see it end; its status."""
    target.submit(Command(nexus, 0, cdb, 1, 0, out, len(out), 1 << 20))
    ended = []
    for _ in range(1000):
        while (wanted := target.next_data_out_request()) is not None:
            wanted.buffer[:] = b"\x5a" * wanted.length
            target.data_out(wanted.command)
        while (completion := target.next_completion()) is not None:
            ended.append(completion)
        deadline = target.deadline()
        if deadline is None:
            break
        target.advance(deadline)
    while (event := target.next_event()) is not None:
        if isinstance(event, InternalFailure):
            raise event.error
    (completion,) = ended
    assert completion.status in vars(Status).values()
    assert len(completion.data_in) <= 2 * _TRANSFER
    if completion.status == Status.CHECK_CONDITION:
        assert completion.sense_data[0] == 0x72
        sense = decode_sense(completion.sense_data)
        assert sense is not None
        identified = any(each[:1] == b"\x06" for each in sense.descriptors)
        assert identified or completion.command.operation is None or completion.command.operation.opcode != OPCODE
    return completion.status
