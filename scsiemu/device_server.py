"""The device server: what a command means to one logical unit (SAM-5 4.6.4, SPC-5 clause 4).

Here are the checks that every command passes, in the order of the standards, and the one place that turns what an
operation does (return, raise, yield, or fail) into requests and a completion. What the commands do is in the classes
derived from it.
It does not order commands (`task_set`), does not know who performs requests (`logical_unit`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from scsiemu import asc
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import DataOut, IoRequest, Read, SaveState
from scsiemu.operations import DataDirection, Operation, OperationTable, ReservationClass
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Refusal, Sense, SenseCode, SenseKey
from scsiemu.task_set import ControlParameters
from scsiemu.unit_attention import tells_reset

if TYPE_CHECKING:
    from scsiemu.cdb import CdbFields
    from scsiemu.logical_unit import LogicalUnit, NexusState

__all__ = ["DeviceServer", "FastOperation"]

# Fast forms of hot operations: the request of a command that needs no check but those the function makes itself, or
# None to take the ordinary way.
FastOperation: TypeAlias = Callable[[Command], "IoRequest[Any] | Completion | None"]

_NACA: Final = 0x04
_LINK_AND_RESERVED: Final = 0x3B        # reserved bits 5..3, obsolete FLAG and LINK (SAM-5 5.2)
_VARIABLE_LENGTH: Final = 0x7F

_FAULT_CODES: Final[dict[str, SenseCode]] = {
    IoFault.NO_SPACE: asc.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
    IoFault.READ_ONLY: asc.WRITE_PROTECTED,
    IoFault.GONE: asc.LOGICAL_UNIT_COMMUNICATION_FAILURE,
    IoFault.ABORTED: asc.with_key(asc.INTERNAL_TARGET_FAILURE, SenseKey.ABORTED_COMMAND),
    IoFault.OUT_OF_RANGE: asc.INTERNAL_TARGET_FAILURE,
    IoFault.UNSUPPORTED: asc.INTERNAL_TARGET_FAILURE,
}


class DeviceServer:
    """Base of every device type.

    Attributes:
        peripheral_device_type: PERIPHERAL DEVICE TYPE of INQUIRY data.
        lun_bits_ignored: CDBs may have the LUN where SCSI-2 had it, in bits that are reserved now.
        control: what the control mode page says now.
        reserved: whether any reservation is held: the fast path is closed then.
        fast_operations: by opcode; an operation without a fast form is None.
        fast_reads: opcodes of those that change nothing: they may run beside other commands that do not either.
        unit: the logical unit, once it was added to a target.
    """

    peripheral_device_type: ClassVar[int] = 0x1F
    lun_bits_ignored: ClassVar[bool] = False
    unit: LogicalUnit

    def __init__(self) -> None:
        self.control = ControlParameters()
        self.reserved = False
        self.powered_at = 0.0
        self.fast_operations: list[FastOperation | None] = [None] * 256
        self.fast_reads: frozenset[int] = frozenset()
        self._table: OperationTable | None = None

    # --- what derived classes answer ---------------------------------------------------------------------------

    def check_ready(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        """Raises CheckCondition with NOT READY when an operation that needs the medium cannot have it."""

    def check_access(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        """Raises CheckCondition or Refusal for other states that forbid an operation, whatever its CDB says."""

    def check_effects(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        """Raises CheckCondition for states that forbid what a well-formed CDB asks for (write protection).

        Asked once the operation has accepted its CDB, before its first request (for the parameter list too). One
        that answers or changes anything without a request asks by itself.
        """

    def check_access_state(self, command: Command, operation: Operation) -> None:
        """Raises CheckCondition when the target port's asymmetric access state forbids it (SPC-5 5.17.2.4)."""

    def conflict_class(self, command: Command, operation: Operation, cdb: CdbFields) -> str:
        """The `ReservationClass` of a SPECIAL operation."""
        return ReservationClass.WRITE

    def conflicts(self, command: Command, operation: Operation, cdb: CdbFields) -> bool:
        """Whether a reservation forbids the operation to the command's nexus. Asked while `reserved`."""
        return False

    def attached(self) -> None:
        """The unit is part of a target now: `unit` and `unit.target` are there. It is powered from now on."""
        self.powered_at = self.unit.now

    def restore(self) -> Steps | None:
        """What to ask of stores before the first command: saved state, size of the medium."""
        return None

    def units_changed(self) -> None:
        """Another unit was added to the target, or removed."""

    def nexus_established(self, state: NexusState) -> None:
        """A nexus that sees this unit was established."""

    def nexus_lost(self, state: NexusState) -> None:
        """A nexus was lost; its commands have been aborted."""

    def reset(self, kind: str) -> None:
        """A reset condition (SAM-5 6.3): "power on", "target reset" or "logical unit reset"."""

    def io_failed(self, command: Command, request: IoRequest[Any], failure: IoFailed) -> Sense:
        """Sense data for a request that a store could not do."""
        if failure.fault == IoFault.MEDIUM:
            code = asc.UNRECOVERED_READ_ERROR if isinstance(request, Read) else asc.WRITE_ERROR
            return Sense(code)
        if isinstance(request, SaveState):
            return Sense(asc.INTERNAL_TARGET_FAILURE)
        return Sense(_FAULT_CODES.get(failure.fault, asc.INTERNAL_TARGET_FAILURE))

    # --- the operation table -----------------------------------------------------------------------------------

    @property
    def table(self) -> OperationTable:
        """The operations of this unit."""
        if self._table is None:
            self._table = OperationTable(self)
        return self._table

    def rebuild_table(self) -> None:
        """To be called when what `available` functions answer has changed."""
        self._table = None

    @property
    def descriptor_sense(self) -> bool:
        """Whether sense data has the descriptor format (D_SENSE)."""
        return bool(self.control.d_sense)

    # --- the way of a command ----------------------------------------------------------------------------------

    def recognize(self, command: Command) -> None:
        """Find the operation and what the task set wants to know of it. Refuses nothing."""
        cdb = bytes(command.cdb)
        command.cdb = cdb
        operation = self.table.find(cdb)
        command.operation = operation
        if operation is None:
            # Where CONTROL is depends on the group code; unknown groups have none (SPC-5 4.2.2).
            length = (6, 10, 10, 0, 16, 12, 0, 0)[cdb[0] >> 5] if cdb else 0
            command.naca = len(cdb) >= length > 0 and bool(cdb[length - 1] & _NACA)
            return
        fields = operation.layout.parse(cdb)
        command.fields = fields
        command.naca = "control" in operation.layout and bool(fields.control & _NACA)
        if operation.range is not None:
            first, count = (getattr(fields, name) for name in operation.range)
            # A length of 0 means "to the end" or "256" in some commands: take the whole rest then.
            end = first + count if count else 1 << 64
            command.extent = (first, end, operation.exclusive or operation.conflict != ReservationClass.READ)
        elif operation.exclusive:
            command.extent = (0, 1 << 64, True)

    def begin(self, command: Command) -> Completion | IoRequest[Any]:
        """Check a recognised command and start its operation. Never raises."""
        try:
            operation = self._check(command)
            assert command.fields is not None
            if operation.parameter_list is not None:
                length: int = getattr(command.fields, operation.parameter_list)
                if length > operation.parameter_list_limit:
                    raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=operation.parameter_list)
                if length:
                    self.check_effects(command, operation, command.fields)
                    return DataOut(length)
            outcome = self._perform(command, operation)
            if outcome.__class__ is not Completion:
                self.check_effects(command, operation, command.fields)
            return outcome
        except Exception as error:  # the one place: refusals become statuses, our bugs become sense data
            self.close(command)
            return self._refuse(command, error)

    def resume(self, command: Command, answer: Any) -> Completion | IoRequest[Any]:
        """Go on with the answer to the command's outstanding request. Never raises."""
        request = command.io_request
        try:
            if command.emulation is not None:
                return self._advance_emulation(command, answer)
            if command.steps is not None:
                return self._advance(command, answer)
            if request.__class__ is DataOut:
                assert command.operation is not None
                if len(answer) < command.wanted:
                    # A part of a list would be another list (SPC-5 4.3.1): nothing of it is done.
                    raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
                command.parameter_list = bytes(answer)
                return self._perform(command, command.operation)
            if isinstance(answer, IoFailed):
                assert request is not None
                return self._failed(command, request, answer)
            return Completion(answer if request.__class__ is Read else b"")
        except Exception as error:  # see begin
            return self._refuse(command, error)

    def emulate(
        self, command: Command, emulation: Generator[IoRequest[Any], Any, Any]
    ) -> Completion | IoRequest[Any]:
        """Have the outstanding request done by those of `emulation`, whose value is the answer. Never raises."""
        command.emulation = emulation
        try:
            return self._advance_emulation(command, None)
        except Exception as error:  # see begin
            return self._refuse(command, error)

    # --- inside ------------------------------------------------------------------------------------------------

    def _check(self, command: Command) -> Operation:
        """The checks that come before every operation, in their order."""
        operation = command.operation
        pending = command.nexus_state.attentions
        # SAM-5 5.14.1: a pending unit attention comes before everything else, but for the exempt commands.
        if pending and not (operation is not None and operation.attention_exempt):
            code = pending[0]
            if not tells_reset(code):
                self._check_reservation(command)
            if not self.control.ua_intlck_ctrl & 2:     # SPC-5 7.5.10: 10b and 11b keep it until REQUEST SENSE
                del pending[0]
            raise CheckCondition(code)
        if operation is None or command.fields is None:
            raise self._unknown(command)
        self._check_reservation(command)        # SAM-5 5.3.3: before other reasons of CHECK CONDITION
        wrong = operation.layout.reserved_bit_set(command.cdb, lun_ignored=self.lun_bits_ignored)
        if wrong is not None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=wrong)
        if (
            "additional_cdb_length" in operation.layout
            and command.fields.additional_cdb_length != operation.layout.length - 8     # SPC-5 4.2.3
        ):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="additional_cdb_length")
        if "control" in operation.layout and command.fields.control & _LINK_AND_RESERVED:
            raise self._bad_control(operation, command.fields.control)
        self.check_access_state(command, operation)
        if operation.needs_ready:
            self.check_ready(command, operation, command.fields)
        self.check_access(command, operation, command.fields)
        return operation

    def _check_reservation(self, command: Command) -> None:
        operation, fields = command.operation, command.fields
        if not self.reserved or operation is None or fields is None:
            return
        if self.conflicts(command, operation, fields):
            raise Refusal(Status.RESERVATION_CONFLICT)

    def _unknown(self, command: Command) -> CheckCondition:
        """Why there is no operation for this CDB (SPC-5 4.2.5, 4.3.3)."""
        cdb = bytes(command.cdb)
        declared = self.table.by_opcode.get(cdb[0]) if cdb else None
        if not declared:
            return CheckCondition(asc.INVALID_COMMAND_OPERATION_CODE, pointer=FieldPointer(0))
        if cdb[0] == _VARIABLE_LENGTH and len(cdb) >= 10:
            action = int.from_bytes(cdb[8:10], "big")
            if any(each.service_action == action for each in declared):
                return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(7))
            return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(8))
        if all(len(cdb) < each.layout.length for each in declared):
            return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(len(cdb)))
        return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=declared[0].layout.field("service_action").pointer)

    def _bad_control(self, operation: Operation, control: int) -> CheckCondition:
        top = (control & _LINK_AND_RESERVED).bit_length() - 1
        at = operation.layout.field("control").start // 8
        return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(at, top))

    def _perform(self, command: Command, operation: Operation) -> Completion | IoRequest[Any]:
        """Call the method of an operation that has passed the checks."""
        fields = command.fields
        assert fields is not None
        if operation.allocation is not None:
            command.allocation = getattr(fields, operation.allocation)
        result = getattr(self, operation.function)(command, fields)
        if isinstance(result, GeneratorType):
            command.steps = result
            return self._advance(command, None)
        checked: Completion | IoRequest[Any] = result
        return checked

    def _advance(self, command: Command, answer: Any) -> Completion | IoRequest[Any]:
        """Run a generator operation to its next request or its end."""
        steps = command.steps
        assert steps is not None
        try:
            return steps.throw(answer) if isinstance(answer, IoFailed) else steps.send(answer)
        except StopIteration as done:
            completion: Completion = done.value
            return completion

    def _advance_emulation(self, command: Command, answer: Any) -> Completion | IoRequest[Any]:
        emulation = command.emulation
        assert emulation is not None
        try:
            return emulation.throw(answer) if isinstance(answer, IoFailed) else emulation.send(answer)
        except StopIteration as done:
            result = done.value
        except IoFailed as failure:
            result = failure
        command.emulation = None
        return self.resume(command, result)

    def _refuse(self, command: Command, error: Exception) -> Completion:
        """The completion of an operation that raised."""
        if isinstance(error, CheckCondition):
            sense = error.sense
            if error.field is not None and command.operation is not None:
                pointer = command.operation.layout.field(error.field).pointer
                sense = dataclasses.replace(sense, specific=pointer)
            return Completion(error.data_in, Status.CHECK_CONDITION, sense)
        if isinstance(error, Refusal):
            return Completion(status=error.status)
        if isinstance(error, IoFailed):
            return self._failed(command, command.io_request or IoRequest(), error)
        self.unit.internal_failure(command, error)
        return Completion(status=Status.CHECK_CONDITION, sense=Sense(asc.INTERNAL_TARGET_FAILURE))

    def _failed(self, command: Command, request: IoRequest[Any], failure: IoFailed) -> Completion:
        self.unit.store_failed(command, request, failure)
        return Completion(status=Status.CHECK_CONDITION, sense=self.io_failed(command, request, failure))

    def close(self, command: Command) -> None:
        """The command was aborted: its generators end where they stand."""
        for steps in (command.emulation, command.steps):
            if steps is not None:
                try:
                    steps.close()
                except Exception as error:  # see begin
                    self.unit.internal_failure(command, error)

    def finish(self, command: Command, completion: Completion) -> None:
        """What every completion gets before it leaves: encoded sense, Data-In cut to the allocation length."""
        if completion.sense is not None:
            completion.sense_data = completion.sense.encode(descriptor=self.descriptor_sense)
        operation = command.operation
        if operation is not None:
            if 0 <= command.allocation < len(completion.data_in):
                completion.data_in = completion.data_in[: command.allocation]
            if operation.data in (DataDirection.OUT, DataDirection.BIDIRECTIONAL):
                completion.data_out_wanted = command.wanted
