"""What a unit reports about itself beyond INQUIRY: supported operation codes and task management functions,
and the two things that are set as well, timestamp and identifying information (SPC-5 6.36 to 6.42, 6.46 to
6.50).
"""

from __future__ import annotations

import struct
from typing import ClassVar, Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.identity import Identity
from scsiemu.io_requests import LoadState, SaveState
from scsiemu.operations import DataDirection, Operation, ReservationClass, operation
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.spc_inquiry import InquiryOperations

__all__ = [
    "REPORT_IDENTIFYING_INFORMATION", "REPORT_SUPPORTED_OPERATION_CODES",
    "REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS", "REPORT_TIMESTAMP", "SET_IDENTIFYING_INFORMATION",
    "SET_TIMESTAMP", "IdentifyingInformationOperations", "OperationCodeOperations", "TimestampOperations",
]

REPORT_SUPPORTED_OPERATION_CODES: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 rctd _:4 reporting_options:3 requested_operation_code:8 "
    "requested_service_action:16 allocation_length:32 _:8 control:8"
)
REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 repd _:31 allocation_length:32 _:8 control:8"
)
REPORT_TIMESTAMP: Final = CdbLayout("opcode:8 _:3 service_action:5 _:32 allocation_length:32 _:8 control:8")
SET_TIMESTAMP: Final = CdbLayout("opcode:8 _:3 service_action:5 _:32 parameter_list_length:32 _:8 control:8")
REPORT_IDENTIFYING_INFORMATION: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 _:16 restricted?:16 allocation_length:32 information_type:7 _ control:8"
)
SET_IDENTIFYING_INFORMATION: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 _:16 restricted?:16 parameter_list_length:32 information_type:7 _ control:8"
)

_TIMEOUTS: Final = struct.Struct(">HxBII")
_NOT_SUPPORTED: Final = b"\0\x01\0\0"           # SUPPORT 001b
# ABORT TASK, ABORT TASK SET, CLEAR ACA, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK; then QUERY
# ASYNCHRONOUS EVENT, QUERY TASK SET, I_T NEXUS RESET. TARGET RESET and WAKEUP are obsolete.
_TASK_MANAGEMENT: Final = b"\xfc\x07\0"


class OperationCodeOperations(InquiryOperations):
    """What the operation table has, and which task management functions there are.

    Attributes:
        default_timeouts: nominal and recommended, seconds, of operations that declare none; zero: not told.
    """

    default_timeouts: ClassVar[tuple[int, int]] = (0, 0)

    @operation(
        0xA3, "REPORT SUPPORTED OPERATION CODES", REPORT_SUPPORTED_OPERATION_CODES, service_action=0x0C,
        data=DataDirection.IN, conflict=ReservationClass.READ, allocation="allocation_length",
        standby_allowed=True, standard="SPC-5 6.40",
    )
    def report_supported_operation_codes(self, command: Command, cdb: CdbFields) -> Completion:
        """All operations, or the CDB usage data of one."""
        if cdb.reporting_options == 0:
            body = b"".join(_command_descriptor(each, self._timeouts(each, cdb)) for each in self.table)
            return Completion(len(body).to_bytes(4, "big") + body)
        if cdb.reporting_options > 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="reporting_options")
        found = self._requested(cdb)
        return Completion(_NOT_SUPPORTED if found is None else _one_command(found, self._timeouts(found, cdb)))

    def _timeouts(self, declared: Operation, cdb: CdbFields) -> bytes:
        """Command timeouts descriptor (SPC-5 table 309), empty without RCTD."""
        if not cdb.rctd:
            return b""
        nominal, recommended = self.default_timeouts
        return _TIMEOUTS.pack(
            10, 0, declared.nominal_timeout or nominal, declared.recommended_timeout or recommended
        )

    def _requested(self, cdb: CdbFields) -> Operation | None:
        """The operation that REPORTING OPTIONS 001b, 010b and 011b ask for (SPC-5 table 305)."""
        declared = self.table.by_opcode.get(cdb.requested_operation_code, ())
        if not declared:
            return None
        if declared[0].service_action is None:
            if cdb.reporting_options == 2:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="requested_operation_code")
            if cdb.reporting_options == 3 and cdb.requested_service_action:
                return None
            return declared[0]
        if cdb.reporting_options == 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="requested_operation_code")
        wanted = [each for each in declared if each.service_action == cdb.requested_service_action]
        return wanted[0] if wanted else None

    @operation(
        0xA3, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
        service_action=0x0D, data=DataDirection.IN, conflict=ReservationClass.READ,
        allocation="allocation_length", standby_allowed=True, standard="SPC-5 6.41",
    )
    def report_supported_task_management_functions(self, command: Command, cdb: CdbFields) -> Completion:
        """All of SAM-5; the timeouts of the extended format are not known (TMFTMOV zero)."""
        if cdb.repd:
            return Completion(_TASK_MANAGEMENT + b"\x0c" + bytes(12))
        return Completion(_TASK_MANAGEMENT + b"\0")


