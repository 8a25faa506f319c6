"""Use an object storage device: partitions, objects and their attributes.

    scsiemu osd format URL                         remove everything
    scsiemu osd mkpart URL [PID]                   make a partition
    scsiemu osd put URL PID FILE [OID]             keep a file (- is stdin) as an object
    scsiemu osd get URL PID OID [FILE]             fetch an object
    scsiemu osd ls URL [PID [CID]]                 partitions, objects, members of a collection (CID 0: collections)
    scsiemu osd attr URL PID OID [PAGE]            all attributes, or those of a page
    scsiemu osd attr URL PID OID PAGE NUMBER [HEX] get an attribute, or set it
    scsiemu osd mkcoll URL PID [CID]               make a collection
    scsiemu osd join URL PID CID OID...            make objects its members
    scsiemu osd query URL PID CID PAGE NUMBER [MIN [MAX]]
                                                   members whose attribute lies within bounds (hexadecimal, - for none)
    scsiemu osd snapshot URL PID [NEWPID]          a copy of a partition that stays as it is
    scsiemu osd restore URL PID SNAPSHOT           make a partition what its snapshot is
    scsiemu osd rm URL PID [OID]                   remove an object or a collection, or an empty partition

PID and OID of 0 are the root and a partition for attr. Numbers may be hexadecimal (0x10000). The commands are those of
OSD-2 without security, or of OSD-1 with --osd1. Files of any size go by in parts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from scsiemu import decode, registry
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.send import clear_attentions, connect_unit
from scsiemu.sam import STATUS_NAMES, Status
from scsiemu.sense import CheckCondition, SenseKey, decode_sense
from scsiemu.services import Client

__all__ = ["add_arguments", "command"]

_PART: Final = 1 << 20
_LIST: Final = 1 << 16
_CURRENT_COMMAND: Final = 0xFFFFFFFE
_LOGICAL_LENGTH: Final = (1, 0x82)
_OBJECT_TYPE: Final = 2             # of the current command page
_COLLECTION: Final = b"\x40"
_ALL: Final = 0xFFFFFFFF
_MOST_MATCHES: Final = 8 << 20      # bytes of QUERY data
_MOST_VALUE: Final = 0xFF00         # bytes of an attribute, or of the bounds of a query
_MEMBERSHIPS: Final = 4             # page of user objects
_FREE: Final = range(1, 0xFFFFFF01)  # numbers of memberships


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `osd`."""
    parser.add_argument("action", choices=sorted(_ACTIONS), metavar="ACTION", help=", ".join(sorted(_ACTIONS)))
    parser.add_argument("url", metavar="URL", help="of the unit: iscsi://HOST:PORT/TARGET/LUN")
    parser.add_argument("words", nargs="*", metavar="ARGUMENT", help="see above")
    parser.add_argument("--osd1", action="store_true", help="send the commands of OSD-1")
    parser.add_argument("--initiator", metavar="NAME", default="", help="our iSCSI name")
    parser.add_argument("--chap", metavar="USER:SECRETFILE", help="how we authenticate")
    parser.add_argument("--mutual-chap", metavar="USER:SECRETFILE", help="how the target must")
    parser.add_argument("--timeout", metavar="SECONDS", default="30", help="for the login and for each command")
    parser.add_argument(
        "--insecure-permissions", action="store_true", help="take secret files that others can read"
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def command(arguments: argparse.Namespace) -> int:
    """Do it; prints what it did. Raises Failure."""
    action, least, most = _ACTIONS[arguments.action]
    if not least <= len(arguments.words) <= most:
        raise Failure(f"osd {arguments.action}: wrong number of arguments; see scsiemu osd --help", ExitCode.USAGE)
    scheme, colon, _ = arguments.url.partition("://")
    if not colon:
        raise Failure(f"{arguments.url} is no URL of a unit: iscsi://HOST:PORT/TARGET/LUN", ExitCode.USAGE)
    client = connect_unit(scheme, arguments)
    try:
        clear_attentions(client)
        told = action(_Unit(client, version=1 if arguments.osd1 else 2), arguments.words)
    except _ReaderGoneError:
        raise BrokenPipeError from None
    except OSError as error:
        raise Failure(f"osd: {error.strerror or error}", ExitCode.NOT_CONNECTED) from None
    finally:
        client.close()
    if arguments.json and told:
        print(json.dumps(told))
        return ExitCode.OK
    for line in told.get("ids", [value for key, value in told.items() if key in ("id", "value")]):
        print(line)
    for each in told.get("attributes", ()):
        print(each["page"], each["number"], each["value"])
    return ExitCode.OK


class _ReaderGoneError(Exception):
    """Whoever read what `get` wrote: no connection to a unit is lost."""


class _Unit:
    """Commands to one unit. Raises Failure for what the unit refuses."""

    def __init__(self, client: Client, *, version: int) -> None:
        self._client = client
        try:
            self.requests = registry.load(registry.REQUESTS, "osd")
        except registry.PluginError as error:
            raise Failure(str(error)) from None
        self.version = version

    def do(self, name: str, **rest: Any) -> tuple[Any, bytes]:
        """Send a command; it and its Data-In."""
        try:
            sent = self.requests.request(name, version=self.version, **rest)
        except KeyError:
            raise Failure(f"osd: OSD-1 has no {name}", ExitCode.USAGE) from None
        outcome = self._client.execute(sent.cdb, data_out=sent.data_out, data_in_length=sent.data_in)
        sense = decode_sense(outcome.sense)
        recovered = sense is not None and sense.code.key == SenseKey.RECOVERED_ERROR
        if outcome.status != Status.GOOD and not recovered:
            why = decode.explain_sense(outcome.sense).title if outcome.sense else STATUS_NAMES.get(outcome.status, "")
            raise Failure(f"osd: {name}: {why}", ExitCode.REFUSED)
        return sent, outcome.data_in

    def attributes(self, name: str, *wanted: tuple[int, int], **rest: Any) -> list[bytes]:
        """A command that gets attributes; their values."""
        return [each.value or b"" for each in self.found(name, *wanted, **rest)]

    def found(self, name: str, *wanted: tuple[int, int], **rest: Any) -> list[Any]:
        """The same with page, number and value."""
        sent, data = self.do(name, get=wanted, **rest)
        try:
            found: list[Any] = self.requests.parse_attributes(sent, data, version=self.version)
        except CheckCondition:
            raise Failure(f"osd: {name}: more attributes than come at once: ask for a page", ExitCode.REFUSED) from None
        return found


def _format(unit: _Unit, words: list[str]) -> dict[str, Any]:
    unit.do("FORMAT OSD")
    return {"formatted": True}


def _mkpart(unit: _Unit, words: list[str]) -> dict[str, Any]:
    wanted = _number(words[0]) if words else 0
    (made,) = unit.attributes("CREATE PARTITION", (_CURRENT_COMMAND, 3), partition_id=wanted)
    return {"id": _shown(int.from_bytes(made, "big"))}


def _put(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, wanted = _number(words[0]), _number(words[2]) if len(words) > 2 else 0
    with _source(words[1]) as source:
        (made,) = unit.attributes("CREATE", (_CURRENT_COMMAND, 4), partition_id=pid, object_id=wanted)
        oid = int.from_bytes(made, "big")
        at = 0
        try:
            for part in _parts(source, words[1]):
                fields = {"length": len(part), "starting_byte_address": at}
                unit.do("WRITE", data=part, partition_id=pid, object_id=oid, **fields)
                at += len(part)
        except (Failure, OSError):
            with suppress(Failure, OSError):
                unit.do("REMOVE", partition_id=pid, object_id=oid)      # not half a file
            raise
    return {"id": _shown(oid), "length": at}


def _get(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, oid = _number(words[0]), _number(words[1])
    (length,) = unit.attributes("GET ATTRIBUTES", _LOGICAL_LENGTH, partition_id=pid, object_id=oid)
    left = int.from_bytes(length, "big")
    with _place(words[2]) if len(words) > 2 else nullcontext(sys.stdout.buffer) as place:
        for at in range(0, left, _PART):
            part = min(_PART, left - at)
            fields = {"length": part, "starting_byte_address": at}
            _keep(place, unit.do("READ", data_in=part, partition_id=pid, object_id=oid, **fields)[1], *words[2:])
    return {"length": left} if len(words) > 2 else {}


def _ls(unit: _Unit, words: list[str]) -> dict[str, Any]:
    name, fields = "LIST", {"partition_id": _number(words[0]) if words else 0}
    if len(words) > 1:
        name, fields["object_id"] = "LIST COLLECTION", _number(words[1])
    found: list[int] = []
    start = 0
    while True:
        data = unit.do(name, data_in=_LIST, allocation_length=_LIST, initial_object_id=start, **fields)[1]
        some, start = unit.requests.parse_ids(data)
        found += some
        if not start or not some:
            return {"ids": [_shown(each) for each in found]}


def _attr(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, oid = _number(words[0]), _number(words[1])
    page = _number(words[2], 32) if len(words) > 2 else _ALL
    number = _number(words[3], 32) if len(words) > 3 else _ALL
    if len(words) < 5 and _ALL in (page, number):           # any number of them
        found = unit.found("GET ATTRIBUTES", (page, number), partition_id=pid, object_id=oid)
        return {"attributes": [
            {"page": _shown(each.page), "number": _shown(each.number), "value": each.value.hex()} for each in found
        ]}
    if len(words) == 4:
        (value,) = unit.attributes("GET ATTRIBUTES", (page, number), partition_id=pid, object_id=oid)
        return {"value": value.hex()}
    value = _bytes(words[4])
    if len(value) > _MOST_VALUE:
        raise Failure(f"osd attr: an attribute has at most {_MOST_VALUE} bytes", ExitCode.USAGE)
    unit.do("SET ATTRIBUTES", set=((page, number, value),), partition_id=pid, object_id=oid)
    return {"set": True}


def _mkcoll(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, wanted = _number(words[0]), _number(words[1]) if len(words) > 1 else 0
    (made,) = unit.attributes("CREATE COLLECTION", (_CURRENT_COMMAND, 4), partition_id=pid, object_id=wanted)
    return {"id": _shown(int.from_bytes(made, "big"))}


def _join(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, cid = _number(words[0]), _number(words[1])
    for word in words[2:]:
        oid = _number(word)
        known = unit.found("GET ATTRIBUTES", (_MEMBERSHIPS, _ALL), partition_id=pid, object_id=oid)
        taken = {each.number for each in known}
        free = next(number for number in _FREE if number not in taken)
        value = cid.to_bytes(8, "big")
        unit.do("SET ATTRIBUTES", set=((_MEMBERSHIPS, free, value),), partition_id=pid, object_id=oid)
    return {"joined": len(words) - 2}


def _query(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, cid, page, number = (_number(word, bits) for word, bits in zip(words, (64, 64, 32, 32), strict=False))
    least, greatest = (_bytes(word) if word != "-" else b"" for word in [*words[4:], "-", "-"][:2])
    if len(least) + len(greatest) > _MOST_VALUE:
        raise Failure(f"osd query: bounds have at most {_MOST_VALUE} bytes together", ExitCode.USAGE)
    criteria = unit.requests.query([(page, number, least, greatest)])
    room = _LIST
    while True:
        data = unit.do(
            "QUERY", data=criteria, data_in=room, partition_id=pid, object_id=cid, allocation_length=room,
            cdb_continuation_length=len(criteria),
        )[1]
        found, whole = unit.requests.parse_matches(data)
        if whole <= len(data) or room >= _MOST_MATCHES:
            return {"ids": [_shown(each) for each in found]}
        room = min(whole, _MOST_MATCHES)


def _snapshot(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, wanted = _number(words[0]), _number(words[1]) if len(words) > 1 else 0
    (made,) = unit.attributes(
        "CREATE SNAPSHOT", (_CURRENT_COMMAND, 3), partition_id=pid, other_partition_id=wanted
    )
    return {"id": _shown(int.from_bytes(made, "big"))}


def _restore(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid, snapshot = _number(words[0]), _number(words[1])
    unit.do("RESTORE PARTITION FROM SNAPSHOT", partition_id=pid, other_partition_id=snapshot)
    return {"restored": True}


def _rm(unit: _Unit, words: list[str]) -> dict[str, Any]:
    pid = _number(words[0])
    if len(words) == 1:
        unit.do("REMOVE PARTITION", partition_id=pid)
        return {"removed": True}
    oid = _number(words[1])
    wanted = (_CURRENT_COMMAND, _OBJECT_TYPE)
    (kind,) = unit.attributes("GET ATTRIBUTES", wanted, partition_id=pid, object_id=oid)
    unit.do("REMOVE COLLECTION" if kind == _COLLECTION else "REMOVE", partition_id=pid, object_id=oid)
    return {"removed": True}


_ACTIONS: Final[dict[str, tuple[Callable[[_Unit, list[str]], dict[str, Any]], int, int]]] = {
    "format": (_format, 0, 0),
    "mkpart": (_mkpart, 0, 1),
    "put": (_put, 2, 3),
    "get": (_get, 2, 3),
    "ls": (_ls, 0, 2),
    "attr": (_attr, 2, 5),
    "mkcoll": (_mkcoll, 1, 2),
    "join": (_join, 3, 1 << 16),
    "query": (_query, 4, 6),
    "snapshot": (_snapshot, 1, 2),
    "restore": (_restore, 2, 2),
    "rm": (_rm, 1, 2),
}


def _number(text: str, bits: int = 64) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        raise Failure(f"osd: {text!r} is not a number of {bits} bits", ExitCode.USAGE)
    return number


def _place(path: str) -> BinaryIO:
    try:
        return Path(path).open("wb", buffering=0)       # what cannot be written is known at once
    except OSError as error:
        raise Failure(f"osd get: {path} cannot be written: {error.strerror}") from None


def _keep(place: BinaryIO, data: bytes, path: str = "") -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[place.write(view) :]
        place.flush()
    except OSError as error:
        if not path:
            if isinstance(error, BrokenPipeError):
                raise _ReaderGoneError from None
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())      # nothing may be flushed at exit
        raise Failure(f"osd get: {path or 'stdout'} cannot be written: {error.strerror}") from None


def _shown(number: int) -> str:
    return f"{number:#x}"


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Failure(f"osd: {text!r} is not hexadecimal", ExitCode.USAGE) from None


def _source(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise Failure(f"osd put: {path} cannot be read: {error.strerror}") from None


def _parts(source: BinaryIO, path: str) -> Iterator[bytes]:
    while True:
        try:
            part = source.read(_PART)
        except OSError as error:
            raise Failure(f"osd put: {path} cannot be read: {error.strerror}") from None
        if not part:
            return
        yield part
