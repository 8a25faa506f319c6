"""Wireshark reads object commands: every CDB field and attribute that it knows is what we say, in both versions.

Of OSD-1 it knows every command but SET MASTER KEY; of OSD-2 the names of some and the fields of a few. Where it is
wrong (version 4.0) we leave it out and say so: it reads the security parameters of OSD-2 with the lengths of OSD-1, and
FUA as a bit of ISOLATION. What kind of unit it is, it learns from INQUIRY.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded_wire import ISCSI_PORT, RecordedWire

from devtypes.osd import ObjectStorageDevice
from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.requests import Request, parse_attributes, request
from scsiemu.operations import OperationTable
from scsiemu.testing.served import IscsiTarget
from transports.iscsi.client import Client, connect
from transports.iscsi.initiator import CommandResult

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

OPERATIONS = {
    declared.service_action: declared for declared in OperationTable(ObjectStorageDevice)
    if declared.opcode == 0x7F
}
INQUIRY = bytes((0x12, 0, 0, 0, 255, 0))
PID, OID, CID = 0x12345, 0x23456, 0x34567

# Our fields, and Wireshark's that have to be the same.
FIELDS = {
    "partition_id": ("osd.partition_id", "osd.requested_partition_id"),
    "object_id": (
        "osd.user_object_id", "osd.requested_user_object_id", "osd.collection_object_id",
        "osd.requested_collection_object_id",
    ),
    "length": ("osd.length",), "allocation_length": ("osd.allocation_length",),
    "starting_byte_address": ("osd.starting_byte_address",), "initial_object_id": ("osd.initial_object_id",),
    "list_identifier": ("osd.list_identifier",), "number_of_user_objects": ("osd.number_of_user_objects",),
    "formatted_capacity": ("osd.formatted_capacity",), "cdbfmt": ("osd.getset",),
    "timestamps_control": ("osd.timestamps_control",), "dpo": ("osd.option.dpo",), "fua": ("osd.option.fua",),
    "list_attr": ("osd2.list_attr",), "sort_order": ("osd.sort_order",), "immed_tr": ("osd2.immed_tr",),
    "remove_scope": ("osd2.remove_scope",), "fcr": ("osd.collection.fcr",),
    "flush_scope": (
        "osd.flush.scope", "osd.flush_collection.scope", "osd.flush_partition.scope", "osd.flush_osd.scope"
    ),
    "key_to_set": ("osd.key_to_set",), "key_version": ("osd.set_key_version",),
    "key_identifier": ("osd.key_identifier",), "seed": ("osd.seed",),
    "source_collection_id": ("osd2.source_collection_object_id",),
    "matches_collection_id": ("osd2.matches_collection_object_id",),
    "cdb_continuation_length": ("osd2.cdb_continuation.length",), "request_nonce": ("osd.request_nonce",),
    "request_icv": ("osd.ricv",), "data_in_icv_offset": ("osd.diicvo",), "data_out_icv_offset": ("osd.doicvo",),
}
# Numbers that it shows as bytes.
BYTES = {
    "object_id", "initial_object_id", "key_identifier", "seed", "source_collection_id", "matches_collection_id",
    "request_nonce", "request_icv",
}
SECURITY = ("request_icv", "request_nonce", "data_in_icv_offset", "data_out_icv_offset")
LISTS = (
    "scsi_osd.attributes_list.type", "scsi_osd.attributes.page", "scsi_osd.attribute.number",
    "scsi_osd.attribute.length",
)
# What it says where it finds something wrong.
COMPLAINTS = (
    "_ws.malformed", "scsi_osd2.invalid_offset", "scsi_osd2.object_descriptor_format.invalid",
    "scsi_osd.attributes_list.type.invalid", "scsi_osd2.cdb_continuation.format.unknown",
    "scsi_osd2.cdb_continuation.sa.mismatch", "scsi_osd2.cdb_continuation.desc.type.unknown",
    "scsi_osd2.cdb_continuation.desc.length.invalid", "scsi_osd2.cdb_continuation.length.invalid",
    "scsi_osd.attribute_length.invalid",
)
# Commands whose fields it knows.
KNOWN_1 = {number for number in OPERATIONS if number < 0x8880} - {0x8819}
KNOWN_2 = {0x888B, 0x888C, 0x888E, 0x888F, 0x8883, 0x8894, 0x8896, 0x8897, 0x88A0}


class Capture:
    """What went over a connection, read by tshark."""

    def __init__(self, tool: str, path: Path) -> None:
        self._command = [
            tool, "-r", str(path), "-d", f"tcp.port=={ISCSI_PORT},iscsi",
        ]

    def fields(self, display: str, *names: str) -> list[list[str]]:
        """Fields of the frames that a display filter lets through."""
        command = [*self._command, "-Y", display, "-T", "fields"]
        for name in names:
            command += ["-e", name]
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return [line.split("\t") for line in output.splitlines()]


@pytest.fixture
def tool(require_tool: Callable[[str], str]) -> str:
    """Wireshark's."""
    return require_tool("tshark")


