"""What a target answers at a LUN that has no unit (SAM-5 4.7.4, SPC-5 4.5.2, 6.6.1, 6.33): the incorrect logical unit.

INQUIRY says peripheral qualifier 011b, REPORT LUNS and REQUEST SENSE answer, everything else is LOGICAL UNIT NOT
SUPPORTED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scsiemu import asc
from scsiemu.command import Command, Completion
from scsiemu.sam import Status
from scsiemu.sense import FieldPointer, Sense

if TYPE_CHECKING:
    from scsiemu.target import Target

__all__ = ["answer_incorrect_lun"]

_REQUEST_SENSE: Final = 0x03
_INQUIRY: Final = 0x12
_REPORT_LUNS: Final = 0xA0

# PERIPHERAL QUALIFIER 011b with device type 1Fh, SPC-5, response data format 2.
_INQUIRY_DATA: Final = bytes((0x7F, 0, 7, 2, 91, 0, 0, 2)) + b" " * 28 + bytes(60)


def answer_incorrect_lun(target: Target, command: Command) -> Completion:
    """The completion of a command to a LUN without a unit."""
    cdb = bytes(command.cdb)
    opcode = cdb[0] if cdb else -1
    if opcode == _INQUIRY and len(cdb) >= 6:
        if cdb[1] or cdb[2]:
            return _refused(Sense(asc.INVALID_FIELD_IN_CDB, specific=FieldPointer(1 if cdb[1] else 2)))
        return Completion(_INQUIRY_DATA[: int.from_bytes(cdb[3:5], "big")])
    if opcode == _REQUEST_SENSE and len(cdb) >= 6:
        sense = Sense(asc.LOGICAL_UNIT_NOT_SUPPORTED).encode(descriptor=bool(cdb[1] & 1))
        return Completion(sense[: cdb[4]])
    if opcode == _REPORT_LUNS and len(cdb) >= 12:
        # Any unit of the target answers for the whole of it (SPC-5 6.33): so does this one.
        data = target.report_luns(command.nexus, cdb[2])
        if data is None:
            return _refused(Sense(asc.INVALID_FIELD_IN_CDB, specific=FieldPointer(2)))
        return Completion(data[: int.from_bytes(cdb[6:10], "big")])
    return _refused(Sense(asc.LOGICAL_UNIT_NOT_SUPPORTED))


def _refused(sense: Sense) -> Completion:
    completion = Completion(status=Status.CHECK_CONDITION, sense=sense)
    completion.sense_data = sense.encode(descriptor=False)
    return completion
