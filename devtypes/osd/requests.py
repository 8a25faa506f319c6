"""Object commands from an initiator's side: CDBs of both versions, signed or not, and what comes back.

Pure: an initiator sends `Request.cdb` and `Request.data_out` by whatever transport it has.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.osd.attribute_lists import Attribute, encode_get_list, encode_set_list, parse_set_list
from devtypes.osd.capability import CAPABILITY_1, CAPABILITY_2
from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.layouts import OSD_2
from devtypes.osd.offsets import UNUSED, encode_offset
from devtypes.osd.security import HMAC_SHA1, KeyPair, SecurityMethod, capability_key, data_out_info, request_icv
from devtypes.osd.server import ObjectStorageDevice
from scsiemu._value import value
from scsiemu.object_requests import ObjectKind
from scsiemu.operations import OperationTable

__all__ = [
    "Request", "Signature", "capability", "parse_attributes", "parse_ids", "parse_matches", "query", "request",
    "signing_key",
]

_TABLE: Final = {declared.name: declared for declared in OperationTable(ObjectStorageDevice)}
_ROOM: Final = 1 << 16
_ALL: Final = (1 << 40) - 1         # every permission
_HEADER: Final = 24
_MATCHES: Final = 12               # header of QUERY data
_QUERY: Final = 0x20


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


@value
class Signature:
    """How a command is signed.

    Args:
        method: CAPKEY, CMDRSP or ALLDATA, as in the capability.
        key: capability key.
        token: security token of the I_T nexus (CAPKEY).
        nonce: 12 bytes: milliseconds since 1970 in 6, 6 random ones (CMDRSP, ALLDATA).
    """

    method: int
    key: bytes
    token: bytes = b""
    nonce: bytes = bytes(12)


def request(
    name: str,
    *,
    version: int = 2,
    data: bytes = b"",
    data_in: int = 0,
    get: tuple[tuple[int, int], ...] = (),
    set: tuple[tuple[int, int, bytes], ...] = (),
    signature: Signature | None = None,
    **fields: int,
) -> Request:
    """A command by its name in the standard.

    Args:
        data: Data-Out of the command itself.
        data_in: most bytes of its Data-In.
        get, set: attributes, in list form.
        signature: signs the command, whose `capability` is among the fields.
        fields: of the CDB: partition_id, object_id, length, ...

    Raises KeyError for a command that the version lacks.
    """
    declared = _TABLE[name if version == 2 else f"{name} (OSD-1)"]
    grain = 8 if version == 2 else 256
    out = bytearray(data)
    words = [0] * 7
    retrieved = 0
    asked = given = b""
    if get:
        text = asked = encode_get_list(list(get), version=version)
        retrieved = -(-data_in // grain) * grain
        words[:4] = [len(text), _append(out, text, grain, version), _ROOM, encode_offset(retrieved, version=version)]
    if set:
        text = given = encode_set_list([Attribute(*each) for each in set], version=version)
        words[4:6] = [len(text), _append(out, text, grain, version)]
    if get or set:
        fields |= {"cdbfmt": 3, "attributes": int.from_bytes(struct.pack(">7I", *words), "big")}
    room = retrieved + _ROOM if get else data_in
    if signature is not None:
        fields["request_nonce"] = int.from_bytes(signature.nonce, "big")
        if signature.method == SecurityMethod.ALLDATA:
            info = data_out_info(signature.key, signature.nonce, data, given, asked, version=version)
            room = -(-room // grain) * grain
            fields["data_in_icv_offset"] = encode_offset(room, version=version)
            fields["data_out_icv_offset"] = _append(out, info, grain, version) if out else UNUSED
            room += _ROOM
    assert declared.service_action is not None
    cdb = declared.layout.build(
        opcode=declared.opcode, service_action=declared.service_action,
        additional_cdb_length=declared.layout.length - 8, **fields,
    )
    if signature is not None:
        icv = request_icv(signature.method, signature.key, cdb, signature.token, version=version)
        at = declared.layout.field("request_icv").start // 8
        cdb = cdb[:at] + icv + cdb[at + len(icv) :]
    return Request(cdb, bytes(out), room, retrieved)


def capability(
    version: int, kind: int, pid: int, oid: int, *, method: int = 0, key_version: int = 0, permissions: int = _ALL,
    **fields: int,
) -> int:
    """A capability, as the number of its CDB field.

    Args:
        kind: `ObjectKind` of the object that it allows.
        fields: of `CAPABILITY_1` or `CAPABILITY_2`: expiration, created, policy_tag, ...
    """
    layout = CAPABILITY_2 if version == 2 else CAPABILITY_1
    group = kind in (ObjectKind.ROOT, ObjectKind.PARTITION)
    descriptor = 2 if group else 3 if kind == ObjectKind.COLLECTION and version == 2 else 1
    raw = layout.build(
        format=version, key_version=key_version, algorithm=HMAC_SHA1, method=method, object_type=kind,
        permissions=permissions, descriptor_type=descriptor, allowed_pid=pid, allowed_oid=oid, **fields,
    )
    return int.from_bytes(raw, "big")


def signing_key(keys: KeyPair, allowed: int, system_id: bytes, *, version: int) -> bytes:
    """The capability key of a credential. Args: the secret key, and a capability as `capability` makes it."""
    return capability_key(keys.authentication, allowed.to_bytes(104 if version == 2 else 80, "big"), system_id)


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


def query(criteria: list[tuple[int, int, bytes, bytes]], *, every: bool = True) -> bytes:
    """The CDB continuation segment of QUERY: page, number, least and greatest value (empty for no bound) of each.

    Args:
        every: all have to match, not just one.
    """
    body = bytes((int(every), 0, 0, 0))
    for page, number, least, greatest in criteria:
        bounds = b"".join(len(each).to_bytes(2, "big") + each for each in (least, greatest))
        body += struct.pack(">2xHII", 8 + len(bounds), page, number) + bounds
    return encode_segment(OSD_2 + _QUERY, [(DescriptorType.QUERY, body)])


def parse_matches(data_in: bytes) -> tuple[list[int], int]:
    """The ids of QUERY data, and how many bytes the whole has."""
    if len(data_in) < _MATCHES:
        return [], 0
    whole = int.from_bytes(data_in[:8], "big") + 8
    end = min(len(data_in), whole)
    end -= (end - _MATCHES) % 8
    return [int.from_bytes(data_in[at : at + 8], "big") for at in range(_MATCHES, end, 8)], whole
