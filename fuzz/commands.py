"""CDBs with data, every opcode as often as another (SPC-5, SBC-4)."""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.command import Command
from scsiemu.events import InternalFailure
from scsiemu.nexus import InitiatorPort, TargetPort
from scsiemu.operations import Operation, OperationTable
from scsiemu.sam import Status
from scsiemu.target import Target

__all__ = ["fuzz_commands", "run_commands"]

_CAPACITY = 1 << 16
_BLOCK = 512
_DATA_IN_LIMIT = 1 << 24
_OPERATIONS: Final = OperationTable(VirtualDisk).operations


def fuzz_commands(data: bytes) -> None:
    """Every command ends exactly once with a status of SAM, CHECK CONDITION has sense data, and no operation of ours
    breaks.

    The input is a row of commands: choice of operation, seed of the CDB's bytes, attribute, length of Data-Out, then
    Data-Out. Half of the CDBs are of declared operations, half are what the bytes say. No exception is allowed.
    """
    target = Target("iqn.2026-11.fuzz:a")
    store = open_store(size=_CAPACITY * _BLOCK)
    disk = VirtualDisk(DiskConfig.for_store(store.capabilities))
    target.add_unit(0, disk, performer=store.submit, capabilities=lambda: store.capabilities)
    run_commands(target, _OPERATIONS, data)


def run_commands(target: Target, operations: tuple[Operation, ...], data: bytes) -> None:
    """Execute the row of commands of an input, as `fuzz_commands` has it, against the units of a target."""
    nexus = target.nexus_established(InitiatorPort("fuzz", b"fuzz".ljust(24, b"\0")), TargetPort("port"))
    at, tag = 0, 0
    while at + 24 <= len(data) and tag < 32:
        pick, attribute, out_length, lun, seed = struct.unpack_from(">HBHB18s", data, at)
        at += 24
        out = data[at : at + out_length]
        at += len(out)
        tag += 1
        command = Command(
            nexus, lun % 3 << 48, _cdb(operations, pick, seed), tag, attribute % 5, out, len(out) + pick % 3 * 512,
            1 << 20,
        )
        target.submit(command)
        _settle(target, tag)


def _cdb(operations: tuple[Operation, ...], pick: int, seed: bytes) -> bytes:
    """A CDB: of a declared operation with the seed's bits in its fields, or the seed itself."""
    if pick & 1:
        return bytes((pick >> 1 & 0xFF,)) + seed[1:16]
    declared = operations[(pick >> 1) % len(operations)]
    fixed = {"opcode": declared.opcode}
    if declared.service_action is not None:
        fixed["service_action"] = declared.service_action
    layout = declared.layout
    loose = layout.parse((seed * 3)[: layout.length])
    fields = {name: number for name, number in loose.items() if name not in fixed and name != "control"}
    if "additional_cdb_length" in fields:
        fields["additional_cdb_length"] = layout.length - 8
    # Small numbers reach further than large ones: most blocks do not exist.
    if seed[17] & 1:
        fields = {name: number & 0xFF for name, number in fields.items()}
    return layout.build(**fixed, **fields).ljust(16, b"\0")


def _settle(target: Target, tag: int) -> None:
    """Let the command end: bring its data, let the clock run."""
    ended = 0
    for _ in range(10_000):
        while (wanted := target.next_data_out_request()) is not None:
            wanted.buffer[:] = b"\x5a" * wanted.length
            target.data_out(wanted.command)
        while (completion := target.next_completion()) is not None:
            assert completion.command.tag == tag, "a command that had ended"
            ended += 1
            assert completion.silent or completion.status in vars(Status).values()
            assert len(completion.data_in) <= _DATA_IN_LIMIT
            if completion.status == Status.CHECK_CONDITION:
                assert len(completion.sense_data) >= 8
        deadline = target.deadline()
        if deadline is None:
            break
        target.advance(deadline)
    assert ended == 1, f"ended {ended} times"
    while (event := target.next_event()) is not None:
        if isinstance(event, InternalFailure):
            raise event.error
