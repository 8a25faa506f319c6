"""What bytes mean, for people and for programs: CDBs, sense data, parameter data in both directions.

CDBs are named by the operation tables that the caller has, else by `formats.cdb`; everything else by
`formats`. Nothing here is on the way of a command, and no bytes make it raise: what cannot be read is shown
as hex, with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from construct import Construct

from scsiemu import asc, lun
from scsiemu._value import value
from scsiemu.formats import block, inquiry, log, mode, reports, reservations
from scsiemu.formats import cdb as cdb_formats
from scsiemu.formats import sense as sense_formats
from scsiemu.formats._words import parse_or_none, plain, record_fields
from scsiemu.operations import OperationTable
from scsiemu.sense import SENSE_KEY_NAMES, SenseKey

__all__ = ["Explanation", "explain_cdb", "explain_data_in", "explain_data_out", "explain_sense"]


@value
class Explanation:
    """What some bytes mean.

    Args:
        title: what they are, in the words of the standard.
        fields: names and values, which may be lists and further fields. JSON takes them as they are: numbers,
            booleans, text, bytes as hex.
        notes: what is odd: cut short, unknown, too long.
    """

    title: str
    fields: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A value for the json module."""
        return {"title": self.title, "fields": dict(self.fields), "notes": list(self.notes)}

    def lines(self) -> list[str]:
        """Text: the title, then each field on a line of its own, inner ones indented."""
        return [self.title, *_lines(self.fields, "  "), *(f"  note: {note}" for note in self.notes)]


def explain_cdb(cdb: bytes, table: OperationTable | Iterable[OperationTable] | None = None) -> Explanation:
    """Name and fields of a CDB.

    Args:
        cdb: the CDB; bytes past its length are noted.
        table: the operations of the unit, or of several device types: the first that knows the CDB names it.
    """
    cdb = bytes(cdb)
    if not cdb:
        return Explanation("no CDB", {}, ("it has no bytes",))
    tables = () if table is None else (table,) if isinstance(table, OperationTable) else tuple(table)
    for known in tables:
        operation = known.find(cdb)
        if operation is not None:
            fields = dict(operation.layout.parse(cdb).items())
            wrong = operation.layout.reserved_bit_set(cdb)
            return Explanation(operation.name, fields, _cdb_notes(cdb, operation.layout.length, wrong is not None))
    found = cdb_formats.cdb_format(cdb)
    if found is not None:
        name, definition = found
        parsed = definition.parse(cdb)
        fields = plain(parsed)
        stray = definition.build(parsed) != cdb[: definition.sizeof()]
        return Explanation(name, fields, _cdb_notes(cdb, definition.sizeof(), stray))
    return Explanation(f"operation code {cdb[0]:02X}h", {"opcode": cdb[0], "cdb": cdb.hex()}, ("unknown or cut",))


def explain_sense(data: bytes) -> Explanation:
    """Key, additional sense code and all other fields of sense data in either format."""
    data = bytes(data)
    response_code = data[0] & 0x7F if data else 0
    if response_code in (0x70, 0x71):
        fields = record_fields(sense_formats.FIXED_SENSE, data)
        end = 8 + fields.get("additional_sense_length", 10)
        form = "fixed"
    elif response_code in (0x72, 0x73):
        fields = record_fields(sense_formats.DESCRIPTOR_SENSE_HEADER, data)
        end = 8 + fields.get("additional_sense_length", 0)
        fields["descriptors"] = _sense_descriptors(data[8:end], fields.get("sense_key", 0))
        form = "descriptor"
    else:
        return Explanation("not sense data", {"bytes": data.hex()}, ("its response code is not 70h to 73h",))
    key = fields.get("sense_key", 0)
    if "sense_key_specific" in fields:
        _explain_specific(fields, key, data[15:18])
    notes = _length_notes(len(data), end)
    if "additional_sense_code_qualifier" in fields:
        name = asc.name_of(fields["additional_sense_code"], fields["additional_sense_code_qualifier"])
    else:
        name = "additional sense code missing"
    kind = "deferred" if response_code & 1 else "current"
    key_name = SENSE_KEY_NAMES.get(key, f"sense key {key:X}h")
    return Explanation(f"{key_name}: {name} ({form} format, {kind})", fields, notes)


