"""Asymmetric logical unit access: target port groups and their states (SPC-5 5.17, 6.39, 6.49).

The groups are those of the target's ports. Each unit has its own states, set by SET TARGET PORT GROUPS or by
an operator. While a state is not active, what it allows is data; other commands end NOT READY. There are no
logical block dependent and offline states, and a transition takes no time unless an operator puts a group in
that state.
"""

from __future__ import annotations

import struct
from typing import Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.device_server import FastOperation
from scsiemu.identity import Identity
from scsiemu.operations import DataDirection, Operation, ReservationClass, operation
from scsiemu.sense import CheckCondition, FieldPointer, SenseCode
from scsiemu.spc_inquiry import InquiryOperations

__all__ = [
    "REPORT_TARGET_PORT_GROUPS", "SET_TARGET_PORT_GROUPS", "AccessState", "AccessStateOperations", "PortGroup",
]

REPORT_TARGET_PORT_GROUPS: Final = CdbLayout(
    "opcode:8 parameter_data_format:3 service_action:5 _:32 allocation_length:32 _:8 control:8"
)
SET_TARGET_PORT_GROUPS: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 _:32 parameter_list_length:32 _:8 control:8"
)


class AccessState:
    """ASYMMETRIC ACCESS STATE (SPC-5 table 316)."""

    ACTIVE_OPTIMIZED: Final = 0x0
    ACTIVE_NON_OPTIMIZED: Final = 0x1
    STANDBY: Final = 0x2
    UNAVAILABLE: Final = 0x3
    TRANSITIONING: Final = 0xF


_ACTIVE: Final = (AccessState.ACTIVE_OPTIMIZED, AccessState.ACTIVE_NON_OPTIMIZED)
_SETTABLE: Final = (*_ACTIVE, AccessState.STANDBY, AccessState.UNAVAILABLE)
_SUPPORTED: Final = 0x8F                        # T_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP

_REFUSALS: Final[dict[int, SenseCode]] = {
    AccessState.STANDBY: asc.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_STANDBY_STATE,
    AccessState.UNAVAILABLE: asc.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_UNAVAILABLE_STATE,
    AccessState.TRANSITIONING: asc.LOGICAL_UNIT_NOT_ACCESSIBLE_ASYMMETRIC_ACCESS_STATE_TRANSITION,
}

# What is answered in the unavailable state and in a transition (SPC-5 5.17.2.4.5, 5.17.2.5): opcode, service
# action.
_UNAVAILABLE_ALLOWED: Final = frozenset({
    (0x03, None), (0x12, None), (0x3B, None), (0x3C, None), (0x9B, None), (0xA0, None), (0xA3, 0x0A), (0xA4, 0x0A),
})
_TRANSITIONING_ALLOWED: Final = _UNAVAILABLE_ALLOWED - {(0xA4, 0x0A)}

_EXPLICIT: Final = 1
_IMPLICIT: Final = 2


class PortGroup:
    """The state of a target port group, for one unit.

    Attributes:
        state: one of `AccessState`.
        preferred: PREF bit.
        status: STATUS CODE: 0 none, 1 altered by SET TARGET PORT GROUPS, 2 altered implicitly.
    """

    __slots__ = ("preferred", "state", "status")

    def __init__(self) -> None:
        self.state: int = AccessState.ACTIVE_OPTIMIZED
        self.preferred = False
        self.status = 0


