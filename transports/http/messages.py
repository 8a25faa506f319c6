"""Requests and responses of HTTP as values, and problem details (RFC 9110, RFC 9457).

What h11 has parsed becomes a `Request`: its target taken apart, fields by name. Every refusal is a `Refusal`, which is
answered as `application/problem+json`.

It does NOT: frame messages (connection.py), or know resources (resources.py).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from scsiemu._value import value

__all__ = [
    "CONTENT_METHODS", "JSON", "OCTETS", "Refusal", "Request", "Response", "check_host", "json_response", "media_type",
    "read_request", "refusal_response",
]

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
# Methods of which requests have content.
CONTENT_METHODS: Final = ("POST", "PATCH", "PUT")
_PROBLEM: Final = "application/problem+json"
_QUERY_FIELDS: Final = 16


@value
class Request:
    """The head of a request.

    Args:
        method: as it came; methods are case-sensitive.
        path: its segments, percent-decoded; none for `/`.
        query: the last of each name.
        fields: header fields by lower-case name, several of a name joined by comma.
        authority: of the Host field or, where it has one, of the request target.
    """

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    fields: Mapping[str, str]
    authority: str

    @property
    def content_type(self) -> str:
        """The media type of the content, without parameters; empty where none is said."""
        return media_type(self.fields.get("content-type", ""))


@value
class Response:
    """A response: status code, content, its type, further fields."""

    status: int
    content: bytes = b""
    content_type: str = JSON
    fields: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A request is refused.

    Args:
        status: the status code.
        detail: why, one sentence.
        fields: further header fields.
    """

    def __init__(self, status: int, detail: str, *, fields: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fields = fields


def media_type(text: str) -> str:
    """A media type without its parameters."""
    return text.partition(";")[0].strip().lower()


def json_response(content: Any, *, status: int = HTTPStatus.OK) -> Response:
    """A value of the json module as a response."""
    return Response(status, json.dumps(content).encode() + b"\n")


def refusal_response(refusal: Refusal) -> Response:
    """A refusal as problem details (RFC 9457 3): the status code says what kind of problem it is."""
    content = {
        "type": "about:blank", "title": HTTPStatus(refusal.status).phrase, "status": int(refusal.status),
        "detail": refusal.detail,
    }
    return Response(refusal.status, json.dumps(content).encode() + b"\n", _PROBLEM, refusal.fields)


def read_request(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Request:
    """What was parsed, taken apart. Raises Refusal."""
    fields: dict[str, str] = {}
    for raw_name, raw in headers:
        name, text = raw_name.decode("ascii"), raw.decode("latin-1")
        fields[name] = f"{fields[name]}, {text}" if name in fields else text
    authority = fields.get("host", "")
    text = target.decode("ascii", "replace")
    if not text.startswith("/"):
        # RFC 9112 3.2.2: the absolute form must be accepted, and its authority counts.
        scheme, separator, rest = text.partition("://")
        if scheme.lower() != "http" or not separator:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the request target is not a path")
        authority, slash, rest = rest.partition("/")
        text = slash + rest if slash else "/"
    path, _, query = text.partition("?")
    try:
        segments = tuple(unquote_to_bytes(part).decode() for part in path.strip("/").split("/")) if path != "/" else ()
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=_QUERY_FIELDS, errors="strict"
        )
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the path or the query is not well formed") from None
    return Request(method.decode("ascii"), segments, dict(pairs), fields, authority)


def check_host(authority: str) -> None:
    """Refuse names that somebody else's name server could let point to us (DNS rebinding). Raises Refusal.

    An IP address was not looked up, and `localhost` is looked up by nobody.
    """
    host = authority.lower()
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        is_whole = bool(bracket) and port[:1] in ("", ":")
        port = port[1:]
    else:
        host, _, port = host.partition(":")
        is_whole = True
    is_port = not port or (port.isascii() and port.isdigit() and len(port) < 6)
    if not (is_whole and is_port and (host == "localhost" or _is_address(host))):
        raise Refusal(
            HTTPStatus.MISDIRECTED_REQUEST, "address this server as localhost or by its IP address: the Host is another"
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
