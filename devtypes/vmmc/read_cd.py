"""READ CD and READ CD MSF: any part of any sector of a CD, and its sub-channels (MMC-6 6.19, 6.20).

Sectors are put together from what is kept: sync, header, EDC and ECC of data sectors are computed, Q too. There never
is a C2 error.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.disc import Asking, Disc, Track
from devtypes.vmmc.packets import LINK_BLOCK, link_after, link_block
from devtypes.vmmc.read import INCOMPATIBLE_MEDIUM, NOT_RECORDED, Reading
from devtypes.vmmc.sector import (
    AUDIO_SIZE,
    FORM_2_SUBHEADER,
    RAW_SIZE,
    lba_to_msf,
    mode_1_sector,
    mode_2_sector,
    msf_to_lba,
    xa_sector,
)
from devtypes.vmmc.subchannel import CHANNEL_BYTES, formatted_of, formatted_q, interleaved, r_to_w
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import Read
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["ReadCd", "SectorType"]

_PAUSE: Final = -150                    # the first address that READ CD reaches
_MOST_SECTORS: Final = 8192
_TOGETHER: Final = 64                   # sectors that are read at once
_C2_BITS: Final = 294
_NEGATIVE: Final = 0xFFFFFFFF
_MODE: Final = 3                        # of the mode byte; above it is the block indicator
_SUBHEADER: Final = 2                   # its place in a row of `_PARTS`
_SECTORS: Final = (0x44, 0xB9, 0xBE)    # operation codes of the commands here


class SectorType:
    """EXPECTED SECTOR TYPE, and what a sector is (MMC-6 table 348)."""

    ANY: Final = 0
    AUDIO: Final = 1
    MODE_1: Final = 2
    FORMLESS: Final = 3
    FORM_1: Final = 4
    FORM_2: Final = 5


# Where the parts of a sector are: sync, header, subheader, user data, EDC and ECC (MMC-6 table 353). Audio is one part,
# which comes whatever is chosen.
_PARTS: Final = {
    SectorType.AUDIO: ((0, 2352),) * 5,
    SectorType.MODE_1: ((0, 12), (12, 16), (16, 16), (16, 2064), (2064, 2352)),
    SectorType.FORMLESS: ((0, 12), (12, 16), (16, 16), (16, 2352), (2352, 2352)),
    SectorType.FORM_1: ((0, 12), (12, 16), (16, 24), (24, 2072), (2072, 2352)),
    SectorType.FORM_2: ((0, 12), (12, 16), (16, 24), (24, 2352), (2352, 2352)),
}


class ReadCd(Reading):
    """Reading sectors of CDs."""

    def recognize(self, command: Command) -> None:
        """What is read here are blocks, too, although the CDB does not always have them as such: the disc is not erased
        and does not leave meanwhile."""
        super().recognize(command)
        if command.operation is not None and command.operation.opcode in _SECTORS:
            command.extent = (0, 1 << 64, False)

    @operation(
        0xBE, "READ CD", layouts.READ_CD, data=DataDirection.IN, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-6 6.19",
    )
    def read_cd(self, command: Command, cdb: CdbFields) -> Steps:
        """Sectors by address; the two's complement reaches into the pause before the first track."""
        lba = cdb.lba - (1 << 32) if cdb.lba > _NEGATIVE - 450150 else cdb.lba
        return self._read_cd(cdb, lba, cdb.transfer_length)

    @operation(
        0xB9, "READ CD MSF", layouts.READ_CD_MSF, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, standard="MMC-6 6.20",
    )
    def read_cd_msf(self, command: Command, cdb: CdbFields) -> Steps:
        """Sectors from one time up to another."""
        for name, limit in (("start_s", 60), ("start_f", 75), ("end_s", 60), ("end_f", 75)):
            if getattr(cdb, name) >= limit:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=name)
        start = msf_to_lba(cdb.start_m, cdb.start_s, cdb.start_f)
        end = msf_to_lba(cdb.end_m, cdb.end_s, cdb.end_f)
        if end < start:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="end_m")
        return self._read_cd(cdb, start, end - start)

    def _read_cd(self, cdb: CdbFields, lba: int, count: int) -> Steps:
        disc = self.loaded
        if not disc.kind.is_cd:
            raise CheckCondition(INCOMPATIBLE_MEDIUM)
        if cdb.sector_type > SectorType.FORM_2:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sector_type")
        if cdb.sub_channel not in (0, 1, 2, 4):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sub_channel")
        if cdb.c2 == 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="c2")
        if cdb.sector_type:
            _selected(cdb, cdb.sector_type)
        end = disc.capacity_end
        if lba < _PAUSE or lba + count > end:
            code = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            field = "lba" if cdb.opcode == 0xBE else "start_m"
            raise CheckCondition(code, field=field, information=max(lba, end))
        if count > _MOST_SECTORS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length" if cdb.opcode == 0xBE else "end_m")
        self.stop_audio()
        self.count_read(count)
        pieces: list[Buffer] = []
        first = disc.track_at(lba)
        while count:
            some = yield from self.sectors(lba, min(count, _TOGETHER))
            track = disc.track_at(lba)
            # Of any type, a command ends where data and audio meet (MMC-6 table 348).
            if track is not None and first is not None and track.is_audio != first.is_audio:
                raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK, information=lba)
            for sector, channels in some:
                pieces.append(self._chosen(disc, cdb, lba, sector, channels))
                lba += 1
                count -= 1
        return Completion(b"".join(pieces))

    def _chosen(self, disc: Disc, cdb: CdbFields, lba: int, sector: bytes, channels: bytes) -> bytes:
        """What of a sector the CDB asks for."""
        kind = _sector_type(disc, lba, sector)
        wanted = cdb.sector_type
        if wanted not in (SectorType.ANY, kind):
            raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK, information=lba)
        start, stop = _selected(cdb, kind)
        parts = [sector[start:stop]]
        if cdb.c2:
            parts.append(bytes(_C2_BITS if cdb.c2 == 1 else _C2_BITS + 2))
        if cdb.sub_channel == 1:
            parts.append(channels or interleaved(disc, lba))
        elif cdb.sub_channel == 2:
            parts.append(formatted_of(channels) if channels else formatted_q(disc, lba))
        elif cdb.sub_channel == 4:
            parts.append(r_to_w(channels) if channels else bytes(CHANNEL_BYTES))
        return b"".join(parts)

    def sectors(self, lba: int, count: int) -> Asking[list[tuple[bytes, bytes]]]:
        """Whole sectors, and their sub-channels where they are kept. All of one track: perhaps less than asked for.

        Raises CheckCondition where nothing is recorded.
        """
        disc = self.loaded
        track = disc.track_at(lba)
        if track is None or lba >= track.next:
            raise CheckCondition(NOT_RECORDED, information=lba)
        if lba < track.base:
            return [(_pause(track, at), b"") for at in range(lba, min(lba + count, track.base))]
        count = min(count, track.next - lba)
        form = track.form
        if track.links:
            indicator = link_block(track.links, lba)
            if indicator is not None:
                return [(_link(track, lba, indicator), b"")]
            count = link_after(track.links, lba, lba + count) - lba
        kept = memoryview((yield from Read(track.place(lba), count * form.size)))
        found = []
        for number in range(count):
            stored = kept[number * form.size : (number + 1) * form.size]
            channels = bytes(stored[RAW_SIZE:]) if form.channel_bits else b""
            found.append((_whole(form.name, track.physical(lba + number), stored), channels))
        return found

    @operation(
        0x44, "READ HEADER", layouts.READ_HEADER, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, allocation="allocation_length", standard="MMC-3 5.20",
    )
    def read_header(self, command: Command, cdb: CdbFields) -> Steps:
        """The header of a data sector: its mode and its address."""
        if not self.loaded.kind.is_cd:
            raise CheckCondition(INCOMPATIBLE_MEDIUM)
        if cdb.lba >= self.loaded.capacity_end:
            raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field="lba", information=cdb.lba)
        ((sector, _),) = yield from self.sectors(cdb.lba, 1)
        kind = _sector_type(self.loaded, cdb.lba, sector)
        if kind == SectorType.AUDIO:
            raise CheckCondition(asc.ILLEGAL_MODE_FOR_THIS_TRACK, information=cdb.lba)
        place = bytes((0, *lba_to_msf(cdb.lba))) if cdb.msf else cdb.lba.to_bytes(4, "big")
        return Completion(bytes((sector[15], 0, 0, 0)) + place)


