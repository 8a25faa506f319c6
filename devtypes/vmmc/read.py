"""READ, VERIFY, SEEK, SYNCHRONIZE CACHE, READ CAPACITY: user data in blocks of 2048 bytes (MMC-6 6.14,
6.15, 6.18; MMC-5 6.32, 6.41, 6.43).

What was never recorded is BLANK CHECK, what links packets ILLEGAL MODE FOR THIS TRACK like an audio track, a block
behind READ CAPACITY's last one an address out of range. Random media read zeros where nothing was written.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.base import BLOCK, Ongoing
from devtypes.vmmc.defects import pieces
from devtypes.vmmc.disc import Asking, Disc, SectorForm, Track
from devtypes.vmmc.layers import is_jumping, recorded_to
from devtypes.vmmc.packets import link_after, link_block
from devtypes.vmmc.sector import FORM_2_SUBHEADER
from devtypes.vmmc.toc import TableOfContents
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut, Flush, Read
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition, SenseKey
from scsiemu.task_set import Alone

__all__ = ["INCOMPATIBLE_MEDIUM", "MOST_BLOCKS", "NOT_RECORDED", "Reading"]

MOST_BLOCKS: Final = 16384          # of one command: 32 MiB
INCOMPATIBLE_MEDIUM: Final = asc.with_key(asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT, SenseKey.ILLEGAL_REQUEST)
NOT_RECORDED: Final = asc.with_key(asc.NO_ADDITIONAL_SENSE_INFORMATION, SenseKey.BLANK_CHECK)
_RANGE: Final = ("lba", "transfer_length")


class Reading(TableOfContents):
    """Reading user data.

    Attributes:
        unsaved: something was recorded that a cut would lose.
    """

    unsaved = False

    @operation(
        0x25, "READ CAPACITY", layouts.READ_CAPACITY, data=DataDirection.IN,
        conflict=ReservationClass.PERSISTENT_ALLOWED, needs_ready=True, standard="MMC-6 6.18",
    )
    def read_capacity(self, command: Command, cdb: CdbFields) -> Completion:
        """The last address and the block size; a blank disc has last address 0."""
        if cdb.lba and not cdb.pmi:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="lba")
        return Completion(struct.pack(">II", max(self.loaded.capacity_end - 1, 0), BLOCK))

    def check_blocks(self, cdb: CdbFields, blocks: int) -> None:
        """Raises CheckCondition where the range is not on the disc, or too much for one command."""
        end = self.loaded.capacity_end
        if cdb.lba + blocks > end:
            code = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            raise CheckCondition(code, field="lba", information=max(cdb.lba, end))
        if blocks > MOST_BLOCKS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")

    @operation(
        0x28, "READ(10)", layouts.READ_10, data=DataDirection.IN, conflict=ReservationClass.READ, needs_ready=True,
        range=_RANGE, standard="MMC-6 6.14",
    )
    @operation(
        0xA8, "READ(12)", layouts.READ_12, data=DataDirection.IN, conflict=ReservationClass.READ, needs_ready=True,
        range=_RANGE, standard="MMC-6 6.15",
    )
    def read(self, command: Command, cdb: CdbFields) -> Result:
        """Blocks of user data."""
        if getattr(cdb, "streaming", 0) and cdb.fua:        # MMC-6 6.15: FUA has no meaning in streaming
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fua")
        count = cdb.transfer_length
        self.check_blocks(cdb, count)
        self.stop_audio()
        self.count_read(count)
        if not count:
            return Completion()
        track = self.loaded.track_at(cdb.lba)
        if (
            track is not None and cdb.lba >= track.start and track.form.size == BLOCK and cdb.lba + count <= track.next
            and not track.links and not is_jumping(self.loaded) and not self.loaded.replaced
        ):
            return Read(track.place(cdb.lba), count * BLOCK)
        return self._read_steps(cdb.lba, count)

    def count_read(self, blocks: int) -> None:
        """A command that reads is in the general statistics."""
        self.counters.read_commands += 1
        self.counters.blocks_read += blocks

    def _read_steps(self, lba: int, count: int) -> Steps:
        data = yield from self.user_data(lba, count)
        return Completion(data)

    def user_data(self, lba: int, count: int) -> Asking[Buffer]:
        """User data of blocks that are on the disc. Raises CheckCondition."""
        disc = self.loaded
        pieces: list[Buffer] = []
        while count:
            track = disc.track_at(lba)
            if track is None:
                raise CheckCondition(NOT_RECORDED, information=lba)
            piece = yield from self._of_track(disc, track, lba, min(count, track.end - lba))
            pieces.append(piece)
            lba += len(piece) // BLOCK
            count -= len(piece) // BLOCK
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _of_track(self, disc: Disc, track: Track, lba: int, count: int) -> Asking[Buffer]:
        """User data from one track; perhaps less than asked for."""
        form = track.form
        if form.user_size != BLOCK:
            raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK, information=lba)
        if lba < track.base:                                # a pause that is not kept
            return bytes(min(count, track.base - lba) * BLOCK)
        if track.links:
            if link_block(track.links, lba) is not None:
                raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK, information=lba)
            count = link_after(track.links, lba, lba + count) - lba
        end = recorded_to(disc, track, lba) if is_jumping(disc) else track.next
        if lba + count > end and not disc.random:
            if lba >= end:
                raise CheckCondition(NOT_RECORDED, information=lba)
            count = end - lba
        lba, count = next(pieces(disc, lba, count))
        kept = yield from Read(track.place(lba), count * form.size)
        return kept if form.size == BLOCK else _user_parts(form, kept, lba)

    @operation(
        0x2F, "VERIFY(10)", layouts.VERIFY_10, data=DataDirection.OUT, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="MMC-5 6.43",
    )
    @operation(
        0xAF, "VERIFY(12)", layouts.VERIFY_12, data=DataDirection.OUT, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="MMC-5 6.43 (as VERIFY(10))",
    )
    def verify(self, command: Command, cdb: CdbFields) -> Result:
        """Read the blocks; with BYTCHK 01b compare them."""
        if cdb.bytchk > 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="bytchk")
        self.check_blocks(cdb, cdb.transfer_length)
        self.stop_audio()
        return self._verify_steps(cdb.lba, cdb.transfer_length, compare=bool(cdb.bytchk))

    def _verify_steps(self, lba: int, count: int, *, compare: bool) -> Steps:
        expected: Buffer = b""
        if compare and count:
            expected = yield from DataOut(count * BLOCK)
            count = len(expected) // BLOCK
        if count:
            stored = yield from self.user_data(lba, count)
            if compare and bytes(stored) != bytes(expected[: count * BLOCK]):
                raise CheckCondition(asc.MISCOMPARE_DURING_VERIFY_OPERATION)
        return Completion()

    @operation(
        0x2B, "SEEK(10)", layouts.SEEK_10, conflict=ReservationClass.READ, needs_ready=True, standard="MMC-5 6.32",
    )
    def seek(self, command: Command, cdb: CdbFields) -> Completion:
        """Nothing moves; the address has to be there."""
        if cdb.lba >= max(self.loaded.capacity_end, 1):
            code = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            raise CheckCondition(code, field="lba", information=cdb.lba)
        self.stop_audio()
        return Completion()

    @operation(
        0x35, "SYNCHRONIZE CACHE", layouts.SYNCHRONIZE_CACHE, needs_ready=True, exclusive=True,
        standard="MMC-5 6.41",
    )
    def synchronize_cache(self, command: Command, cdb: CdbFields) -> Result:
        """What was written, and where it ends, goes to the medium; the range is only checked on random media."""
        disc = self.loaded
        if disc.random and cdb.lba + cdb.transfer_length > disc.capacity:
            raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field="lba")
        if cdb.immed:
            busy = None
            if self.unsaved and not disc.random:        # where the next block goes is not known before it is done
                busy = Ongoing(asc.LOGICAL_UNIT_NOT_READY_LONG_WRITE_IN_PROGRESS, self.unit.now, 0)
            self.ongoing = busy
            self.unit.start_background(self._synchronize_alone(busy), "synchronize cache")
            return Completion()
        return self._synchronize()

    def _synchronize_alone(self, busy: Ongoing | None) -> Steps:
        """Nothing is written meanwhile."""
        try:
            yield Alone()
            return (yield from self._synchronize())
        finally:
            if self.ongoing is busy:
                self.ongoing = None

    def _synchronize(self) -> Steps:
        yield from self.bring_to_medium()
        return Completion()

    def bring_to_medium(self) -> Asking[None]:
        """Everything that was written is safe when this returns."""
        yield Flush()

    def stop_audio(self) -> None:
        """The pick-up goes elsewhere: audio that is played stops."""


def _user_parts(form: SectorForm, kept: Buffer, lba: int) -> bytes:
    """User data out of sectors that are kept with more around it. Raises CheckCondition for sectors of form 2."""
    view = memoryview(kept)
    parts = []
    for at in range(0, len(view), form.size):
        sector = view[at : at + form.size]
        start = form.user_at
        if form.is_raw and sector[15] == 1:
            start = 16
        elif form.user_at >= 8 and sector[form.user_at - 6] & FORM_2_SUBHEADER:
            raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK, information=lba + at // form.size)
        parts.append(sector[start : start + BLOCK])
    return b"".join(parts)
