"""Power, removal, capacity and the operator's methods of the virtual disk."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from vd_bench import Bench

from scsiemu import asc
from scsiemu.io_requests import PENDING, Flush, IoRequest, Resize, Write
from scsiemu.logical_unit import BackgroundTask
from scsiemu.sam import TaskAttribute, TaskManagementFunction
from scsiemu.sense import FieldPointer, SenseCode
from scsiemu.testing.initiator import Initiator

BLOCK = 512


def late_bench(kind: type[IoRequest[Any]]) -> tuple[Bench, list[Any]]:
    """A bench whose store answers one kind of request late: the list gets (ticket, request, what performs it)."""
    late: list[Any] = []

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            if not isinstance(request, kind):
                return submit(request, ticket)
            late.append((ticket, request, submit))
            return PENDING

        return perform

    return Bench(wrap=wrap), late


def refused(task: BackgroundTask) -> SenseCode | None:
    """What something that was done by hand was refused with."""
    assert task.completion is not None
    sense = task.completion.sense
    return None if sense is None else sense.code


def test_read_capacity() -> None:
    """Last LBA, block size, physical exponent, alignment, LBPME and LBPRZ (SBC-4 5.17, 5.18)."""
    bench = Bench(physical_exponent=3, lowest_aligned=5)

    assert bench.do("READ CAPACITY(10)").data == struct.pack(">II", 2047, 512)
    assert bench.do("READ CAPACITY(16)").data == struct.pack(">QIBBH16x", 2047, 512, 0, 3, 0xC005)
    assert len(bench.do("READ CAPACITY(16)", allocation_length=12).data) == 12


def test_stop_and_start() -> None:
    """A stopped disk is NOT READY, INITIALIZING COMMAND REQUIRED, until it is started (SBC-4 5.31)."""
    bench = Bench()
    code = asc.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED

    assert bench.do("START STOP UNIT", start=0).good
    assert bench.do("TEST UNIT READY").code == code
    assert bench.do("READ(10)", transfer_length=1).code == code
    assert bench.do("START STOP UNIT", start=1).good
    assert bench.do("READ(10)", transfer_length=1).good
    page = bench.do("LOG SENSE", page_code=0x0E, pc=1).data
    assert (1).to_bytes(4, "big") in page


def test_loej_on_a_fixed_disk() -> None:
    """LOEJ is INVALID FIELD IN CDB where the medium is not removable; PREVENT ALLOW is not there at all."""
    bench = Bench()

    assert bench.do("START STOP UNIT", loej=1).code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=1).code == asc.INVALID_COMMAND_OPERATION_CODE
    assert refused(bench.disk.press_eject()) == asc.MEDIUM_REMOVAL_PREVENTED


@pytest.mark.parametrize("immed", [0, 1])
def test_eject_and_load(immed: int) -> None:
    """Without a medium commands get MEDIUM NOT PRESENT; loading tells the other nexuses (SPC-5, 28/00)."""
    bench = Bench(removable=True)
    other = bench.another()
    bench.write(0, b"a" * BLOCK)

    assert bench.do("START STOP UNIT", loej=1, immed=immed).good
    for name in ("TEST UNIT READY", "READ CAPACITY(10)", "READ CAPACITY(16)", "SYNCHRONIZE CACHE(10)", "FORMAT UNIT"):
        assert bench.do(name).code == asc.MEDIUM_NOT_PRESENT, name
    assert bench.do("READ(10)", transfer_length=1).code == asc.MEDIUM_NOT_PRESENT
    assert bench.do("INQUIRY").data[1] & 0x80
    assert bench.do("START STOP UNIT", loej=1, start=1).good

    assert bench.do("TEST UNIT READY").good
    assert other.command("TEST UNIT READY").code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert bench.read(0) == b"a" * BLOCK


def test_prevent_is_kept_for_each_nexus() -> None:
    """The medium stays while any nexus prevents removal; nexus loss and reset end that (SPC-5 6.16)."""
    bench = Bench(removable=True)
    other = bench.another()
    prevent = "PREVENT ALLOW MEDIUM REMOVAL"

    assert bench.do(prevent, prevent=1).good
    assert other.command(prevent, prevent=1).good
    assert bench.do(prevent, prevent=0).good
    assert bench.do("START STOP UNIT", loej=1).code == asc.MEDIUM_REMOVAL_PREVENTED
    assert refused(bench.disk.press_eject()) == asc.MEDIUM_REMOVAL_PREVENTED
    bench.target.nexus_lost(other.nexus)
    assert bench.do("START STOP UNIT", loej=1).good
    assert bench.do(prevent, prevent=1).good
    assert bench.do("START STOP UNIT", loej=1, start=1).code == asc.MEDIUM_REMOVAL_PREVENTED
    bench.target.manage(TaskManagementFunction.LOGICAL_UNIT_RESET, bench.initiator.nexus, 0)
    bench.initiator.clear_attentions()
    assert bench.do("START STOP UNIT", loej=1, start=1).good
    assert bench.do(prevent, prevent=2).code == asc.INVALID_FIELD_IN_CDB


def test_operator_changes_the_medium() -> None:
    """Eject by force and insert: every nexus hears NOT READY TO READY CHANGE."""
    bench = Bench(removable=True)
    assert bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=1).good

    assert refused(bench.disk.press_eject(force=True)) is None
    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT
    bench.disk.press_load()

    assert bench.do("TEST UNIT READY").code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert bench.do("TEST UNIT READY").good


@pytest.mark.parametrize(("condition", "code"), [
    (2, asc.IDLE_CONDITION_ACTIVATED_BY_COMMAND), (3, asc.STANDBY_CONDITION_ACTIVATED_BY_COMMAND),
])
def test_power_condition(condition: int, code: object) -> None:
    """REQUEST SENSE tells a low power condition; medium access ends it, TEST UNIT READY does not (SBC-4 4.20)."""
    bench = Bench()

    assert bench.do("START STOP UNIT", power_condition=condition, loej=1).good
    assert bench.do("TEST UNIT READY").good
    sense = bench.do("REQUEST SENSE").data
    assert (sense[12], sense[13]) == (code.asc, code.ascq)      # type: ignore[attr-defined]  # a SenseCode
    assert bench.do("READ(10)", transfer_length=1).good
    sense = bench.do("REQUEST SENSE").data
    assert (sense[12], sense[13]) == (0, 0)
    page = bench.do("LOG SENSE", page_code=0x1A, pc=1).data
    assert page[4:12] == bytes((0, 1, 3, 4)) + (1).to_bytes(4, "big")


def is_in_standby(bench: Bench) -> bool:
    """What REQUEST SENSE tells."""
    wanted = asc.STANDBY_CONDITION_ACTIVATED_BY_COMMAND
    return bench.do("REQUEST SENSE").data[12:14] == bytes((wanted.asc, wanted.ascq))


@pytest.mark.parametrize("code", [4, 5, 6, 8, 9, 12, 13, 14, 15])
def test_power_condition_reserved(code: int) -> None:
    """Obsolete and reserved codes are refused and leave the power condition as it is (SBC-4 5.31). libiscsi's PwrCnd
    asks removable disks for each of them and wants GOOD, and a medium that stays."""
    bench, removable = Bench(), Bench(removable=True)
    for each in (bench, removable):
        assert each.do("START STOP UNIT", power_condition=3).good

    result = bench.do("START STOP UNIT", power_condition=code)
    assert (result.code, result.sense.specific) == (asc.INVALID_FIELD_IN_CDB, FieldPointer(4, 7))
    assert removable.do("START STOP UNIT", power_condition=code, loej=1).good
    assert is_in_standby(bench)
    assert is_in_standby(removable)
    assert removable.do("TEST UNIT READY").good


def test_power_condition_lu_control() -> None:
    """LU_CONTROL hands control to timers; there are none, so it leaves the power condition as it is."""
    bench = Bench()
    assert bench.do("START STOP UNIT", power_condition=3).good

    assert bench.do("START STOP UNIT", power_condition=7).good
    assert is_in_standby(bench)
    assert bench.do("START STOP UNIT", power_condition=1).good
    assert bench.do("REQUEST SENSE").data[12] == 0


@pytest.mark.parametrize("condition", [0, 1, 2, 3, 10, 11])
def test_power_condition_modifier(condition: int) -> None:
    """There are no idle_b, idle_c and standby_y (SBC-4 5.31): a modifier is refused."""
    bench = Bench()

    result = bench.do("START STOP UNIT", power_condition=condition, power_condition_modifier=1, start=1)
    assert (result.code, result.sense.specific) == (asc.INVALID_FIELD_IN_CDB, FieldPointer(3, 3))
    assert bench.do("REQUEST SENSE").data[12] == 0


@pytest.mark.parametrize("condition", [1, 2, 3])
def test_power_condition_ends_stop(condition: int) -> None:
    """SBC-4 4.20: a stopped unit goes to the power condition that it is asked for, and reads again."""
    bench = Bench()
    assert bench.do("START STOP UNIT", start=0).good

    assert bench.do("START STOP UNIT", power_condition=condition).good
    assert bench.do("READ(10)", transfer_length=1).good


def test_operator_waits_for_a_format() -> None:
    """A medium that is formatted stays; what is not removable does."""
    bench = Bench(removable=True, format_seconds=60.0)
    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=bytes((0, 2, 0, 0))).good

    code = asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS
    assert refused(bench.disk.press_eject(force=True)) == refused(bench.disk.press_load()) == code
    assert refused(Bench().disk.press_load()) == asc.MEDIUM_REMOVAL_PREVENTED


def test_resize_live() -> None:
    """A live resize tells everyone CAPACITY DATA HAS CHANGED; new blocks read as zeros."""
    bench = Bench()
    bench.write(2047, b"a" * BLOCK)

    bench.disk.resize(4096)

    assert bench.do("TEST UNIT READY").code == asc.CAPACITY_DATA_HAS_CHANGED
    assert bench.do("READ CAPACITY(10)").data == struct.pack(">II", 4095, 512)
    assert bench.read(2047, 2) == b"a" * BLOCK + bytes(BLOCK)
    bench.disk.resize(100)
    bench.initiator.clear_attentions()
    assert bench.do("READ(10)", lba=100, transfer_length=1).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    with pytest.raises(ValueError, match="protection"):
        Bench(pi_type=1).disk.resize(5)


def test_start_during_a_stop() -> None:
    """A start that comes before a stop has ended is refused; another stop is not (SBC-4 5.31)."""
    bench, late = late_bench(Flush)
    cdb = bench.initiator.cdb("START STOP UNIT", start=0)
    stops = [bench.initiator.start(0, cdb), bench.initiator.start(0, cdb)]
    code = asc.LOGICAL_UNIT_NOT_READY_START_STOP_UNIT_COMMAND_IN_PROGRESS
    assert bench.do("START STOP UNIT", start=1).code == code
    assert bench.do("START STOP UNIT", power_condition=3).code == code
    assert bench.do("READ(10)", transfer_length=1).good

    for ticket, request, submit in late:
        bench.target.complete(ticket, submit(request, ticket))

    assert [bench.initiator.finish(stop).good for stop in stops] == [True, True]
    assert bench.do("READ(10)", transfer_length=1).code == asc.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED
    assert bench.do("START STOP UNIT", start=1).good
    assert bench.do("READ(10)", transfer_length=1).good


def test_resize_waits_for_writes() -> None:
    """A write that was checked against the old capacity ends before the store shrinks; one that comes later does not
    pass."""
    bench, late = late_bench(Write)
    cdb = bench.initiator.cdb("WRITE(10)", lba=2000, transfer_length=1, data_out=bytes(BLOCK))
    earlier = bench.initiator.start(0, cdb, bytes(BLOCK))
    resizing = bench.disk.resize(100)
    bench.disk.set_write_protect(True)
    bench.disk.set_write_protect(False)
    later = bench.initiator.start(0, cdb, bytes(BLOCK))
    assert (resizing.done, bench.disk.blocks, len(late)) == (False, 2048, 1)

    ticket, request, submit = late.pop()
    bench.target.complete(ticket, submit(request, ticket))

    assert bench.initiator.finish(earlier).good
    assert (resizing.done, bench.disk.blocks, late) == (True, 100, [])
    assert bench.initiator.finish(later).code == asc.CAPACITY_DATA_HAS_CHANGED
    bench.initiator.clear_attentions()
    assert bench.initiator.execute(0, cdb, bytes(BLOCK)).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


def test_resize_and_a_reset() -> None:
    """A reset that comes while the store is resized does not leave a disk that is larger than its store; HEAD OF QUEUE
    commands do not reach what is being cut off."""
    bench, late = late_bench(Resize)
    bench.disk.resize(100)
    cdb = bench.initiator.cdb("READ(10)", lba=2000, transfer_length=1)
    result = bench.initiator.execute(0, cdb, attribute=TaskAttribute.HEAD_OF_QUEUE)
    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    bench.target.manage(TaskManagementFunction.LOGICAL_UNIT_RESET, bench.initiator.nexus, 0)

    (ticket, request, submit), = late
    bench.target.complete(ticket, submit(request, ticket))

    assert not bench.unit.background
    bench.initiator.clear_attentions()
    assert bench.do("READ CAPACITY(10)").data == struct.pack(">II", 99, 512)


def test_resize_refused_when_busy() -> None:
    """Without a medium, and while a format operation has it, there is nothing that could be resized."""
    bench = Bench(removable=True, format_seconds=60.0)
    bench.disk.press_eject()
    with pytest.raises(ValueError, match="no medium"):
        bench.disk.resize(4096)
    bench.disk.press_load()
    bench.initiator.clear_attentions()
    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=bytes((0, 2, 0, 0))).good
    with pytest.raises(ValueError, match="format"):
        bench.disk.resize(4096)

    assert bench.disk.config.capacity == 2048


def test_write_protect_live() -> None:
    """A live write protect closes the fast path too, and is a mode parameter that changed."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK)

    bench.disk.set_write_protect(True)

    assert bench.do("TEST UNIT READY").code == asc.MODE_PARAMETERS_CHANGED
    assert bench.do("WRITE(10)", transfer_length=1, data_out=bytes(BLOCK)).code == asc.WRITE_PROTECTED
    bench.disk.set_write_protect(False)
    bench.initiator.clear_attentions()
    bench.write(0, b"b" * BLOCK)


