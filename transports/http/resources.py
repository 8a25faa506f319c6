"""The resources: what there is at which path, for which methods.

    /                                   names of what follows
    /targets, /targets/T                targets and their units
    /targets/T/units                    units; POST adds one
    /targets/T/units/L                  a unit: what it is, its numbers; PATCH changes it, DELETE removes it
    /targets/T/units/L/medium           what is in a drive; PUT inserts a medium, DELETE ejects it
    /targets/T/units/L/ports            import/export elements of a changer; POST puts a medium into one
    /targets/T/units/L/ports/NAME       DELETE takes a medium out of one
    /targets/T/units/L/operations       what it can do now
    /targets/T/units/L/commands         POST a CDB
    /targets/T/units/L/tmf              POST a task management function
    /operations                         what the device types can do: the support table
    /initiators, /initiators/NAME       who has sent commands; DELETE loses the nexuses of a name
    /metrics                            OpenMetrics text

T is the name of a target, or its number in the order of the command line; L is a LUN in decimal, or all 64 bits of it
in 16 hexadecimal digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from scsiemu._value import value
from scsiemu.asc import name_of
from scsiemu.command import Command, Completion
from scsiemu.logical_unit import LogicalUnit
from scsiemu.lun import to_text, unit_lun
from scsiemu.media import AttendedDrive
from scsiemu.operations import DataDirection, Operation
from scsiemu.services import Conflict, UnitControl
from scsiemu.target import Target
from scsiemu.task_manager import ManagementResponse
from transports.http.commands import (
    CommandRequest,
    check_media_types,
    command_response,
    function_response,
    read_command,
    read_function,
    read_members,
)
from transports.http.initiators import DEFAULT_INITIATOR, Initiator
from transports.http.messages import CONTENT_METHODS, Refusal, Request, Response, json_response, refusal_response
from transports.http.open_metrics import metrics_response
from transports.http.port import Exchange, HttpPort

__all__ = ["Call", "Resource", "find_resource"]

_HIGHEST_LUN: Final = 16383
# How refused changes end: the first kind that fits.
_STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    Conflict: HTTPStatus.CONFLICT, LookupError: HTTPStatus.NOT_FOUND, ValueError: HTTPStatus.BAD_REQUEST,
}
_WHOLE_LUN: Final = re.compile(r"[0-9A-Fa-f]{16}")


@value
class Resource:
    """What a path stands for.

    Args:
        methods: what is done for each method.
        names: the variable parts of the path.
        raw: the content may be bytes that are not JSON.
    """

    methods: Mapping[str, Callable[[Call], Response | None]]
    names: Mapping[str, str]
    raw: bool = False

    def check(self, request: Request) -> None:
        """Whether the method is there and the content can be read. Raises Refusal."""
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self.methods:
            allowed = [*self.methods, "HEAD"] if "GET" in self.methods else list(self.methods)
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, f"this resource has {', '.join(allowed)}",
                fields=(("Allow", ", ".join(allowed)),),
            )
        if method in CONTENT_METHODS:
            check_media_types(request, raw=self.raw)


class Call:
    """A request that has come whole, on its way to its response.

    Args:
        port: has the targets.
        resource: what it is for.
        request, content: what came.
        user: the connection, by which initiators are in use.
        respond: takes the response.
    """

    def __init__(
        self, port: HttpPort, resource: Resource, request: Request, content: bytes, *, user: object,
        respond: Callable[[Response], None],
    ) -> None:
        self.port = port
        self.request = request
        self.content = content
        self.names = resource.names
        self._resource = resource
        self._user = user
        self._respond = respond
        self._asked: CommandRequest | None = None
        self._command: Command | None = None
        self._exchange: Exchange | None = None
        self._abandoned = False

    def begin(self) -> None:
        """Do what was asked for. The response comes now or later."""
        method = "GET" if self.request.method == "HEAD" else self.request.method
        try:
            response = self._resource.methods[method](self)
        except Refusal as refusal:
            response = refusal_response(refusal)
        if response is not None:
            self._respond(response)

    def abandon(self) -> None:
        """Nobody waits for the response any more: a command is aborted, a change of units goes on."""
        self._abandoned = True
        if self._exchange is not None:
            self._exchange.forget_waiter()
            if self._command is not None:
                self.port.abandon(self._command, self.target())

    def execute(self) -> None:
        """Begin the command that is asked for. Raises Refusal."""
        target, lun = self.target(), self.lun()
        asked = self._asked = read_command(self.request, self.content, max_transfer=self.port.limits.max_transfer)
        length = asked.allocation if asked.allocation is not None else self._data_in_limit(target, lun, asked.cdb)
        initiator = self._initiator()
        if not self.port.reserve(length):
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, "other commands hold the memory that this one asks for",
                fields=(("Retry-After", "1"),),
            )
        self._exchange = Exchange(self.port, initiator, self, held=length)
        self._command = self.port.submit(
            target, lun, initiator, self._exchange, cdb=asked.cdb, data_out=asked.data_out, data_in_length=length,
            attribute=asked.attribute, tag=asked.tag,
        )

    def manage(self) -> None:
        """Begin the function that is asked for. Raises Refusal."""
        target, lun = self.target(), self.lun()
        asked = read_function(self.content)
        initiator = self._initiator()
        self._exchange = Exchange(self.port, initiator, self)
        nexus = self.port.initiators.nexus(initiator, target)
        target.manage(asked.function, nexus, lun, tag=asked.tag, origin=self._exchange)

    def control(self) -> UnitControl:
        """What adds, removes and changes units. Raises Refusal where nothing does."""
        if self.port.control is None:
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "units stay as they are here", fields=(("Allow", "GET, HEAD"),)
            )
        return self.port.control

    def change(self, work: Coroutine[Any, Any, Any], response: Callable[[Any], Response]) -> None:
        """Begin a change of units; `response` makes the answer from what it returns."""
        assert self.port.run is not None, "where there is a control there is this"
        self.port.run(work, partial(self._changed, response))

    def _changed(self, response: Callable[[Any], Response], result: Any) -> None:
        if self._abandoned:
            return
        if isinstance(result, Exception):
            status = next(
                (code for kind, code in _STATUSES.items() if isinstance(result, kind)),
                HTTPStatus.INTERNAL_SERVER_ERROR,
            )
            known = status is not HTTPStatus.INTERNAL_SERVER_ERROR
            detail = str(result) if known else "this is a bug: the operator was told"
            self._respond(refusal_response(Refusal(status, detail)))
        else:
            self._respond(response(result))

    def ended(self, result: Completion | ManagementResponse | None) -> None:
        """What was begun has ended."""
        self._exchange = None
        try:
            if isinstance(result, ManagementResponse):
                response = function_response(result)
            elif result is None:
                raise Refusal(HTTPStatus.CONFLICT, "the nexus was lost")
            else:
                assert self._asked is not None, "a command ends that was begun"
                response = command_response(self.request, self._asked, result.command, result)
        except Refusal as refusal:
            response = refusal_response(refusal)
        self._respond(response)

    def target(self) -> Target:
        """The target that the path names. Raises Refusal."""
        name = self.names["target"]
        targets = self.port.targets
        found = next((target for target in targets if target.name == name), None)
        if found is None and name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(targets):
            found = targets[int(name)]
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such target")
        return found

    def lun(self) -> int:
        """The LUN that the path names, 64-bit form; whether there is a unit, commands find out. Raises Refusal."""
        text = self.names["lun"]
        if _WHOLE_LUN.fullmatch(text):
            return int(text, 16)
        if text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= _HIGHEST_LUN:
            return unit_lun(int(text))
        raise Refusal(HTTPStatus.NOT_FOUND, f"a LUN is from 0 to {_HIGHEST_LUN}, or has 16 hexadecimal digits")

    def unit(self) -> LogicalUnit:
        """The unit that the path names. Raises Refusal."""
        unit = self.target().units.get(self.lun())
        if unit is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such unit")
        return unit

    def initiator_named(self) -> Initiator:
        """The initiator that the path names. Raises Refusal."""
        found = self.port.initiators.find(self.names["initiator"])
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such initiator")
        return found

    def _initiator(self) -> Initiator:
        return self.port.initiators.use(self.request.fields.get("scsi-initiator", DEFAULT_INITIATOR), self._user)

    def _data_in_limit(self, target: Target, lun: int, cdb: bytes) -> int:
        """What is taken of Data-In where nothing is said: nothing of an operation that has none."""
        unit = target.units.get(lun)
        operation = unit.server.table.find(cdb) if unit is not None else None
        if operation is not None and operation.data in (DataDirection.NONE, DataDirection.OUT):
            return 0
        return self.port.limits.max_transfer


def find_resource(path: tuple[str, ...]) -> Resource:
    """The resource of a path. Raises Refusal."""
    for pattern, methods in _RESOURCES.items():
        parts = pattern.strip("/").split("/") if pattern != "/" else []
        if len(parts) == len(path) and all(
            part.startswith("{") or part == segment for part, segment in zip(parts, path, strict=True)
        ):
            names = {
                part[1:-1]: segment for part, segment in zip(parts, path, strict=True) if part.startswith("{")
            }
            return Resource(methods, names, raw=pattern.endswith("/commands"))
    raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this path: / tells what there is")


def _root(call: Call) -> Response:
    return json_response({
        "targets": "/targets", "operations": "/operations", "initiators": "/initiators", "metrics": "/metrics",
    })


def _targets(call: Call) -> Response:
    return json_response({"targets": [_of_target(target) for target in call.port.targets]})


def _target(call: Call) -> Response:
    return json_response(_of_target(call.target()))


def _of_target(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "path": f"/targets/{quote(target.name, safe=':')}",
        "nexuses": len(target.nexuses),
        "units": [_of_unit(target, unit) for _, unit in sorted(target.units.items())],
    }


def _of_unit(target: Target, unit: LogicalUnit) -> dict[str, Any]:
    text = to_text(unit.lun)
    segment = text if text.isdigit() and int(text) <= _HIGHEST_LUN else f"{unit.lun:016x}"
    identity = getattr(unit.server, "identity", None)
    return {
        "lun": text,
        "lun_field": f"{unit.lun:016x}",
        "path": f"/targets/{quote(target.name, safe=':')}/units/{segment}",
        "peripheral_device_type": unit.server.peripheral_device_type,
        "identity": None if identity is None else {
            "vendor": identity.vendor, "product": identity.product, "revision": identity.revision,
            "serial": identity.serial,
        },
        "statistics": unit.statistics(),
    }


def _units(call: Call) -> Response:
    return json_response({"units": _of_target(call.target())["units"]})


def _add_unit(call: Call) -> None:
    control, target = call.control(), call.target()
    asked = read_members(call.content, {"lun": int, "unit": str, "value": str})
    for name in ("unit", "value"):
        if name not in asked:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is missing: unit and value are as on the command line")
    lun = asked.get("lun")
    if lun is not None and not 0 <= lun <= _HIGHEST_LUN:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"lun is from 0 to {_HIGHEST_LUN}")
    call.change(control.add(target, lun, asked["unit"], asked["value"]), partial(_unit_added, target))


def _unit_added(target: Target, unit: LogicalUnit) -> Response:
    found = _of_unit(target, unit)
    return Response(HTTPStatus.CREATED, json_response(found).content, fields=(("Location", found["path"]),))


def _remove_unit(call: Call) -> None:
    call.change(call.control().remove(call.target(), call.lun()), _no_content)


def _no_content(nothing: None) -> Response:
    return Response(HTTPStatus.NO_CONTENT)


def _change_unit(call: Call) -> None:
    control, target, lun = call.control(), call.target(), call.lun()
    asked = read_members(call.content, {"size": str, "write_protected": bool})
    if len(asked) != 1:
        raise Refusal(HTTPStatus.BAD_REQUEST, "one of size (bytes, or such as 2G) and write_protected is to be there")
    work = control.resize(target, lun, asked["size"]) if "size" in asked else (
        control.protect(target, lun, asked["write_protected"])
    )
    call.change(work, lambda unit: json_response(_of_unit(target, unit)))


def _medium(call: Call) -> Response:
    return _medium_response(call.unit())


def _medium_response(unit: LogicalUnit) -> Response:
    drive = unit.server
    if not isinstance(drive, AttendedDrive):
        raise Refusal(HTTPStatus.NOT_FOUND, "units of this type have no medium")
    sense = drive.not_ready()
    return json_response({
        "name": drive.medium,
        "ready": sense is None,
        "not_ready": None if sense is None else name_of(sense.code.asc, sense.code.ascq),
    })


def _insert_medium(call: Call) -> None:
    control, target, lun = call.control(), call.target(), call.lun()
    name = read_members(call.content, {"name": str}).get("name")
    call.change(control.insert(target, lun, name), _medium_response)


def _eject_medium(call: Call) -> None:
    call.change(call.control().eject(call.target(), call.lun(), force=_force(call)), _medium_response)


def _force(call: Call) -> bool:
    query = call.request.query
    if query.keys() - {"force"} or query.get("force", "true") not in ("true", "false"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the query has force=true or force=false, nothing else")
    return query.get("force") == "true"


def _ports(call: Call) -> Response:
    try:
        found = call.control().ports(call.target(), call.lun())
    except LookupError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, str(error)) from None
    return json_response({"ports": [{"element": address, "name": name} for address, name in found.items()]})


def _import_medium(call: Call) -> None:
    control, target, lun = call.control(), call.target(), call.lun()
    name = read_members(call.content, {"name": str}).get("name")
    if name is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "name is missing: a medium of the library's folder")
    call.change(control.import_medium(target, lun, name, force=_force(call)), _no_content)


def _export_medium(call: Call) -> None:
    control, target, lun = call.control(), call.target(), call.lun()
    call.change(control.export_medium(target, lun, call.names["name"], force=_force(call)), _no_content)


def _unit(call: Call) -> Response:
    return json_response(_of_unit(call.target(), call.unit()))


def _operations_of_unit(call: Call) -> Response:
    return json_response({"operations": [_of_operation(declared) for declared in call.unit().server.table]})


def _operations(call: Call) -> Response:
    rows: dict[tuple[int, int, str], tuple[Operation, dict[str, str]]] = {}
    for name, table in call.port.tables.items():
        for declared in table:
            action = -1 if declared.service_action is None else declared.service_action
            _, types = rows.setdefault((declared.opcode, action, declared.name), (declared, {}))
            types[name] = "yes" if declared.available is None else "if configured"
    return json_response({
        "device_types": list(call.port.tables),
        "operations": [
            {**_of_operation(declared), "device_types": types} for _, (declared, types) in sorted(
                rows.items(), key=lambda row: row[0]
            )
        ],
    })


def _of_operation(declared: Operation) -> dict[str, Any]:
    return {
        "opcode": declared.opcode,
        "service_action": declared.service_action,
        "name": declared.name,
        "standard": declared.standard,
        "data": declared.data,
        "cdb_length": declared.layout.length,
        "cdb_usage_data": declared.usage.hex(),
    }


def _commands(call: Call) -> None:
    call.execute()


def _functions(call: Call) -> None:
    call.manage()


def _initiators(call: Call) -> Response:
    return json_response({"initiators": [_of_initiator(each) for each in call.port.initiators]})


def _initiator(call: Call) -> Response:
    return json_response(_of_initiator(call.initiator_named()))


def _of_initiator(initiator: Initiator) -> dict[str, Any]:
    return {
        "name": initiator.name,
        "port": initiator.port.name,
        "transport_id": initiator.port.transport_id.hex(),
        "targets": [target.name for target in initiator.nexuses],
        "connections": len(initiator.users),
        "pending": len(initiator.exchanges),
    }


def _lose_initiator(call: Call) -> Response:
    call.port.initiators.lose(call.initiator_named().name)
    return Response(HTTPStatus.NO_CONTENT)


def _metrics(call: Call) -> Response:
    return metrics_response(call.port)


_RESOURCES: Final[dict[str, Mapping[str, Callable[[Call], Response | None]]]] = {
    "/": {"GET": _root},
    "/targets": {"GET": _targets},
    "/targets/{target}": {"GET": _target},
    "/targets/{target}/units": {"GET": _units, "POST": _add_unit},
    "/targets/{target}/units/{lun}": {"GET": _unit, "PATCH": _change_unit, "DELETE": _remove_unit},
    "/targets/{target}/units/{lun}/medium": {"GET": _medium, "PUT": _insert_medium, "DELETE": _eject_medium},
    "/targets/{target}/units/{lun}/ports": {"GET": _ports, "POST": _import_medium},
    "/targets/{target}/units/{lun}/ports/{name}": {"DELETE": _export_medium},
    "/targets/{target}/units/{lun}/operations": {"GET": _operations_of_unit},
    "/targets/{target}/units/{lun}/commands": {"POST": _commands},
    "/targets/{target}/units/{lun}/tmf": {"POST": _functions},
    "/operations": {"GET": _operations},
    "/initiators": {"GET": _initiators},
    "/initiators/{initiator}": {"GET": _initiator, "DELETE": _lose_initiator},
    "/metrics": {"GET": _metrics},
}
