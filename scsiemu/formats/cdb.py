"""CDBs of the important commands, written out apart from the layouts that device servers dispatch by.

They are the oracle for `CdbLayout` texts: same bytes, same names (SPC-5, SBC-4). `CDBS` has them by opcode and
service action.
"""

from __future__ import annotations

from typing import Final

from construct import Construct

from scsiemu.formats._words import bits, flag, record, reserved, u8, u16, u32, u64

__all__ = ["CDBS", "cdb_format"]


def _six(*middle: Construct) -> Construct:
    """OPERATION CODE, bytes 1 to 4, CONTROL."""
    return record("opcode" / u8, *middle, "control" / u8)


def _block_10(protect: str, *flags: Construct) -> Construct:
    """The 10-byte block commands: three protection bits, five flags, LBA, group, length."""
    return record(
        "opcode" / u8,
        protect / bits(3), *flags,
        "lba" / u32,
        reserved(2), "group_number" / bits(6),
        "transfer_length" / u16,
        "control" / u8,
    )


def _block_12(protect: str, *flags: Construct) -> Construct:
    return record(
        "opcode" / u8,
        protect / bits(3), *flags,
        "lba" / u32,
        "transfer_length" / u32,
        reserved(2), "group_number" / bits(6),
        "control" / u8,
    )


def _block_16(protect: str, *flags: Construct) -> Construct:
    return record(
        "opcode" / u8,
        protect / bits(3), *flags,
        "lba" / u64,
        "transfer_length" / u32,
        reserved(2), "group_number" / bits(6),
        "control" / u8,
    )


def _block_32(protect: str, *flags: Construct) -> Construct:
    """The 32-byte block commands of SBC-4: variable-length header, then LBA, tags, length."""
    return record(
        "opcode" / u8,
        "control" / u8,
        reserved(32),
        reserved(2), "group_number" / bits(6),
        "additional_cdb_length" / u8,
        "service_action" / u16,
        protect / bits(3), *flags,
        reserved(8),
        "lba" / u64,
        "expected_initial_logical_block_reference_tag" / u32,
        "expected_logical_block_application_tag" / u16,
        "logical_block_application_tag_mask" / u16,
        "transfer_length" / u32,
    )


def _read_flags() -> tuple[Construct, ...]:
    return ("dpo" / flag, "fua" / flag, "rarc" / flag, reserved(2))


def _write_flags() -> tuple[Construct, ...]:
    return ("dpo" / flag, "fua" / flag, reserved(3))


def _verify_flags() -> tuple[Construct, ...]:
    return ("dpo" / flag, reserved(1), "bytchk" / bits(2), reserved(1))


_MODE_SENSE_10 = record(
    "opcode" / u8,
    reserved(3), "llbaa" / flag, "dbd" / flag, reserved(3),
    "pc" / bits(2), "page_code" / bits(6),
    "subpage_code" / u8,
    reserved(24),
    "allocation_length" / u16,
    "control" / u8,
)

# LOGICAL BLOCK ADDRESS and PMI of SBC-2 are obsolete.
_READ_CAPACITY_16 = record(
    "opcode" / u8,
    reserved(3), "service_action" / bits(5),
    reserved(64),
    "allocation_length" / u32,
    reserved(8),
    "control" / u8,
)

_REPORT_TARGET_PORT_GROUPS = record(
    "opcode" / u8,
    "parameter_data_format" / bits(3), "service_action" / bits(5),
    reserved(32),
    "allocation_length" / u32,
    reserved(8),
    "control" / u8,
)