class AccessStateOperations(InquiryOperations):
    """Target port groups.

    Attributes:
        port_groups: by TARGET PORT GROUP number; one that is not there is active/optimized.
    """

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.port_groups: dict[int, PortGroup] = {}
        self._restricted = False
        self._open_fast_operations: list[FastOperation | None] = []

    @property
    def target_port_group_support(self) -> int:
        """TPGS 11b: implicit and explicit."""
        return 3

    def set_access_state(self, group: int, state: int, *, preferred: bool | None = None) -> None:
        """An operator changes a group's state, implicitly: every nexus gets ASYMMETRIC ACCESS STATE
        CHANGED."""
        entry = self.port_groups.setdefault(group, PortGroup())
        if preferred is not None:
            entry.preferred = preferred
        if entry.state != state:
            entry.status = _IMPLICIT
            self._change({group: state})
            self.unit.attention(asc.ASYMMETRIC_ACCESS_STATE_CHANGED)

    def _change(self, states: dict[int, int]) -> None:
        """New states of groups. The fast path, which asks nobody, is closed while one is not active."""
        for group, state in states.items():
            self.port_groups.setdefault(group, PortGroup()).state = state
        restricted = any(group.state not in _ACTIVE for group in self.port_groups.values())
        if restricted and not self._restricted:
            self._open_fast_operations = self.fast_operations
            self.fast_operations = [None] * 256
        elif self._restricted and not restricted:
            self.fast_operations = self._open_fast_operations
        self._restricted = restricted

    def check_access_state(self, command: Command, operation: Operation) -> None:
        """SPC-5 5.17.2.4: what the state of the command's target port allows."""
        if not self._restricted:
            return
        group = self.port_groups.get(command.nexus.target_port.group)
        if group is None or group.state in _ACTIVE:
            return
        key = (operation.opcode, operation.service_action)
        if group.state == AccessState.STANDBY:
            allowed = operation.standby_allowed
        elif group.state == AccessState.TRANSITIONING:
            allowed = key in _TRANSITIONING_ALLOWED
        else:
            allowed = key in _UNAVAILABLE_ALLOWED
        if not allowed:
            raise CheckCondition(_REFUSALS[group.state])

    def _members(self) -> dict[int, list[int]]:
        """Relative identifiers of the target's ports by group."""
        members: dict[int, list[int]] = {}
        for port in self.unit.target.ports:
            members.setdefault(port.group, []).append(port.relative_identifier)
        return dict(sorted(members.items()))

    @operation(
        0xA3, "REPORT TARGET PORT GROUPS", REPORT_TARGET_PORT_GROUPS, service_action=0x0A,
        data=DataDirection.IN, conflict=ReservationClass.ALWAYS, allocation="allocation_length",
        standby_allowed=True, standard="SPC-5 6.39",
    )
    def report_target_port_groups(self, command: Command, cdb: CdbFields) -> Completion:
        """Groups, their states and ports; with the extended header IMPLICIT TRANSITION TIME is zero."""
        if cdb.parameter_data_format > 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_data_format")
        header = bytes((cdb.parameter_data_format << 4, 0, 0, 0)) if cdb.parameter_data_format else b""
        body = header
        for number, ports in self._members().items():
            group = self.port_groups.get(number) or PortGroup()
            first = group.preferred << 7 | group.state
            body += struct.pack(">BBHxBxB", first, _SUPPORTED, number, group.status, len(ports))
            body += b"".join(struct.pack(">xxH", identifier) for identifier in ports)
        return Completion(len(body).to_bytes(4, "big") + body)

    @operation(
        0xA4, "SET TARGET PORT GROUPS", SET_TARGET_PORT_GROUPS, service_action=0x0A, data=DataDirection.OUT,
        conflict=ReservationClass.WRITE, parameter_list="parameter_list_length", standby_allowed=True,
        standard="SPC-5 6.49",
    )
    def set_target_port_groups(self, command: Command, cdb: CdbFields) -> Completion:
        """Set states of groups, all or none."""
        data = command.parameter_list
        if not cdb.parameter_list_length:
            return Completion()
        if len(data) < 4 or len(data) % 4:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        members = self._members()
        wanted: dict[int, int] = {}
        for at in range(4, len(data), 4):
            state, number = data[at] & 0xF, int.from_bytes(data[at + 2 : at + 4], "big")
            if state not in _SETTABLE or data[at] & 0xF0:
                raise _invalid(at, 3 if state not in _SETTABLE else 7)
            if number not in members:
                raise _invalid(at + 2)
            wanted[number] = state
        now = {number: group.state for number, group in self.port_groups.items()}
        changed = {n: state for n, state in wanted.items() if now.get(n, AccessState.ACTIVE_OPTIMIZED) != state}
        self._change(changed)
        for number in changed:
            self.port_groups[number].status = _EXPLICIT
        if changed:
            self.unit.attention(asc.ASYMMETRIC_ACCESS_STATE_CHANGED, but=command.nexus)
        return Completion()


def _invalid(byte: int, bit: int | None = None) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST."""
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))