def test_read_media_serial_number() -> None:
    """The serial number of the medium, padded to four bytes; only where it is removable (SPC-5 6.30)."""
    bench = Bench(removable=True, medium_serial="MED01")

    assert bench.do("READ MEDIA SERIAL NUMBER").data == bytes((0, 0, 0, 8)) + b"MED01\0\0\0"
    assert not Bench().do("READ MEDIA SERIAL NUMBER").good


@pytest.mark.parametrize(("start", "conflict"), [(1, False), (0, True)])
def test_start_stop_under_reservation(start: int, conflict: bool) -> None:
    """START is let through by a persistent reservation of another nexus, stopping is not (SPC-5 table 70)."""
    bench = Bench()
    other = bench.another()
    key = bytes(8) + b"\0\0\0\0\0\0\0\x01" + bytes(8)
    assert other.command("PERSISTENT RESERVE OUT (REGISTER)", data_out=key).good
    held = b"\0\0\0\0\0\0\0\x01" + bytes(16)
    assert other.command("PERSISTENT RESERVE OUT (RESERVE)", type=1, data_out=held).good

    result = bench.do("START STOP UNIT", start=start)

    assert (result.status == 0x18) == conflict


@pytest.mark.parametrize(("name", "fields", "conflict"), [
    ("PREVENT ALLOW MEDIUM REMOVAL", {}, False), ("PREVENT ALLOW MEDIUM REMOVAL", {"prevent": 1}, True),
    ("READ CAPACITY(10)", {}, False), ("READ CAPACITY(16)", {}, False), ("START STOP UNIT", {"start": 1}, False),
    ("START STOP UNIT", {"start": 0}, True), ("START STOP UNIT", {"start": 1, "power_condition": 2}, True),
    ("TEST UNIT READY", {}, True), ("READ(10)", {"transfer_length": 1}, True), ("READ MEDIA SERIAL NUMBER", {}, False),
])
def test_commands_under_unit_reservation(name: str, fields: dict[str, int], conflict: bool) -> None:
    """What RESERVE of another nexus lets through (SPC-2 5.5.1, annex B)."""
    bench = Bench(removable=True)
    assert bench.another().command("RESERVE(6)").good

    assert (bench.do(name, **fields).status == 0x18) == conflict


