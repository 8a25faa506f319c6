"""BLANK and FORMAT UNIT: what makes a rewritable disc empty, and random media writable (MMC-6 6.2, 6.4).

The table has the format types of each medium: how many blocks there are afterwards and which profile it is then.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.disc import Asking, Disc
from devtypes.vmmc.disc_format import DATA_START, make_random
from devtypes.vmmc.recording import NOT_WRITABLE
from devtypes.vmmc.writing import Writing
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import DataOut, Discard
from scsiemu.operations import DataDirection, Result, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["BlankType", "Formatting"]

_IMMED: Final = 0x02
_RESTRICTED_OVERWRITE: Final = 0x13
_BD_R_SEQUENTIAL, _BD_R_RANDOM = 0x41, 0x42
_PSEUDO_OVERWRITE, _RANDOM, _SEQUENTIAL = 0, 1, 2      # FORMAT SUB-TYPE of BD-R

# Format types by kind of disc.
_TYPES: Final = {
    "cd-rw": (0x10,), "dvd-ram": (0x00, 0x01), "dvd-rw": (0x00, 0x10, 0x15), "dvd+rw": (0x00, 0x26),
    "bd-re": (0x00, 0x30, 0x31), "bd-r": (0x00, 0x32),
}
_SPARE_AS_ASKED: Final = 0x30                               # spare areas are what the number of blocks leaves
_PACKETS: Final = {"cd-rw": 32, "dvd-rw": 16}              # blocks of a packet, of what is written so once formatted
_WHOLE: Final = frozenset((0x26, 0x10, 0x15, 0x31))         # types without spare areas


class BlankType:
    """BLANKING TYPE (MMC-6 table 227)."""

    DISC: Final = 0
    MINIMAL: Final = 1
    TRACK: Final = 2
    UNRESERVE: Final = 3
    TRACK_TAIL: Final = 4
    UNCLOSE: Final = 5
    SESSION: Final = 6


class Formatting(Writing):
    """Blanking and formatting."""

    @operation(
        0xA1, "BLANK", layouts.BLANK, needs_ready=True, exclusive=True, standard="MMC-6 6.2",
    )
    def blank(self, command: Command, cdb: CdbFields) -> Result:
        """Erase a CD-RW or DVD-RW, all of it or its end."""
        disc = self.check_recordable(command)
        if disc.kind.name not in ("cd-rw", "dvd-rw"):
            raise CheckCondition(NOT_WRITABLE)
        kind = cdb.type
        if kind in (BlankType.DISC, BlankType.MINIMAL):
            steps = self._blank_disc(disc, all_of_it=kind == BlankType.DISC)
        else:
            if disc.random:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")
            self._check_blank(disc, kind, cdb.address)
            steps = self._blank_part(disc, kind, cdb.address)
        return self.perform_long(steps, immed=bool(cdb.immed), code=asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS)

    def _blank_disc(self, disc: Disc, *, all_of_it: bool) -> Steps:
        self._empty(disc)
        yield from self.save_disc(disc)
        if all_of_it:
            yield from self._discard()
        return Completion()

    def _empty(self, disc: Disc) -> None:
        self.end_rehearsal()
        self.plan = self.raw = None
        disc.tracks, disc.sessions = [], []
        disc.finalized = disc.random = disc.formatted = False
        disc.mcn, disc.cd_text = "", b""
        disc.profile = disc.kind.profile
        disc.capacity = disc.whole
        self.unsaved = True

    def _discard(self) -> Asking[None]:
        """What was recorded is gone, where the store can forget."""
        capabilities = self.unit.capabilities
        if capabilities is not None and capabilities.discard:
            yield from Discard(DATA_START, capabilities.size - DATA_START)

    def _check_blank(self, disc: Disc, kind: int, address: int) -> None:
        """Only what is last can be erased."""
        last = disc.tracks[-1] if disc.tracks else None
        if kind == BlankType.UNCLOSE:
            good = bool(disc.sessions) and not disc.in_session(len(disc.sessions) + 1)
        elif kind == BlankType.SESSION:
            good = bool(disc.tracks)
        elif kind == BlankType.UNRESERVE:
            good = last is not None and last.reserved and last.blank and last.number == address
        elif kind == BlankType.TRACK:
            good = last is not None and last.number == address and last.session > len(disc.sessions)
        elif kind == BlankType.TRACK_TAIL:
            good = last is not None and last.start <= address < last.end and last.session > len(disc.sessions)
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")
        if not good:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="address")

    def _blank_part(self, disc: Disc, kind: int, address: int) -> Steps:
        if kind == BlankType.UNCLOSE:
            disc.sessions.pop()
        elif kind == BlankType.SESSION:
            number = disc.tracks[-1].session
            disc.tracks = [track for track in disc.tracks if track.session != number]
            disc.sessions = [session for session in disc.sessions if session.number != number]
        elif kind == BlankType.TRACK_TAIL:
            last = disc.tracks[-1]
            last.next, last.complete, last.end = address, False, disc.capacity
        else:
            disc.tracks.pop()
        disc.finalized = False
        self.unsaved = True
        yield from self.save_disc(disc)
        return Completion()

    # --- FORMAT UNIT -------------------------------------------------------------------------------------------

    def format_capacities(self, disc: Disc) -> tuple[tuple[int, int, int], ...]:
        if not disc.takes_data and not disc.random:
            return ()
        return tuple(
            (number, self._blocks(disc, number), _PACKETS.get(disc.kind.name, 0))
            for number in _TYPES.get(disc.kind.name, ())
        )

    @staticmethod
    def _blocks(disc: Disc, number: int) -> int:
        """User blocks after a format: without spare areas all that there are."""
        whole = disc.whole - disc.whole % _PACKETS.get(disc.kind.name, 1)
        if number in _WHOLE or not disc.kind.formatted:
            return whole
        step = disc.kind.blocks
        return whole * disc.kind.formatted // disc.kind.capacity // step * step

    @operation(
        0x04, "FORMAT UNIT", layouts.FORMAT_UNIT, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        standard="MMC-6 6.4",
    )
    def format_unit(self, command: Command, cdb: CdbFields) -> Steps:
        """Format as the descriptor of the parameter list says."""
        disc = self.check_recordable(command)
        if disc.kind.name not in _TYPES:
            raise CheckCondition(asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM)
        if not cdb.fmtdata or cdb.format_code != 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fmtdata" if not cdb.fmtdata else "format_code")
        data = bytes((yield from DataOut(12)))
        blocks, number = self._asked_format(disc, data)
        steps = self._format(disc, number, blocks, subtype=data[8] & 3)
        outcome = self.perform_long(
            steps, immed=bool(data[1] & _IMMED), code=asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS
        )
        if isinstance(outcome, Completion):
            return outcome
        return (yield from outcome)

    def _asked_format(self, disc: Disc, data: bytes) -> tuple[int, int]:
        """Blocks and format type of the parameter list. Raises CheckCondition."""
        if len(data) < 12:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if int.from_bytes(data[2:4], "big") != 8:
            raise _invalid(2)
        blocks, number = int.from_bytes(data[4:8], "big"), data[8] >> 2
        if number not in _TYPES[disc.kind.name]:
            raise _invalid(8)
        most = self._blocks(disc, number)
        if blocks in (0, 0xFFFFFFFF) or disc.kind.name in ("dvd+rw", "bd-r"):
            blocks = min(blocks or most, most)
        step = _PACKETS.get(disc.kind.name, disc.kind.blocks)
        if blocks > (disc.whole if number == _SPARE_AS_ASKED else most) or blocks % step:
            raise _invalid(4)
        if disc.kind.name == "bd-r":
            if data[8] & 3 > _SEQUENTIAL:
                raise _invalid(8)
            if not disc.blank or disc.formatted:        # once and for all
                raise CheckCondition(asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM)
        return blocks, number

    def _format(self, disc: Disc, number: int, blocks: int, *, subtype: int) -> Steps:
        was_random = disc.random
        self._empty(disc)
        disc.capacity = blocks
        disc.formatted = True
        if disc.kind.name == "dvd-rw":
            disc.profile = _RESTRICTED_OVERWRITE
        elif disc.kind.name == "bd-r":
            disc.profile = _BD_R_RANDOM if subtype == _RANDOM else _BD_R_SEQUENTIAL
            disc.spare = (disc.whole - blocks) // disc.kind.blocks if subtype == _PSEUDO_OVERWRITE else None
        if disc.profile != _BD_R_SEQUENTIAL:
            make_random(disc, blocks, packet=_PACKETS.get(disc.kind.name, 0))
        if disc.profile == _BD_R_RANDOM:
            disc.recorded = bytearray(-(-blocks // disc.kind.blocks // 8) + 1)
        yield from self.save_disc(disc)
        if not was_random:
            yield from self._discard()
        return Completion()


def _invalid(byte: int) -> CheckCondition:
    pointer = FieldPointer(byte, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
