"""BLANK and FORMAT UNIT: what makes a rewritable disc empty, and random media writable (MMC-6 6.2, 6.4).

The table has the format types of media; those of a CD-RW and a DVD-RW depend on its state (`borders`). What the medium
lists is what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.base import BLOCK
from devtypes.vmmc.borders import (
    ADD,
    FULL,
    GROW,
    PACKETS,
    QUICK,
    QUICK_ADD,
    QUICK_GROW,
    add_border,
    border_formats,
    grow_border,
    reopen,
)
from devtypes.vmmc.disc import Asking, Disc, Track, may_be_formatted
from devtypes.vmmc.disc_format import DATA_START, make_random
from devtypes.vmmc.packets import LINK, fitting
from devtypes.vmmc.profiles import Family
from devtypes.vmmc.recording import NOT_WRITABLE
from devtypes.vmmc.writing import Writing
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import DataOut, Discard, Fill
from scsiemu.operations import DataDirection, Result, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["BlankType", "Formatting"]

# Byte 1 of the format list header (MMC-6 6.4.3): IMMED, TRY-OUT, the options that FOV has to make valid.
_IMMED, _TRY_OUT, _OPTIONS, _OPTIONS_VALID = 0x02, 0x04, 0x7C, 0x80
_RESTRICTED_OVERWRITE: Final = 0x13
_BD_R_SEQUENTIAL, _BD_R_RANDOM = 0x41, 0x42
_PSEUDO_OVERWRITE, _SEQUENTIAL, _RANDOM = 0, 1, 2      # FORMAT SUB-TYPE of BD-R (MMC-5 6.5.4.2.1.6)

# Format types by kind of disc.
_TYPES: Final = {
    "dvd-ram": (0x00, 0x01), "dvd+rw": (0x00, 0x26), "bd-re": (0x00, 0x30, 0x31), "bd-r": (0x00, 0x32),
}
_SPARE_AS_ASKED: Final = frozenset((0x30, 0x32))            # spare areas are what the number of blocks leaves
_WHOLE: Final = frozenset((0x26, 0x31))                     # types without spare areas
# Blocks of a BD with as large spare areas as there can be, and with the smallest: of 12219392.
_BD, _BD_LEAST, _BD_MOST = 12219392, 5796864, 12088320
_EXPANSION: Final = 0x01                                    # of the supplementary spare area of a DVD-RAM
_RAM, _EXPANSION_STEP = 2295072, 9728                       # of a DVD-RAM so many blocks more become spare
_WITH_BLOCK_LENGTH: Final = frozenset((("dvd-ram", 0x00), ("dvd-ram", 0x01), ("bd-re", 0x31)))
_ALL_OF_IT: Final = frozenset((0, 0xFFFFFFFF))              # NUMBER OF BLOCKS that is none
_FORMAT_CODE, _LEGACY_CODE = 1, 7
_SESSION, _GROW_BIT = 0x80, 0x40                            # of the descriptor of format code 7 (MMC-2 6.1.5)


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
            good = (
                last is not None and last.start <= address < last.end and last.session > len(disc.sessions)
                and _begins_packet(last, address)
            )
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
            last.next, last.gap, last.complete, last.end = address, 0, False, disc.capacity
            last.links = [link for link in last.links if link < address]
            if last.links:                      # the link before the packet that was the first one to go
                last.next, last.gap = last.links.pop(), LINK
            elif last.fixed:
                last.end = last.start + fitting(last.end - last.start, last.packet)
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
        if disc.kind.name in PACKETS:
            return border_formats(disc)
        if disc.kind.name == "bd-r" and not may_be_formatted(disc):
            return ()
        return tuple(row for number in _TYPES.get(disc.kind.name, ()) for row in self._rows(disc, number))

    def _rows(self, disc: Disc, number: int) -> Iterator[tuple[int, int, int]]:
        """What a format type makes: with default, with the largest and with the smallest spare areas where they are as
        asked for. The type dependent parameter is the length of a block, or of a BD how many clusters are spare."""
        default, step = self._blocks(disc, number), disc.kind.blocks
        parameter = BLOCK if (disc.kind.name, number) in _WITH_BLOCK_LENGTH else 0
        if disc.kind.family == Family.BD and number == 0:
            parameter = (disc.whole - default) // step
        if number == _EXPANSION:
            unit = max(disc.whole * _EXPANSION_STEP // _RAM // step, 1) * step
            for left in (disc.capacity - unit, disc.capacity - 2 * unit):
                if left > 0 and disc.spares_used <= disc.primary:       # what has moved into it stays where it is
                    yield number, left, parameter
            return
        yield number, default, parameter
        if disc.kind.name == "dvd-ram":
            yield number, disc.whole, parameter
        if number in _SPARE_AS_ASKED:
            yield number, disc.whole * _BD_LEAST // _BD // step * step, 0
            yield number, disc.whole * _BD_MOST // _BD // step * step, 0

    @staticmethod
    def _blocks(disc: Disc, number: int) -> int:
        """User blocks after a format: without spare areas all that there are."""
        if number in _WHOLE or not disc.kind.formatted:
            return disc.whole
        step = disc.kind.blocks
        return disc.whole * disc.kind.formatted // disc.kind.capacity // step * step

    @operation(
        0x04, "FORMAT UNIT", layouts.FORMAT_UNIT, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        standard="MMC-6 6.4",
    )
    def format_unit(self, command: Command, cdb: CdbFields) -> Steps:
        """Format as the descriptor of the parameter list says."""
        disc = self.check_recordable(command)
        if disc.kind.name not in _TYPES and disc.kind.name not in PACKETS:
            raise CheckCondition(asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM)
        legacy = cdb.format_code == _LEGACY_CODE and disc.kind.name == "cd-rw"
        if not cdb.fmtdata or (cdb.format_code != _FORMAT_CODE and not legacy):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fmtdata" if not cdb.fmtdata else "format_code")
        data = bytes((yield from DataOut(12)))
        if len(data) < 12:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if int.from_bytes(data[2:4], "big") != 8:
            raise _invalid(2)
        if data[1] & _OPTIONS and not data[1] & _OPTIONS_VALID:
            raise _invalid(1)
        if legacy:
            data = _of_code_7(data)
        blocks, number = self._asked_format(disc, data)
        if data[1] & _TRY_OUT:                  # whether it would be done was asked, nothing more
            return Completion()
        steps = self._format(disc, number, blocks, keep=bool(cdb.cmplst), subtype=data[8] & 3)
        outcome = self.perform_long(
            steps, immed=bool(data[1] & _IMMED), code=asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS
        )
        if isinstance(outcome, Completion):
            return outcome
        return (yield from outcome)

    def _asked_format(self, disc: Disc, data: bytes) -> tuple[int, int]:
        """Blocks and format type of the parameter list. Raises CheckCondition."""
        blocks, number = int.from_bytes(data[4:8], "big"), data[8] >> 2
        if disc.kind.name == "bd-r" and not may_be_formatted(disc):
            raise CheckCondition(asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM)
        listed = [count for listed, count, _ in self.format_capacities(disc) if listed == number]
        if not listed:
            raise _invalid(8)
        most = listed[0]
        step = PACKETS.get(disc.kind.name, disc.kind.blocks)
        if number in range(GROW, QUICK + 1):                # any number, which is rounded up; 0 is none
            blocks += -blocks % step
            if blocks > most or (number == ADD and not blocks):
                raise _invalid(4)
            return blocks, number
        if disc.kind.name == "bd-r" and data[8] & 3 > _RANDOM:
            raise _invalid(8)
        if disc.kind.name == "bd-r" and number == 0:        # with default spare areas, whatever is asked for
            return most, number
        if blocks in _ALL_OF_IT or disc.kind.name == "dvd+rw":
            blocks = min(blocks or most, most)
        least = min(listed) if number in (*_SPARE_AS_ASKED, _EXPANSION) else 0
        if blocks > max(listed) or blocks % step or blocks < least:
            raise _invalid(4)
        return blocks, number

    def _grow(self, disc: Disc, number: int, blocks: int) -> Steps:
        """The last border of a formatted disc becomes longer, or another one follows: what is new is zeros."""
        quick = number in (QUICK_GROW, QUICK_ADD)
        if number in (GROW, QUICK_GROW):
            grow_border(disc, blocks, quick=quick)
        else:
            add_border(disc, blocks, quick=quick)
        last = disc.tracks[-1]
        if blocks:
            yield from self._zero(last.place(last.end - blocks), blocks * last.form.size)
        self.unsaved = True
        yield from self.save_disc(disc)
        return Completion()

    def _expand(self, disc: Disc, blocks: int) -> Steps:
        """Of a DVD-RAM only so many blocks are left for data, the others are spare: nothing else is changed."""
        make_random(disc, blocks)
        yield from self.save_disc(disc)
        return Completion()

    def _zero(self, offset: int, length: int) -> Asking[None]:
        capabilities = self.unit.capabilities
        if capabilities is not None and capabilities.discard:
            yield from Discard(offset, length)
        else:
            yield from Fill(offset, length, bytes(512))

    def _format(self, disc: Disc, number: int, blocks: int, *, keep: bool, subtype: int) -> Steps:
        if number in (GROW, ADD, QUICK_GROW, QUICK_ADD):
            return (yield from self._grow(disc, number, blocks))
        if number == _EXPANSION:
            return (yield from self._expand(disc, blocks))
        was_random = disc.random
        known = (disc.replaced, disc.spares_used) if keep and blocks == disc.capacity else ({}, 0)
        self._empty(disc)
        disc.replaced, disc.spares_used = known
        disc.capacity = blocks
        disc.formatted = True
        if disc.kind.name == "dvd-rw":
            disc.profile = _RESTRICTED_OVERWRITE
        elif disc.kind.name == "bd-r":
            disc.profile = _BD_R_RANDOM if subtype == _RANDOM else _BD_R_SEQUENTIAL
            disc.overwrites = subtype == _PSEUDO_OVERWRITE
        if disc.profile != _BD_R_SEQUENTIAL:
            make_random(disc, blocks, packet=PACKETS.get(disc.kind.name, 0))
        if number == QUICK:
            reopen(disc)
        if disc.profile == _BD_R_RANDOM:
            disc.recorded = bytearray(-(-blocks // disc.kind.blocks // 8) + 1)
        yield from self.save_disc(disc)
        if number == QUICK and was_random:
            if blocks:
                yield from self._zero(disc.tracks[0].place(0), blocks * disc.tracks[0].form.size)
        elif not was_random or disc.kind.name in PACKETS:
            yield from self._discard()
        return Completion()


def _begins_packet(track: Track, lba: int) -> bool:
    """Whether a track can be erased from an address on: in packets, from where one begins."""
    if not (track.incremental and (track.packet or track.form.name != "block")):
        return True
    if track.packet:
        return (lba - track.start) % track.packet == 0
    return lba == track.start or lba - LINK in track.links


def _of_code_7(data: bytes) -> bytes:
    """The list of format code 7 as one of code 1: a format, or with GROW more of it. Raises CheckCondition."""
    if data[4] & _SESSION and not data[4] & _GROW_BIT:      # a further session
        raise _invalid(4)
    number = GROW if data[4] & _GROW_BIT else FULL
    return data[:4] + data[8:12] + bytes((number << 2, 0, 0, PACKETS["cd-rw"]))


def _invalid(byte: int) -> CheckCondition:
    pointer = FieldPointer(byte, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
