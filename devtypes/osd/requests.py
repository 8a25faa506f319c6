"""Object commands from an initiator's side: CDBs of both versions with a NOSEC capability, and what comes back.

Pure: an initiator sends `Request.cdb` and `Request.data_out` by whatever transport it has.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.osd.attribute_lists import Attribute, encode_get_list, encode_set_list, parse_set_list
from devtypes.osd.offsets import encode_offset
from devtypes.osd.server import ObjectStorageDevice
from scsiemu._value import value
from scsiemu.operations import OperationTable

__all__ = ["Request", "parse_attributes", "parse_ids", "request"]

_TABLE: Final = {declared.name: declared for declared in OperationTable(ObjectStorageDevice)}
_ROOM: Final = 1 << 16
_HEADER: Final = 24


@value
class Request:
    """A command that is ready to be sent.

    Args:
        data_in: bytes that the initiator has to be ready for.
        retrieved: where retrieved attributes are in Data-In.
    """

    cdb: bytes
    data_out: bytes
    data_in: int
    retrieved: int = 0


def request(
    name: str,
    *,
    version: int = 2,
    data: bytes = b"",
    data_in: int = 0,
    get: tuple[tuple[int, int], ...] = (),
    set: tuple[tuple[int, int, bytes], ...] = (),
    **fields: int,
) -> Request:
    """A command by its name in the standard.

    Args:
        data: Data-Out of the command itself.
        data_in: most bytes of its Data-In.
        get, set: attributes, in list form.
        fields: of the CDB: partition_id, object_id, length, ...

    Raises KeyError for a command that the version lacks.
    """
    declared = _TABLE[name if version == 2 else f"{name} (OSD-1)"]
    grain = 8 if version == 2 else 256
    out = bytearray(data)
    words = [0] * 7
    retrieved = 0
    if get:
        text = encode_get_list(list(get), version=version)
        retrieved = -(-data_in // grain) * grain
        words[:4] = [len(text), _append(out, text, grain, version), _ROOM, encode_offset(retrieved, version=version)]
    if set:
        text = encode_set_list([Attribute(*each) for each in set], version=version)
        words[4:6] = [len(text), _append(out, text, grain, version)]
    if get or set:
        fields |= {"cdbfmt": 3, "attributes": int.from_bytes(struct.pack(">7I", *words), "big")}
    assert declared.service_action is not None
    cdb = declared.layout.build(
        opcode=declared.opcode, service_action=declared.service_action,
        additional_cdb_length=declared.layout.length - 8, **fields,
    )
    return Request(cdb, bytes(out), retrieved + _ROOM if get else data_in, retrieved)


def _append(out: bytearray, text: bytes, grain: int, version: int) -> int:
    """Put a list behind the Data-Out that there is; its offset field."""
    out.extend(bytes(-len(out) % grain))
    at = len(out)
    out.extend(text)
    return encode_offset(at, version=version)


def parse_attributes(sent: Request, data_in: bytes, *, version: int = 2) -> list[Attribute]:
    """The retrieved attributes in Data-In. Raises CheckCondition where they are not well-formed."""
    return parse_set_list(data_in[sent.retrieved :], version=version) if len(data_in) > sent.retrieved else []


def parse_ids(data_in: bytes) -> tuple[list[int], int]:
    """The ids of LIST or LIST COLLECTION data, and where to go on, 0 for nowhere."""
    if len(data_in) < _HEADER:
        return [], 0
    following = int.from_bytes(data_in[8:16], "big")
    whole = len(data_in) - (len(data_in) - _HEADER) % 8
    return [int.from_bytes(data_in[at : at + 8], "big") for at in range(_HEADER, whole, 8)], following
