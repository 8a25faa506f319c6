"""A CDB in a request, and what came of it in a response.

    POST .../commands    Content-Type: application/json
        {"cdb": "120000006000", "data_out": "BASE64", "allocation": 96, "attribute": "SIMPLE", "tag": 7}
    POST .../commands?allocation=96    Content-Type: application/octet-stream, SCSI-CDB: 120000006000
        the content is Data-Out

With `Accept: application/octet-stream` the content of the response is Data-In, and status, sense data and residuals are
header fields. The bytes of a CDB may be apart by white space.

It does NOT: execute anything (port.py).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from scsiemu._value import value
from scsiemu.command import Command, Completion
from scsiemu.decode import explain_cdb, explain_data_in, explain_sense
from scsiemu.sam import STATUS_NAMES, TASK_ATTRIBUTE_NAMES, TaskManagementFunction
from scsiemu.task_manager import ManagementResponse
from transports.http.messages import JSON, OCTETS, Refusal, Request, Response, json_response, media_type

__all__ = [
    "CommandRequest", "FunctionRequest", "check_media_types", "command_response", "function_response", "read_command",
    "read_function", "read_members",
]

_LONGEST_CDB: Final = 260                # SPC-5 4.2.3.1
_TAGS: Final = 1 << 32
# Beyond it Data-In is given undecoded: what has a decoder is shorter.
_DECODED: Final = 65536

_KINDS: Final = {str: "a text", int: "a number", bool: "true or false"}
_ATTRIBUTES: Final = {name: code for code, name in TASK_ATTRIBUTE_NAMES.items()}
_FUNCTIONS: Final = {function.value: function for function in TaskManagementFunction}


@value
class CommandRequest:
    """A command that was asked for.

    Args:
        cdb, data_out: its bytes.
        allocation: bytes of Data-In that the client is ready to take; None: not said.
        attribute: one of `TaskAttribute`.
        tag: the client's, for task management; None for one of ours.
    """

    cdb: bytes
    data_out: bytes = b""
    allocation: int | None = None
    attribute: int = 0
    tag: int | None = None


@value
class FunctionRequest:
    """A task management function that was asked for."""

    function: TaskManagementFunction
    tag: int | None = None


def check_media_types(request: Request, *, raw: bool) -> None:
    """Whether we can read the content and write what is accepted. Raises Refusal.

    Args:
        raw: the content may be bytes, too.
    """
    known = (JSON, OCTETS, "") if raw else (JSON,)
    if request.content_type not in known:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content is to be {' or '.join(filter(None, known))}: say so by "
            "Content-Type",
            fields=(("Accept", ", ".join(filter(None, known))),),
        )


def read_command(request: Request, content: bytes, *, max_transfer: int) -> CommandRequest:
    """The command that a request asks for. Raises Refusal."""
    if request.content_type == JSON:
        members = read_members(content, {"cdb": str, "data_out": str, "allocation": int, "attribute": str, "tag": int})
        text = members.get("cdb", "")
        try:
            data_out = base64.b64decode(members.get("data_out", ""), validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(HTTPStatus.BAD_REQUEST, "data_out is not base64") from None
    else:
        data_out = content
        members = {}
        for name in request.query:
            if name not in ("cdb", "allocation", "attribute", "tag"):
                raise Refusal(HTTPStatus.BAD_REQUEST, "the query has cdb, allocation, attribute and tag, nothing else")
        for name in ("allocation", "tag"):
            if name in request.query:
                members[name] = _number(request.query[name], name)
        if "attribute" in request.query:
            members["attribute"] = request.query["attribute"]
        text = request.fields.get("scsi-cdb") or request.query.get("cdb", "")
    allocation = members.get("allocation")
    if len(data_out) > max_transfer or (allocation is not None and not 0 <= allocation <= max_transfer):
        code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if len(data_out) > max_transfer else HTTPStatus.BAD_REQUEST
        raise Refusal(code, f"one command transfers at most {max_transfer} bytes in one direction")
    attribute = _ATTRIBUTES.get(members.get("attribute", "SIMPLE"))
    if attribute is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"attribute is one of {', '.join(_ATTRIBUTES)}")
    return CommandRequest(_read_cdb(text), data_out, allocation, attribute, _tag(members))


def read_function(content: bytes) -> FunctionRequest:
    """The task management function that a request asks for. Raises Refusal."""
    members = read_members(content, {"function": str, "tag": int})
    function = _FUNCTIONS.get(members.get("function", ""))
    if function is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"function is one of {', '.join(_FUNCTIONS)}")
    return FunctionRequest(function, _tag(members))


def _read_cdb(text: str) -> bytes:
    try:
        cdb = bytes.fromhex(text) if text.isascii() else b""
    except ValueError:
        cdb = b""
    if not 0 < len(cdb) <= _LONGEST_CDB:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"cdb is 1 to {_LONGEST_CDB} bytes in hexadecimal")
    return cdb


def _tag(members: Mapping[str, Any]) -> int | None:
    tag: int | None = members.get("tag")
    if tag is not None and not 0 <= tag < _TAGS:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"tag is from 0 to {_TAGS - 1}")
    return tag


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is a whole number")
    return int(text)


def read_members(content: bytes, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The members of a JSON object, of these names and types."""
    try:
        found = json.loads(content, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the content is not JSON: {why}") from None
    if not isinstance(found, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the content is to be a JSON object")
    for name, member in found.items():
        if name not in kinds:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the members are {', '.join(kinds)}, nothing else")
        # A boolean is an int to Python, not to JSON.
        if type(member) is not kinds[name]:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is to be {_KINDS[kinds[name]]}")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


# --- responses -------------------------------------------------------------------------------------------------


def command_response(request: Request, asked: CommandRequest, command: Command, completion: Completion) -> Response:
    """What came of a command. An aborted one that says nothing is a conflict with whoever aborted it."""
    if completion.silent:
        raise Refusal(HTTPStatus.CONFLICT, "the command was aborted by task management or by the end of its nexus")
    data = completion.data_in
    have = len(data)
    if have > command.data_in_length:
        data = memoryview(data)[: command.data_in_length]
    # Without an allocation nothing was offered that could be left over.
    offered = have if asked.allocation is None and have <= command.data_in_length else command.data_in_length
    residual_in, residual_out = offered - have, command.data_out_length - completion.data_out_wanted
    if _wants_octets(request):
        fields = [
            ("SCSI-Status", f"{completion.status:02x}"), ("SCSI-Residual-In", str(residual_in)),
            ("SCSI-Residual-Out", str(residual_out)),
        ]
        if completion.sense_data:
            fields.append(("SCSI-Sense", completion.sense_data.hex()))
        return Response(HTTPStatus.OK, bytes(data), OCTETS, tuple(fields))
    data = bytes(data)
    return json_response({
        "command": explain_cdb(asked.cdb, command.unit.server.table if hasattr(command, "unit") else None).as_json(),
        "tag": command.tag,
        "status": completion.status,
        "status_name": STATUS_NAMES[completion.status],
        "status_qualifier": completion.status_qualifier,
        "sense": _sense(completion.sense_data),
        "data_in": {
            "length": len(data), "base64": base64.b64encode(data).decode(), "decoded": _decoded(asked.cdb, data),
        },
        "residual": {"data_in": residual_in, "data_out": residual_out},
    })


def function_response(response: ManagementResponse) -> Response:
    """What came of a task management function."""
    content: dict[str, Any] = {"function": response.function.value, "response": response.response.value}
    if response.function is TaskManagementFunction.QUERY_ASYNCHRONOUS_EVENT:
        content["additional_response_information"] = response.additional.hex()
    return json_response(content)


def _wants_octets(request: Request) -> bool:
    accepted = [media_type(part) for part in request.fields.get("accept", "").split(",")]
    return OCTETS in accepted and JSON not in accepted


def _sense(data: bytes) -> dict[str, Any] | None:
    return {"hex": data.hex(), **explain_sense(data).as_json()} if data else None


def _decoded(cdb: bytes, data: bytes) -> dict[str, Any] | None:
    """What Data-In says, where there is a decoder for it."""
    if not data or len(data) > _DECODED:
        return None
    found = explain_data_in(cdb, data)
    return None if found.fields.keys() == {"bytes"} else found.as_json()
