"""GET CONFIGURATION: the features of the drive, which of them are current with the disc that is in it (MMC-6 5.3, 6.5).

A row of the table is a feature: number, version, whether it persists, the profiles with which it is current, and its
additional data. Where the data depends on the disc it is a method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from devtypes.vmmc import layouts
from devtypes.vmmc.base import BLOCK
from devtypes.vmmc.defects import is_managed
from devtypes.vmmc.disc import Disc, may_be_formatted
from devtypes.vmmc.events import Events
from devtypes.vmmc.profiles import PROFILE_NAMES, RECORDABLE
from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["FEATURES", "Feature", "Features"]

_CD: Final = frozenset((0x08, 0x09, 0x0A))
_CD_WRITE: Final = frozenset((0x09, 0x0A))
_DVD: Final = frozenset((0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x1A, 0x1B, 0x2B))
_BD: Final = frozenset((0x40, 0x41, 0x42, 0x43))
_DASH_SEQUENTIAL: Final = frozenset((0x11, 0x14, 0x15, 0x16))
_PLUS_WRITE_ONCE: Final = frozenset((0x1B, 0x2B))
_RANDOM: Final = frozenset((0x12, 0x1A, 0x43))
_FORMATTABLE: Final = frozenset((0x0A, 0x12, 0x13, 0x14, 0x1A, 0x41, 0x43))
_MANAGED: Final = frozenset((0x12, 0x41, 0x42, 0x43))
_ALL: Final = frozenset(PROFILE_NAMES)

_Data = Callable[[Any], bytes]


@value
class Feature:
    """A feature.

    Args:
        code: FEATURE CODE.
        name: as in the standard.
        version: of its descriptor.
        data: additional data, a multiple of four bytes; asked with the drive.
        profiles: with which it is current; None: always, it persists.
        needs_room: current only while the disc takes data and the drive writes.
        state: what else must be so of the disc.
    """

    code: int
    name: str
    version: int
    data: _Data
    profiles: frozenset[int] | None = None
    needs_room: bool = False
    state: Callable[[Disc], bool] | None = None


def _fixed(text: str) -> _Data:
    data = bytes.fromhex(text)
    return lambda drive: data


def _blocks(drive: Any) -> int:
    return drive.disc.kind.blocks if drive.disc is not None else 1


def _random_readable(drive: Any) -> bytes:
    return BLOCK.to_bytes(4, "big") + _blocks(drive).to_bytes(2, "big") + b"\x01\x00"


def _random_writable(drive: Any) -> bytes:
    last = max(drive.disc.capacity_end - 1, 0) if drive.disc is not None else 0
    return last.to_bytes(4, "big") + _random_readable(drive)


def _serial_number(drive: Any) -> bytes:
    serial: bytes = drive.identity.serial.encode("ascii", "replace")[:252]
    return serial + b" " * (-len(serial) % 4)


def _core(drive: Any) -> bytes:
    """The physical interface standard is the SCSI family; INQUIRY is validated (INQ2), device busy events are there."""
    return bytes((0, 0, 0, 1, 3, 0, 0, 0))


def _profile_list(drive: Any) -> bytes:
    current = drive.current_profile
    rows = (number.to_bytes(2, "big") + bytes((number == current, 0)) for number in PROFILE_NAMES)
    return b"".join(rows)


def _formattable(disc: Disc) -> bool:
    """A BD-R is formatted once, before it is written."""
    return disc.kind.name != "bd-r" or may_be_formatted(disc)


def _write_protect(drive: Any) -> bytes:
    """SSWPP; SPWP where the medium takes persistent write protection by SEND DISC STRUCTURE."""
    disc: Disc | None = drive.disc
    return bytes((1 | (disc is None or disc.takes_protection) << 1, 0, 0, 0))


FEATURES: Final = (
    Feature(0x0000, "Profile List", 0, _profile_list),
    Feature(0x0001, "Core", 2, _core),
    Feature(0x0002, "Morphing", 1, _fixed("02000000")),                  # OCEvent; no asynchronous events
    Feature(0x0003, "Removable Medium", 2, _fixed("39000000")),          # tray; load, eject, lock
    Feature(0x0004, "Write Protect", 2, _write_protect, RECORDABLE),
    Feature(0x0010, "Random Readable", 0, _random_readable, _ALL),
    Feature(0x001D, "Multi-Read", 0, _fixed(""), _CD),
    Feature(0x001E, "CD Read", 2, _fixed("83000000"), _CD),              # DAP, C2 flags, CD-TEXT
    Feature(0x001F, "DVD Read", 1, _fixed("01000100"), _DVD),            # MULTI110, dual layer -R
    # Once it has a format: before that no address can be written.
    Feature(0x0020, "Random Writable", 1, _random_writable, _RANDOM | {0x13}, True, lambda disc: disc.random),
    # Data types 8 (mode 1) to 13; TRIO, ARSV, BUF; link sizes 7 for CD, 16 for DVD.
    Feature(
        0x0021, "Incremental Streaming Writable", 3, _fixed("3f00070207100000"),
        _CD_WRITE | _DASH_SEQUENTIAL | {0x41}, needs_room=True,
    ),
    # RENoSA, Expand, QCert, Cert; RRM.
    Feature(0x0023, "Formattable", 1, _fixed("0f00000001000000"), _FORMATTABLE, True, _formattable),
    Feature(0x0024, "Hardware Defect Management", 1, _fixed("80000000"), _MANAGED, False, is_managed),
    Feature(0x0025, "Write Once", 1, _random_readable, frozenset((0x42,)), needs_room=True),
    Feature(
        0x0026, "Restricted Overwrite", 0, _fixed(""), frozenset((0x0A, 0x13)), True, lambda disc: disc.random,
    ),
    Feature(0x0027, "CD-RW CAV Write", 0, _fixed("00000000"), frozenset((0x0A,)), needs_room=True),
    Feature(0x002A, "DVD+RW", 0, _fixed("01020000"), frozenset((0x1A,))),        # write; quick start
    Feature(0x002B, "DVD+R", 0, _fixed("01000000"), frozenset((0x1B,))),
    # DSDG, DSDR, intermediate, blank.
    Feature(0x002C, "Rigid Restricted Overwrite", 0, _fixed("0f000000"), frozenset((0x13,)), needs_room=True),
    # BUF, R-W raw, test write, CD-RW, R-W sub-code; all data types that there are.
    Feature(0x002D, "CD Track at Once", 2, _fixed("57003f0f"), _CD_WRITE, needs_room=True),
    # BUF, SAO, RAW multi-session, RAW, test write, CD-RW, R-W; longest cue sheet.
    Feature(0x002E, "CD Mastering", 1, _fixed("7f004000"), _CD_WRITE, needs_room=True),
    # BUF, RDL, test write, DVD-RW.
    Feature(0x002F, "DVD-R/-RW Write", 2, _fixed("4e000000"), _DASH_SEQUENTIAL, needs_room=True),
    # Link size 16.
    Feature(0x0033, "Layer Jump Recording", 0, _fixed("0000000110000000"), frozenset((0x16,)), needs_room=True),
    Feature(0x0037, "CD-RW Media Write Support", 0, _fixed("00ff0000"), frozenset((0x0A,)), needs_room=True),
    Feature(
        0x0038, "BD-R Pseudo-Overwrite", 0, _fixed("00000000"), frozenset((0x41,)), True,
        lambda disc: disc.overwrites,
    ),
    Feature(0x003B, "DVD+R Dual Layer", 0, _fixed("01000000"), frozenset((0x2B,))),
    Feature(0x0040, "BD Read", 1, _fixed("00000000" + "0000000600000000" * 3), _BD),
    Feature(0x0041, "BD Write", 1, _fixed("00000000" + "0000000600000000" * 2), _BD - {0x40}, needs_room=True),
    Feature(0x0100, "Power Management", 0, _fixed("")),
    Feature(0x0103, "CD External Audio Play", 0, _fixed("07000100"), frozenset((0x08, 0x09, 0x0A))),
    Feature(0x0105, "Timeout", 1, _fixed("00000000")),
    Feature(0x0106, "DVD CSS", 0, _fixed("00000001"), frozenset()),      # no disc of ours is protected
    Feature(0x0107, "Real-Time Streaming", 5, _fixed("1f000000"), _ALL),
    Feature(0x0108, "Drive Serial Number", 0, _serial_number),
    Feature(0x010C, "Firmware Information", 0, _fixed("32303236313130313030303030300000")),
)


class Features(Events):
    """The features of the drive."""

    _told: tuple[int, frozenset[int]] = (0, frozenset())        # profile and current features, as events have told

    def disc_arrives(self) -> None:
        super().disc_arrives()
        self._told = self._current_features()

    def _current_features(self) -> tuple[int, frozenset[int]]:
        return self.current_profile, frozenset(each.code for each in FEATURES if self.feature_current(each))

    def tell_features(self) -> None:
        """What was done to the disc has made other features current: every nexus hears of it (OCEvent of Morphing)."""
        now = self._current_features()
        if self.disc is not None and now != self._told:
            self._told = now
            self.tell_change()

    def software_protected(self) -> bool:
        """Whether the drive writes nothing until its power goes or that is taken back."""
        return False

    @property
    def current_profile(self) -> int:
        """The profile of the disc, 0 without one."""
        return self.disc.profile if self.disc is not None else 0

    def feature_current(self, feature: Feature) -> bool:
        """Whether a feature can be used now."""
        if feature.profiles is None:
            return True
        if self.disc is None or self.current_profile not in feature.profiles:
            return False
        if feature.needs_room and (not self.disc.takes_data or self.software_protected()):
            return False
        return feature.state is None or feature.state(self.disc)

    @operation(
        0x46, "GET CONFIGURATION", layouts.GET_CONFIGURATION, data=DataDirection.IN, conflict=ReservationClass.ALWAYS,
        allocation="allocation_length", attention_exempt=True, standard="MMC-6 6.5",
    )
    def get_configuration(self, command: Command, cdb: CdbFields) -> Completion:
        """RT 0: all features from the starting one on, 1: those that are current, 2: the starting one alone."""
        if cdb.rt == 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="rt")
        parts = []
        for feature in FEATURES:
            current = self.feature_current(feature)
            if feature.code < cdb.starting_feature or (cdb.rt == 1 and not current):
                continue
            if cdb.rt == 2 and feature.code != cdb.starting_feature:
                continue
            flags = feature.version << 2 | (feature.profiles is None) << 1 | current
            data = feature.data(self)
            parts.append(feature.code.to_bytes(2, "big") + bytes((flags, len(data))) + data)
        body = bytes(2) + self.current_profile.to_bytes(2, "big") + b"".join(parts)
        return Completion(len(body).to_bytes(4, "big") + body)
