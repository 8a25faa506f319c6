"""Log in to a unit, execute a CDB, print status, data and sense.

    scsiemu send iscsi://127.0.0.1:3260/iqn.2026-11.example:a/0 12 01 83 00 ff 00
    scsiemu send iscsi://HOST:PORT/NAME/LUN 2a 00 00 00 00 00 00 00 01 00 --data-out block.bin
    scsiemu send iscsi://HOST:PORT/NAME/LUN 15 10 00 00 0c 00 --data-out 000000080000000000000200

A new session begins with unit attentions; they are taken away with TEST UNIT READY before, unless --keep-attentions.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from scsiemu import decode
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.hexbytes import parse_hex
from scsiemu.app.secret_file import read_credentials
from scsiemu.app.service_plugins import service_declaration
from scsiemu.app.tables import find_operation, operation_tables
from scsiemu.operations import DataDirection, Operation, OperationTable
from scsiemu.sam import STATUS_NAMES, Status
from scsiemu.sense import SenseKey, decode_sense
from scsiemu.services import Client, ConnectRequest, Outcome
from scsiemu.unit_options import parse_seconds, parse_size

__all__ = ["add_arguments", "clear_attentions", "command", "connect_unit"]

_TEST_UNIT_READY: Final = bytes(6)
_MOST_ATTENTIONS: Final = 16
_DEFAULT_IN: Final = 65536
_MOST_DATA: Final = 1 << 30
_SHOWN: Final = 4096            # bytes of a dump for people
# iscsi://USER%SECRET@HOST and ?target_password=SECRET; a secret may have anything but the end of its place in it.
_SECRET: Final = re.compile(r"(://[^%:/@\s]+)[%:]\S*@")
_SECRET_IN_QUERY: Final = re.compile(r"(password=)[^&\s]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `send`."""
    parser.add_argument("url", metavar="URL", help="of the unit: iscsi://HOST:PORT/TARGET/LUN")
    parser.add_argument("cdb", nargs="+", metavar="CDBHEX", help="the bytes of the CDB, with or without spaces")
    parser.add_argument("--data-out", metavar="FILE|HEX", help="data for the unit; - is stdin")
    parser.add_argument(
        "--in", dest="data_in", metavar="SIZE", help="most bytes to take (default: as the CDB says, or 64K)"
    )
    parser.add_argument("--save", metavar="FILE", help="write the data that comes to this file")
    parser.add_argument("--initiator", metavar="NAME", default="", help="our iSCSI name")
    parser.add_argument("--chap", metavar="USER:SECRETFILE", help="how we authenticate")
    parser.add_argument("--mutual-chap", metavar="USER:SECRETFILE", help="how the target must")
    parser.add_argument("--timeout", metavar="SECONDS", default="30", help="for the login and for the command")
    parser.add_argument("--keep-attentions", action="store_true", help="do not take unit attentions away before")
    parser.add_argument(
        "--insecure-permissions", action="store_true", help="take secret files that others can read"
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def command(arguments: argparse.Namespace) -> int:
    """Send it; GOOD and CONDITION MET are exit code 0."""
    try:
        return _send(arguments)
    except Failure as failure:
        raise Failure(_without_secrets(str(failure)), failure.code) from None


def _send(arguments: argparse.Namespace) -> int:
    scheme, colon, _ = arguments.url.partition("://")
    if not colon:
        raise Failure(f"{arguments.url} is no URL of a unit: iscsi://HOST:PORT/TARGET/LUN", ExitCode.USAGE)
    cdb = parse_hex(arguments.cdb, what="the CDB")
    data_out = _data_out(arguments.data_out)
    tables = operation_tables()
    data_in_length = _data_in_length(arguments, cdb, find_operation(cdb, tables), data_out)
    client = connect_unit(scheme, arguments)
    try:
        if not arguments.keep_attentions:
            clear_attentions(client)
        outcome = client.execute(cdb, data_out=data_out, data_in_length=data_in_length)
    except OSError as error:
        raise Failure(f"{arguments.url}: {error.strerror or error}", ExitCode.NOT_CONNECTED) from None
    finally:
        client.close()
    if arguments.save is not None:
        _save(arguments.save, outcome.data_in)
    if arguments.json:
        print(json.dumps(_as_json(cdb, outcome, tables)))
    else:
        print("\n".join(_as_text(cdb, outcome, tables)))
    return ExitCode.OK if outcome.status in (Status.GOOD, Status.CONDITION_MET) else ExitCode.REFUSED


def connect_unit(scheme: str, arguments: argparse.Namespace) -> Client:
    """Log in as `url`, `initiator`, `chap`, `mutual_chap` and `timeout` say. Raises Failure."""
    secrets = {}
    for option, text in (("--chap", arguments.chap), ("--mutual-chap", arguments.mutual_chap)):
        if text is not None:
            # A weak secret is the target's business.
            found = read_credentials(
                text, option=option, insecure_permissions=arguments.insecure_permissions, allow_weak=True
            )
            secrets[option] = (found.user, found.secret)
    try:
        seconds = parse_seconds(arguments.timeout)
    except ValueError as error:
        raise Failure(f"--timeout: {error}", ExitCode.USAGE) from None
    request = ConnectRequest(
        arguments.url, arguments.initiator, secrets.get("--chap"), secrets.get("--mutual-chap"), seconds
    )
    try:
        return service_declaration(scheme).connect(request)
    except ValueError as error:
        raise Failure(f"{arguments.url}: {error}", ExitCode.USAGE) from None
    except OSError as error:
        raise Failure(f"{arguments.url}: {error.strerror or error}", ExitCode.NOT_CONNECTED) from None


def _without_secrets(text: str) -> str:
    """A text in which the secrets of URLs are not to be read."""
    return _SECRET_IN_QUERY.sub(r"\1***", _SECRET.sub(r"\1%***@", text))


class _Executes(Protocol):
    """What executes a command without data, such as a `Client`."""

    def execute(self, cdb: bytes, /) -> Outcome:
        """Execute it, and wait for its end."""


def clear_attentions(client: _Executes) -> None:
    """Take the unit attentions of a new session away."""
    for _ in range(_MOST_ATTENTIONS):
        outcome = client.execute(_TEST_UNIT_READY)
        sense = decode_sense(outcome.sense)
        if sense is None or sense.code.key != SenseKey.UNIT_ATTENTION:
            return


def _data_out(given: str | None) -> bytes:
    if given is None:
        return b""
    if given == "-":
        return sys.stdin.buffer.read(_MOST_DATA)
    # Not Path.is_file: hexadecimal that is longer than a file name may be is no error.
    if os.path.isfile(given):
        try:
            if os.path.getsize(given) > _MOST_DATA:
                raise Failure(f"--data-out: {given} has more than {_MOST_DATA} bytes", ExitCode.USAGE)
            return Path(given).read_bytes()
        except OSError as error:
            raise Failure(f"--data-out: {given} cannot be read: {error.strerror}") from None
    try:
        return parse_hex([given], what="--data-out")
    except Failure:
        raise Failure(f"--data-out: {given} is neither a file nor hexadecimal", ExitCode.USAGE) from None


def _data_in_length(
    arguments: argparse.Namespace, cdb: bytes, operation: Operation | None, data_out: bytes
) -> int:
    """How many bytes to take: as told, as the CDB says, or plenty."""
    if arguments.data_in is not None:
        try:
            return min(parse_size(arguments.data_in), _MOST_DATA)
        except ValueError as error:
            raise Failure(f"--in: {error}", ExitCode.USAGE) from None
    if operation is None:
        return 0 if data_out else _DEFAULT_IN
    if operation.data not in (DataDirection.IN, DataDirection.BIDIRECTIONAL):
        return 0
    if operation.allocation is None:
        # A read: the block size is the unit's, so take room for the largest.
        blocks = dict(operation.layout.parse(cdb).items()).get("transfer_length", 16)
        return min((blocks or 256) * 4224, 16 << 20)
    return min(int(getattr(operation.layout.parse(cdb), operation.allocation)), 16 << 20)


def _save(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise Failure(f"--save: {path} cannot be written: {error.strerror}") from None


def _as_json(cdb: bytes, outcome: Outcome, tables: tuple[OperationTable, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "command": decode.explain_cdb(cdb, tables).as_json(),
        "status": STATUS_NAMES.get(outcome.status, f"{outcome.status:02X}h"),
        "status_code": outcome.status,
        "data_in": outcome.data_in.hex(),
        "underflow": outcome.underflow,
        "overflow": outcome.overflow,
    }
    explained = decode.explain_data_in(cdb, outcome.data_in)
    if outcome.data_in and "bytes" not in explained.fields:
        told["data"] = explained.as_json()
    if outcome.sense:
        told["sense"] = {**decode.explain_sense(outcome.sense).as_json(), "bytes": outcome.sense.hex()}
    return told


def _as_text(cdb: bytes, outcome: Outcome, tables: tuple[OperationTable, ...]) -> list[str]:
    status = STATUS_NAMES.get(outcome.status, f"{outcome.status:02X}h")
    lines = [f"{decode.explain_cdb(cdb, tables).title}: {status}"]
    if outcome.overflow:
        lines.append(f"{outcome.overflow} bytes more were there: see --in")
    if outcome.sense:
        lines += decode.explain_sense(outcome.sense).lines()
    if outcome.data_in:
        explained = decode.explain_data_in(cdb, outcome.data_in)
        if "bytes" not in explained.fields:
            lines += explained.lines()
        lines += [f"{len(outcome.data_in)} bytes of data:", *_dump(outcome.data_in)]
    return lines


def _dump(data: bytes) -> list[str]:
    """Rows of 16 bytes: offset, hexadecimal, characters. A row like the one before it is left out."""
    lines: list[str] = []
    last = b""
    for at in range(0, min(len(data), _SHOWN), 16):
        row = data[at : at + 16]
        if row == last:
            if lines[-1] != "  *":
                lines.append("  *")
            continue
        last = row
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"  {at:06x}  {row.hex(' '):<47}  {letters}")
    if len(data) > _SHOWN:
        lines.append(f"  ... {len(data) - _SHOWN} bytes more: --save FILE keeps all")
    return lines
