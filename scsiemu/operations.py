"""One declaration for each operation, and the table that a device server dispatches by (SPC-5 4.3).

    @operation(0x28, "READ(10)", READ_10, data=DataDirection.IN, conflict=ReservationClass.READ)
    def read_10(self, command, cdb): ...

From the declaration come: dispatch, reserved-bit checks, field pointers, REPORT SUPPORTED OPERATION CODES,
what a reservation lets through, the handling of pending unit attentions, the trace decoder, test strategies,
the table in the README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

from scsiemu._value import value
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import IoRequest

__all__ = ["DataDirection", "Operation", "OperationTable", "ReservationClass", "Result", "operation"]


class DataDirection:
    """Which way data goes."""

    NONE: Final = "none"
    IN: Final = "in"
    OUT: Final = "out"
    BIDIRECTIONAL: Final = "bidirectional"


class ReservationClass:
    """What a reservation held by another I_T nexus does to an operation (SPC-2 table 5 and 10, SPC-5 table
    70).

    `reservations` has the conflict tables as data; SPECIAL operations are asked by
    `DeviceServer.conflict_class`.
    """

    ALWAYS: Final = "always"        # never conflicts: INQUIRY, REPORT LUNS, REQUEST SENSE, RELEASE, READ CAPACITY
    PERSISTENT_ALLOWED: Final = "persistent allowed"  # conflicts with RESERVE only: TEST UNIT READY
    READ: Final = "read"            # also conflicts with Exclusive Access for unregistered nexuses: READ, MODE SENSE
    WRITE: Final = "write"          # also conflicts with Write Exclusive: WRITE, MODE SELECT, FORMAT UNIT
    SPECIAL: Final = "special"      # the CDB decides


# What an operation gives back: done, one request whose answer is the answer, or a generator of requests.
Result: TypeAlias = Completion | IoRequest[Any] | Steps

_OperationFunction: TypeAlias = Callable[[Any, Command, CdbFields], Result]

F = TypeVar("F", bound=_OperationFunction)


@value
class Operation:
    """The declaration of an operation.

    Args:
        opcode: OPERATION CODE.
        name: as in the standard.
        layout: of its CDB.
        service_action: where the opcode has service actions, else None.
        data: a `DataDirection`.
        conflict: a `ReservationClass`.
        allocation: name of the CDB field that bounds Data-In in bytes; the device server cuts to it.
        parameter_list: name of the CDB field with the length of the parameter list in bytes: it is fetched
            before the operation is called, which finds it as `command.parameter_list`.
        parameter_list_limit: a longer one is refused with INVALID FIELD IN CDB before anything is fetched.
        attention_exempt: performed although a unit attention is pending (SAM-5 5.14): INQUIRY, REPORT LUNS,
            REQUEST SENSE.
        needs_ready: refused by `DeviceServer.check_ready` while the medium is absent, stopped, starting
        range: names of the CDB fields with the first logical block and the number of blocks, where it has
            such; used to keep operations that overlap in order.
        exclusive: never performed beside another command of the unit that touches the same blocks (all of
            them where it has no range).
        standby_allowed: answered in ALUA states standby and unavailable (SPC-5 5.17.2.4).
        nominal_timeout, recommended_timeout: seconds for the command timeouts descriptor, 0 for unknown.
        available: asked with the device server: False takes it out of the unit's table (and so out of
            everything).
        standard: where it is described, for the support table.
        function: name of the method.
    """

    opcode: int
    name: str
    layout: CdbLayout
    service_action: int | None = None
    data: str = DataDirection.NONE
    conflict: str = ReservationClass.WRITE
    allocation: str | None = None
    parameter_list: str | None = None
    parameter_list_limit: int = 65536
    attention_exempt: bool = False
    needs_ready: bool = False
    range: tuple[str, str] | None = None
    exclusive: bool = False
    standby_allowed: bool = False
    nominal_timeout: int = 0
    recommended_timeout: int = 0
    available: Callable[[Any], bool] | None = None
    standard: str = ""
    function: str = ""

    @property
    def usage(self) -> bytes:
        """CDB USAGE DATA."""
        if self.service_action is None:
            return self.layout.usage(opcode=self.opcode)
        return self.layout.usage(opcode=self.opcode, service_action=self.service_action)

    def matches(self, cdb: bytes) -> bool:
        """Whether a CDB of the right opcode is of this operation."""
        return self.service_action is None or self.layout.parse(cdb).service_action == self.service_action


def operation(
    opcode: int,
    name: str,
    layout: CdbLayout,
    *,
    service_action: int | None = None,
    data: str = DataDirection.NONE,
    conflict: str = ReservationClass.WRITE,
    allocation: str | None = None,
    parameter_list: str | None = None,
    parameter_list_limit: int = 65536,
    attention_exempt: bool = False,
    needs_ready: bool = False,
    range: tuple[str, str] | None = None,
    exclusive: bool = False,
    standby_allowed: bool = False,
    nominal_timeout: int = 0,
    recommended_timeout: int = 0,
    available: Callable[[Any], bool] | None = None,
    standard: str = "",
) -> Callable[[F], F]:
    """Declare the decorated method as an operation; the arguments are those of `Operation`.

    One method may carry several (READ(10), READ(12), READ(16) by the field names that they share).
    """
    for field in (allocation, parameter_list, *(range or ())):
        if field is not None and field not in layout:
            raise ValueError(f"{name}: its CDB layout has no field {field}")

    def declare(function: F) -> F:
        declared = Operation(
            opcode, name, layout, service_action, data, conflict, allocation, parameter_list,
            parameter_list_limit, attention_exempt, needs_ready, range, exclusive, standby_allowed,
            nominal_timeout, recommended_timeout, available, standard, function.__name__,
        )
        declarations: list[Operation] = getattr(function, "__operations__", [])
        function.__operations__ = [declared, *declarations]  # type: ignore[attr-defined]  # functions take attributes
        return function

    return declare


class OperationTable:
    """The operations of one device server: those declared by its class and bases, less what is not available.

    Args:
        server: the device server; a class instead gives all that it declares, available or not.
    """

    def __init__(self, server: object) -> None:
        cls = server if isinstance(server, type) else type(server)
        self.operations: tuple[Operation, ...] = tuple(
            sorted(
                (
                    declared
                    for declared in _declared_operations(cls)
                    if isinstance(server, type) or declared.available is None or declared.available(server)
                ),
                key=lambda declared: (declared.opcode, declared.service_action or 0),
            )
        )
        self.by_opcode: dict[int, tuple[Operation, ...]] = {}
        for declared in self.operations:
            self.by_opcode[declared.opcode] = (*self.by_opcode.get(declared.opcode, ()), declared)
        self.opcodes = frozenset(self.by_opcode)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def find(self, cdb: bytes) -> Operation | None:
        """The operation of a CDB, None where the opcode or its service action is not there.

        A CDB shorter than the layout is not found either: the caller tells these cases apart with `opcodes`.
        """
        for declared in self.by_opcode.get(cdb[0], ()) if cdb else ():
            if len(cdb) >= declared.layout.length and declared.matches(cdb):
                return declared
        return None


def _declared_operations(cls: type) -> Iterator[Operation]:
    """What the methods of a class declare. An override without @operation keeps what it overrides."""
    for name in dir(cls):
        for base in cls.__mro__:
            declarations = getattr(base.__dict__.get(name), "__operations__", None)
            if declarations is not None:
                yield from declarations
                break