def explain_data_in(cdb: bytes, data: bytes) -> Explanation:
    """The Data-In of a command, which its CDB tells how to read."""
    return _explain_data(bytes(cdb), bytes(data), _DATA_IN, "Data-In")


def explain_data_out(cdb: bytes, data: bytes) -> Explanation:
    """The parameter list of a command, which its CDB tells how to read."""
    return _explain_data(bytes(cdb), bytes(data), _DATA_OUT, "Data-Out")


# How to read data: a title, the whole definition, its header (what a cut one still says), the header's length
# field and what that field does not count.
_Reading = tuple[str, Construct, Construct | None, str, int]


def _explain_data(
    cdb: bytes, data: bytes, readings: Mapping[tuple[int, int | None], Callable[[bytes, bytes], _Reading | None]],
    direction: str,
) -> Explanation:
    opcode = cdb[0] if cdb else -1
    action = cdb[1] & 0x1F if len(cdb) > 1 else 0
    choose = readings.get((opcode, None)) or readings.get((opcode, action))
    reading = choose(cdb.ljust(32, b"\0"), data) if choose is not None else None
    if reading is None:
        return Explanation(f"{direction} of {explain_cdb(cdb).title}", {"bytes": data.hex()})
    title, definition, header, length_field, uncounted = reading
    if header is None:
        fields = record_fields(definition, data)
    else:
        parsed = parse_or_none(definition, data)
        if parsed is None:
            fields = record_fields(header, data)
            if fields:
                fields["rest"] = data[header.sizeof() :].hex()
        else:
            fields = plain(parsed)
    notes = () if length_field not in fields else _length_notes(len(data), fields[length_field] + uncounted)
    if header is None and len(data) < definition.sizeof() and not notes:
        notes = (f"cut: {len(data)} bytes",)
    refine = _REFINE.get(title)
    if refine is not None:
        refine(fields)
    return Explanation(title, fields, notes)


def _inquiry(cdb: bytes, data: bytes) -> _Reading:
    if not cdb[1] & 1:
        return "standard INQUIRY data", inquiry.STANDARD_INQUIRY, None, "additional_length", 5
    code = data[1] if len(data) > 1 else cdb[2]
    title = f"VPD page {code:02X}h: {inquiry.VPD_NAMES.get(code, 'unknown')}"
    page = inquiry.VPD_PAGES.get(code, inquiry.VPD_OTHER)
    return title, page, inquiry.VPD_HEADER, "page_length", 4


def _mode_6(cdb: bytes, data: bytes) -> _Reading:
    return "mode parameters", mode.MODE_LIST_6, mode.MODE_HEADER_6, "mode_data_length", 1


def _mode_10(cdb: bytes, data: bytes) -> _Reading:
    return "mode parameters", mode.MODE_LIST_10, mode.MODE_HEADER_10, "mode_data_length", 2


def _log(cdb: bytes, data: bytes) -> _Reading:
    code = data[0] & 0x3F if data else cdb[2] & 0x3F
    subpage = data[1] if len(data) > 1 else cdb[3]
    name = log.LOG_PAGE_NAMES.get((code, subpage), "unknown")
    definition = log.LOG_PAGE
    if subpage == 0xFF:
        definition = log.SUPPORTED_LOG_SUBPAGES
    elif code == 0:
        definition = log.SUPPORTED_LOG_PAGES
    return f"log page {code:02X}h/{subpage:02X}h: {name}", definition, log.LOG_HEADER, "page_length", 4


def _rsoc(cdb: bytes, data: bytes) -> _Reading:
    if cdb[2] & 7:
        return "one supported operation", reports.ONE_OPERATION_CODE, reports.ONE_OPERATION_HEADER, "", 0
    header = reports.ALL_OPERATION_HEADER
    return "supported operations", reports.ALL_OPERATION_CODES, header, "command_data_length", 4


