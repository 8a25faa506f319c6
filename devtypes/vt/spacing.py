"""Where the tape stands, and moving it: SPACE, LOCATE, REWIND, READ POSITION (SSC-5 6.x, 7.x)."""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vt import layouts
from devtypes.vt.layouts import tape_operation
from devtypes.vt.medium_layout import Asking
from devtypes.vt.medium_values import Position
from devtypes.vt.verify import Verifying
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import Sleep
from scsiemu.operations import DataDirection, Result
from scsiemu.sense import CheckCondition

__all__ = ["Spacing"]

_SHORT: Final = struct.Struct(">BBxxIIB3sI")
_LONG: Final = struct.Struct(">B3xIQQQ")
_EXTENDED: Final = struct.Struct(">BBHB3sQQQ")
_MOST_SHORT: Final = 0xFFFFFFFF
_IN_A_ROW: Final = 256                      # searches, before other units have their turn

_BOP: Final = 0x80
_EOP: Final = 0x40
_PERR: Final = 0x02
_BPEW: Final = 0x01


class _Space:
    """CODE of SPACE (SSC-5 table 54). Setmarks are obsolete."""

    BLOCKS: Final = 0
    FILEMARKS: Final = 1
    SEQUENTIAL_FILEMARKS: Final = 2
    END_OF_DATA: Final = 3


class _Destination:
    """DEST_TYPE of LOCATE(16) (SSC-5 table 34)."""

    OBJECT: Final = 0
    FILE: Final = 1
    END_OF_DATA: Final = 3


class _PositionForm:
    """SERVICE ACTION of READ POSITION (SSC-5 table 44)."""

    SHORT: Final = 0x00
    SHORT_VENDOR: Final = 0x01         # the same here; what Linux asks for unless told otherwise
    LONG: Final = 0x06
    EXTENDED: Final = 0x08


