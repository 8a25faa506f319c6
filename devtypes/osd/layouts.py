"""CDBs of OSD-1 (200 bytes) and OSD-2 (236 bytes), and the declaration of an operation in both (OSD-2 5.2).

All are of the variable length format, opcode 7Fh. Both versions have the same fields of a command at different places;
the service action tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from scsiemu.cdb import CdbLayout
from scsiemu.operations import DataDirection, ReservationClass, operation

__all__ = ["OPCODE", "OSD_1", "OSD_2", "osd_layout", "osd_operation", "osd_operation_at", "version_of"]

OPCODE: Final = 0x7F
OSD_1: Final = 0x8800
OSD_2: Final = 0x8880

_HEAD: Final = "opcode:8 control:8 _:40 additional_cdb_length:8 service_action:16"
_TAIL_1: Final = "capability:640 request_icv:160 request_nonce:96 data_in_icv_offset?:32 data_out_icv_offset?:32"
_TAIL_2: Final = "capability:832 request_icv:256 request_nonce:96 data_in_icv_offset?:32 data_out_icv_offset?:32"

# PERFORM SCSI COMMAND and PERFORM TASK MANAGEMENT FUNCTION of OSD-1.
_HIGH_1: Final = (0x8F7E, 0x8F7F)

F = TypeVar("F", bound=Callable[..., Any])


def version_of(service_action: int) -> int:
    """1 or 2."""
    return 1 if service_action < OSD_2 or service_action in _HIGH_1 else 2


def osd_layout(version: int, body: str, *, options: str = "", byte_11: str = "_:2 cdbfmt:2 _:4") -> CdbLayout:
    """The layout of a CDB.

    Args:
        body: bytes 16 to 51.
        options: byte 10, other than DPO, FUA and ISOLATION.
        byte_11: the byte with GET/SET CDBFMT.
    """
    byte_10 = options or ("_:3 dpo? fua _:3" if version == 1 else "_:3 dpo? fua isolation:3")
    tail = _TAIL_1 if version == 1 else _TAIL_2
    return CdbLayout(f"{_HEAD} {byte_10} {byte_11} timestamps_control:8 _:24 {body} attributes:224 {tail}")


def osd_operation(
    number: int,
    name: str,
    body: tuple[str | None, str],
    *,
    conflict: str = ReservationClass.WRITE,
    options: str = "",
    byte_11: tuple[str, str] = ("_:2 cdbfmt:2 _:4", "_:2 cdbfmt:2 _:4"),
    available: Callable[[Any], bool] | None = None,
) -> Callable[[F], F]:
    """Declare a method as a command of OSD-1 and OSD-2.

    Args:
        number: its service action is this behind 8800h and 8880h.
        body: bytes 16 to 51 in OSD-1 (None where it lacks the command) and in OSD-2.
        byte_11: for both.
    """
    actions = (OSD_1 + number, OSD_2 + number)
    return osd_operation_at(
        actions, name, body, conflict=conflict, options=options, byte_11=byte_11, available=available
    )


def osd_operation_at(
    actions: tuple[int, int],
    name: str,
    body: tuple[str | None, str],
    *,
    conflict: str = ReservationClass.WRITE,
    options: str = "",
    byte_11: tuple[str, str] = ("_:2 cdbfmt:2 _:4", "_:2 cdbfmt:2 _:4"),
    available: Callable[[Any], bool] | None = None,
) -> Callable[[F], F]:
    """As `osd_operation`, with the service actions of both versions."""

    def declare(function: F) -> F:
        for version, action in zip((1, 2), actions, strict=True):
            text = body[version - 1]
            if text is None:
                continue
            layout = osd_layout(version, text, options=options, byte_11=byte_11[version - 1])
            title = name if version == 2 else f"{name} (OSD-1)"
            function = operation(
                OPCODE, title, layout, service_action=action, data=DataDirection.BIDIRECTIONAL,
                conflict=conflict, available=available, standard="OSD-2" if version == 2 else "OSD",
            )(function)
        return function

    return declare