# (opcode, service action or None) to the name of the command and its CDB.
CDBS: Final[dict[tuple[int, int | None], tuple[str, Construct]]] = {
    (0x00, None): ("TEST UNIT READY", record("opcode" / u8, reserved(32), "control" / u8)),
    (0x03, None): (
        "REQUEST SENSE",
        _six(reserved(7), "desc" / flag, reserved(16), "allocation_length" / u8),
    ),
    (0x08, None): ("READ(6)", _six(reserved(3), "lba" / bits(21), "transfer_length" / u8)),
    (0x0A, None): ("WRITE(6)", _six(reserved(3), "lba" / bits(21), "transfer_length" / u8)),
    (0x12, None): (
        "INQUIRY",
        _six(reserved(7), "evpd" / flag, "page_code" / u8, "allocation_length" / u16),
    ),
    (0x15, None): (
        "MODE SELECT(6)",
        _six(reserved(3), "pf" / flag, reserved(2), "rtd" / flag, "sp" / flag, reserved(16),
             "parameter_list_length" / u8),
    ),
    (0x1A, None): (
        "MODE SENSE(6)",
        _six(reserved(4), "dbd" / flag, reserved(3), "pc" / bits(2), "page_code" / bits(6), "subpage_code" / u8,
             "allocation_length" / u8),
    ),
    (0x25, None): (
        "READ CAPACITY(10)",
        record("opcode" / u8, reserved(8), reserved(32), reserved(24), "control" / u8),
    ),
    (0x28, None): ("READ(10)", _block_10("rdprotect", *_read_flags())),
    (0x2A, None): ("WRITE(10)", _block_10("wrprotect", *_write_flags())),
    (0x2E, None): ("WRITE AND VERIFY(10)", _block_10("wrprotect", *_verify_flags())),
    (0x2F, None): (
        "VERIFY(10)",
        record(
            "opcode" / u8, "vrprotect" / bits(3), *_verify_flags(), "lba" / u32, reserved(2),
            "group_number" / bits(6), "verification_length" / u16, "control" / u8,
        ),
    ),
    (0x35, None): (
        "SYNCHRONIZE CACHE(10)",
        record(
            "opcode" / u8, reserved(6), "immed" / flag, reserved(1), "lba" / u32, reserved(2),
            "group_number" / bits(6), "number_of_logical_blocks" / u16, "control" / u8,
        ),
    ),
    (0x41, None): (
        "WRITE SAME(10)",
        record(
            "opcode" / u8, "wrprotect" / bits(3), "anchor" / flag, "unmap" / flag, reserved(3), "lba" / u32,
            reserved(2), "group_number" / bits(6), "number_of_logical_blocks" / u16, "control" / u8,
        ),
    ),
    (0x42, None): (
        "UNMAP",
        record(
            "opcode" / u8, reserved(7), "anchor" / flag, reserved(32), reserved(2), "group_number" / bits(6),
            "parameter_list_length" / u16, "control" / u8,
        ),
    ),
    (0x4D, None): (
        "LOG SENSE",
        record(
            "opcode" / u8, reserved(7), "sp" / flag, "pc" / bits(2), "page_code" / bits(6), "subpage_code" / u8,
            reserved(8), "parameter_pointer" / u16, "allocation_length" / u16, "control" / u8,
        ),
    ),
    (0x55, None): (
        "MODE SELECT(10)",
        record(
            "opcode" / u8, reserved(3), "pf" / flag, reserved(2), "rtd" / flag, "sp" / flag, reserved(40),
            "parameter_list_length" / u16, "control" / u8,
        ),
    ),
    (0x5A, None): ("MODE SENSE(10)", _MODE_SENSE_10),
    **{
        (0x5E, action): (
            f"PERSISTENT RESERVE IN ({name})",
            record(
                "opcode" / u8, reserved(3), "service_action" / bits(5), reserved(40), "allocation_length" / u16,
                "control" / u8,
            ),
        )
        for action, name in enumerate(
            ("READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES", "READ FULL STATUS")
        )
    },
    **{
        (0x5F, action): (
            f"PERSISTENT RESERVE OUT ({name})",
            record(
                "opcode" / u8, reserved(3), "service_action" / bits(5), "scope" / bits(4), "type" / bits(4),
                reserved(16), "parameter_list_length" / u32, "control" / u8,
            ),
        )
        for action, name in enumerate(
            (
                "REGISTER", "RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT",
                "REGISTER AND IGNORE EXISTING KEY", "REGISTER AND MOVE", "REPLACE LOST RESERVATION",
            )
        )
    },
    **{
        (0x7F, action): (name, _block_32(protect, *flags))
        for action, name, protect, flags in (
            (0x0009, "READ(32)", "rdprotect", _read_flags()),
            (0x000A, "VERIFY(32)", "vrprotect", _verify_flags()),
            (0x000B, "WRITE(32)", "wrprotect", _write_flags()),
            (0x000C, "WRITE AND VERIFY(32)", "wrprotect", _verify_flags()),
        )
    },
    **{
        (0x83, action): (
            name,
            record(
                "opcode" / u8, reserved(3), "service_action" / bits(5), reserved(64),
                "parameter_list_length" / u32, reserved(8), "control" / u8,
            ),
        )
        for action, name in ((0x00, "EXTENDED COPY(LID1)"), (0x01, "EXTENDED COPY(LID4)"))
    },
    **{
        (0x84, action): (
            f"RECEIVE COPY {name}",
            record(
                "opcode" / u8, reserved(3), "service_action" / bits(5), "list_identifier" / u8, reserved(56),
                "allocation_length" / u32, reserved(8), "control" / u8,
            ),
        )
        for action, name in (
            (0x00, "STATUS(LID1)"), (0x01, "DATA(LID1)"), (0x03, "OPERATING PARAMETERS"),
            (0x04, "FAILURE DETAILS(LID1)"),
        )
    },
    (0x88, None): ("READ(16)", _block_16("rdprotect", *_read_flags())),
    (0x89, None): (
        "COMPARE AND WRITE",
        record(
            "opcode" / u8, "wrprotect" / bits(3), "dpo" / flag, "fua" / flag, reserved(3), "lba" / u64,
            reserved(24), "number_of_logical_blocks" / u8, reserved(2), "group_number" / bits(6), "control" / u8,
        ),
    ),
    (0x8A, None): ("WRITE(16)", _block_16("wrprotect", *_write_flags())),
    (0x8E, None): ("WRITE AND VERIFY(16)", _block_16("wrprotect", *_verify_flags())),
    (0x8F, None): (
        "VERIFY(16)",
        record(
            "opcode" / u8, "vrprotect" / bits(3), *_verify_flags(), "lba" / u64, "verification_length" / u32,
            reserved(2), "group_number" / bits(6), "control" / u8,
        ),
    ),
    (0x91, None): (
        "SYNCHRONIZE CACHE(16)",
        record(
            "opcode" / u8, reserved(6), "immed" / flag, reserved(1), "lba" / u64, "number_of_logical_blocks" / u32,
            reserved(2), "group_number" / bits(6), "control" / u8,
        ),
    ),
    (0x93, None): (
        "WRITE SAME(16)",
        record(
            "opcode" / u8, "wrprotect" / bits(3), "anchor" / flag, "unmap" / flag, reserved(2), "ndob" / flag,
            "lba" / u64, "number_of_logical_blocks" / u32, reserved(2), "group_number" / bits(6), "control" / u8,
        ),
    ),
    (0x9E, 0x10): ("READ CAPACITY(16)", _READ_CAPACITY_16),
    (0x9E, 0x12): (
        "GET LBA STATUS(16)",
        record(
            "opcode" / u8, reserved(3), "service_action" / bits(5), "starting_lba" / u64,
            "allocation_length" / u32, "report_type" / u8, "control" / u8,
        ),
    ),
    (0xA0, None): (
        "REPORT LUNS",
        record(
            "opcode" / u8, reserved(8), "select_report" / u8, reserved(24), "allocation_length" / u32, reserved(8),
            "control" / u8,
        ),
    ),
    (0xA3, 0x0A): ("REPORT TARGET PORT GROUPS", _REPORT_TARGET_PORT_GROUPS),
    (0xA3, 0x0C): (
        "REPORT SUPPORTED OPERATION CODES",
        record(
            "opcode" / u8, reserved(3), "service_action" / bits(5), "rctd" / flag, reserved(4),
            "reporting_options" / bits(3), "requested_operation_code" / u8, "requested_service_action" / u16,
            "allocation_length" / u32, reserved(8), "control" / u8,
        ),
    ),
    (0xA8, None): ("READ(12)", _block_12("rdprotect", *_read_flags())),
    (0xAA, None): ("WRITE(12)", _block_12("wrprotect", *_write_flags())),
    (0xAE, None): ("WRITE AND VERIFY(12)", _block_12("wrprotect", *_verify_flags())),
    (0xAF, None): (
        "VERIFY(12)",
        record(
            "opcode" / u8, "vrprotect" / bits(3), *_verify_flags(), "lba" / u32, "verification_length" / u32,
            reserved(2), "group_number" / bits(6), "control" / u8,
        ),
    ),
}


def cdb_format(cdb: bytes) -> tuple[str, Construct] | None:
    """Name and format of a CDB, None for one that is not here or too short."""
    if not cdb:
        return None
    if cdb[0] == 0x7F:
        action = int.from_bytes(cdb[8:10], "big")
    else:
        action = cdb[1] & 0x1F if len(cdb) > 1 else 0
    found = CDBS.get((cdb[0], None)) or CDBS.get((cdb[0], action))
    return found if found is not None and len(cdb) >= found[1].sizeof() else None
