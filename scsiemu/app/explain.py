"""Explain bytes: a CDB, sense data, an iSCSI PDU with all of its data, or the data of a command.

    scsiemu decode cdb 28 00 00 00 00 00 00 00 08 00
    scsiemu decode sense 70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 c0 00 02
    scsiemu decode data --cdb "12 01 83 00 ff 00" 00 83 00 04 ...
    scsiemu decode pdu 01 81 00 00 ...

Bytes may be written with or without spaces; - reads them from stdin.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from scsiemu import decode
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.hexbytes import parse_hex
from scsiemu.app.tables import operation_tables
from scsiemu.formats import iscsi
from scsiemu.formats._words import plain

__all__ = ["add_arguments", "command"]

_BHS_LENGTH: Final = 48
_SCSI_COMMAND: Final = 0x01
_SCSI_RESPONSE: Final = 0x21
_CHECK_CONDITION: Final = 0x02
_TEXT_PDUS: Final = frozenset((0x03, 0x04, 0x23, 0x24))
_UNKNOWN: Final = "unknown or cut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `decode`."""
    parser.add_argument("what", choices=("cdb", "sense", "pdu", "data"), help="what the bytes are")
    parser.add_argument("bytes", nargs="+", metavar="HEX", help="the bytes; - reads hexadecimal text from stdin")
    parser.add_argument("--cdb", metavar="HEX", help="the CDB that the data belongs to (needed for data)")
    parser.add_argument("--out", action="store_true", help="the data went to the unit: a parameter list")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def command(arguments: argparse.Namespace) -> int:
    """Explain."""
    words = [sys.stdin.read(1 << 24)] if arguments.bytes == ["-"] else arguments.bytes
    data = parse_hex(words, what=f"decode {arguments.what}")
    if arguments.what == "cdb":
        explained = [decode.explain_cdb(data, operation_tables())]
    elif arguments.what == "sense":
        explained = [decode.explain_sense(data)]
    elif arguments.what == "data":
        explained = [_data(data, arguments)]
    else:
        explained = _pdu(data)
    if arguments.json:
        first, *rest = (explanation.as_json() for explanation in explained)
        print(json.dumps({**first, "inside": rest} if rest else first))
    else:
        for explanation in explained:
            print("\n".join(explanation.lines()))
    first_one = explained[0]
    understood = first_one.title != "not sense data" and _UNKNOWN not in first_one.notes
    return ExitCode.OK if understood else ExitCode.REFUSED


def _data(data: bytes, arguments: argparse.Namespace) -> decode.Explanation:
    if arguments.cdb is None:
        raise Failure('decode data needs the CDB: --cdb "12 01 83 00 ff 00"', ExitCode.USAGE)
    cdb = parse_hex([arguments.cdb], what="--cdb")
    return decode.explain_data_out(cdb, data) if arguments.out else decode.explain_data_in(cdb, data)


def _pdu(data: bytes) -> list[decode.Explanation]:
    """A PDU, then what it carries."""
    opcode = data[0] & 0x3F
    name = iscsi.OPCODE_NAMES.get(opcode)
    if name is None or len(data) < _BHS_LENGTH:
        return [decode.Explanation(
            f"iSCSI PDU, opcode {opcode:02X}h", {"bytes": data.hex()},
            (_UNKNOWN, f"{len(data)} bytes; the basic header segment has {_BHS_LENGTH}"),
        )]
    fields = plain(iscsi.BHS[opcode].parse(data[:_BHS_LENGTH]))
    notes = []
    after_ahs = _BHS_LENGTH + 4 * data[4]
    length = int.from_bytes(data[5:8], "big")
    segment = data[after_ahs : after_ahs + length]
    if len(segment) < length:
        notes.append(f"cut: {len(segment)} of {length} bytes of the data segment")
    if data[4]:
        fields["ahs"] = data[_BHS_LENGTH:after_ahs].hex()
    if segment:
        fields["data"] = _text(segment) if opcode in _TEXT_PDUS else segment.hex()
    explained = [decode.Explanation(f"iSCSI {name}", fields, tuple(notes))]
    if opcode == _SCSI_COMMAND:
        explained.append(decode.explain_cdb(data[32:48], operation_tables()))
    elif opcode == _SCSI_RESPONSE and data[3] == _CHECK_CONDITION and len(segment) > 2:
        explained.append(decode.explain_sense(segment[2 : 2 + int.from_bytes(segment[:2], "big")]))
    return explained


def _text(segment: bytes) -> list[str]:
    """Keys and values of a text segment, as they are but for what is not printable."""
    return [pair.decode("utf-8", "backslashreplace") for pair in segment.rstrip(b"\0").split(b"\0")]