class Spacing(Verifying):
    """The commands that move the tape."""

    # --- SPACE -------------------------------------------------------------------------------------------------

    @tape_operation(
        0x11, "SPACE(6)", layouts.SPACE_6, needs_ready=True, exclusive=True, recommended=1800, standard="SSC-5 6.9",
    )
    @tape_operation(
        0x91, "SPACE(16)", layouts.SPACE_16, needs_ready=True, exclusive=True, recommended=1800, standard="SSC-5 7.10",
    )
    def space(self, command: Command, cdb: CdbFields) -> Steps:
        """Over blocks or filemarks, forward or, with a negative count, in reverse; or to the end of data."""
        if getattr(cdb, "parameter_length", 0):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_length")
        if cdb.code > _Space.END_OF_DATA:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="code")
        assert command.operation is not None
        width = command.operation.layout.field("count").width
        count = cdb.count - (1 << width if cdb.count >> width - 1 else 0)
        yield from self.settle()
        if cdb.code == _Space.END_OF_DATA:
            yield from self.go_to(self.tape.end(self.position.partition))
        elif cdb.code == _Space.BLOCKS:
            yield from self._space_blocks(count)
        elif cdb.code == _Space.FILEMARKS:
            yield from self._space_marks(count)
        elif count > 0:
            yield from self._space_sequential_forward(count)
        elif count < 0:
            yield from self._space_sequential_reverse(-count)
        return Completion()

    def _space_blocks(self, count: int) -> Asking[None]:
        """Blocks; a filemark stops it on its other side (SSC-5 6.9)."""
        tape, start = self.tape, self.position
        target = start.object + count
        if count > 0:
            mark = yield from tape.locate_mark(start.partition, start.marks + 1)
            if mark is not None and mark.before.object < target:
                yield from self.go_to(mark.behind)
                raise self._at_mark(target - mark.before.object)
            yield from self.go_to((yield from tape.locate(start.partition, target)))
            if self.position.object < target:
                raise self.end_of_data(residual=target - self.position.object)
        elif count < 0:
            mark = yield from tape.locate_mark(start.partition, start.marks)
            if mark is not None and mark.before.object >= target:
                yield from self.go_to(mark.before)
                raise self._at_mark(mark.behind.object - target)
            yield from self.go_to((yield from tape.locate(start.partition, target)))
            if target < 0:
                raise self._at_beginning(-target)

    def _space_marks(self, count: int) -> Asking[None]:
        """Filemarks: behind the last of them, in reverse before it."""
        tape, start = self.tape, self.position
        if count > 0:
            total = tape.end(start.partition).marks
            mark = yield from tape.locate_mark(start.partition, start.marks + count)
            if mark is None:
                yield from self.go_to(tape.end(start.partition))
                raise self.end_of_data(residual=start.marks + count - total)
            yield from self.go_to(mark.behind)
        elif count < 0:
            mark = yield from tape.locate_mark(start.partition, start.marks + count + 1)
            if mark is None:
                yield from self.go_to(tape.beginning(start.partition))
                raise self._at_beginning(-count - start.marks)
            yield from self.go_to(mark.before)

    def _space_sequential_forward(self, count: int) -> Asking[None]:
        """To behind the next `count` filemarks that follow on each other without a block in between."""
        tape, start = self.tape, self.position
        total = tape.end(start.partition).marks
        first = start.marks + 1
        while first + count - 1 <= total:
            begin = yield from tape.locate_mark(start.partition, first)
            last = yield from tape.locate_mark(start.partition, first + count - 1)
            assert begin is not None
            assert last is not None
            if last.before.object - begin.before.object == count - 1:
                yield from self.go_to(last.behind)
                return
            first += 1
            if first % _IN_A_ROW == 0:
                yield Sleep(0)
        yield from self.go_to(tape.end(start.partition))
        raise self.end_of_data(residual=count)

    def _space_sequential_reverse(self, count: int) -> Asking[None]:
        """To before the last `count` filemarks before the position that follow on each other."""
        tape, start = self.tape, self.position
        last = start.marks
        while last - count + 1 >= 1:
            end = yield from tape.locate_mark(start.partition, last)
            begin = yield from tape.locate_mark(start.partition, last - count + 1)
            assert begin is not None
            assert end is not None
            if end.before.object - begin.before.object == count - 1:
                yield from self.go_to(begin.before)
                return
            last -= 1
            if last % _IN_A_ROW == 0:
                yield Sleep(0)
        yield from self.go_to(tape.beginning(start.partition))
        raise self._at_beginning(count)

    def _at_mark(self, residual: int) -> CheckCondition:
        return CheckCondition(asc.FILEMARK_DETECTED, filemark=True, information=residual)

    def _at_beginning(self, residual: int) -> CheckCondition:
        return CheckCondition(asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, eom=True, information=residual)

    # --- LOCATE ------------------------------------------------------------------------------------------------

    @tape_operation(
        0x2B, "LOCATE(10)", layouts.LOCATE_10, needs_ready=True, exclusive=True, recommended=1800, standard="SSC-5 7.3",
    )
    @tape_operation(
        0x92, "LOCATE(16)", layouts.LOCATE_16, needs_ready=True, exclusive=True, recommended=1800, standard="SSC-5 7.4",
    )
    def locate(self, command: Command, cdb: CdbFields) -> Result:
        """To a logical object, the beginning of a logical file, or the end of data; with CP in another partition. BT
        asks for identifiers of the device's own, which are the same here."""
        kind = getattr(cdb, "dest_type", _Destination.OBJECT)
        if kind not in (_Destination.OBJECT, _Destination.FILE, _Destination.END_OF_DATA):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="dest_type")
        partition = cdb.partition if cdb.cp else self.position.partition
        if partition >= self.tape.partitions:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition")
        steps = self._locate_steps(kind, partition, cdb.logical_object_identifier)
        return self.perform(steps, immediate=bool(cdb.immed), doing=asc.LOCATE_OPERATION_IN_PROGRESS)

    def _locate_steps(self, kind: int, partition: int, number: int) -> Steps:
        tape = self.tape
        yield from self.settle()
        if kind == _Destination.OBJECT:
            position = yield from tape.locate(partition, number)
            missing = position.object < number
        elif kind == _Destination.FILE and number:
            mark = yield from tape.locate_mark(partition, number)
            position = mark.behind if mark is not None else tape.end(partition)
            missing = mark is None
        else:
            position = tape.beginning(partition) if kind == _Destination.FILE else tape.end(partition)
            missing = False
        yield from self.go_to(position)
        if missing:
            raise self.end_of_data()
        return Completion()

    # --- REWIND ------------------------------------------------------------------------------------------------

    @tape_operation(
        0x01, "REWIND", layouts.REWIND, needs_ready=True, exclusive=True, recommended=900, standard="SSC-5 7.9",
    )
    def rewind(self, command: Command, cdb: CdbFields) -> Result:
        """To the beginning of the partition."""
        steps = self._rewind_steps()
        return self.perform(steps, immediate=bool(cdb.immed), doing=asc.REWIND_OPERATION_IN_PROGRESS)

    def _rewind_steps(self) -> Steps:
        yield from self.settle()
        yield from self.go_to(self.tape.beginning(self.position.partition))
        return Completion()

    # --- READ POSITION -----------------------------------------------------------------------------------------

    @tape_operation(
        0x34, "READ POSITION", layouts.READ_POSITION, data=DataDirection.IN, needs_ready=True, exclusive=True,
        standard="SSC-5 7.6",
    )
    def read_position(self, command: Command, cdb: CdbFields) -> Completion:
        """Where the tape stands. Nothing is ever left in the object buffer between commands: first and last location
        are the same. Only the extended form heeds ALLOCATION LENGTH; the others have fixed lengths."""
        form, here = cdb.service_action, self.position
        if form in (_PositionForm.SHORT, _PositionForm.SHORT_VENDOR):
            return Completion(self._short_form(here))
        if form == _PositionForm.LONG:
            return Completion(_LONG.pack(self._position_flags(here), here.partition, here.object, here.marks, 0))
        if form == _PositionForm.EXTENDED:
            command.allocation = cdb.allocation_length
            head = (self._position_flags(here), here.partition, _EXTENDED.size - 4, 0, bytes(3))
            return Completion(_EXTENDED.pack(*head, here.object, here.object, 0))
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="service_action")

    def _short_form(self, here: Position) -> bytes:
        """The short form holds 32 bits: PERR says that the location does not fit (SSC-5 7.6.2)."""
        flags, location = self._position_flags(here), here.object
        if location > _MOST_SHORT:
            flags, location = flags | _PERR, 0
        return _SHORT.pack(flags, here.partition, location, location, 0, bytes(3), 0)

    def _position_flags(self, here: Position) -> int:
        """BOP, EOP, BPEW."""
        return (
            (_BOP if here.object == 0 else 0)
            | (_EOP if self.beyond_early_warning(here) else 0)
            | (_BPEW if self.beyond_programmable_warning(here) else 0)
        )
