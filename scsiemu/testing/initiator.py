"""An initiator for tests: sends commands to a `Target` in this process and waits for their completions.

    initiator = Initiator(target, "iqn.2026-11.org.example:me")
    result = initiator.command("INQUIRY", evpd=1, page_code=0x83)
    assert result.status == Status.GOOD

CDBs are built through the layouts of the unit's own operation table. Units without a performer are served
from `stores`. Time is the target's: where a command waits for the clock and nothing else goes on, the clock
is moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from scsiemu._value import value
from scsiemu.command import Command, Completion
from scsiemu.device_server import DeviceServer
from scsiemu.io_requests import IoRequest, LoadState, Performer, SaveState, Ticket
from scsiemu.lun import unit_lun
from scsiemu.nexus import InitiatorPort, TargetPort
from scsiemu.operations import Operation, OperationTable
from scsiemu.sam import STATUS_NAMES, Status, TaskAttribute, TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import Sense, SenseCode, decode_sense
from scsiemu.target import Target
from scsiemu.transport_id import iscsi_transport_id
from scsiemu.unit_attention import ATTENTION_LIMIT

__all__ = ["Exchange", "Initiator", "Result", "StateDictionary"]

_MOST_TURNS: Final = 100_000
_OPERATIONS: Final[WeakKeyDictionary[type[DeviceServer], dict[str, Operation]]] = WeakKeyDictionary()
_ISID: Final = "800000000001"       # of type 10b, "random" (RFC 7143 11.12.5), where a name has none


class StateDictionary:
    """A state store that is a dictionary: performs LoadState and SaveState."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def __call__(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        """The performer."""
        if isinstance(request, LoadState):
            return self.kept.get(request.key)
        assert isinstance(request, SaveState)
        if request.data is None:
            self.kept.pop(request.key, None)
        else:
            self.kept[request.key] = request.data
        return None


@value
class Result:
    """How a command ended.

    Args:
        status: one of `Status`.
        data: Data-In, cut to what the initiator was ready to receive.
        sense: decoded sense data, None where there is none.
        full_length: bytes of Data-In that the target had.
        silent: the command was aborted without a word.
        data_out_wanted: bytes of Data-Out that the target wanted.
    """

    status: int
    data: bytes = b""
    sense: Sense | None = None
    full_length: int = 0
    silent: bool = False
    data_out_wanted: int = 0

    @property
    def good(self) -> bool:
        """Status GOOD."""
        return self.status == Status.GOOD

    @property
    def code(self) -> SenseCode | None:
        """Sense key, ASC and ASCQ."""
        return self.sense.code if self.sense is not None else None

    def __str__(self) -> str:
        return f"{STATUS_NAMES.get(self.status)} {self.code} {self.data.hex()}"


class Exchange:
    """A command that was sent; `result` is None until it has ended."""

    __slots__ = ("command", "data_out", "result")

    def __init__(self, data_out: bytes) -> None:
        self.data_out = data_out
        self.result: Result | None = None
        self.command: Command


class Initiator:
    """One I_T nexus.

    Args:
        target: whom it talks to.
        name: an iSCSI name, perhaps with `,i,0x` and an ISID behind it; names tell initiator ports apart.
        port: target port; the first of the target, or one that is made, where there is none.
        stores: performers for units that were added without one, by LUN (plain number or 64-bit form).
        luns: LUN masking, as of `Target.nexus_established`.
        attentions: keep the unit attentions that a new nexus starts with; else they are cleared.
    """

    def __init__(
        self,
        target: Target,
        name: str = "iqn.2026-11.org.example:initiator",
        *,
        port: TargetPort | None = None,
        stores: Mapping[int, Performer] | None = None,
        luns: Mapping[int, int] | None = None,
        attentions: bool = False,
    ) -> None:
        self.target = target
        self.name = name
        self.stores = {unit_lun(lun): store for lun, store in (stores or {}).items()}
        if port is None:
            port = target.ports[0] if target.ports else TargetPort(target.name)
        self.nexus = target.nexus_established(_initiator_port(name), port, luns=luns)
        self._tag = 0
        if not attentions:
            self.clear_attentions()

    def __repr__(self) -> str:
        return f"Initiator({self.name!r})"

    # --- commands
    # ----------------------------------------------------------------------------------------------

    def command(
        self, name: str, *, lun: int = 0, data_out: bytes = b"", data_in: int = 65536, **fields: int
    ) -> Result:
        """Execute an operation of the unit by its name, with these CDB fields.

        The length of the parameter list and the allocation length fit by themselves where they are not given.
        """
        cdb = self.cdb(name, lun=lun, data_out=data_out, data_in=data_in, **fields)
        return self.execute(lun, cdb, data_out, data_in)

    def cdb(self, name: str, *, lun: int = 0, data_out: bytes = b"", data_in: int = 65536, **fields: int) -> bytes:
        """The CDB that `command` sends."""
        operation = self.operation(name, lun=lun)
        layout = operation.layout
        if operation.parameter_list is not None:
            fields.setdefault(operation.parameter_list, len(data_out))
        if operation.allocation is not None:
            most = (1 << layout.field(operation.allocation).width) - 1
            fields.setdefault(operation.allocation, min(most, data_in))
        fields.setdefault("opcode", operation.opcode)
        if operation.service_action is not None:
            fields.setdefault("service_action", operation.service_action)
        if "additional_cdb_length" in layout:
            fields.setdefault("additional_cdb_length", layout.length - 8)
        return layout.build(**fields)

    def operation(self, name: str, *, lun: int = 0) -> Operation:
        """The declaration of an operation of the unit, available or not. Raises KeyError."""
        return _operations(type(self.nexus.units[unit_lun(lun)].unit.server))[name]

    def execute(
        self,
        lun: int,
        cdb: bytes,
        data_out: bytes = b"",
        data_in: int = 65536,
        *,
        solicited: bool = False,
        attribute: int = TaskAttribute.SIMPLE,
    ) -> Result:
        """Send a CDB and wait for its end. With `solicited` Data-Out goes out only when it is asked for."""
        exchange = self.start(lun, cdb, data_out, data_in, solicited=solicited, attribute=attribute)
        return self.finish(exchange)

    def start(
        self,
        lun: int,
        cdb: bytes,
        data_out: bytes = b"",
        data_in: int = 65536,
        *,
        solicited: bool = False,
        attribute: int = TaskAttribute.SIMPLE,
        tag: int | None = None,
    ) -> Exchange:
        """Send a CDB; do not wait."""
        self._tag += 1
        exchange = Exchange(data_out)
        command = Command(
            self.nexus,
            unit_lun(lun),
            cdb,
            tag=self._tag if tag is None else tag,
            attribute=attribute,
            data_out=b"" if solicited else data_out,
            data_out_length=len(data_out),
            data_in_length=data_in,
            origin=exchange,
        )
        exchange.command = command
        self.target.submit(command)
        return exchange

    def finish(self, exchange: Exchange) -> Result:
        """Serve stores and the clock until a command has ended. Raises RuntimeError where it never does."""
        for _ in range(_MOST_TURNS):
            while self.turn():
                pass
            if exchange.result is not None:
                return exchange.result
            deadline = self.target.deadline()
            if deadline is None:
                break
            self.target.advance(deadline)
        raise RuntimeError(f"{exchange.command} does not end")

    def turn(self) -> bool:
        """Take one thing that came out of the target, whoever it is for; False where there is none."""
        completion = self.target.next_completion()
        if completion is not None:
            _deliver(completion)
            return True
        wanted = self.target.next_data_out_request()
        if wanted is not None:
            origin = wanted.command.origin
            assert isinstance(origin, Exchange)
            wanted.buffer[:] = origin.data_out[wanted.offset : wanted.offset + wanted.length]
            self.target.data_out(wanted.command)
            return True
        request = self.target.next_io()
        if request is not None:
            ticket, asked = request
            self.target.complete(ticket, self.stores[ticket.unit.lun](asked, ticket))
            return True
        return False

    def clear_attentions(self) -> None:
        """Clear what is pending for this nexus at every unit."""
        for lun in self.nexus.units:
            for _ in range(ATTENTION_LIMIT):
                if self.nexus.units[lun].attentions:
                    self.execute(lun, b"\x03\0\0\0\xfc\0")

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, tag: int | None = None
    ) -> TaskManagementResponse:
        """Perform a task management function and wait for its answer."""
        mark = object()
        self.target.manage(function, self.nexus, unit_lun(lun), tag=tag, origin=mark)
        for _ in range(_MOST_TURNS):
            response = self.target.next_management_response()
            if response is not None and response.origin is mark:
                return response.response
            if response is None and not self.turn():
                break
        raise RuntimeError(f"{function} is not answered")

    def close(self) -> None:
        """Lose the nexus."""
        self.target.nexus_lost(self.nexus)


def _operations(server_class: type[DeviceServer]) -> Mapping[str, Operation]:
    """The operations that a device server's class declares, by name; of several of one name the first."""
    found = _OPERATIONS.get(server_class)
    if found is None:
        found = {declared.name: declared for declared in reversed(tuple(OperationTable(server_class)))}
        _OPERATIONS[server_class] = found
    return found


def _deliver(completion: Completion) -> None:
    """Give a completion to the exchange that waits for it."""
    exchange = completion.command.origin
    if not isinstance(exchange, Exchange):
        return
    assert exchange.result is None, "a command ended twice"
    data = bytes(completion.data_in)
    exchange.result = Result(
        completion.status,
        data[: completion.command.data_in_length],
        decode_sense(completion.sense_data),
        len(data),
        completion.silent,
        completion.data_out_wanted,
    )


def _initiator_port(name: str) -> InitiatorPort:
    """The port of that name, with the TransportID that SPEC_I_PT and REGISTER AND MOVE know it by."""
    device_name, _, isid = name.lower().partition(",i,0x")
    isid = (isid or _ISID).rjust(12, "0")
    return InitiatorPort(f"{device_name},i,0x{isid}", iscsi_transport_id(device_name, bytes.fromhex(isid)), device_name)