def _whole(name: str, lba: int, stored: memoryview) -> bytes:
    """The 2352 bytes of a sector from what is kept of it."""
    if name == "mode1":
        return mode_1_sector(lba, stored)
    if name == "mode2":
        return mode_2_sector(lba, stored)
    if name == "xa":
        return xa_sector(lba, stored)
    return bytes(stored[:RAW_SIZE])


def _link(track: Track, lba: int, indicator: int) -> bytes:
    """A block of run-in or run-out; the link block between them cannot be read. Raises CheckCondition."""
    if indicator == LINK_BLOCK:
        raise CheckCondition(asc.L_EC_UNCORRECTABLE_ERROR, information=lba)
    if track.form.data_mode == 1:
        return mode_1_sector(lba, bytes(2048), indicator)
    sector = bytearray(xa_sector(lba, bytes(2056)))
    sector[15] |= indicator << 5
    return bytes(sector)


def _pause(track: Track, lba: int) -> bytes:
    """A sector of a pause that is not kept: silence, or user data of zeros."""
    if track.is_audio:
        return bytes(AUDIO_SIZE)
    if track.form.data_mode == 1:
        return mode_1_sector(lba, bytes(2048))
    return xa_sector(lba, bytes((0, 0, FORM_2_SUBHEADER, 0) * 2) + bytes(2324))