def _fixed(*reading: Any) -> Callable[[bytes, bytes], _Reading | None]:
    """A reading that the CDB and the data do not change."""
    return lambda cdb, data: reading


_PR_HEADER: Final = reservations.READ_HEADER

_DATA_IN: Final[dict[tuple[int, int | None], Callable[[bytes, bytes], _Reading | None]]] = {
    (0x12, None): _inquiry,
    (0x1A, None): _mode_6,
    (0x5A, None): _mode_10,
    (0x4D, None): _log,
    (0x25, None): _fixed("READ CAPACITY(10) data", block.READ_CAPACITY_10, None, "", 0),
    (0x9E, 0x10): _fixed("READ CAPACITY(16) data", block.READ_CAPACITY_16, None, "", 0),
    (0x9E, 0x12): _fixed(
        "LBA status", block.LBA_STATUS, block.LBA_STATUS_HEADER, "parameter_data_length", 4
    ),
    (0xA0, None): _fixed("LUN list", reports.LUN_LIST, reports.LUN_LIST_HEADER, "lun_list_length", 8),
    (0xA3, 0x0A): _fixed(
        "target port groups", reports.TARGET_PORT_GROUPS, reports.TARGET_PORT_GROUPS_HEADER, "return_data_length", 4
    ),
    (0xA3, 0x0C): _rsoc,
    (0x5E, 0x00): _fixed("reservation keys", reservations.READ_KEYS, _PR_HEADER, "additional_length", 8),
    (0x5E, 0x01): _fixed("reservation", reservations.READ_RESERVATION, _PR_HEADER, "additional_length", 8),
    (0x5E, 0x02): _fixed("reservation capabilities", reservations.REPORT_CAPABILITIES, None, "length", 0),
    (0x5E, 0x03): _fixed("full status", reservations.FULL_STATUS, _PR_HEADER, "additional_length", 8),
}

_OUT_HEADER: Final = reservations.RESERVE_OUT_HEADER
_MOVE_HEADER: Final = reservations.REGISTER_AND_MOVE_HEADER

_DATA_OUT: Final[dict[tuple[int, int | None], Callable[[bytes, bytes], _Reading | None]]] = {
    # MODE DATA LENGTH is reserved in MODE SELECT: no length to check by.
    (0x15, None): _fixed("mode parameters", mode.MODE_LIST_6, mode.MODE_HEADER_6, "", 0),
    (0x55, None): _fixed("mode parameters", mode.MODE_LIST_10, mode.MODE_HEADER_10, "", 0),
    (0x42, None): _fixed("UNMAP list", block.UNMAP_LIST, block.UNMAP_HEADER, "unmap_data_length", 2),
    **{
        (0x5F, action): _fixed("reservation parameters", reservations.RESERVE_OUT_LIST, _OUT_HEADER, "", 0)
        for action in (0, 1, 2, 3, 4, 5, 6, 8)
    },
    (0x5F, 0x07): _fixed(
        "REGISTER AND MOVE parameters", reservations.REGISTER_AND_MOVE_LIST, _MOVE_HEADER, "", 0
    ),
}


def _refine_mode(fields: dict[str, Any]) -> None:
    """Mode pages by name, their parameters laid out where `formats.mode` has the page."""
    pages = []
    for item in fields.get("pages", ()):
        page = item["page"]
        key = (page["page_code"], page.get("subpage_code", 0))
        parameters = bytes.fromhex(page.pop("parameters"))
        page["name"] = mode.MODE_PAGE_NAMES.get(key, "unknown")
        definition = mode.MODE_PAGES.get(key)
        parsed = parse_or_none(definition, parameters) if definition is not None else None
        if parsed is None:
            page["parameters"] = parameters.hex()
        else:
            page.update(plain(parsed))
        pages.append(page)
    if "pages" in fields:
        fields["pages"] = pages


def _refine_luns(fields: dict[str, Any]) -> None:
    if "luns" in fields:
        fields["luns"] = [
            {"lun": f"{number:016x}", "meaning": "; ".join(str(level) for level in lun.levels(number))}
            for number in fields["luns"]
        ]


