"""REPORT KEY and SEND KEY: the region of the drive, and copy protection that no disc of ours has (MMC-5 6.29, 6.35).

Authentication is refused: there is no key on the disc. The region can be set five times.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.profiles import Family
from devtypes.vmmc.read import INCOMPATIBLE_MEDIUM
from devtypes.vmmc.speed import Speeds
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["KeyFormat", "Keys"]

_CHANGES: Final = 5
_VENDOR_RESETS: Final = 4
_NEEDS_DVD: Final = frozenset((0, 1, 2, 4, 5))


class KeyFormat:
    """KEY FORMAT with key class 00h (MMC-6 tables 415, 602)."""

    AGID: Final = 0x00
    CHALLENGE: Final = 0x01
    KEY_1: Final = 0x02
    KEY_2: Final = 0x03
    TITLE_KEY: Final = 0x04
    ASF: Final = 0x05
    SET_REGION: Final = 0x06
    RPC_STATE: Final = 0x08
    INVALIDATE: Final = 0x3F


class Keys(Speeds):
    """Keys."""

    _changes_left: int = _CHANGES
    _region: int = -1

    @property
    def region(self) -> int:
        """Region of the drive, 1 to 8; 0: not set."""
        return self._region if self._region >= 0 else self.config.region

    @operation(
        0xA4, "REPORT KEY", layouts.REPORT_KEY, service_action=0, data=DataDirection.IN,
        conflict=ReservationClass.READ, allocation="allocation_length", standard="MMC-5 6.29",
    )
    def report_key(self, command: Command, cdb: CdbFields) -> Completion:
        """RPC state and ASF are told; keys there are none."""
        if cdb.key_class:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_class")
        form = cdb.key_format
        if form == KeyFormat.RPC_STATE:
            region = self.region
            kind = 0 if not region else 1 if self._changes_left > 1 else 2 if self._changes_left else 3
            mask = 0xFF ^ 1 << (region - 1) if region else 0xFF
            return Completion(bytes((0, 6, 0, 0, kind << 6 | _VENDOR_RESETS << 3 | self._changes_left, mask, 1, 0)))
        if form == KeyFormat.INVALIDATE:
            return Completion()
        if form not in _NEEDS_DVD:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_format")
        sense = self.not_ready()
        if sense is not None:
            raise CheckCondition(sense.code)
        if self.loaded.kind.family != Family.DVD:
            raise CheckCondition(INCOMPATIBLE_MEDIUM)
        if form == KeyFormat.ASF:
            return Completion(bytes((0, 6, 0, 0, 0, 0, 0, 0)))
        raise CheckCondition(asc.COPY_PROTECTION_KEY_EXCHANGE_FAILURE_KEY_NOT_PRESENT)

    @operation(
        0xA3, "SEND KEY", layouts.SEND_KEY, service_action=0, data=DataDirection.OUT,
        parameter_list="parameter_list_length", standard="MMC-5 6.35",
    )
    def send_key(self, command: Command, cdb: CdbFields) -> Completion:
        """Sets the region; a challenge without an authentication grant is refused."""
        if cdb.key_class:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_class")
        if cdb.key_format == KeyFormat.INVALIDATE:
            return Completion()
        if cdb.key_format in (KeyFormat.CHALLENGE, KeyFormat.KEY_2):
            raise CheckCondition(asc.COPY_PROTECTION_KEY_EXCHANGE_FAILURE_KEY_NOT_ESTABLISHED)
        if cdb.key_format != KeyFormat.SET_REGION:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_format")
        data = command.parameter_list
        if len(data) < 8:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        allowed = data[4] ^ 0xFF
        if allowed.bit_count() != 1:
            pointer = FieldPointer(4, in_cdb=False)
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
        if not self._changes_left:
            raise CheckCondition(asc.DRIVE_REGION_MUST_BE_PERMANENT_REGION_RESET_COUNT_ERROR)
        self._region = allowed.bit_length()
        self._changes_left -= 1
        return Completion()
