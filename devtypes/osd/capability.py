"""Capabilities in CDBs (OSD-2 4.11.2): their layouts, and the check of each field against the command (4.11.3)."""

from __future__ import annotations

from typing import Final

from devtypes.osd.attribute_pages import POLICY_ACCESS_TAG, created_time
from devtypes.osd.objects import ObjectRef
from devtypes.osd.tracking import kind_of
from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.object_requests import ObjectTransaction
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "CAPABILITY_1", "CAPABILITY_2", "Permission", "capability_refusal", "check_capability", "check_range",
    "parse_capability",
]

_COMMON: Final = (
    "_:4 format:4 key_version:4 algorithm:4 _:4 method:4 _:8 expiration:48 audit:160 discriminator:96 created:48 "
    "object_type:8 permissions:40 _:8 descriptor_type:4 _:4 "
)
CAPABILITY_1: Final = CdbLayout(_COMMON + "policy_tag:32 allowed_pid:64 allowed_oid:64 _:32")
CAPABILITY_2: Final = CdbLayout(
    _COMMON + "attributes_access:32 policy_tag:32 boot_epoch:16 _:48 allowed_pid:64 allowed_oid:64 "
    "range_length:64 range_start:64"
)
_AT: Final = 80                     # the capability's place in a CDB
_NO_LIMIT: Final = (1 << 64) - 1


class Permission:
    """Bits of PERMISSIONS BIT MASK, 5 bytes."""

    READ: Final = 0x80 << 32
    WRITE: Final = 0x40 << 32
    GET_ATTRIBUTES: Final = 0x20 << 32
    SET_ATTRIBUTES: Final = 0x10 << 32
    CREATE: Final = 0x08 << 32
    REMOVE: Final = 0x04 << 32
    OBJECT_MANAGEMENT: Final = 0x02 << 32
    APPEND: Final = 0x01 << 32
    DEVICE_MANAGEMENT: Final = 0x80 << 24
    GLOBAL: Final = 0x40 << 24
    SECURITY: Final = 0x20 << 24
    MULTI_OBJECT: Final = 0x10 << 24
    QUERY: Final = 0x08 << 24
    GLOBAL_REMOVE: Final = 0x04 << 24


def parse_capability(raw: bytes, *, version: int) -> CdbFields:
    """The fields of a capability of 80 or 104 bytes."""
    return (CAPABILITY_2 if version == 2 else CAPABILITY_1).parse(raw)


def check_capability(
    tx: ObjectTransaction,
    capability: CdbFields,
    ref: ObjectRef,
    needed: int,
    *,
    version: int,
    now: int,
    boot_epoch: int,
    extents: tuple[tuple[int, int], ...],
) -> None:
    """Refuse a command that its capability does not allow.

    Args:
        ref: the object that the command is about; it need not be there.
        needed: permission bits.
        now: milliseconds since 1970.
        boot_epoch: of this run.
        extents: offset and length of each range of data that the command touches.

    Raises CheckCondition, with the field pointer at the capability's field.
    """
    if not capability.format:
        return                                      # OSD-2 4.11.2.2: no capability; NOSEC asks for none
    if capability.format != version:
        raise capability_refusal(version, "format")
    if capability.expiration and capability.expiration < now:
        raise capability_refusal(version, "expiration")
    if capability.object_type != ref.kind:
        raise capability_refusal(version, "object_type")
    if capability.permissions & needed != needed:
        raise capability_refusal(version, "permissions")
    kind = capability.descriptor_type
    if kind > (3 if version == 2 else 2):
        raise capability_refusal(version, "descriptor_type")
    if kind:
        if capability.allowed_pid != ref.pid:
            raise capability_refusal(version, "allowed_pid")
        if kind in (1, 3) and capability.allowed_oid != ref.oid:
            raise capability_refusal(version, "allowed_oid")
        there = kind_of(tx, ref.pid, ref.oid) is not None
        if capability.created and there and capability.created != created_time(tx, ref):
            raise capability_refusal(version, "created")
        if capability.policy_tag and there:
            tag = tx.attribute(ref.pid, ref.oid, ref.page_base + 5, POLICY_ACCESS_TAG)
            if capability.policy_tag != int.from_bytes(tag or b"", "big"):
                raise capability_refusal(version, "policy_tag")
    if version == 2 and kind:
        if capability.boot_epoch and capability.boot_epoch != boot_epoch:
            raise capability_refusal(version, "boot_epoch")
        check_range(capability, extents, version=version)


def check_range(capability: CdbFields, extents: tuple[tuple[int, int], ...], *, version: int) -> None:
    """Refuse ranges of data that are not within what a capability allows. Raises CheckCondition."""
    if version == 1 or not (capability.format and capability.descriptor_type):
        return
    first, length = capability.range_start, capability.range_length
    if length not in (0, _NO_LIMIT) and any(at < first or at + n > first + length for at, n in extents):
        raise capability_refusal(version, "range_start")


def capability_refusal(version: int, field: str) -> CheckCondition:
    """What refuses a capability for one of its fields, the field pointer at it."""
    layout = CAPABILITY_2 if version == 2 else CAPABILITY_1
    at = layout.field(field).pointer
    return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(_AT + at.byte, at.bit))
