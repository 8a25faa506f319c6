"""PREVENT ALLOW MEDIUM REMOVAL for device types whose media can be taken out (SPC-5 6.16).

Prevention is kept for each I_T nexus. It ends with the nexus, a reset, or PREEMPT AND ABORT. What removal is, and
refusing it, is the device type's part: it asks `preventing`.
"""

from __future__ import annotations

from typing import Any, Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import Operation, ReservationClass, operation
from scsiemu.sense import CheckCondition
from scsiemu.spc import SpcDeviceServer

__all__ = ["PREVENT_ALLOW_MEDIUM_REMOVAL", "RemovalPrevention"]

PREVENT_ALLOW_MEDIUM_REMOVAL: Final = CdbLayout("opcode:8 _:24 _:6 prevent:2 control:8")
_OPCODE: Final = 0x1E


class RemovalPrevention(SpcDeviceServer):
    """A device type whose medium can be removed, unless somebody prevents it.

    Attributes:
        preventing: nexuses that prevent medium removal, with the value of PREVENT.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.preventing: dict[Nexus, int] = {}

    def is_removable(self) -> bool:
        """Whether this unit's medium can be removed at all: for operations that only such units have."""
        return True

    def conflict_class(self, command: Command, operation: Operation, cdb: CdbFields) -> str:
        """SPC-5 table 70, SPC-2 5.5.1: allowing is let through by reservations, preventing is not."""
        if operation.opcode == _OPCODE:
            return ReservationClass.WRITE if cdb.prevent else ReservationClass.ALWAYS
        return super().conflict_class(command, operation, cdb)

    @operation(
        _OPCODE, "PREVENT ALLOW MEDIUM REMOVAL", PREVENT_ALLOW_MEDIUM_REMOVAL, conflict=ReservationClass.SPECIAL,
        available=lambda server: bool(server.is_removable()), standard="SPC-5 6.16",
    )
    def prevent_allow(self, command: Command, cdb: CdbFields) -> Completion:
        """The medium stays as long as one nexus prevents removal."""
        if cdb.prevent & 2:         # obsolete: persistent prevention of a changer attachment
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="prevent")
        if cdb.prevent:
            self.preventing[command.nexus] = cdb.prevent
        else:
            self.preventing.pop(command.nexus, None)
        return Completion()

    def check_not_prevented(self) -> None:
        """Raises CheckCondition while a nexus prevents removal."""
        if self.preventing:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED)

    def nexus_lost(self, state: NexusState) -> None:
        """Prevention ends with the nexus."""
        self.preventing.pop(state.nexus, None)
        super().nexus_lost(state)

    def nexuses_preempted(self, nexuses: tuple[Nexus, ...]) -> None:
        """SPC-4 5.13.11.2.6 h: PREEMPT AND ABORT ends the prevention of those that it hit."""
        for nexus in nexuses:
            self.preventing.pop(nexus, None)
        super().nexuses_preempted(nexuses)

    def reset(self, kind: str) -> None:
        """Prevention ends with a reset."""
        self.preventing.clear()
        super().reset(kind)
