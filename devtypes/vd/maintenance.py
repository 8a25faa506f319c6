"""FORMAT UNIT and SANITIZE: long work over the whole medium, with progress (SBC-4 4.11, 4.32, 5.5, 5.30).

Both go on when their command is aborted or the unit is reset, and then as background work of the unit. Meanwhile
other commands get NOT READY with the progress. Block erase and cryptographic erase deallocate everything: there
is no encryption here whose key could be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.base import Ongoing
from devtypes.vd.config import PI_SIZE, DiskConfig
from devtypes.vd.medium import Medium
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps, TaskState
from scsiemu.errors import IoFailed
from scsiemu.io_requests import DataOut, Discard, Fill, Flush, IoRequest, Sleep
from scsiemu.operations import DataDirection, Result, operation
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Sense

__all__ = ["Maintenance"]

_OVERWRITE: Final = 0x01
_EXIT_FAILURE_MODE: Final = 0x1F

_PIECE: Final = 8 << 20             # bytes written before other commands get a turn
_PIECES: Final = 16                 # least number of steps that progress shows
_LIST_LIMIT: Final = 65536          # bytes of a FORMAT UNIT parameter list
_PATIENCE: Final = 100              # how often commands that were begun earlier are waited for
_PAUSE: Final = 0.1                 # seconds

# FMTPINFO and PROTECTION FIELDS USAGE to the protection type (SBC-4 table 39).
_PROTECTION_TYPES: Final = {(0, 0): 0, (2, 0): 1, (3, 0): 2, (3, 1): 3}

# Bits of byte 1 of the FORMAT UNIT parameter list header.
_FOV: Final = 0x80
_INITIALIZATION_PATTERN: Final = 0x08
_FORMAT_IMMED: Final = 0x02
_NEED_FOV: Final = 0x7C             # DPRY, DCRT, STPF, IP, DSP (bit 2 is obsolete)

_Work = Generator[IoRequest[Any], Any, None]


class Maintenance(Medium):
    """Format and sanitize."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pi_capable = self.config.pi_type != 0
        self._exit_allowed = False

    # --- FORMAT UNIT -------------------------------------------------------------------------------------------

    @operation(
        0x04, "FORMAT UNIT", layouts.FORMAT_UNIT, data=DataDirection.OUT, standard="SBC-4 5.5",
    )
    def format_unit(self, command: Command, cdb: CdbFields) -> Steps:
        """Check the parameter list, then initialise the whole medium."""
        self._check_medium()
        if not cdb.fmtdata and (cdb.fmtpinfo or cdb.defect_list_format):    # LONGLIST and CMPLST are ignored then
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fmtdata")
        if cdb.fmtpinfo and not self.pi_capable:        # SBC-4 table 39: PROTECT is zero
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fmtpinfo")
        if cdb.defect_list_format not in (0, 3):        # short and long block address descriptors
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="defect_list_format")
        if cdb.ffmt > 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="ffmt")
        data = b""
        if cdb.fmtdata:
            length = min(command.data_out_length, _LIST_LIMIT)
            data = bytes((yield from DataOut(length)))
        usage, immed, pattern, defects = self._format_list(cdb, data)
        if (cdb.fmtpinfo, usage) not in _PROTECTION_TYPES:
            if cdb.fmtpinfo == 1:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fmtpinfo")
            raise _invalid_list(0, 2)
        try:
            wanted = self.config.reformatted(
                block_size=self.next_block_size, pi_type=_PROTECTION_TYPES[cdb.fmtpinfo, usage],
                capacity=self.next_capacity,
            )
        except ValueError:
            raise CheckCondition(asc.with_key(asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM, 0x03)) from None
        self.check_writable(command)
        block = _repeated(pattern, wanted.block_size)
        ongoing = self._begin(asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS, 0)
        if not (cdb.fmtdata and cdb.cmplst):            # SBC-4 5.5: the list adds to what there is
            defects = [*self.grown_defects, *defects]
        steps = self._format_steps(command, ongoing, wanted, block, defects, fast=cdb.ffmt == 1)
        return (yield from self._carry_out(steps, "format", immed=immed))

    def _format_list(self, cdb: CdbFields, data: bytes) -> tuple[int, bool, bytes, list[int]]:
        """PROTECTION FIELDS USAGE, IMMED, initialization pattern and defects of a parameter list."""
        if not cdb.fmtdata:
            return 0, False, b"", []
        header = 8 if cdb.longlist else 4
        if len(data) < header:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        flags = data[1]
        if not flags & _FOV and flags & _NEED_FOV:      # SBC-4 table 37
            raise _invalid_list(1, 7)
        if cdb.longlist and data[3]:                    # P_I_INFORMATION, PROTECTION INTERVAL EXPONENT
            raise _invalid_list(3)
        at = header
        pattern = b"\0"
        if flags & _INITIALIZATION_PATTERN:
            if len(data) < at + 4:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
            if kind > 1 or (kind == 0 and length) or length > self.next_block_size:
                raise _invalid_list(at + 1 if kind > 1 else at + 2)
            if len(data) < at + 4 + length or (kind == 1 and not length):
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            pattern = data[at + 4 : at + 4 + length] or b"\0"
            at += 4 + length
        length = int.from_bytes(data[header - 4 + (0 if cdb.longlist else 2) : header], "big")
        size = 8 if cdb.defect_list_format == 3 else 4
        if length % size or len(data) < at + length:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        defects = [int.from_bytes(data[at + n : at + n + size], "big") for n in range(0, length, size)]
        return data[0] & 7, bool(flags & _FORMAT_IMMED), pattern, defects

    def _format_steps(
        self, command: Command, ongoing: Ongoing, wanted: DiskConfig, block: bytes, defects: list[int], *, fast: bool
    ) -> _Work:
        old = self.config
        yield from self._others(command)
        if not fast:
            total = max(old.capacity * (old.block_size + PI_SIZE), wanted.store_size)
            yield from self._erase(ongoing, min(total, wanted.store_size), self.config.format_seconds)
            if any(block):
                ongoing.done, ongoing.total = 0, wanted.pi_offset
                yield from self._overwrite(ongoing, wanted, block, self.config.format_seconds)
        yield from Flush()
        yield from self.keep_geometry(wanted)
        self.unreadable.clear()
        self.grown_defects = set(defects)
        self.failure = None
        self.take_config(wanted, but=command.nexus)

    # --- SANITIZE ----------------------------------------------------------------------------------------------

    @operation(
        0x48, "SANITIZE (OVERWRITE)", layouts.SANITIZE, service_action=0x01, data=DataDirection.OUT,
        parameter_list="parameter_list_length", standard="SBC-4 5.30",
    )
    @operation(
        0x48, "SANITIZE (BLOCK ERASE)", layouts.SANITIZE, service_action=0x02, standard="SBC-4 5.30",
        data=DataDirection.OUT, parameter_list="parameter_list_length",
    )
    @operation(
        0x48, "SANITIZE (CRYPTOGRAPHIC ERASE)", layouts.SANITIZE, service_action=0x03, standard="SBC-4 5.30",
        data=DataDirection.OUT, parameter_list="parameter_list_length",
    )
    @operation(
        0x48, "SANITIZE (EXIT FAILURE MODE)", layouts.SANITIZE, service_action=0x1F, standard="SBC-4 5.30",
        data=DataDirection.OUT, parameter_list="parameter_list_length",
    )
    def sanitize(self, command: Command, cdb: CdbFields) -> Result:
        """Make everything that was ever written unreadable."""
        self._check_medium()
        passes: list[bytes] = []
        if cdb.service_action == _OVERWRITE:
            passes = self._overwrite_list(cdb, command.parameter_list)
        elif cdb.parameter_list_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
        if cdb.service_action == _EXIT_FAILURE_MODE:
            return self._exit_failure_mode()
        self.check_writable(command)
        total = len(passes) * self.config.pi_offset
        ongoing = self._begin(asc.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS, total)
        self._exit_allowed = bool(cdb.ause)
        steps = self._sanitize_steps(command, ongoing, passes)
        return self._carry_out(steps, "sanitize", immed=bool(cdb.immed))

    def _overwrite_list(self, cdb: CdbFields, data: bytes) -> list[bytes]:
        """The block that each pass of an overwrite writes."""
        if not 5 <= cdb.parameter_list_length <= self.block_size + 4:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
        if len(data) < cdb.parameter_list_length:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        invert, test, count = data[0] & 0x80, data[0] & 0x60, data[0] & 0x1F
        length = int.from_bytes(data[2:4], "big")
        if test:
            raise _invalid_list(0, 6)
        if not count:
            raise _invalid_list(0, 4)
        if not 0 < length <= self.block_size:
            raise _invalid_list(2)
        if length + 4 != len(data):
            raise _invalid_list(2)
        block = _repeated(data[4:], self.block_size)
        inverted = bytes(each ^ 0xFF for each in block)
        # SBC-4 5.30.3: with INVERT the last pass leaves the pattern, whatever the number of passes.
        return [inverted if invert and left % 2 else block for left in reversed(range(count))]

    def _exit_failure_mode(self) -> Completion:
        """SBC-4 5.30.5: only after a sanitize with AUSE one."""
        if self.failure == asc.SANITIZE_COMMAND_FAILED:
            if not self._exit_allowed:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="service_action")
            self.failure = None
            self.refresh()
        return Completion()

    def _sanitize_steps(self, command: Command, ongoing: Ongoing, passes: list[bytes]) -> _Work:
        yield from self._others(command)
        try:
            if not passes:
                yield from self._erase(ongoing, self.config.store_size, 0.0)
            for block in passes:
                seconds = self.config.sanitize_seconds / len(passes)
                yield from self._overwrite(ongoing, self.config, block, seconds)
            if self.pi_type and passes:
                yield from Discard(self.config.pi_offset, self.config.max_capacity * PI_SIZE)
            yield from Flush()
        except IoFailed:
            self.failure = asc.SANITIZE_COMMAND_FAILED
            raise
        self.failure = None
        self.unreadable.clear()

    # --- the work ----------------------------------------------------------------------------------------------

    def _check_medium(self) -> None:
        """What is wrong with the data on the medium is no obstacle, but there has to be one, and it has to turn."""
        if not self.present:
            raise CheckCondition(asc.MEDIUM_NOT_PRESENT)
        if self.stopped:
            raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED)

    def _begin(self, code: Any, total: int) -> Ongoing:
        self.ongoing = Ongoing(code, total)
        self.refresh()
        return self.ongoing

    def _others(self, command: Command) -> _Work:
        """Let commands that passed their checks before this one come to their end."""
        for _ in range(_PATIENCE):
            others = (other for other in self.unit.task_set.commands.values() if other is not command)
            if not any(other.state in (TaskState.IO, TaskState.DATA_OUT) for other in others):
                return
            yield from Sleep(_PAUSE)

    def _erase(self, ongoing: Ongoing, total: int, seconds: float) -> _Work:
        """Deallocate everything."""
        ongoing.done, ongoing.total = 0, total
        step = -(-total // _PIECES)
        while ongoing.done < total:
            length = min(step, total - ongoing.done)
            yield from Discard(ongoing.done, length)
            yield from Sleep(seconds / _PIECES)
            ongoing.done += length

    def _overwrite(self, ongoing: Ongoing, config: DiskConfig, block: bytes, seconds: float) -> _Work:
        """Write a block to all blocks."""
        total = config.pi_offset
        step = min(_PIECE, -(-total // _PIECES)) // config.block_size * config.block_size or config.block_size
        offset = 0
        while offset < total:
            length = min(step, total - offset)
            yield from Fill(offset, length, block)
            yield from Sleep(seconds * length / total)
            offset += length
            ongoing.done += length

    def _carry_out(self, steps: _Work, name: str, *, immed: bool) -> Steps:
        """Do the work within the command, or beside it with IMMED; beside it too when the command is aborted."""
        whole = self._whole(steps, name)
        if immed:
            self.unit.start_background(whole, name)
            return Completion()
        answer: Any = None
        send: Callable[[Any], Any] = whole.send
        while True:
            try:
                request = send(answer)
            except StopIteration as done:
                completion: Completion = done.value
                return completion
            try:
                answer = yield request
                send = whole.send
            except IoFailed as failure:
                answer, send = failure, whole.throw
            except GeneratorExit:
                # The store has answered by now: an abort waits for it.
                if not self.unit.removed:
                    self.unit.start_background(whole, name)
                raise

    def _whole(self, steps: _Work, name: str) -> Steps:
        """The work and what its end means for the unit."""
        ongoing = self.ongoing
        assert ongoing is not None
        completion = Completion()
        try:
            yield from steps
        except IoFailed:
            failed = asc.SANITIZE_COMMAND_FAILED if name == "sanitize" else asc.FORMAT_COMMAND_FAILED
            self.failure = failed
            completion = Completion(status=Status.CHECK_CONDITION, sense=Sense(failed))
        ongoing.stopped = True
        self.ongoing = None
        self.refresh()
        self.allocation_changed()
        return completion


def _repeated(pattern: bytes, size: int) -> bytes:
    """A pattern repeated to fill a block (SBC-4 5.5.4.3, 5.30.2)."""
    pattern = pattern or b"\0"
    return (pattern * -(-size // len(pattern)))[:size]


def _invalid_list(byte: int, bit: int | None = None) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST at a field."""
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))