def _refine_reservations(fields: dict[str, Any]) -> None:
    for item in (*fields.get("reservations", ()), *fields.get("full_status_descriptors", ())):
        item["type_name"] = reservations.RESERVATION_TYPE_NAMES.get(item["type"], "none")


def _refine_lba_status(fields: dict[str, Any]) -> None:
    for item in fields.get("lba_status_descriptors", ()):
        item["meaning"] = block.PROVISIONING_STATUS_NAMES.get(item["provisioning_status"], "reserved")


def _refine_operations(fields: dict[str, Any]) -> None:
    for item in fields.get("commands", ()):
        action = item["service_action"] if item["servactv"] else None
        found = cdb_formats.CDBS.get((item["operation_code"], action))
        if found is not None:
            item["name"] = found[0]


# What the bare fields do not say, by title of the reading.
_REFINE: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "mode parameters": _refine_mode,
    "LUN list": _refine_luns,
    "reservation": _refine_reservations,
    "full status": _refine_reservations,
    "LBA status": _refine_lba_status,
    "supported operations": _refine_operations,
}


def _sense_descriptors(data: bytes, key: int) -> list[dict[str, Any]]:
    """The descriptors of sense data in descriptor format; one that does not fit its definition as bytes."""
    found = []
    while data:
        size = 2 + data[1] if len(data) > 1 else 2
        parsed = parse_or_none(sense_formats.SENSE_DESCRIPTOR, data[:size])
        if parsed is None:
            found.append({"descriptor_type": data[0], "bytes": data[:size].hex()})
        else:
            fields = plain(parsed)
            inner = fields.pop("data")
            fields.update(inner if isinstance(inner, dict) else {"bytes": inner})
            if "sense_key_specific" in fields:
                _explain_specific(fields, key, data[4:7])
            found.append(fields)
        data = data[size:]
    return found


def _explain_specific(fields: dict[str, Any], key: int, data: bytes) -> None:
    """Replace the sense key specific bytes by what the sense key makes of them."""
    if not fields.get("sksv"):
        del fields["sense_key_specific"]
        return
    if key == SenseKey.ILLEGAL_REQUEST:
        fields["sense_key_specific"] = record_fields(sense_formats.FIELD_POINTER, data)
    elif key in (SenseKey.NO_SENSE, SenseKey.NOT_READY):
        fields["sense_key_specific"] = record_fields(sense_formats.PROGRESS, data)
    elif key in (SenseKey.RECOVERED_ERROR, SenseKey.MEDIUM_ERROR, SenseKey.HARDWARE_ERROR):
        fields["sense_key_specific"] = {"actual_retry_count": int.from_bytes(data[1:3], "big")}


def _cdb_notes(cdb: bytes, length: int, stray: bool) -> tuple[str, ...]:
    notes = []
    if stray:
        notes.append("a reserved bit is set")
    if any(cdb[length:]):
        notes.append(f"{len(cdb) - length} bytes follow the CDB")
    return tuple(notes)


def _length_notes(have: int, claimed: int) -> tuple[str, ...]:
    if have < claimed:
        return (f"cut: {have} of {claimed} bytes",)
    if have > claimed:
        return (f"{have - claimed} bytes follow",)
    return ()


def _lines(found: Any, indent: str) -> list[str]:
    """Fields as text, recursively: the depth is that of the formats."""
    lines = []
    items = found.items() if isinstance(found, Mapping) else ((f"[{at}]", item) for at, item in enumerate(found))
    for name, item in items:
        label = str(name).replace("_", " ")
        if isinstance(item, Mapping | list) and item:
            lines.append(f"{indent}{label}:")
            lines.extend(_lines(item, indent + "  "))
        else:
            lines.append(f"{indent}{label}: {_scalar(item)}")
    return lines


def _scalar(item: Any) -> str:
    if isinstance(item, bool):
        return "1" if item else "0"
    if isinstance(item, int):
        return str(item) if 0 <= item < 10 else f"{item} ({item:X}h)"
    if item is None or item in ([], {}):
        return "none"
    return str(item)