@pytest.mark.parametrize(("kind", "name", "fields", "conflict"), [
    (1, "READ LONG(10)", {"byte_transfer_length": BLOCK}, True), (1, "READ(10)", {"transfer_length": 1}, False),
    (1, "READ LONG(16)", {"byte_transfer_length": BLOCK}, True), (1, "GET LBA STATUS(16)", {}, False),
    (1, "READ DEFECT DATA(12)", {}, False), (3, "READ DEFECT DATA(12)", {}, True), (3, "READ(10)", {}, True),
    (3, "READ CAPACITY(16)", {}, False), (3, "READ MEDIA SERIAL NUMBER", {}, False), (1, "UNMAP", {}, True),
    (1, "SYNCHRONIZE CACHE(10)", {}, True), (1, "PRE-FETCH(10)", {}, False), (3, "PRE-FETCH(10)", {}, True),
    (1, "VERIFY(10)", {}, False), (3, "VERIFY(10)", {}, True), (1, "REASSIGN BLOCKS", {}, True),
    (3, "TEST UNIT READY", {}, False), (3, "LOG SENSE", {}, False), (1, "LOG SELECT", {}, True),
])
def test_commands_under_persistent_reservation(kind: int, name: str, fields: dict[str, int], conflict: bool) -> None:
    """What Write Exclusive (1) and Exclusive Access (3) of another nexus let through (SPC-5 5.14, SBC-4)."""
    bench = Bench(removable=True)
    other = bench.another()
    assert other.command("PERSISTENT RESERVE OUT (REGISTER)", data_out=bytes(15) + b"\x01" + bytes(8)).good
    held = bytes(7) + b"\x01" + bytes(16)
    assert other.command("PERSISTENT RESERVE OUT (RESERVE)", type=kind, data_out=held).good

    assert (bench.do(name, **fields).status == 0x18) == conflict


def test_prevent_ends_with_preempt_and_abort() -> None:
    """PREEMPT AND ABORT ends the prevention of the nexuses that it hit, and of no others (SPC-4 5.13.11.2.6 h)."""

    def out(initiator: Initiator, action: str, key: int, new: int, type: int = 0) -> bool:
        data = key.to_bytes(8, "big") + new.to_bytes(8, "big") + bytes(8)
        return initiator.command(f"PERSISTENT RESERVE OUT ({action})", data_out=data, type=type).good

    bench = Bench(removable=True)
    one, other = bench.initiator, bench.another()
    assert out(one, "REGISTER", 0, 1)
    assert out(other, "REGISTER", 0, 2)
    assert other.command("PREVENT ALLOW MEDIUM REMOVAL", prevent=1).good
    assert one.command("START STOP UNIT", loej=1).code == asc.MEDIUM_REMOVAL_PREVENTED

    assert out(one, "PREEMPT AND ABORT", 1, 2, type=1)
    assert one.command("START STOP UNIT", loej=1).good
