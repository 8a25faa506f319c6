"""READ BUFFER(10), READ BUFFER(16) and WRITE BUFFER (SPC-5 6.19, 6.20, 6.55).

Modes: data (02h) and descriptor (03h) of one buffer, echo buffer (0Ah) and its descriptor (0Bh), error
history directory (1Ch). There is no firmware here, so the modes that download microcode are refused; no error
history either, so its directory has no more than itself. What was never written reads as zeros. Buffers do
not outlive a reset.
"""

from __future__ import annotations

from typing import Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.identity import Identity
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition
from scsiemu.spc_inquiry import InquiryOperations

__all__ = ["BUFFER_CAPACITY", "ECHO_CAPACITY", "READ_BUFFER_10", "READ_BUFFER_16", "WRITE_BUFFER", "BufferOperations"]

READ_BUFFER_10: Final = CdbLayout(
    "opcode:8 mode_specific:3 mode:5 buffer_id:8 buffer_offset:24 allocation_length:24 control:8"
)
READ_BUFFER_16: Final = CdbLayout(
    "opcode:8 mode_specific:3 mode:5 buffer_offset:64 allocation_length:32 buffer_id:8 control:8"
)
WRITE_BUFFER: Final = CdbLayout(
    "opcode:8 mode_specific:3 mode:5 buffer_id:8 buffer_offset:24 parameter_list_length:24 control:8"
)

BUFFER_CAPACITY: Final = 65536
ECHO_CAPACITY: Final = 4096

_DATA: Final = 0x02
_DESCRIPTOR: Final = 0x03
_ECHO: Final = 0x0A
_ECHO_DESCRIPTOR: Final = 0x0B
_ERROR_HISTORY: Final = 0x1C
_ERROR_HISTORY_DIRECTORIES: Final = (0x00, 0x01, 0x02, 0x03)
_CLEAR_ERROR_HISTORY: Final = (0xFE, 0xFF)


class BufferOperations(InquiryOperations):
    """Buffers for tests of the way to the unit. The echo buffer is one for each nexus, so it is never
    overwritten by another one (EBOS)."""

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self._buffer = b""
        self._echo: dict[Nexus, bytes] = {}

    def nexus_lost(self, state: NexusState) -> None:
        """The echo buffer goes with its nexus."""
        super().nexus_lost(state)
        self._echo.pop(state.nexus, None)

    def reset(self, kind: str) -> None:
        """All buffers are empty again."""
        super().reset(kind)
        self._buffer = b""
        self._echo.clear()

    @operation(
        0x3C, "READ BUFFER(10)", READ_BUFFER_10, data=DataDirection.IN, conflict=ReservationClass.READ,
        allocation="allocation_length", standby_allowed=True, standard="SPC-5 6.19",
    )
    @operation(
        0x9B, "READ BUFFER(16)", READ_BUFFER_16, data=DataDirection.IN, conflict=ReservationClass.READ,
        allocation="allocation_length", standby_allowed=True, standard="SPC-5 6.20",
    )
    def read_buffer(self, command: Command, cdb: CdbFields) -> Completion:
        """Contents or description of a buffer."""
        if cdb.mode_specific:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="mode_specific")
        if cdb.mode == _DATA:
            return Completion(self._read_data(cdb))
        if cdb.mode == _DESCRIPTOR:
            # An unknown buffer is described by zeros (SPC-5 6.19.4); OFFSET BOUNDARY 0: any byte.
            capacity = 0 if cdb.buffer_id else BUFFER_CAPACITY
            return Completion(b"\0" + capacity.to_bytes(3, "big"))
        if cdb.mode == _ECHO:
            data = self._echo.get(command.nexus)
            if data is None:
                raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
            return Completion(data)
        if cdb.mode == _ECHO_DESCRIPTOR:
            return Completion(b"\x01\0" + ECHO_CAPACITY.to_bytes(2, "big"))
        if cdb.mode == _ERROR_HISTORY:
            return Completion(self._error_history(cdb))
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="mode")

    def _read_data(self, cdb: CdbFields) -> bytes:
        if cdb.buffer_id:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="buffer_id")
        if cdb.buffer_offset > BUFFER_CAPACITY:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="buffer_offset")
        end = min(BUFFER_CAPACITY, cdb.buffer_offset + cdb.allocation_length)
        data = self._buffer[cdb.buffer_offset : end]
        return data + bytes(end - cdb.buffer_offset - len(data))

    def _error_history(self, cdb: CdbFields) -> bytes:
        """The error history directory (SPC-5 6.19.8.2): its only entry is itself. No other history is kept, so
        there is nothing to clear."""
        if cdb.buffer_id not in (*_ERROR_HISTORY_DIRECTORIES, *_CLEAR_ERROR_HISTORY):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="buffer_id")
        if cdb.buffer_offset:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="buffer_offset")
        if cdb.buffer_id in _CLEAR_ERROR_HISTORY:
            return b""
        entry = bytes((0x00, 0, 0, 0)) + (40).to_bytes(4, "big")
        return self.identity.vendor.ljust(8).encode() + bytes(22) + len(entry).to_bytes(2, "big") + entry

    @operation(
        0x3B, "WRITE BUFFER", WRITE_BUFFER, data=DataDirection.OUT, conflict=ReservationClass.WRITE,
        parameter_list="parameter_list_length", parameter_list_limit=BUFFER_CAPACITY, standby_allowed=True,
        standard="SPC-5 6.55",
    )
    def write_buffer(self, command: Command, cdb: CdbFields) -> Completion:
        """Write the buffer, or the nexus' echo buffer."""
        if cdb.mode not in (_DATA, _ECHO):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="mode")
        if cdb.mode_specific:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="mode_specific")
        data = command.parameter_list
        if cdb.mode == _ECHO:  # BUFFER ID and BUFFER OFFSET are ignored (SPC-5 6.55.9)
            if cdb.parameter_list_length > ECHO_CAPACITY:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
            self._echo[command.nexus] = data
            return Completion()
        if cdb.buffer_id:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="buffer_id")
        if cdb.buffer_offset > BUFFER_CAPACITY:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="buffer_offset")
        if cdb.buffer_offset + cdb.parameter_list_length > BUFFER_CAPACITY:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
        before = self._buffer[: cdb.buffer_offset].ljust(cdb.buffer_offset, b"\0")
        self._buffer = before + data + self._buffer[cdb.buffer_offset + len(data) :]
        return Completion()