class Session:
    """A recorded connection to a unit of our own."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def execute(self, sent: Request) -> CommandResult:
        """Send a command."""
        return self._client.execute(self._client.lun, sent.cdb, sent.data_out, sent.data_in)

    def good(self, sent: Request) -> bytes:
        """A command that ends with GOOD; its Data-In."""
        result = self.execute(sent)
        assert result.status == 0, result
        return bytes(result.data_in)


def record(tool: str, path: Path, talk: Callable[[Session], None]) -> Capture:
    """What `talk` says over a connection."""
    with IscsiTarget("--osd", "1G") as served:
        name = served.url.split("/", 3)[3]
        with RecordedWire(served.portal) as wire, connect(f"iscsi://{wire.portal}/{name}") as client:
            client.execute(client.lun, INQUIRY, b"", 255)
            client.execute(client.lun, bytes(6))                # takes the unit attention
            talk(Session(client))
    wire.write(path)
    return Capture(tool, path)


def distinct(number: int) -> dict[str, int]:
    """A value of its own for every field of a CDB, bytes counting up."""
    made = {}
    for at, field in enumerate(OPERATIONS[number].layout.fields):
        if field.name not in ("_", "opcode", "service_action", "additional_cdb_length", "attributes", "capability"):
            text = bytes((0x11 * (at % 14 + 1) + step) & 0xFF for step in range(field.width // 8 + 1))
            made[field.name] = int.from_bytes(text, "big") % (1 << field.width) or 1
    return {**made, "cdbfmt": 3, "control": 0}


def build(number: int, **fields: int) -> Request:
    """The CDB of a service action."""
    name = OPERATIONS[number].name
    return request(name.removesuffix(" (OSD-1)"), version=1 if name.endswith(" (OSD-1)") else 2, **fields)


def numbers(name: str, text: str) -> list[int]:
    """What tshark shows of a field: numbers, bytes, or bits by name."""
    words = text.split(",")
    if name in BYTES:
        return [int(each.replace(":", ""), 16) for each in words]
    return [int(each == "True") if each in ("True", "False") else int(each, 0) for each in words]


def test_osd_cdb_fields(tool: str, tmp_path: Path) -> None:
    """Every field of every CDB that Wireshark shows has the value that we put in, and all that it knows are shown."""
    sent = {number: distinct(number) for number in OPERATIONS}

    def talk(session: Session) -> None:
        for number, fields in sent.items():
            session.execute(build(number, **fields))

    capture = record(tool, tmp_path / "capture.pcap", talk)
    names = [f"scsi_{each}" for group in FIELDS.values() for each in group]
    wrong, seen = [], {}
    rows = capture.fields("iscsi.opcode == 1 && scsi_osd.svcaction", "scsi_osd.svcaction", *names)
    for action, *values in rows:
        number = int(action, 0)
        shown = dict(zip(names, values, strict=True))
        seen[number] = any(shown[f"scsi_{each}"] for each in FIELDS["request_nonce"])
        for name, value in sent[number].items():
            for each in FIELDS.get(name, ()):
                text = shown[f"scsi_{each}"]
                if text and not (number >= 0x8880 and name in SECURITY):
                    wrong += [(hex(number), each, text) for one in numbers(name, text) if one != value]

    assert wrong == []
    assert list(seen) == list(OPERATIONS)
    assert {number for number, known in seen.items() if known} == KNOWN_1 | KNOWN_2
    assert capture.fields("_ws.malformed", "frame.number", "_ws.col.Info") == []



@pytest.mark.parametrize("version", [1, 2], ids=["osd1", "osd2"])
def test_osd_attribute_lists(tool: str, tmp_path: Path, version: int) -> None:
    """Lists that go out and come back: their types, pages, numbers and lengths are those that we mean."""
    ids = {"partition_id": PID, "object_id": OID}
    setting = ((0x10001, 7, b"c0ffee"), (1, 9, b"a name"))
    getting = ((1, 9), (0x10001, 7), (1, 1), (1, 2), (1, 0x82))
    current = tuple((0xFFFFFFFE, each) for each in range(1, 7))
    commands: list[tuple[str, dict[str, Any]]] = [
        ("FORMAT OSD", {}),
        ("CREATE PARTITION", {"partition_id": PID, "get": current}),
        ("CREATE", ids),
        ("SET ATTRIBUTES", {**ids, "set": setting}),
        ("GET ATTRIBUTES", {**ids, "get": getting}),
        ("SET ATTRIBUTES", {**ids, "set": ((0x10001, 7, b""),)}),
    ]
    if version == 2:
        # Of OSD-1 it stops at FFFFh, the length of what is not there, and takes all that is behind a get list for a
        # part of it.
        commands += [("GET ATTRIBUTES", {**ids, "get": ((0x10001, 8), (1, 1), (0x10001, 7))})]
        commands += [("SET ATTRIBUTES", {**ids, "set": setting, "get": getting}),
                     ("GET ATTRIBUTES", {**ids, "set": setting[:1], "get": getting[:1]})]
    expected: list[tuple[list[int], ...]] = []

    def talk(session: Session) -> None:
        for name, fields in commands:
            get, set_ = fields.get("get", ()), fields.get("set", ())
            sent = request(name, version=version, **fields)
            data = session.good(sent)
            if get or set_:
                expected.append((
                    [1] * bool(get) + [9] * bool(set_), [each[0] for each in get + set_],
                    [each[1] for each in get + set_], [len(each[2]) for each in set_],
                ))
            if get:
                came = parse_attributes(sent, data, version=version)
                lengths = [len(each.value or b"") for each in came]
                expected.append(([9], [each.page for each in came], [each.number for each in came], lengths))

    capture = record(tool, tmp_path / "capture.pcap", talk)
    rows = capture.fields("scsi_osd.attributes_list.type", *LISTS)
    shown = [tuple(numbers("", word) if word else [] for word in row) for row in rows]

    assert shown == expected
    assert capture.fields(" || ".join(COMPLAINTS), "frame.number", "_ws.col.Info") == []


def test_osd_create_several(tool: str, tmp_path: Path) -> None:
    """Attributes of several objects that CREATE made: in OSD-1 a list of type Fh, an object id with each entry."""
    getting = ((1, 2), (0x10001, 7))

    def talk(session: Session) -> None:
        session.good(request("FORMAT OSD", version=1))
        session.good(request("CREATE PARTITION", version=1, partition_id=PID))
        session.good(request(
            "CREATE", version=1, partition_id=PID, number_of_user_objects=3, get=getting,
            set=((0x10001, 7, b"c0ffee"),),
        ))

    capture = record(tool, tmp_path / "capture.pcap", talk)
    (row,) = capture.fields("iscsi.opcode == 0x25 && scsi_osd.attributes_list.type", *LISTS, "scsi_osd.user_object_id")
    *shown, made = row

    assert [numbers("", each) for each in shown] == [
        [0x0F], [page for page, _ in getting] * 3, [each for _, each in getting] * 3, [8, 6] * 3
    ]
    first, *others = [int(each.replace(":", ""), 16) for each in made.split(",")][::2]
    assert others == [first + 1, first + 2]
    assert capture.fields(" || ".join(COMPLAINTS), "frame.number", "_ws.col.Info") == []


def test_osd_lists_of_ids(tool: str, tmp_path: Path) -> None:
    """LIST and LIST COLLECTION: the ids that come, with their attributes; lengths, formats and continuation."""
    ids = {"partition_id": PID, "object_id": OID}
    room = {"data_in": 4096, "allocation_length": 4096}
    listed = {"partition_id": PID, "list_attr": 1, "get": ((1, 0x82),)}

    def talk(session: Session) -> None:
        for version in (1, 2):
            session.good(request("FORMAT OSD", version=version))
            session.good(request("CREATE PARTITION", version=version, partition_id=PID))
            session.good(request("CREATE", version=version, **ids))
            session.good(request("CREATE COLLECTION", version=version, partition_id=PID, object_id=CID))
            session.good(request("SET ATTRIBUTES", version=version, set=((4, 1, CID.to_bytes(8, "big")),), **ids))
            session.good(request("LIST", version=version, **room))
            session.good(request("LIST", version=version, partition_id=PID, **room))
            session.good(request("LIST COLLECTION", version=version, partition_id=PID, **room))
            session.good(request("LIST COLLECTION", version=version, partition_id=PID, object_id=CID, **room))
        session.good(request("LIST", **listed, **room))

    capture = record(tool, tmp_path / "capture.pcap", talk)
    rows = capture.fields(
        "iscsi.opcode == 0x25 && scsi_osd.additional_length", "scsi_osd.additional_length",
        "scsi_osd.continuation_object_id", "scsi_osd.list.root", "scsi_osd.list_collection.coltn",
        "scsi_osd2.object_descriptor_format", "scsi_osd.partition_id", "scsi_osd.user_object_id",
        "scsi_osd.collection_object_id",
    )
    pid, oid, cid = f"0x{PID:016x}", f"{OID:016x}", f"{CID:016x}"

    assert rows == [["24", "0" * 16, *rest] for rest in (
        ["1", "", "", pid, "", ""], ["0", "", "", "", oid, ""],
        ["", "1", "", "", "", cid], ["", "0", "", "", oid, ""],
        ["", "", "0x01", pid, "", ""], ["", "", "0x21", "", oid, ""],
        ["", "", "0x11", "", "", cid], ["", "", "0x21", "", oid, ""],
    )] + [["56", "0" * 16, "", "", "0x22", "", oid, ""]]
    assert capture.fields(" || ".join(COMPLAINTS), "frame.number", "_ws.col.Info") == []


def test_osd_continuation(tool: str, tmp_path: Path) -> None:
    """The CDB continuation segment of QUERY: header, descriptor, query list."""
    criterion = struct.pack(">IIH", 1, 0x82, 8) + bytes(8) + struct.pack(">H", 8) + (99).to_bytes(8, "big")
    text = bytes(4) + struct.pack(">2xH", len(criterion)) + criterion
    segment = encode_segment(0x88A0, [(DescriptorType.QUERY, text)])

    def talk(session: Session) -> None:
        session.good(request("FORMAT OSD"))
        session.good(request("CREATE PARTITION", partition_id=PID))
        session.good(request("CREATE COLLECTION", partition_id=PID, object_id=CID))
        session.good(request("CREATE", partition_id=PID, object_id=OID, set=((4, 1, CID.to_bytes(8, "big")),)))
        session.good(request(
            "QUERY", data=segment, cdb_continuation_length=len(segment), partition_id=PID, object_id=CID,
            allocation_length=64, data_in=64,
        ))

    capture = record(tool, tmp_path / "capture.pcap", talk)
    names = (
        "scsi_osd2.cdb_continuation.format", "scsi_osd2.cdb_continuation.sa", "scsi_osd2.cdb_continuation.desc.type",
        "scsi_osd2.cdb_continuation.desc.padlen", "scsi_osd2.cdb_continuation.desc.length", "scsi_osd2.query.type",
        "scsi_osd2.query.entry.length", "scsi_osd2.query.entry.page", "scsi_osd2.query.entry.number",
        "scsi_osd2.query.entry.min_length", "scsi_osd2.query.entry.max_length",
    )
    (row,) = capture.fields("scsi_osd2.cdb_continuation.format", *names)

    assert [numbers("", each) for each in row] == [
        [1], [0x88A0], [DescriptorType.QUERY], [4], [len(text)], [0], [len(criterion)], [1], [0x82], [8], [8]
    ]
    assert capture.fields("iscsi.opcode == 0x25 && scsi_osd.user_object_id", "scsi_osd.user_object_id") == [
        [f"{OID:016x}"]
    ]
    assert capture.fields(" || ".join(COMPLAINTS), "frame.number", "_ws.col.Info") == []