def _command_descriptor(declared: Operation, timeouts: bytes) -> bytes:
    """One entry of the all_commands format (SPC-5 table 306)."""
    has_action = declared.service_action is not None
    flags = bool(timeouts) << 1 | has_action
    head = struct.pack(
        ">BxHxBH", declared.opcode, declared.service_action or 0, flags, declared.layout.length
    )
    return head + timeouts


def _one_command(declared: Operation, timeouts: bytes) -> bytes:
    """The one_command format (SPC-5 table 307): SUPPORT 011b, as in a standard."""
    head = struct.pack(">xBH", bool(timeouts) << 7 | 3, declared.layout.length)
    return head + declared.usage + timeouts


# TIMESTAMP ORIGIN, and milliseconds that the clock is ahead of the time of day.
_CLOCK: Final = struct.Struct(">Bq")
_LATEST: Final = 0xF0           # in the first byte of a TIMESTAMP that is set (SPC-5 6.50)


class TimestampOperations(InquiryOperations):
    """The device clock (SPC-5 5.3). It starts at zero with the unit; once set it goes on across power cycles where
    there is a state store, and a driver that tells the target the epoch of its clock."""

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self._clock_base = 0        # milliseconds
        self._clock_set_at = 0.0    # of the target's clock
        self._clock_origin = 0b000

    def attached(self) -> None:
        """Power on: the timestamp is zero, until `restore` finds that it was set."""
        super().attached()
        self._clock_set_at = self.unit.now

    def restore(self) -> Steps:
        """The clock goes on from what it was set to."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        epoch = self.unit.target.epoch
        if self.unit.has_state_store and epoch is not None:
            record = yield from LoadState(self._clock_key)
            if record is not None and len(record) == _CLOCK.size:
                origin, ahead = _CLOCK.unpack(record)
                self._set_clock(int((self.unit.now - epoch) * 1000) + ahead, origin=origin)
        return Completion()

    @property
    def _clock_key(self) -> str:
        return f"{self.unit.state_prefix}timestamp"

    def _keep_clock(self, milliseconds: int, origin: int) -> Steps:
        """Save how far the clock is ahead of the time of day; zero origin forgets it."""
        epoch = self.unit.target.epoch
        if self.unit.has_state_store and epoch is not None:
            ahead = milliseconds - int((self.unit.now - epoch) * 1000)
            yield from SaveState(self._clock_key, _CLOCK.pack(origin, ahead) if origin else None)
        return Completion()

    def reset(self, kind: str) -> None:
        """A hard reset makes the timestamp zero again (SPC-5 5.3); a logical unit reset leaves it."""
        super().reset(kind)
        if kind != "logical unit reset":
            self._set_clock(0, origin=0b000)
            self.unit.start_background(self._keep_clock(0, 0b000), "timestamp")

    def set_timestamp(self, milliseconds: int) -> None:
        """Set the clock by other means than SET TIMESTAMP: milliseconds since 1970-01-01 00:00 UT."""
        self._set_clock(milliseconds, origin=0b011)
        self.unit.start_background(self._keep_clock(milliseconds, 0b011), "timestamp")
        self.unit.attention(asc.TIMESTAMP_CHANGED)

    def timestamp(self) -> int:
        """Milliseconds, 48 bits."""
        return (self._clock_base + int((self.unit.now - self._clock_set_at) * 1000)) & (1 << 48) - 1

    def _set_clock(self, milliseconds: int, *, origin: int) -> None:
        self._clock_base = milliseconds
        self._clock_set_at = self.unit.now
        self._clock_origin = origin

    @operation(
        0xA3, "REPORT TIMESTAMP", REPORT_TIMESTAMP, service_action=0x0F, data=DataDirection.IN,
        conflict=ReservationClass.PERSISTENT_ALLOWED, allocation="allocation_length", standby_allowed=True,
        standard="SPC-5 6.42",
    )
    def report_timestamp(self, command: Command, cdb: CdbFields) -> Completion:
        """The clock and how it was set."""
        return Completion(struct.pack(">HBx6sxx", 10, self._clock_origin, self.timestamp().to_bytes(6, "big")))

    @operation(
        0xA4, "SET TIMESTAMP", SET_TIMESTAMP, service_action=0x0F, data=DataDirection.OUT,
        conflict=ReservationClass.WRITE, parameter_list="parameter_list_length", standby_allowed=True,
        standard="SPC-5 6.50",
    )
    def set_timestamp_command(self, command: Command, cdb: CdbFields) -> Steps:
        """Set the clock, saved before GOOD; the others hear of it."""
        if not cdb.parameter_list_length:
            return Completion()
        data = command.parameter_list
        if len(data) < 12:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if data[4] > _LATEST:
            pointer = FieldPointer(4, in_cdb=False)
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
        milliseconds = int.from_bytes(data[4:10], "big")
        yield from self._keep_clock(milliseconds, 0b010)
        self._set_clock(milliseconds, origin=0b010)
        self.unit.attention(asc.TIMESTAMP_CHANGED, but=command.nexus)
        return Completion()


_PERIPHERAL: Final = 0b0000000
_TEXT: Final = 0b0000010
_SUPPORTED: Final = 0b1111111
_INFORMATION_LIMITS: Final = {_PERIPHERAL: 512, _TEXT: 256}


def _has_state_store(server: InquiryOperations) -> bool:
    return server.unit.has_state_store


class IdentifyingInformationOperations(InquiryOperations):
    """Identifying information that an application client left (SPC-5 5.6). Only where it can outlive the
    process."""

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self._information: dict[int, bytes] = {}

    def _information_key(self, kind: int) -> str:
        return f"{self.unit.state_prefix}identifying information {kind}"

    def restore(self) -> Steps:
        """Load what was left."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        if self.unit.has_state_store:
            for kind in _INFORMATION_LIMITS:
                self._information[kind] = (yield from LoadState(self._information_key(kind))) or b""
        return Completion()

    @operation(
        0xA3, "REPORT IDENTIFYING INFORMATION", REPORT_IDENTIFYING_INFORMATION, service_action=0x05,
        data=DataDirection.IN, conflict=ReservationClass.PERSISTENT_ALLOWED, allocation="allocation_length",
        standby_allowed=True, available=_has_state_store, standard="SPC-5 6.36",
    )
    def report_identifying_information(self, command: Command, cdb: CdbFields) -> Completion:
        """Information of a type, or which types there are."""
        if cdb.information_type == _SUPPORTED:
            body = b"".join(struct.pack(">BxH", kind << 1, most) for kind, most in _INFORMATION_LIMITS.items())
        elif cdb.information_type in _INFORMATION_LIMITS:
            body = self._information.get(cdb.information_type, b"")
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="information_type")
        return Completion(struct.pack(">xxH", len(body)) + body)

    @operation(
        0xA4, "SET IDENTIFYING INFORMATION", SET_IDENTIFYING_INFORMATION, service_action=0x06,
        data=DataDirection.OUT, conflict=ReservationClass.WRITE, parameter_list="parameter_list_length",
        exclusive=True, standby_allowed=True, available=_has_state_store, standard="SPC-5 6.46",
    )
    def set_identifying_information(self, command: Command, cdb: CdbFields) -> Steps:
        """Replace information of a type, on stable storage before GOOD."""
        kind = cdb.information_type
        if kind not in _INFORMATION_LIMITS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="information_type")
        if cdb.parameter_list_length > _INFORMATION_LIMITS[kind]:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
        data = command.parameter_list
        if kind == _TEXT and data and not data.endswith(b"\0"):  # SPC-5 4.3.2: null-terminated
            pointer = FieldPointer(len(data) - 1, in_cdb=False)
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
        if data != self._information.get(kind, b""):
            yield from SaveState(self._information_key(kind), data)
            self._information[kind] = data
            self.unit.attention(asc.DEVICE_IDENTIFIER_CHANGED, but=command.nexus)
        return Completion()