def _sector_type(disc: Disc, lba: int, sector: bytes) -> int:
    """What a sector is: by its track, and by its mode and subheader."""
    track = disc.track_at(lba)
    if track is None or track.is_audio:
        return SectorType.AUDIO
    if sector[15] & _MODE == 1:
        return SectorType.MODE_1
    # A subheader is there twice (CD-ROM XA 4.3.2).
    if track.form.name == "mode2" or sector[16:20] != sector[20:24]:
        return SectorType.FORMLESS
    return SectorType.FORM_2 if sector[18] & FORM_2_SUBHEADER else SectorType.FORM_1


def _selected(cdb: CdbFields, kind: int) -> tuple[int, int]:
    """Which bytes of a sector of a kind the flags of byte 9 choose.

    Raises CheckCondition where they are not one piece (MMC-6 table 353): no part may be left out between others, but
    a subheader that there is none of. That holds for parts without a byte, too.
    """
    parts = _PARTS[kind]
    flags = (cdb.sync, cdb.header_codes & 1, cdb.header_codes >> 1, cdb.user_data, cdb.edc_ecc)
    chosen = [number for number, flag in enumerate(flags) if flag]
    if not chosen:
        return 0, 0
    if kind != SectorType.AUDIO:
        first, last = chosen[0], chosen[-1]
        missing = set(range(first, last)).difference(chosen)
        if missing and not (missing == {_SUBHEADER} and cdb.user_data and _is_empty(parts[_SUBHEADER])):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="header_codes")
        chosen = [number for number in chosen if not _is_empty(parts[number])] or [first]
    return parts[chosen[0]][0], parts[chosen[-1]][1]


def _is_empty(part: tuple[int, int]) -> bool:
    return part[0] == part[1]
